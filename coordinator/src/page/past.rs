//! What the journal tells of a run, read as it grows.

use crate::journal::{JournalError, Told, Trail};

/// The entries that were read so far.
pub(super) struct Past {
    trail: Trail,
    told: Vec<Told>,
}

impl Past {
    pub(super) fn new(trail: Trail) -> Self {
        Self { trail, told: Vec::new() }
    }

    /// Reads what is new.
    pub(super) async fn catch_up(&mut self) -> Result<(), JournalError> {
        let number = |told: &Vec<Told>| told.last().map_or(0, |last| last.number);
        while let Some(told) = self.trail.after(number(&self.told), false).await? {
            self.told.push(told);
        }
        Ok(())
    }

    /// All entries, the oldest first.
    pub(super) fn events(&self) -> &[Told] {
        &self.told
    }
}
