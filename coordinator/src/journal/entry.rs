//! One entry as a file: JSON that carries its own digest, so that what a disk or a person changed is found.

use super::past::{Event, Past};
use serde::{Deserialize, Serialize};
use shards::committed::digest;

/// Version of [`Entry`].
pub(super) const VERSION: u32 = 3;
/// The oldest that is read: it knew no settings and no rollback.
const OLDEST: u32 = 2;

/// A decision, and what all decisions up to it add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    version: u32,
    /// Its number, from 1.
    pub(super) number: u64,
    /// When it was made, milliseconds since 1970: for people, nothing is decided by it.
    pub(super) unix_millis: u64,
    /// The decision.
    pub(super) event: Event,
    /// The run after it.
    pub(super) past: Past,
    /// SHA-256 in hex of this entry with an empty one.
    sha256: String,
}

/// Why a file is no entry.
pub(super) enum BadEntry {
    /// Another Tandem wrote it.
    Version(String),
    /// In words.
    Other(String),
}

impl Entry {
    pub(super) fn new(number: u64, unix_millis: u64, event: Event, past: Past) -> Self {
        let mut entry = Self { version: VERSION, number, unix_millis, event, past, sha256: String::new() };
        entry.sha256 = digest(&entry.encode());
        entry
    }

    /// The file.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings, numbers and lists of them: serialisation of such a struct can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the file of entry `number`: every byte has to be as it was written.
    pub(super) fn decode(number: u64, bytes: &[u8]) -> Result<Self, BadEntry> {
        let bad = |error: serde_json::Error| BadEntry::Other(error.to_string());
        // The version first: another one may have other fields.
        let fields: serde_json::Value = serde_json::from_slice(bytes).map_err(bad)?;
        let version = fields.get("version").cloned().unwrap_or_default();
        if !(OLDEST..=VERSION).any(|known| version == known) {
            return Err(BadEntry::Version(version.to_string()));
        }
        let entry: Self = serde_json::from_value(fields).map_err(bad)?;
        let again = Self { sha256: String::new(), ..entry.clone() };
        if (Self { sha256: digest(&again.encode()), ..again }).encode() != bytes {
            return Err(BadEntry::Other("it does not have its own digest".into()));
        }
        if entry.number != number {
            return Err(BadEntry::Other(format!("it is entry {}", entry.number)));
        }
        Ok(entry)
    }
}

/// The file name of an entry.
pub(super) fn name(number: u64) -> String {
    format!("{number:09}.json")
}

/// The number of a file's name, if it is an entry's.
pub(super) fn number(file: &str) -> Option<u64> {
    file.strip_suffix(".json")?.parse().ok().filter(|number| name(*number) == file)
}
