//! Ranks that each know their own lanes make the segment that one rank would.

use super::*;
use crate::toy;
use c10d::MemoryStore;
use proto::{LaneId, WorldSize};
use shards::ledger::verify::Verifier;
use shards::loader::Substitution;
use shards::order::{Order, lanes_of};
use std::sync::Arc;
use tch::Kind;

const LANES: u32 = 5;
const STEPS: u64 = 7;
/// The row that can't be used.
const BROKEN: u64 = 13;

fn config() -> RunConfig {
    let mut config = toy::config(0.0);
    (config.data.lanes, config.data.window, config.optimizer.batch) = (LANES, 2, 2 * LANES);
    config
}

fn order(config: &RunConfig) -> Order {
    Order::whole(&[9, 8, 9, 8], order_spec(config))
}

/// What a rank's loader would give.
fn batch(order: &Order, step: u64, rank: u32, world: u32) -> Batch {
    let lanes = lanes_of(Rank(rank), WorldSize(world), LANES);
    let first_slot = lanes.start * 2;
    let walk = |lane| order.walk(lane, GlobalStep(step));
    let slots: Vec<_> = lanes.map(LaneId).flat_map(|lane| walk(lane).take(2)).collect();
    let broken = (first_slot..).zip(&slots).filter(|(_, slot)| slot.row == BROKEN);
    let substitution = |(number, slot): (u32, &shards::order::Slot)| {
        let substitute = walk(slot.lane).substitute(slot, 1).unwrap().row;
        Substitution { slot: number, row: BROKEN, substitute, reason: "broken".into() }
    };
    Batch {
        step: GlobalStep(step),
        first_slot,
        images: Default::default(),
        tokens: vec![],
        lengths: vec![],
        rows: slots.iter().map(|slot| (slot.epoch, slot.row)).collect(),
        identities: vec![],
        substitutions: broken.map(substitution).collect(),
    }
}

/// The segments of rank 0: one after three steps, one after the others, and what closing again gives.
fn segments(world: u32) -> Vec<Option<Segment>> {
    let store = &Arc::<MemoryStore>::default();
    let states: Vec<_> = (0..world).map(|_| toy::state(&config(), Kind::Float)).collect();
    let work = |(rank, state)| {
        let config = config();
        let group = toy::group(store, rank, world);
        let mut trainer = Trainer::new(&config, toy::SPECIAL, 1.0, state, group).unwrap();
        let mut ledger = Ledger::new(&config, Rank(rank), "f00d", Generation(4), GlobalStep(0));
        let mut closed = Vec::new();
        for step in 0..STEPS {
            let record = ledger.read(&batch(&order(&config), step, rank, world));
            ledger.enter(GlobalStep(step + 1), record);
            if step == 2 || step + 1 == STEPS {
                closed.push(ledger.close(&mut trainer).unwrap());
            }
        }
        closed.push(ledger.close(&mut trainer).unwrap());
        trainer.meet().unwrap();
        closed
    };
    std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..).zip(states).map(|one| scope.spawn(move || work(one))).collect();
        let mut all: Vec<_> = ranks.into_iter().map(|rank| rank.join().unwrap()).collect();
        assert!(all[1..].iter().flatten().all(Option::is_none), "rank 0 alone has segments");
        all.swap_remove(0)
    })
}

#[test]
fn any_number_of_ranks_makes_the_same_segments_and_they_are_proven() {
    let one = segments(1);
    for world in [2, 3, 5] {
        assert_eq!(segments(world), one, "{world} ranks");
    }
    let [Some(first), Some(second), None] = &one[..] else { panic!("{one:?}") };
    let covered = [first, second].map(|segment| (segment.header.from.0, segment.header.to.0));
    assert_eq!(covered, [(0, 3), (3, 7)]);
    let mut verifier = Verifier::new(order(&config()), "f00d", 9);
    verifier.segment("first", first, &mut |_| ());
    verifier.segment("second", second, &mut |_| ());
    let report = verifier.finish(GlobalStep(STEPS), &mut |_| ());
    assert!(report.proven() && report.substituted == 2, "{report:?}");
    assert!(report.stand_ins.iter().all(|one| one.row == BROKEN), "{report:?}");
}

#[test]
fn a_segment_is_closed_before_it_is_too_large_to_read() {
    let mut ledger = Ledger::new(&config(), Rank(0), "f00d", Generation(1), GlobalStep(0));
    ledger.order.lanes = 1 << 20;
    for (step, full) in [(1, false), (2, false), (3, false), (4, true)] {
        ledger.enter(GlobalStep(step), Record::default());
        assert_eq!(ledger.full(), full);
    }
}
