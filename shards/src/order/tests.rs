//! The contracts of the order, over random datasets.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn datasets() -> impl Strategy<Value = (Vec<u32>, OrderSpec)> {
    let spec = (any::<u64>(), 1u32..9, 1u32..5, 1u32..5).prop_map(|(seed, lanes, window, per_lane)| {
        OrderSpec { seed, lanes, window, batch: lanes * per_lane }
    });
    (prop::collection::vec(0u32..12, 1..30), spec)
}

fn first_epoch(order: &Order, lane: u32) -> Vec<Slot> {
    let range = order.lane_range(LaneId(lane));
    order.walk(LaneId(lane), GlobalStep(0)).take((range.end - range.start) as usize).collect()
}

proptest! {
    #[test]
    fn an_epoch_has_each_row_once((rows, spec) in datasets()) {
        let order = Order::new(&rows, spec);
        let slots: Vec<Slot> = (0..spec.lanes).flat_map(|lane| first_epoch(&order, lane)).collect();
        let seen: BTreeSet<u64> = slots.iter().map(|slot| slot.row).collect();
        prop_assert_eq!(slots.len() as u64, order.rows());
        prop_assert_eq!(seen, (0..order.rows()).collect::<BTreeSet<_>>());
        for slot in slots {
            prop_assert!(slot.row_in_group < rows[slot.row_group.index()]);
        }
    }

    #[test]
    fn every_later_epoch_of_a_lane_has_as_many_rows_and_they_are_its_own((rows, spec) in datasets(), epoch in 1u64..4) {
        let order = Order::new(&rows, spec);
        for lane in 0..spec.lanes {
            let range = order.lane_range(LaneId(lane));
            let length = (range.end - range.start) as usize;
            let slots: Vec<Slot> = order.walk(LaneId(lane), GlobalStep(0)).skip(length * epoch as usize).take(length).collect();
            prop_assert_eq!(slots.iter().map(|slot| slot.row).collect::<BTreeSet<_>>().len(), length);
            prop_assert!(slots.iter().all(|slot| slot.epoch == epoch));
        }
    }

    #[test]
    fn a_seek_equals_a_walk((rows, spec) in datasets(), step in 0u64..40) {
        let order = Order::new(&rows, spec);
        for lane in (0..spec.lanes).map(LaneId) {
            let walked: Vec<Slot> = order.walk(lane, GlobalStep(0)).skip((step * spec.per_lane()) as usize).take(9).collect();
            let sought: Vec<Slot> = order.walk(lane, GlobalStep(step)).take(9).collect();
            prop_assert_eq!(walked, sought);
        }
    }

    #[test]
    fn ranks_share_the_lanes_in_order(lanes in 1u32..100, world in 1u32..100) {
        let world = world.min(lanes);
        let shares: Vec<_> = (0..world).map(|rank| lanes_of(Rank(rank), WorldSize(world), lanes)).collect();
        prop_assert!(shares.iter().all(|share| !share.is_empty()));
        prop_assert_eq!(shares.into_iter().flatten().collect::<Vec<_>>(), (0..lanes).collect::<Vec<_>>());
    }

    #[test]
    fn a_substitute_is_another_row_of_the_window((rows, spec) in datasets(), attempt in 1u64..4) {
        let order = Order::new(&rows, spec);
        for lane in (0..spec.lanes).map(LaneId) {
            let mut walk = order.walk(lane, GlobalStep(0));
            let slots: Vec<Slot> = order.walk(lane, GlobalStep(0)).take(20).collect();
            for slot in &slots {
                let other = walk.substitute(slot, attempt);
                let again = order.walk(lane, GlobalStep(7)).substitute(slot, attempt);
                prop_assert_eq!(other, again);
                if let Some(other) = other {
                    prop_assert!(other.row != slot.row);
                    prop_assert_eq!((other.epoch, other.window, other.lane), (slot.epoch, slot.window, slot.lane));
                }
            }
            prop_assert_eq!(walk.take(20).collect::<Vec<_>>(), slots);
        }
    }
}

#[test]
fn seeds_and_epochs_shuffle_differently() {
    let spec = OrderSpec { seed: 1, lanes: 1, window: 2, batch: 4 };
    let rows = [10; 20];
    let of = |seed, skip| -> Vec<u64> {
        let order = Order::new(&rows, OrderSpec { seed, ..spec });
        order.walk(LaneId(0), GlobalStep(0)).skip(skip).take(200).map(|slot| slot.row).collect()
    };
    assert_ne!(of(1, 0), of(2, 0));
    assert_ne!(of(1, 0), of(1, 200));
    assert_eq!(of(1, 0), of(1, 0));
}

#[test]
fn an_empty_dataset_has_no_slots() {
    let order = Order::new(&[0, 0], OrderSpec { seed: 0, lanes: 2, window: 1, batch: 2 });
    assert_eq!(order.walk(LaneId(1), GlobalStep(3)).next(), None);
}
