//! What is told about committed steps, and kept by every rank until rank 0 has told it.

use crate::step::Outcome;
use proto::{GlobalStep, RunConfig, v1};
use shards::loader::Batch;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Reports that the coordinator is not known to have, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unreported(VecDeque<v1::StepReport>);

impl Unreported {
    /// The coordinator has those up to `reported`; here is another, perhaps.
    pub(crate) fn note(&mut self, reported: GlobalStep, report: Option<v1::StepReport>) {
        while self.0.front().is_some_and(|first| first.step <= reported.0) {
            self.0.pop_front();
        }
        self.0.extend(report);
    }

    /// Forgets all: they are of a branch that was given up.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<v1::StepReport> {
        self.0.iter().cloned().collect()
    }

    /// The last one, if it is of `step`.
    pub(crate) fn newest(&self, step: GlobalStep) -> Option<v1::StepReport> {
        self.0.back().filter(|last| last.step == step.0).cloned()
    }
}

/// Times since the last report.
#[derive(Default)]
pub(crate) struct Tally {
    steps: u32,
    seconds: Duration,
    waited: Duration,
    stalled: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, seconds: Duration, waited: Duration) {
        self.steps += 1;
        self.seconds += seconds;
        self.waited += waited;
    }

    /// The loop stood still for a checkpoint.
    pub(crate) fn stall(&mut self, seconds: Duration) {
        self.stalled += seconds;
    }

    /// Whether this step is reported.
    pub(crate) fn due(&self, config: &RunConfig, outcome: &Outcome) -> bool {
        let (step, every) = (outcome.step.0, config.metrics.every.max(1));
        let last = step == config.optimizer.steps || outcome.wishes.stop;
        step.is_multiple_of(every) || step == 1 || last || outcome.anomaly.is_some()
    }

    /// The report of this step, with the times since the last.
    pub(crate) fn report(&mut self, outcome: &Outcome, counts: &[i64], teacher_drift: f64) -> v1::StepReport {
        let Self { steps, seconds, waited, stalled } = std::mem::take(self);
        let mut scalars: HashMap<String, f64> =
            outcome.scalars.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        scalars.insert("checkpoint_stall".into(), stalled.as_secs_f64());
        scalars.insert("teacher_drift".into(), teacher_drift);
        let mean = |total: Duration| total.as_secs_f64() / f64::from(steps.max(1));
        v1::StepReport {
            step: outcome.step.0,
            seconds: mean(seconds),
            data_wait_seconds: mean(waited),
            pairs: counts.iter().sum::<i64>().try_into().unwrap_or(u32::MAX),
            scalars,
        }
    }
}

/// Rows of a batch that others stand in for, as they are told.
pub(crate) fn substitutions(batch: &Batch) -> Vec<v1::Substitution> {
    let substitution = |s: &shards::loader::Substitution| {
        tracing::warn!("row {} can't be used ({}); row {} takes its slot", s.row, s.reason, s.substitute);
        v1::Substitution {
            step: batch.step.next().0,
            row: s.row,
            substitute: s.substitute,
            reason: s.reason.clone(),
        }
    };
    batch.substitutions.iter().map(substitution).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_kept_until_they_have_arrived() {
        let mut unreported = Unreported::default();
        let report = |step| Some(v1::StepReport { step, ..Default::default() });
        for step in 1..=4 {
            unreported.note(GlobalStep(0), report(step));
        }
        unreported.note(GlobalStep(2), None);
        assert_eq!(unreported.all().iter().map(|report| report.step).collect::<Vec<_>>(), [3, 4]);
        assert!(unreported.newest(GlobalStep(5)).is_none());
        assert_eq!(unreported.newest(GlobalStep(4)).unwrap().step, 4);
    }
}
