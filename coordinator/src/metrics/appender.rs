//! A file that grows by whole pieces: what a write that failed has left, as on a full disk, is cut off again, so that the same piece
//! can be written later.

use super::MetricsError;
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// The end of a file.
pub(super) struct Appender {
    path: PathBuf,
    file: File,
}

impl Appender {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, MetricsError> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(MetricsError::at(path))?;
        Ok(Self { path: path.into(), file })
    }

    /// Writes a piece, whole or not at all.
    pub(super) fn append(&mut self, piece: &[u8]) -> Result<(), MetricsError> {
        let failed = MetricsError::at(&self.path);
        let before = match self.file.metadata() {
            Ok(found) => found.len(),
            Err(error) => return Err(failed(error)),
        };
        self.file.write_all(piece).map_err(|error| {
            // Making a file shorter needs no space.
            let _ = self.file.set_len(before);
            failed(error)
        })
    }
}
