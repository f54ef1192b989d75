//! A file of JSON lines that belong to steps.

use super::{MetricsError, appender::Appender};
use proto::GlobalStep;
use serde::{Serialize, de::DeserializeOwned};
use std::{fs, io::ErrorKind, path::PathBuf};

/// What stands on one line.
pub(super) trait Entry: Serialize + DeserializeOwned {
    /// The committed step that it belongs to.
    fn step(&self) -> u64;
}

/// The file and all its lines.
pub(super) struct Journal<E> {
    path: PathBuf,
    file: Appender,
    all: Vec<E>,
}

impl<E: Entry> Journal<E> {
    /// Opens the file for going on after the step `resume`: later lines are dropped, and so is a last line that was cut
    /// off by a crash.
    pub(super) fn open(path: PathBuf, resume: GlobalStep) -> Result<Self, MetricsError> {
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(MetricsError::at(&path))?,
        };
        let parsed =
            text.split_inclusive('\n').filter_map(|line| Some((line, serde_json::from_str::<E>(line).ok()?)));
        let (kept, all): (String, Vec<E>) =
            parsed.filter(|(line, entry)| line.ends_with('\n') && entry.step() <= resume.0).unzip();
        // Another coordinator may still append to it, until it knows of this one: it is replaced only where it has to be.
        if kept != text {
            // Through a second file, so that a crash in between loses nothing.
            let draft = path.with_extension("jsonl.new");
            fs::write(&draft, kept).map_err(MetricsError::at(&draft))?;
            fs::rename(&draft, &path).map_err(MetricsError::at(&path))?;
        }
        let file = Appender::open(&path)?;
        Ok(Self { path, file, all })
    }

    /// Drops the lines after the step `from`.
    pub(super) fn rewind(&mut self, from: GlobalStep) -> Result<(), MetricsError> {
        if self.all.iter().any(|line| line.step() > from.0) {
            *self = Self::open(self.path.clone(), from)?;
        }
        Ok(())
    }

    /// Writes lines, all or none.
    pub(super) fn append(&mut self, lines: Vec<E>) -> Result<(), MetricsError> {
        if lines.is_empty() {
            return Ok(());
        }
        let text: String = lines.iter().filter_map(encode).collect();
        self.file.append(text.as_bytes())?;
        self.all.extend(lines);
        Ok(())
    }

    pub(super) fn all(&self) -> &[E] {
        &self.all
    }
}

/// A line with its newline.
fn encode<E: Serialize>(line: &E) -> Option<String> {
    serde_json::to_string(line).ok().map(|text| text + "\n")
}
