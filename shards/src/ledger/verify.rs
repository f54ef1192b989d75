//! The proof: segment after segment, what every lane was trained on is compared with the order, and every row is ticked off in
//! its epoch.

mod lane;

use super::{
    Entry, Header, Outcome, Segment, digest,
    epochs::Epochs,
    report::{Finding, Named, Report},
};
use crate::order::{Order, OrderSpec};
use lane::{LaneChecked, Wrong};
use proto::{Generation, GlobalStep, LaneId};
use rayon::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

/// Checks a run's segments, the oldest first. Holds one bit for every row of the epochs that the lanes are in.
pub struct Verifier {
    order: Order,
    spec: OrderSpec,
    dataset: String,
    /// How many rows, findings and substitutions are named.
    names: usize,
    /// The last step of the segments so far.
    covered: GlobalStep,
    generation: Generation,
    /// Steps whose update was applied and not taken back, of as many as a rollback may reach.
    applied: Vec<GlobalStep>,
    epochs: Epochs,
    report: Report,
}

/// A segment's records by step and slot.
#[derive(Default)]
struct Indexed<'a> {
    /// For each step the digests of its lanes, as often as it was entered.
    entries: BTreeMap<u64, Vec<&'a [u64]>>,
    /// By (step, slot), the row that was trained on.
    stand_ins: HashMap<(u64, u64), (u64, u64)>,
}

impl Verifier {
    /// For a run on the dataset with this fingerprint, in this order. The report names `names` rows, findings and substitutions of
    /// each sort.
    pub fn new(order: Order, dataset: &str, names: usize) -> Self {
        let spec = order.spec();
        let pools = (0..order.pools().len() as u32).map(|pool| order.range_of(pool));
        Self {
            epochs: Epochs::new(pools, names),
            order,
            spec,
            dataset: dataset.into(),
            names,
            covered: GlobalStep(0),
            generation: Generation(0),
            applied: Vec::new(),
            report: Report::default(),
        }
    }

    /// Notes what was found elsewhere.
    pub fn found(&mut self, finding: Finding) {
        if self.report.findings.len() < self.names.max(1) {
            self.report.findings.push(finding);
        } else {
            self.report.more_findings += 1;
        }
    }

    /// Checks the next segment. `progress` hears the steps that are done.
    pub fn segment(&mut self, name: &str, segment: &Segment, progress: &mut impl FnMut(GlobalStep)) {
        self.report.segments += 1;
        let Header { from, to, .. } = segment.header;
        if let Some(reason) = self.stranger(&segment.header) {
            return self.found(Finding::Segment { segment: name.into(), reason });
        }
        if from > self.covered {
            self.missing(from, progress);
        } else if from < self.covered {
            let reason = format!("it begins after step {from}, but steps up to {} were there", self.covered);
            self.found(Finding::Segment { segment: name.into(), reason });
        }
        let indexed = self.index(name, segment);
        let absent = (from.0 + 1..=to.0).filter(|step| !indexed.entries.contains_key(step));
        for steps in ranges(absent) {
            let finding = self.lost(steps);
            self.found(finding);
        }
        self.check(from.0 + 1..to.0 + 1, &indexed, progress);
    }

    /// What is proven, of a run whose last committed step is `last`.
    pub fn finish(mut self, last: GlobalStep, progress: &mut impl FnMut(GlobalStep)) -> Report {
        if last > self.covered {
            self.missing(last, progress);
        }
        Report { steps: last.0, epochs: self.epochs.finish(), ..self.report }
    }

    /// Why a segment is not one of this run.
    fn stranger(&self, header: &Header) -> Option<String> {
        if header.dataset != self.dataset {
            return Some(format!(
                "it is of a dataset with fingerprint {}, not {}",
                header.dataset, self.dataset
            ));
        }
        (header.order != self.spec)
            .then(|| format!("it is of the order {:?}, not {:?}", header.order, self.spec))
    }

    /// The steps after those so far, up to `to`, are in no segment.
    fn missing(&mut self, to: GlobalStep, progress: &mut impl FnMut(GlobalStep)) {
        let steps = self.covered.0 + 1..to.0 + 1;
        let finding = self.lost(steps.clone());
        self.found(finding);
        self.check(steps, &Indexed::default(), progress);
    }

    /// Counts what had no lasting effect on the weights.
    fn tally(&mut self, entry: &Entry) {
        match entry.outcome {
            Outcome::Applied => self.applied.push(entry.step),
            Outcome::Skipped => self.report.skipped += 1,
            Outcome::RolledBack { to } => {
                self.report.skipped += 1;
                let kept = self.applied.partition_point(|step| *step <= to);
                self.report.undone += (self.applied.len() - kept) as u64;
                self.applied.truncate(kept);
            }
        }
    }

    fn lost(&self, steps: Range<u64>) -> Finding {
        let lanes = || (0..self.spec.lanes).map(LaneId);
        let per_lane = self.spec.per_lane() as usize;
        let of = |step| move |lane| self.order.walk(lane, GlobalStep(step - 1)).take(per_lane);
        let rows = steps.clone().flat_map(|step| lanes().flat_map(of(step))).map(|slot| slot.row);
        let count = (steps.end - steps.start) * u64::from(self.spec.batch);
        Finding::Missing { steps, rows: Named { count, first: rows.take(self.names).collect() } }
    }

    /// Sorts a segment's records, and notes those that can't be.
    fn index<'a>(&mut self, name: &str, segment: &'a Segment) -> Indexed<'a> {
        let mut indexed = Indexed::default();
        let covers = |step: GlobalStep| step > segment.header.from && step <= segment.header.to;
        let mut before = GlobalStep(0);
        for entry in &segment.entries {
            let step = entry.step;
            let at_step = indexed.entries.entry(step.0).or_default();
            let reason = if !covers(step) {
                Some(format!("it covers steps {} to {}", segment.header.from.next(), segment.header.to))
            } else if !at_step.is_empty() {
                Some("it stands there twice".into())
            } else if step < before {
                Some(format!("it stands after step {before}"))
            } else if entry.generation < self.generation {
                Some(format!("generation {} after {}", entry.generation, self.generation))
            } else {
                None
            };
            at_step.push(entry.digests.as_slice());
            self.tally(entry);
            before = before.max(step);
            self.generation = self.generation.max(entry.generation);
            if let Some(reason) = reason {
                self.found(Finding::Step { step, segment: name.into(), reason });
            }
        }
        for stand_in in segment.stand_ins.iter().copied() {
            let at = (stand_in.step.0, stand_in.slot);
            let twice = indexed.stand_ins.insert(at, (stand_in.row, stand_in.substitute)).is_some();
            let inside = covers(stand_in.step) && stand_in.slot < self.spec.batch.into();
            if twice || !inside {
                let reason = if twice { "it stands there twice" } else { "the segment has no such slot" };
                self.found(Finding::StandIn { stand_in, reason: reason.into() });
            }
            self.report.substituted += 1;
            if self.report.stand_ins.len() < self.names {
                self.report.stand_ins.push(stand_in);
            }
        }
        indexed
    }

    /// Compares all lanes in these steps, at most as many at once as go once through the dataset, so that few epochs are open.
    fn check(&mut self, steps: Range<u64>, indexed: &Indexed<'_>, progress: &mut impl FnMut(GlobalStep)) {
        let most = (self.order.rows() / u64::from(self.spec.batch)).max(1);
        let mut first = steps.start;
        while first < steps.end {
            let part = first..steps.end.min(first + most);
            let lanes = (0..self.spec.lanes).into_par_iter().map(LaneId);
            let checked: Vec<LaneChecked> =
                lanes.map(|lane| self.lane(lane, part.clone(), indexed)).collect();
            self.judge(&checked);
            first = part.end;
            self.covered = self.covered.max(GlobalStep(part.end - 1));
            for pool in 0..self.order.pools().len() as u32 {
                let floor = checked.iter().filter_map(|lane| lane.epochs.get(pool as usize)).min();
                floor.iter().for_each(|floor| self.epochs.close_below(pool, **floor));
            }
            progress(self.covered);
        }
    }

    /// Names what stood at wrong places, and ticks off what was committed there.
    fn judge(&mut self, checked: &[LaneChecked]) {
        let mut known: HashMap<u64, (u64, LaneId)> = HashMap::new();
        for lane in checked {
            known.extend(lane.expected.iter().map(|(step, digest)| (*digest, (*step, lane.lane))));
        }
        let mut findings: Vec<(u64, Finding)> = Vec::new();
        for Wrong { step, lane, found } in checked.iter().flat_map(|lane| &lane.wrong) {
            let held = known.get(found).copied();
            if let Some((step, lane)) = held {
                for slot in self.slots(lane, step) {
                    self.epochs
                        .of(slot.pool, slot.epoch)
                        .iter()
                        .for_each(|tally| tally.commit(slot.row, false));
                }
            }
            let first: Vec<u64> = self.slots(*lane, *step).map(|slot| slot.row).collect();
            let per_lane = self.spec.per_lane();
            let slots = u64::from(lane.0) * per_lane..u64::from(lane.0 + 1) * per_lane;
            let rows = Named { count: per_lane, first: first.into_iter().take(self.names).collect() };
            let held = held.map(|(step, lane)| (GlobalStep(step), lane));
            let step_found = GlobalStep(*step);
            findings.push((*step, Finding::Lane { step: step_found, lane: *lane, slots, rows, held }));
        }
        let impossible = checked.iter().flat_map(|lane| &lane.impossible);
        findings.extend(impossible.map(|(stand_in, reason)| {
            let (stand_in, reason) = (*stand_in, reason.clone());
            (stand_in.step.0, Finding::StandIn { stand_in, reason })
        }));
        findings.sort_by_key(|(step, _)| *step);
        findings.into_iter().for_each(|(_, finding)| self.found(finding));
    }
}

/// Ascending numbers as ranges.
fn ranges(numbers: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}
