//! A file of JSON lines that belong to steps.

use super::MetricsError;
use proto::GlobalStep;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, ErrorKind, Write},
    path::PathBuf,
};

/// What stands on one line.
pub(super) trait Entry: Serialize + DeserializeOwned {
    /// The committed step that it belongs to.
    fn step(&self) -> u64;
}

/// The file and all its lines.
pub(super) struct Journal<E> {
    path: PathBuf,
    file: BufWriter<File>,
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
        let parsed = text.lines().filter_map(|line| serde_json::from_str::<E>(line).ok());
        let all: Vec<E> = parsed.filter(|line| line.step() <= resume.0).collect();
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

    /// Drops the lines after the step `from`.
    pub(super) fn rewind(&mut self, from: GlobalStep) -> Result<(), MetricsError> {
        if self.all.iter().any(|line| line.step() > from.0) {
            self.flush()?;
            *self = Self::open(self.path.clone(), from)?;
        }
        Ok(())
    }

    pub(super) fn push(&mut self, line: E) -> Result<(), MetricsError> {
        let text = encode(&line).unwrap_or_default();
        self.file.write_all(text.as_bytes()).map_err(MetricsError::at(&self.path))?;
        self.all.push(line);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), MetricsError> {
        self.file.flush().map_err(MetricsError::at(&self.path))
    }

    pub(super) fn all(&self) -> &[E] {
        &self.all
    }
}

/// A line with its newline.
fn encode<E: Serialize>(line: &E) -> Option<String> {
    serde_json::to_string(line).ok().map(|text| text + "\n")
}
