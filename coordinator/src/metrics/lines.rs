//! `metrics.jsonl`: one JSON object per reported step, with the scalars as top-level keys.

use super::MetricsError;
use proto::{Generation, GlobalStep, v1};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufWriter, ErrorKind, Write},
    path::PathBuf,
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
    /// Seconds that the step took.
    pub seconds: f64,
    /// Of these, seconds spent waiting for data.
    pub data_wait_seconds: f64,
    /// Pairs that it trained on.
    pub pairs: u32,
    /// `pairs` over `seconds`.
    pub pairs_per_second: f64,
    /// Rows that were replaced because they can't be decoded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substitutions: Vec<Substitution>,
    /// Losses and the like, by name.
    #[serde(flatten)]
    pub scalars: BTreeMap<String, f64>,
}

/// A row that was replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Substitution {
    /// The row that can't be used, counted over the dataset.
    pub row: u64,
    /// The row that took its slot.
    pub substitute: u64,
    /// Why.
    pub reason: String,
}

impl Line {
    /// What rank 0 reported, stamped with the present time.
    pub fn of(report: &v1::StepReport, generation: Generation) -> Self {
        let substitutions = report.substitutions.iter().map(|s| Substitution {
            row: s.row,
            substitute: s.substitute,
            reason: s.reason.clone(),
        });
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
            substitutions: substitutions.collect(),
            scalars: report.scalars.iter().map(|(name, value)| (name.clone(), *value)).collect(),
        }
    }
}

impl Line {
    /// Share of the step that was spent waiting for data.
    pub fn data_wait(&self) -> f64 {
        if self.seconds > 0.0 { self.data_wait_seconds / self.seconds } else { 0.0 }
    }
}

/// The file and all its lines.
pub(super) struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
    all: Vec<Line>,
}

impl Lines {
    /// Opens the file for going on after the step `resume`: later lines are dropped, and so is a last line that was cut
    /// off by a crash.
    pub(super) fn open(path: PathBuf, resume: GlobalStep) -> Result<Self, MetricsError> {
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(MetricsError::at(&path))?,
        };
        let parsed = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let all: Vec<Line> = parsed.filter(|line| line.step <= resume.0).collect();
        let kept: String = all.iter().filter_map(encode).collect();
        if kept != text {
            // Through a second file, so that a crash in between loses nothing.
            let draft = path.with_extension("jsonl.new");
            fs::write(&draft, kept).map_err(MetricsError::at(&draft))?;
            fs::rename(&draft, &path).map_err(MetricsError::at(&path))?;
        }
        let file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(MetricsError::at(&path))?;
        Ok(Self { path, file: BufWriter::new(file), all })
    }

    pub(super) fn push(&mut self, line: Line) -> Result<(), MetricsError> {
        let text = encode(&line).unwrap_or_default();
        self.file.write_all(text.as_bytes()).map_err(MetricsError::at(&self.path))?;
        self.all.push(line);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), MetricsError> {
        self.file.flush().map_err(MetricsError::at(&self.path))
    }

    pub(super) fn all(&self) -> &[Line] {
        &self.all
    }
}

/// A line with its newline. JSON has no NaN: a scalar that is not finite is left out; the event file has it.
fn encode(line: &Line) -> Option<String> {
    let mut finite = line.clone();
    finite.scalars.retain(|_, value| value.is_finite());
    serde_json::to_string(&finite).ok().map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Line {
        let scalars = [("loss".to_string(), step as f64 / 3.0), ("bad".into(), f64::NAN)].into();
        let report = v1::StepReport { step, seconds: 0.5, pairs: 64, scalars, ..Default::default() };
        Line::of(&report, Generation(1))
    }

    #[test]
    fn a_resume_drops_what_is_done_again_and_what_a_crash_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut lines = Lines::open(path.clone(), GlobalStep(0)).unwrap();
        for step in [10, 20, 30] {
            lines.push(line(step)).unwrap();
        }
        lines.flush().unwrap();
        drop(lines);
        let mut text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        text.push_str("{\"step\": 25, \"gen");
        fs::write(&path, text).unwrap();
        let mut lines = Lines::open(path.clone(), GlobalStep(20)).unwrap();
        lines.push(line(30)).unwrap();
        lines.flush().unwrap();
        let reopened = Lines::open(path, GlobalStep(99)).unwrap();
        assert_eq!(reopened.all().iter().map(|l| l.step).collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(reopened.all()[0].scalars, [("loss".to_string(), 10.0 / 3.0)].into());
        assert_eq!(reopened.all()[0].pairs_per_second, 128.0);
    }
}
