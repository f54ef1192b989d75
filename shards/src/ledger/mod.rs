//! The ledger: for every committed step, what stood in the slots of every lane, so that anybody can prove afterwards that each
//! epoch saw each row once.
//!
//! A [`Segment`] covers the steps between two checkpoints and names the segment before it by its digest; the manifest of a
//! checkpoint names the newest. So one commit marker commits both, and whoever has a checkpoint has the whole chain: a segment of
//! steps that were never committed is not on it.

pub mod chain;
mod codec;
mod epochs;
mod record;
pub mod report;
pub mod verify;

#[cfg(test)]
mod tests;

pub use codec::{BadSegment, VERSION};
pub use record::Record;

use crate::order::OrderSpec;
use proto::{Generation, GlobalStep, checkpoint::Part};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Folder below a run's output that holds the segments.
pub const FOLDER: &str = "ledger";

/// What the steps of a segment have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// The run's name.
    pub run: String,
    /// The segment's first step is the one after this.
    pub from: GlobalStep,
    /// Its last step.
    pub to: GlobalStep,
    /// Fingerprint of the dataset's manifest, hex.
    pub dataset: String,
    /// Which row belongs in which slot.
    pub order: OrderSpec,
    /// The segment before; none for the run's first.
    pub previous: Option<Part>,
}

/// One committed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The generation that committed it.
    pub generation: Generation,
    /// The step.
    pub step: GlobalStep,
    /// What became of its update.
    pub outcome: Outcome,
    /// For every lane, the [`digest`] of what stood in its slots.
    pub digests: Vec<u64>,
}

/// What became of a committed step's update. Its pairs count as seen in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied.
    #[default]
    Applied,
    /// It was not applied: its loss or gradient was an anomaly.
    Skipped,
    /// It was not applied either, and the updates after this step were taken back.
    RolledBack {
        /// The step of the checkpoint whose state was taken up.
        to: GlobalStep,
    },
}

/// A slot in which another row stood than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StandIn {
    /// The committed step.
    pub step: GlobalStep,
    /// The slot of its global batch.
    pub slot: u64,
    /// The manifest's number of the row that can't be used.
    pub row: u64,
    /// Of the row that was trained on.
    pub substitute: u64,
}

/// The committed steps between two checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What they have in common.
    pub header: Header,
    /// The steps.
    pub entries: Vec<Entry>,
    /// Rows that others stood in for.
    pub stand_ins: Vec<StandIn>,
}

/// What stood in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stood {
    /// The lane's epoch.
    pub epoch: u64,
    /// The manifest's number of the row that the slot belongs to.
    pub row: u64,
    /// Of the row that was trained on: the same, or its substitute.
    pub trained: u64,
}

/// The first 64 bits of the SHA-256 over a lane's position, its first slot, and what stood in its slots, in order.
pub fn digest(position: u64, first_slot: u64, slots: impl IntoIterator<Item = Stood>) -> u64 {
    let mut digest = Sha256::new();
    digest.update(position.to_le_bytes());
    digest.update(first_slot.to_le_bytes());
    for Stood { epoch, row, trained } in slots {
        digest.update(epoch.to_le_bytes());
        digest.update(row.to_le_bytes());
        digest.update(trained.to_le_bytes());
    }
    digest.finalize().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// The name of a segment. The generation keeps apart what two attempts at the same steps write.
pub fn segment_name(from: GlobalStep, to: GlobalStep, generation: Generation) -> String {
    format!("segment-{:09}-{:09}-g{:09}.ledger", from.0, to.0, generation.0)
}
