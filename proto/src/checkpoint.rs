//! The layout of a checkpoint in the object store, shared by the workers that write its parts and the coordinator that
//! commits it.
//!
//! `checkpoints/step-000000123/` holds `g000000007-part-00000.safetensors` and so on, then `g000000007-manifest.json`, then
//! [`MARKER`]. The generation in the names keeps apart what two attempts at the same step write, so that a worker or a
//! coordinator of an earlier one can't spoil what a later one has committed. Only a folder whose marker names its manifest and
//! that manifest's digest exists for anyone. The manifest also names the newest segment of the run's ledger, which lies beside
//! the checkpoints and is never pruned.

use crate::{Generation, GlobalStep};
use serde::{Deserialize, Serialize};

/// Folder below a run's output that holds the checkpoints.
pub const FOLDER: &str = "checkpoints";
/// The commit marker: it holds the SHA-256 of the manifest file in hex, a space and its name, and is made with put-if-absent.
pub const MARKER: &str = "COMMITTED";
/// Version of [`Manifest`]; another one is refused.
pub const VERSION: u32 = 4;

/// What a checkpoint consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The run's name.
    pub run: String,
    /// The generation that wrote it.
    pub generation: Generation,
    /// Committed optimizer updates.
    pub step: GlobalStep,
    /// The whole configuration, TOML.
    pub config: String,
    /// Fingerprint of the dataset's manifest, hex.
    pub dataset: String,
    /// The small state besides tensors, as the workers gave it, JSON.
    pub state: serde_json::Value,
    /// The files with tensors.
    pub parts: Vec<Part>,
    /// The newest segment of the run's ledger, which names the one before it: both are committed by one marker.
    pub ledger: Part,
}

/// One file of a checkpoint, or a segment of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// File name inside its folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// The folder of a step below [`FOLDER`].
pub fn folder(step: GlobalStep) -> String {
    format!("step-{:09}", step.0)
}

/// The step of a folder's name, if it is one.
pub fn step_of(folder: &str) -> Option<GlobalStep> {
    folder.strip_prefix("step-")?.parse().ok().map(GlobalStep)
}

/// The name of a part that `generation` writes.
pub fn part_name(generation: Generation, index: usize) -> String {
    format!("g{:09}-part-{index:05}.safetensors", generation.0)
}

/// The name of the [`Manifest`] that `generation` writes, JSON.
pub fn manifest_name(generation: Generation) -> String {
    format!("g{:09}-manifest.json", generation.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_sort_by_step_and_read_back() {
        assert_eq!(folder(GlobalStep(123)), "step-000000123");
        assert_eq!(step_of(&folder(GlobalStep(1_234_567_890_123))), Some(GlobalStep(1_234_567_890_123)));
        assert_eq!(step_of("tmp"), None);
    }
}
