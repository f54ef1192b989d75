//! What is written down: a line of `metrics.jsonl` per reported step, with the scalars as top-level keys, and a line of
//! `quarantine.jsonl` per row that can't be used.

use super::journal::Entry;
use proto::{Generation, v1};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Committed updates.
    pub step: u64,
    /// The generation that did it.
    pub generation: u64,
    /// When it was reported, in seconds since 1970.
    pub time: f64,
    /// Seconds that a step took, mean since the line before.
    pub seconds: f64,
    /// Of these, seconds spent waiting for data.
    pub data_wait_seconds: f64,
    /// Pairs that it trained on.
    pub pairs: u32,
    /// `pairs` over `seconds`.
    pub pairs_per_second: f64,
    /// Rows of the run so far that were replaced because they can't be decoded.
    pub substitutions: usize,
    /// Losses and the like, by name.
    #[serde(flatten)]
    pub scalars: BTreeMap<String, f64>,
}

/// One line of `quarantine.jsonl`: a row that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quarantined {
    /// The committed step whose batch it should have been in.
    pub step: u64,
    /// The row, counted over the dataset.
    pub row: u64,
    /// The row that took its slot.
    pub substitute: u64,
    /// Why.
    pub reason: String,
}

impl Quarantined {
    /// For the wire.
    pub fn to_wire(&self) -> v1::Substitution {
        let Self { step, row, substitute, reason } = self.clone();
        v1::Substitution { step, row, substitute, reason }
    }
}

impl Line {
    /// What rank 0 reported, stamped with the present time. A scalar that is not finite is left out: JSON has no word for it, and
    /// such a step is not committed.
    pub fn of(report: &v1::StepReport, generation: Generation, substitutions: usize) -> Self {
        let finite = report.scalars.iter().filter(|(_, value)| value.is_finite());
        Self {
            step: report.step,
            generation: generation.0,
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            seconds: report.seconds,
            data_wait_seconds: report.data_wait_seconds,
            pairs: report.pairs,
            pairs_per_second: if report.seconds > 0.0 {
                f64::from(report.pairs) / report.seconds
            } else {
                0.0
            },
            substitutions,
            scalars: finite.map(|(name, value)| (name.clone(), *value)).collect(),
        }
    }
}

impl Line {
    /// Share of the step that was spent waiting for data.
    pub fn data_wait(&self) -> f64 {
        if self.seconds > 0.0 { self.data_wait_seconds / self.seconds } else { 0.0 }
    }
}

impl Entry for Line {
    fn step(&self) -> u64 {
        self.step
    }
}

impl Entry for Quarantined {
    fn step(&self) -> u64 {
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;
    use proto::GlobalStep;
    use std::fs;

    fn line(step: u64) -> Line {
        let scalars = [("loss".to_string(), step as f64 / 3.0), ("bad".into(), f64::NAN)].into();
        let report = v1::StepReport { step, seconds: 0.5, pairs: 64, scalars, ..Default::default() };
        Line::of(&report, Generation(1), 0)
    }

    #[test]
    fn a_resume_drops_what_is_done_again_and_what_a_crash_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut lines = Journal::open(path.clone(), GlobalStep(0)).unwrap();
        for step in [10, 20, 30] {
            lines.append(vec![line(step)]).unwrap();
        }
        drop(lines);
        let mut text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        text.push_str("{\"step\": 25, \"gen");
        fs::write(&path, text).unwrap();
        let mut lines = Journal::open(path.clone(), GlobalStep(20)).unwrap();
        lines.append(vec![line(30)]).unwrap();
        let reopened: Journal<Line> = Journal::open(path, GlobalStep(99)).unwrap();
        assert_eq!(reopened.all().iter().map(|l| l.step).collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(reopened.all()[0].scalars, [("loss".to_string(), 10.0 / 3.0)].into());
        assert_eq!(reopened.all()[0].pairs_per_second, 128.0);
    }

    #[test]
    fn a_generation_that_begins_earlier_does_its_lines_again() {
        use super::super::Recorder;
        let folder = tempfile::tempdir().unwrap();
        let report = |step| v1::StepReport { step, seconds: 0.5, pairs: 64, ..Default::default() };
        let row = |step| v1::Substitution { step, row: step, ..Default::default() };
        let mut recorder = Recorder::open(folder.path().into(), Generation(1), None).unwrap();
        recorder.record(&[1, 2, 3].map(report), &[row(3)]).unwrap();
        recorder.begin(Generation(2), GlobalStep(3)).unwrap();
        assert_eq!(recorder.lines().len(), 3, "it goes on where the other one ended");
        recorder.begin(Generation(3), GlobalStep(1)).unwrap();
        recorder.record(&[1, 2, 3].map(report), &[row(3)]).unwrap();
        let told = |line: &Line| (line.step, line.generation);
        assert_eq!(recorder.lines().iter().map(told).collect::<Vec<_>>(), [(1, 1), (2, 3), (3, 3)]);
        let written = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        assert_eq!((written.lines().count(), recorder.latest().substitutions), (3, 1));
        assert_eq!(fs::read_dir(folder.path().join("tensorboard")).unwrap().count(), 2);
    }

    #[test]
    fn lines_that_stay_are_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        // A number that is not read and written back as it is, and fields in another order.
        let text = "{\"loss\":0.30000000000000004440,\"step\":10,\"generation\":1,\"time\":1.0,\"seconds\":1.0,\"data_wait_seconds\":0.0,\"pairs\":1,\"pairs_per_second\":1.0,\"substitutions\":0}\n";
        fs::write(&path, text).unwrap();
        let mut first = Journal::open(path.clone(), GlobalStep(10)).unwrap();
        let second: Journal<Line> = Journal::open(path.clone(), GlobalStep(10)).unwrap();
        first.append(vec![line(20)]).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.starts_with(text) && written.lines().count() == 2, "{written}");
        assert_eq!(second.all().len(), 1);
    }
}
