//! Runs of any shape are proven; what is planted in their ledgers is named.

use super::{
    report::{Finding, Report},
    verify::Verifier,
    *,
};
use crate::{
    loader::{Batch, Images, Substitution},
    manifest::Pool,
    order::{Order, lanes_of},
};
use proptest::prelude::*;
use proto::{LaneId, Rank, WorldSize};

/// A dataset and the steps after which the run's checkpoints were taken, each with the workers of the steps before it.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    rows: Vec<u32>,
    pools: Vec<Pool>,
    spec: OrderSpec,
    pieces: Vec<(u64, u32)>,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let spec = (any::<u64>(), 1u32..6, 1u32..4, 1u32..5).prop_map(|(seed, lanes, window, per_lane)| {
        OrderSpec { seed, lanes, window, batch: lanes * per_lane }
    });
    let pieces = prop::collection::vec((1u64..9, 1u32..6), 1..5);
    let shape = (prop::collection::vec(1u32..12, 3..12), spec, pieces, 0u32..4);
    let enough = |shape: &Shape| shape.order().check().is_ok();
    let of = |(rows, spec, pieces, weight): (Vec<u32>, OrderSpec, Vec<(u64, u32)>, u32)| {
        let (half, all) = (rows.len() as u32 / 2, rows.len() as u32);
        let pools = match weight {
            0 => vec![Pool { groups: 0..all, weight: 1 }],
            weight => vec![Pool { groups: 0..half, weight: 2 }, Pool { groups: half..all, weight }],
        };
        Shape { rows, pools, spec, pieces }
    };
    shape.prop_map(of).prop_filter("rows", enough)
}

/// 40 rows, 4 lanes of 2 slots, 12 steps in segments of 5, 4 and 3: two epochs and 16 rows of a third.
pub(super) fn plain() -> Shape {
    let spec = OrderSpec { seed: 7, lanes: 4, window: 2, batch: 8 };
    Shape {
        rows: vec![10; 4],
        pools: vec![Pool { groups: 0..4, weight: 1 }],
        spec,
        pieces: vec![(5, 2), (4, 3), (3, 1)],
    }
}

impl Shape {
    fn order(&self) -> Order {
        Order::new(self.rows.iter().copied(), self.pools.clone(), self.spec)
    }

    fn steps(&self) -> u64 {
        self.pieces.iter().map(|(steps, _)| steps).sum()
    }

    /// What a rank's loader gives for a step, where every eleventh row can't be used.
    fn batch(&self, order: &Order, step: u64, rank: u32, world: WorldSize) -> Batch {
        let lanes = lanes_of(Rank(rank), world, self.spec.lanes);
        let first_slot = lanes.start * self.spec.per_lane() as u32;
        let (mut rows, mut substitutions) = (Vec::new(), Vec::new());
        for lane in lanes.map(LaneId) {
            let slots = order.walk(lane, GlobalStep(step)).take(self.spec.per_lane() as usize);
            for slot in slots {
                let other = (slot.row % 11 == 3)
                    .then(|| order.walk(lane, GlobalStep(step)).substitute(&slot, 1))
                    .flatten();
                substitutions.extend(other.map(|other| Substitution {
                    slot: first_slot + rows.len() as u32,
                    row: slot.row,
                    substitute: other.row,
                    reason: "broken".into(),
                }));
                rows.push((slot.epoch, slot.row));
            }
        }
        Batch {
            step: GlobalStep(step),
            first_slot,
            images: Images::default(),
            tokens: vec![],
            lengths: vec![1; rows.len()],
            identities: vec![[1, 1]; rows.len()],
            rows,
            substitutions,
        }
    }

    /// The segments as the ranks' records make them.
    pub(super) fn segments(&self) -> Vec<Segment> {
        let (order, mut from, mut segments) = (self.order(), 0, Vec::new());
        for (generation, (steps, workers)) in (1..).zip(&self.pieces) {
            let world = WorldSize((*workers).min(self.spec.lanes));
            let (mut entries, mut stand_ins) = (Vec::new(), Vec::new());
            for step in from..from + steps {
                let mut digests = Vec::new();
                for rank in 0..world.0 {
                    let record = Record::of(&self.batch(&order, step, rank, world), &self.spec);
                    digests.extend(record.digests);
                    stand_ins.extend(record.stand_ins);
                }
                entries.push(Entry {
                    generation: Generation(generation),
                    step: GlobalStep(step + 1),
                    outcome: match step % 7 {
                        5 => Outcome::Skipped,
                        6 => Outcome::RolledBack { to: GlobalStep(step - 2) },
                        _ => Outcome::Applied,
                    },
                    digests,
                });
            }
            let header = Header {
                version: VERSION,
                run: "r".into(),
                from: GlobalStep(from),
                to: GlobalStep(from + steps),
                dataset: "f00d".into(),
                order: self.spec,
                previous: None,
            };
            segments.push(Segment { header, entries, stand_ins });
            from += steps;
        }
        segments
    }

    fn verify(&self, segments: &[Segment]) -> Report {
        let mut verifier = Verifier::new(self.order(), "f00d", 1000);
        for (number, segment) in segments.iter().enumerate() {
            verifier.segment(&format!("s{number}"), segment, &mut |_| ());
        }
        verifier.finish(GlobalStep(self.steps()), &mut |_| ())
    }

    /// The rows of a lane in the step that was committed as `step`.
    fn rows_of(&self, step: u64, lane: u32) -> Vec<u64> {
        let slots = self.order();
        let slots = slots.walk(LaneId(lane), GlobalStep(step - 1)).take(self.spec.per_lane() as usize);
        slots.map(|slot| slot.row).collect()
    }

    /// The rows of a step.
    fn rows_at(&self, step: u64) -> Vec<u64> {
        (0..self.spec.lanes).flat_map(|lane| self.rows_of(step, lane)).collect()
    }
}

/// All rows that a report calls missing, and all that it calls repeated.
fn unproven(report: &Report) -> (Vec<u64>, Vec<u64>) {
    let all = |of: fn(&report::EpochReport) -> &report::Named| {
        let mut rows: Vec<u64> = report.epochs.iter().flat_map(|epoch| of(epoch).first.clone()).collect();
        rows.sort_unstable();
        rows
    };
    (all(|epoch| &epoch.missing), all(|epoch| &epoch.repeated))
}

fn sorted(mut rows: Vec<u64>) -> Vec<u64> {
    rows.sort_unstable();
    rows
}

fn told(report: &Report) -> String {
    report.findings.iter().map(|finding| format!("{finding}\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_run_is_proven_whatever_its_shape(shape in shapes()) {
        let segments = shape.segments();
        let report = shape.verify(&segments);
        prop_assert!(report.proven(), "{:?}", report.findings);
        let slots = shape.steps() * u64::from(shape.spec.batch);
        prop_assert_eq!(report.epochs.iter().map(|epoch| epoch.due).sum::<u64>(), slots);
        prop_assert_eq!(report.epochs.iter().map(|epoch| epoch.committed_once).sum::<u64>(), slots);
        let stand_ins: u64 = segments.iter().map(|segment| segment.stand_ins.len() as u64).sum();
        prop_assert_eq!(report.substituted, stand_ins);
        prop_assert_eq!(report.epochs.iter().map(|epoch| epoch.substituted).sum::<u64>(), stand_ins);
        for epoch in report.epochs.iter().filter(|epoch| epoch.complete) {
            prop_assert_eq!(epoch.committed_once, epoch.rows);
        }
    }

    #[test]
    fn segments_read_back(shape in shapes()) {
        for segment in shape.segments() {
            prop_assert_eq!(Segment::decode(&segment.encode().unwrap()).unwrap(), segment);
        }
    }

    #[test]
    fn a_lost_step_is_named_with_its_rows(shape in shapes(), which in any::<prop::sample::Index>()) {
        let mut segments = shape.segments();
        let step = which.index(shape.steps() as usize) as u64 + 1;
        segments.iter_mut().for_each(|segment| segment.entries.retain(|entry| entry.step.0 != step));
        let report = shape.verify(&segments);
        let named = report.findings.iter().any(|finding| {
            matches!(finding, Finding::Missing { steps, rows } if *steps == (step..step + 1) && rows.first == shape.rows_at(step))
        });
        prop_assert!(named, "{:?}", report.findings);
        prop_assert_eq!(unproven(&report), (sorted(shape.rows_at(step)), vec![]));
    }

    #[test]
    fn hostile_bytes_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
        prop_assert!(Segment::decode(&bytes).is_err());
        let whole = plain().segments()[0].encode().unwrap();
        prop_assert!(Segment::decode(&whole[..cut.index(whole.len())]).is_err());
        let mut longer = whole;
        longer.extend(&bytes);
        prop_assert!(bytes.is_empty() || Segment::decode(&longer).is_err());
    }
}

#[test]
fn the_plain_run_is_two_epochs_and_part_of_a_third() {
    let report = plain().verify(&plain().segments());
    let told: Vec<_> = report.epochs.iter().map(|e| (e.epoch, e.complete, e.due, e.committed_once)).collect();
    assert_eq!(told, [(0, true, 40, 40), (1, true, 40, 40), (2, false, 16, 16)]);
    assert!(report.proven() && report.substituted > 4 && report.segments == 3, "{report:?}");
}

#[test]
fn an_altered_digest_is_named_with_lane_slots_and_rows() {
    let (shape, mut segments) = (plain(), plain().segments());
    segments[1].entries[2].digests[3] ^= 1 << 40;
    let report = shape.verify(&segments);
    let rows = shape.rows_of(8, 3);
    let line = format!("step 8, lane 3, slots 6 to 7: not rows {}, {} were committed\n", rows[0], rows[1]);
    assert_eq!(told(&report), line);
    assert_eq!(unproven(&report), (sorted(rows), vec![]));
}

#[test]
fn an_entry_that_stands_twice_repeats_its_rows() {
    let (shape, mut segments) = (plain(), plain().segments());
    let again = segments[0].entries[3].clone();
    segments[0].entries.insert(4, again);
    let report = shape.verify(&segments);
    assert_eq!(told(&report), "step 4 in segment s0: it stands there twice\n");
    assert_eq!(unproven(&report), (vec![], sorted(shape.rows_at(4))));
}

#[test]
fn a_segment_that_stands_twice_repeats_its_rows() {
    let (shape, mut segments) = (plain(), plain().segments());
    segments.push(segments[2].clone());
    let report = shape.verify(&segments);
    assert_eq!(told(&report), "segment s3: it begins after step 9, but steps up to 12 were there\n");
    let open: Vec<u64> = (11..=12).flat_map(|step| shape.rows_at(step)).collect();
    assert_eq!(unproven(&report), (vec![], sorted(open)), "step 10 is of a closed epoch");
}

#[test]
fn a_batch_that_came_twice_is_a_loss_and_a_repeat() {
    // What a loader would give that hands out the batch of step 3 in step 4 as well.
    let (shape, mut segments) = (plain(), plain().segments());
    segments[0].entries[3].digests = segments[0].entries[2].digests.clone();
    segments[0].stand_ins.retain(|one| one.step.0 != 4);
    let report = shape.verify(&segments);
    assert!(told(&report).contains("step 4, lane 1, slots 2 to 3: not rows"), "{}", told(&report));
    assert!(!report.proven());
    assert_eq!(unproven(&report).0, sorted(shape.rows_at(4)));
}

#[test]
fn swapped_steps_lanes_and_rows_are_named() {
    let (shape, whole) = (plain(), plain().segments());
    let mut steps = whole.clone();
    let other = steps[1].entries[0].digests.clone();
    let one = std::mem::replace(&mut steps[1].entries[1].digests, other);
    steps[1].entries[0].digests = one;
    let report = shape.verify(&steps);
    for lane in 0..4 {
        for (step, held) in [(6, 7), (7, 6)] {
            let part = format!("were committed, but those of step {held}, lane {lane}\n");
            let line = told(&report).lines().map(|line| format!("{line}\n")).any(|line| {
                line.starts_with(&format!("step {step}, lane {lane}, ")) && line.ends_with(&part)
            });
            assert!(line, "{}", told(&report));
        }
    }
    assert_eq!(unproven(&report), (vec![], vec![]), "all are committed, though not where they belong");

    let mut lanes = whole.clone();
    lanes[0].entries[1].digests.swap(0, 2);
    let report = shape.verify(&lanes);
    assert_eq!(report.findings.len(), 2);
    assert!(told(&report).contains("step 2, lane 0, slots 0 to 1") && !report.proven(), "{}", told(&report));
    assert!(told(&report).contains("but those of step 2, lane 0"), "{}", told(&report));

    let mut rows = whole;
    let mut batch = shape.batch(&shape.order(), 4, 0, WorldSize(1));
    batch.rows.swap(2, 3);
    rows[0].entries[4].digests = Record::of(&batch, &shape.spec).digests;
    let report = shape.verify(&rows);
    assert!(told(&report).starts_with("step 5, lane 1, slots 2 to 3: not rows"), "{}", told(&report));
    assert_eq!((report.findings.len(), unproven(&report).0), (1, sorted(shape.rows_of(5, 1))));
}

#[test]
fn substitutions_are_proven_too() {
    let (shape, whole) = (plain(), plain().segments());
    let at = whole[0].stand_ins[0];
    let mut hidden = whole.clone();
    hidden[0].stand_ins.remove(0);
    let lane = format!("step {}, lane {}", at.step, at.slot / 2);
    assert!(told(&shape.verify(&hidden)).starts_with(&lane), "a substitution that is not told is found");
    for (change, part) in [
        ((|one| one.row += 1) as fn(&mut StandIn), "belongs in this slot"),
        (|one| one.substitute = one.row, "none of the 16 rows"),
        (|one| one.slot = 8, "no such slot"),
        (|one| one.step = GlobalStep(6), "no such slot"),
    ] {
        let mut planted = whole.clone();
        change(&mut planted[0].stand_ins[0]);
        let report = shape.verify(&planted);
        assert!(told(&report).contains(part), "{part}: {}", told(&report));
    }
    let mut twice = whole;
    twice[0].stand_ins.push(at);
    assert!(told(&shape.verify(&twice)).contains("stands there twice"));
}

#[test]
fn segments_of_other_runs_and_orders_are_named() {
    let (shape, whole) = (plain(), plain().segments());
    for (change, part) in [
        (
            (|s| s[1].header.dataset = "beef".into()) as fn(&mut Vec<Segment>),
            "segment s1: it is of a dataset",
        ),
        (|s| s[1].header.order.seed = 8, "segment s1: it is of the order"),
        (|s| drop(s.remove(1)), "steps 6 to 9 are in no segment"),
        (|s| drop(s.pop()), "steps 10 to 12 are in no segment"),
        (|s| s[2].entries[1].step = GlobalStep(50), "step 50 in segment s2: it covers steps 10 to 12"),
        (|s| s[2].entries[1].generation = Generation(1), "step 11 in segment s2: generation 1 after 3"),
        (|s| s[2].entries.swap(0, 1), "step 10 in segment s2: it stands after step 11"),
    ] {
        let mut planted = whole.clone();
        change(&mut planted);
        let report = shape.verify(&planted);
        assert!(!report.proven() && told(&report).contains(part), "{part}: {}", told(&report));
    }
}

#[test]
fn headers_that_can_not_be_are_errors() {
    let whole = plain().segments().remove(0);
    for (change, part) in [
        ((|s| s.header.version = 9) as fn(&mut Segment), "`version` is 9"),
        (|s| s.header.to = GlobalStep(0), "covers the steps"),
        (|s| s.header.to = GlobalStep(u64::MAX), "covers the steps"),
        (|s| (s.header.order.lanes, s.entries) = (0, vec![]), "in 0 lanes"),
        (|s| s.header.order.batch = 9, "batches of 9"),
    ] {
        let mut segment = whole.clone();
        change(&mut segment);
        let error = Segment::decode(&segment.encode().unwrap()).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut short = whole;
    short.entries[0].digests.pop();
    assert!(short.encode().unwrap_err().to_string().contains("3 lanes, there are 4"));
}
