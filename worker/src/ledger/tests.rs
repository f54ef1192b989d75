//! Ranks that each know their own lanes make the segment that one rank would, and hand it to who comes later.

use super::*;
use crate::toy;
use crate::vote::{Ballot, Sums};
use c10d::Group;
use proto::{LaneId, Rank, WorldSize};
use shards::ledger::Record;
use shards::ledger::verify::Verifier;
use shards::loader::{Batch, Substitution};
use shards::order::{Order, lanes_of};
use tch::Tensor;

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

/// Casts the vote of `step` and enters what came of it.
fn commit(ledger: &mut Ledger, group: &mut Group, step: u64, anomaly: bool) {
    let (rank, world) = (group.rank(), group.world_size());
    let record = Record::of(&batch(&order(&config()), step, rank, world), &order_spec(&config()));
    let first_lane = lanes_of(Rank(rank), WorldSize(world), LANES).start;
    let one = || Tensor::from(1.0);
    let sums = Sums { losses: [one(), one(), one()], rows: [1.0; 3], norm: one() };
    let votes = Ballot { record, first_lane, ..Ballot::default() }.cast(&sums, LANES, group).unwrap();
    let verdict = votes.verdict();
    let outcome = Outcome {
        step: GlobalStep(step + 1),
        scalars: Default::default(),
        wishes: verdict.wishes,
        anomaly: anomaly.then(|| "a jump".into()),
        verdict,
    };
    ledger.enter(Generation(4), &outcome, &votes);
}

/// What every rank has closed: a segment after three steps, and one after the others.
fn ledgers(world: u32) -> Vec<Ledger> {
    toy::ranks((0..world).collect(), |mut group, _| {
        let mut ledger = Ledger::new(&config(), "f00d", GlobalStep(0), None);
        for step in 0..STEPS {
            commit(&mut ledger, &mut group, step, step == 4);
            if step == 2 || step + 1 == STEPS {
                ledger.close().unwrap();
            }
        }
        ledger.close().unwrap();
        group.barrier().unwrap();
        ledger
    })
}

#[test]
fn every_rank_of_any_number_has_the_same_segments_and_they_are_proven() {
    let one = ledgers(1).remove(0);
    for world in [2, 3, 5] {
        assert!(ledgers(world).iter().all(|ledger| *ledger == one), "{world} ranks");
    }
    let segments: Vec<Segment> =
        one.closed().iter().map(|closed| Segment::decode(&closed.bytes).unwrap()).collect();
    let covered: Vec<_> =
        segments.iter().map(|segment| (segment.header.from.0, segment.header.to.0)).collect();
    assert_eq!(covered, [(0, 3), (3, 7)]);
    assert_eq!(segments[1].header.previous.as_ref(), Some(&one.closed()[0].part), "they are chained");
    assert_eq!(one.newest(), Some(&one.closed()[1].part));
    let mut verifier = Verifier::new(order(&config()), "f00d", 9);
    segments.iter().for_each(|segment| verifier.segment("one", segment, &mut |_| ()));
    let report = verifier.finish(GlobalStep(STEPS), &mut |_| ());
    assert!(report.proven() && report.substituted == 2 && report.skipped == 1, "{report:?}");
    assert!(report.stand_ins.iter().all(|one| one.row == BROKEN), "{report:?}");
}

#[test]
fn who_takes_a_ledger_over_goes_on_as_its_first_holder_would() {
    let both = toy::ranks(vec![()], |mut group, ()| {
        let new = || Ledger::new(&config(), "f00d", GlobalStep(0), None);
        let (mut first, mut other) = (new(), new());
        other.take(&first.to_bytes().unwrap()).unwrap();
        assert_eq!(other, first, "also of one that holds nothing");
        for step in 0..5 {
            commit(&mut first, &mut group, step, false);
            if step == 1 || step == 2 {
                first.close().unwrap();
            }
        }
        first.safe(GlobalStep(2));
        other.take(&first.to_bytes().unwrap()).unwrap();
        assert_eq!(other, first);
        for ledger in [&mut first, &mut other] {
            ledger.roll_back(GlobalStep(3));
            ledger.close().unwrap();
        }
        let bytes = first.to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(other.clone().take(&bytes[..length]).is_err(), "{length} bytes of it");
        }
        [first, other]
    });
    let [first, other] = &both[0];
    assert_eq!(first, other);
    let steps: Vec<u64> = first.closed().iter().map(|closed| closed.to.0).collect();
    assert_eq!(steps, [3, 5], "the segment up to step 2 is safe");
    let last = Segment::decode(&first.closed()[1].bytes).unwrap();
    assert_eq!(last.entries[1].outcome, Recorded::RolledBack { to: GlobalStep(3) });
}

#[test]
fn a_segment_is_closed_before_it_is_too_large_to_read() {
    let mut ledger = Ledger::new(&config(), "f00d", GlobalStep(0), None);
    ledger.order.lanes = 1 << 20;
    for (step, full) in [(1, false), (2, false), (3, false), (4, true)] {
        let entry = Entry {
            generation: Generation(1),
            step: GlobalStep(step),
            outcome: Recorded::Applied,
            digests: vec![],
        };
        ledger.entries.push(entry);
        assert_eq!(ledger.full(), full);
    }
}
