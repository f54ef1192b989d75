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

/// Row groups in one to four pools with their weights.
fn mixtures() -> impl Strategy<Value = (Vec<u32>, Vec<Pool>, OrderSpec)> {
    let pool = (prop::collection::vec(1u32..12, 2..12), 1u32..9);
    (prop::collection::vec(pool, 1..5), any::<u64>(), 1u32..5, 1u32..4, 1u32..5).prop_map(
        |(pools, seed, lanes, window, per_lane)| {
            let mut rows = Vec::new();
            let cut = pools.into_iter().map(|(groups, weight)| {
                let start = rows.len() as u32;
                rows.extend(groups);
                Pool { groups: start..rows.len() as u32, weight }
            });
            let cut: Vec<Pool> = cut.collect();
            (rows, cut, OrderSpec { seed, lanes: lanes.min(2), window, batch: lanes.min(2) * per_lane })
        },
    )
}

fn first_epoch(order: &Order, lane: u32) -> Vec<Slot> {
    let range = order.lane_range(0, LaneId(lane));
    order.walk(LaneId(lane), GlobalStep(0)).take((range.end - range.start) as usize).collect()
}

proptest! {
    #[test]
    fn lanes_by_weight_are_all_lanes_and_near_their_share(weights in prop::collection::vec(0u32..20, 1..12), more in 0u32..300) {
        let lanes = weights.len() as u32 + more;
        let shares = lanes_by_weight(&weights, lanes);
        prop_assert_eq!(shares.iter().sum::<u32>(), lanes);
        prop_assert!(shares.len() == weights.len() && shares.iter().all(|share| *share > 0));
        let equal = lanes_by_weight(&vec![3; weights.len()], lanes);
        let world = WorldSize(weights.len() as u32);
        let cut: Vec<u32> = (0..world.0).map(|rank| lanes_of(Rank(rank), world, lanes).len() as u32).collect();
        prop_assert_eq!(equal, cut);
        let total: u32 = weights.iter().map(|weight| (*weight).max(1)).sum();
        let mut apart = 0.0;
        for (share, weight) in shares.iter().zip(&weights) {
            apart = f64::max(apart, (f64::from(*share) - f64::from(lanes * (*weight).max(1)) / f64::from(total)).abs());
        }
        prop_assert!(apart <= 1.0 + weights.len() as f64, "{} apart", apart);
    }
}

proptest! {
    #[test]
    fn an_epoch_has_each_row_once((rows, spec) in datasets()) {
        let order = Order::whole(&rows, spec);
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
        let order = Order::whole(&rows, spec);
        for lane in 0..spec.lanes {
            let range = order.lane_range(0, LaneId(lane));
            let length = (range.end - range.start) as usize;
            let slots: Vec<Slot> = order.walk(LaneId(lane), GlobalStep(0)).skip(length * epoch as usize).take(length).collect();
            prop_assert_eq!(slots.iter().map(|slot| slot.row).collect::<BTreeSet<_>>().len(), length);
            prop_assert!(slots.iter().all(|slot| slot.epoch == epoch));
        }
    }

    #[test]
    fn a_seek_equals_a_walk((rows, spec) in datasets(), step in 0u64..40) {
        let order = Order::whole(&rows, spec);
        for lane in (0..spec.lanes).map(LaneId) {
            let walked: Vec<Slot> = order.walk(lane, GlobalStep(0)).skip((step * spec.per_lane()) as usize).take(9).collect();
            let sought: Vec<Slot> = order.walk(lane, GlobalStep(step)).take(9).collect();
            prop_assert_eq!(walked, sought);
        }
    }

    #[test]
    fn slots_are_shared_out_exactly_by_weight((rows, pools, spec) in mixtures()) {
        let order = Order::new(rows, pools.clone(), spec);
        let divisor = (1..=9).rev().find(|d| pools.iter().all(|pool| pool.weight % d == 0)).unwrap();
        let weights: Vec<u64> = pools.iter().map(|pool| u64::from(pool.weight / divisor)).collect();
        let cycle = weights.iter().sum::<u64>() as usize;
        for lane in (0..spec.lanes).map(LaneId) {
            let slots: Vec<Slot> = order.walk(lane, GlobalStep(0)).take(3 * cycle).collect();
            for part in slots.chunks(cycle) {
                for (pool, weight) in (0..).zip(&weights) {
                    prop_assert_eq!(part.iter().filter(|slot| slot.pool == pool).count() as u64, *weight);
                }
            }
            for slot in slots {
                prop_assert!(pools[slot.pool as usize].groups.contains(&slot.row_group.0));
            }
        }
    }

    #[test]
    fn every_epoch_of_every_pool_has_each_row_once((rows, pools, spec) in mixtures()) {
        let order = Order::new(rows, pools.clone(), spec);
        for pool in 0..pools.len() as u32 {
            let mut seen = Vec::new();
            for lane in (0..spec.lanes).map(LaneId) {
                let range = order.lane_range(pool, lane);
                let length = (range.end - range.start) as usize;
                let of_pool = order.walk(lane, GlobalStep(0)).filter(|slot| slot.pool == pool);
                let slots: Vec<Slot> = if length == 0 { Vec::new() } else { of_pool.take(2 * length).collect() };
                prop_assert!(slots.iter().zip(0..).all(|(slot, at): (_, u64)| slot.epoch == at / length as u64));
                seen.extend(slots.iter().map(|slot| (slot.epoch, slot.row)));
            }
            let held = order.rows_of(pool);
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len() as u64, 2 * held);
        }
    }

    #[test]
    fn a_seek_into_a_mixture_equals_a_walk((rows, pools, spec) in mixtures(), step in 0u64..60) {
        let order = Order::new(rows, pools, spec);
        for lane in (0..spec.lanes).map(LaneId) {
            let walked: Vec<Slot> = order.walk(lane, GlobalStep(0)).skip((step * spec.per_lane()) as usize).take(9).collect();
            let sought: Vec<Slot> = order.walk(lane, GlobalStep(step)).take(9).collect();
            prop_assert_eq!(&walked, &sought);
            for (at, slot) in (step * spec.per_lane()..).zip(&sought) {
                let (pool, before) = order.mix().at(lane.0, at);
                let range = order.lane_range(pool, lane);
                prop_assert_eq!((slot.pool, slot.epoch * (range.end - range.start) + slot.offset), (pool, before));
            }
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
        let order = Order::whole(&rows, spec);
        for lane in (0..spec.lanes).map(LaneId) {
            let walk = order.walk(lane, GlobalStep(0));
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
        let order = Order::whole(&rows, OrderSpec { seed, ..spec });
        order.walk(LaneId(0), GlobalStep(0)).skip(skip).take(200).map(|slot| slot.row).collect()
    };
    assert_ne!(of(1, 0), of(2, 0));
    assert_ne!(of(1, 0), of(1, 200));
    assert_eq!(of(1, 0), of(1, 0));
}

#[test]
fn an_empty_dataset_has_no_slots() {
    let order = Order::whole(&[0, 0], OrderSpec { seed: 0, lanes: 2, window: 1, batch: 2 });
    assert_eq!(order.walk(LaneId(1), GlobalStep(3)).next(), None);
}

#[test]
fn the_two_epochs_that_were_used_last_are_kept() {
    let order = Order::whole(&[5; 40], OrderSpec { seed: 3, lanes: 4, window: 2, batch: 4 });
    let first = order.epoch(0, 0);
    let second = order.epoch(0, 1);
    assert!(Arc::ptr_eq(&first, &order.epoch(0, 0)));
    drop(order.epoch(0, 2));
    assert!(Arc::ptr_eq(&first, &order.epoch(0, 0)));
    assert_eq!(Arc::strong_count(&second), 1, "nobody else holds the one that was not used for longest");
}

#[test]
fn a_pool_with_fewer_rows_than_lanes_is_refused() {
    let pools = vec![Pool { groups: 0..2, weight: 1 }, Pool { groups: 2..3, weight: 1 }];
    let of =
        |lanes| Order::new([9, 9, 3], pools.clone(), OrderSpec { seed: 0, lanes, window: 1, batch: lanes });
    assert!(of(3).check().is_ok());
    let error = of(4).check().unwrap_err().to_string();
    assert!(error.contains("data.lanes = 4") && error.contains("3 rows"), "{error}");
}
