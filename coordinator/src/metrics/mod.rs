//! The run's metrics on disk: one JSON line per reported step and per row that was replaced, and TensorBoard's event files.

mod appender;
mod journal;
mod lines;
mod tensorboard;

pub use lines::{Line, Quarantined};

use journal::Journal;
use proto::{Generation, GlobalStep, v1};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Metrics can't be written.
#[derive(Debug, thiserror::Error)]
#[error("writing {}: {source}; free space or choose another run.output", path.display())]
pub struct MetricsError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl MetricsError {
    fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { path, source }
    }
}

/// Writes the metrics of one run.
pub struct Recorder {
    folder: PathBuf,
    generation: Generation,
    lines: Journal<Line>,
    quarantine: Journal<Quarantined>,
    events: tensorboard::Writer,
}

impl Recorder {
    /// Opens `metrics.jsonl`, `quarantine.jsonl` and a new event file below `folder`. Lines after the step `resume`, which the
    /// run is about to do again, are dropped; without one, all are kept.
    ///
    /// # Errors
    /// Files that can't be read or written.
    pub fn open(
        folder: PathBuf,
        generation: Generation,
        resume: Option<GlobalStep>,
    ) -> Result<Self, MetricsError> {
        let kept = resume.unwrap_or(GlobalStep(u64::MAX));
        let lines: Journal<Line> = Journal::open(folder.join("metrics.jsonl"), kept)?;
        let quarantine = Journal::open(folder.join("quarantine.jsonl"), kept)?;
        let last = lines.all().last().map_or(0, |line| line.step);
        let events = event_file(&folder, generation, resume.unwrap_or(GlobalStep(last)));
        Ok(Self { folder, generation, lines, quarantine, events })
    }

    /// A generation begins at the step `from`. Lines after it, which it is about to do again, are dropped.
    ///
    /// # Errors
    /// Files that can't be read or written.
    pub fn begin(&mut self, generation: Generation, from: GlobalStep) -> Result<(), MetricsError> {
        self.generation = generation;
        let again = self.last_step() > from;
        self.lines.rewind(from)?;
        self.quarantine.rewind(from)?;
        if again {
            self.events = event_file(&self.folder, generation, from);
        }
        Ok(())
    }

    /// Writes what is new in `reports` and `replaced`; what was written before, as by a repeated request, is passed over.
    ///
    /// # Errors
    /// Files that can't be written; the same may be recorded again later.
    pub fn record(
        &mut self,
        reports: &[v1::StepReport],
        replaced: &[v1::Substitution],
    ) -> Result<(), MetricsError> {
        let mut rows = Vec::new();
        for row in replaced {
            let (reason, substitute) = (row.reason.clone(), row.substitute);
            let row = Quarantined { step: row.step, row: row.row, substitute, reason };
            if !self.quarantine.all().contains(&row) && !rows.contains(&row) {
                rows.push(row);
            }
        }
        self.quarantine.append(rows)?;
        let mut lines: Vec<Line> = Vec::new();
        for report in reports {
            let last = lines.last().map_or(self.last_step(), |line| GlobalStep(line.step));
            if GlobalStep(report.step) > last {
                lines.push(Line::of(report, self.generation, self.quarantine.all().len()));
            }
        }
        self.events.scalars(&lines)?;
        self.lines.append(lines)
    }

    /// The last step that was written.
    pub fn last_step(&self) -> GlobalStep {
        GlobalStep(self.lines.all().last().map_or(0, |line| line.step))
    }

    /// All lines of the run, also those before a resume.
    pub fn lines(&self) -> &[Line] {
        self.lines.all()
    }

    /// All rows that others stood in for.
    pub fn quarantined(&self) -> &[Quarantined] {
        self.quarantine.all()
    }

    /// What a display shows of them.
    pub fn latest(&self) -> Latest {
        let last = self.lines().last();
        Latest {
            step: self.last_step(),
            scalars: last.map(|line| line.scalars.clone()).unwrap_or_default(),
            seconds: last.map_or(0.0, |line| line.seconds),
            data_wait: last.map_or(0.0, Line::data_wait),
            substitutions: self.quarantine.all().len(),
        }
    }
}

fn event_file(folder: &Path, generation: Generation, from: GlobalStep) -> tensorboard::Writer {
    tensorboard::Writer::new(&folder.join("tensorboard"), generation, from)
}

/// The newest report, and what adds up over all.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    /// The last step that was written.
    pub step: GlobalStep,
    /// Its scalars.
    pub scalars: BTreeMap<String, f64>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Share of it that was spent waiting for data.
    pub data_wait: f64,
    /// Rows replaced so far.
    pub substitutions: usize,
}
