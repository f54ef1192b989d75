//! Reading what a checkpoint's commit left in the store: whoever resumes, evaluates or lists sees only folders whose marker
//! names their manifest, and only bytes that have the digest in it.

use crate::store::{Folder, StoreError};
use bytes::Bytes;
use proto::checkpoint::{FOLDER, MARKER, Manifest, Part, VERSION};
use sha2::{Digest, Sha256};

/// The version of a checkpoint whose marker names no manifest.
const UNNAMED: &str = "3 or less";

/// Why a checkpoint can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CommittedError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No checkpoint is there.
    #[error(
        "no committed checkpoint at {path}; give a run's output folder, or one of its checkpoints/step-* folders"
    )]
    Missing {
        /// The folder.
        path: String,
    },
    /// Another Tandem wrote it.
    #[error(
        "checkpoint {path} has `version` {found}, this Tandem reads {VERSION}; use the Tandem that wrote it"
    )]
    Version {
        /// The folder.
        path: String,
        /// Its version.
        found: String,
    },
    /// What lies in the store is not what was committed.
    #[error(
        "checkpoint {path} is damaged: {reason}; remove this folder to go on from the checkpoint before it"
    )]
    Damaged {
        /// The folder.
        path: String,
        /// What was found.
        reason: String,
    },
}

/// The newest committed checkpoint among the step folders of `folder`, if there is one.
///
/// # Errors
/// A store that refuses, and a committed checkpoint whose manifest is not the one that was committed: it is not passed over in
/// silence.
pub async fn newest(folder: &Folder) -> Result<Option<Manifest>, CommittedError> {
    for step in folder.steps().await?.into_iter().rev() {
        let manifest = manifest(&folder.step(step)).await?;
        match manifest {
            Some(found) if found.step != step => {
                let reason = format!("it is of step {}", found.step);
                return Err(CommittedError::Damaged { path: folder.step(step).path_of(""), reason });
            }
            Some(found) => return Ok(Some(found)),
            None => {}
        }
    }
    Ok(None)
}

/// The manifest of one step's folder; none when nothing is committed there.
///
/// # Errors
/// A store that refuses, and a manifest that is not the one that was committed.
pub async fn manifest(folder: &Folder) -> Result<Option<Manifest>, CommittedError> {
    let Some(marker) = folder.get(MARKER).await? else { return Ok(None) };
    let damaged = |reason: String| CommittedError::Damaged { path: folder.path_of(""), reason };
    let marker = String::from_utf8_lossy(&marker);
    let Some((committed, name)) = marker.trim().split_once(' ') else {
        // Until version 3 a marker named no file.
        let found = UNNAMED.into();
        return Err(match marker.trim().len() {
            64 => CommittedError::Version { path: folder.path_of(""), found },
            _ => damaged(format!("{MARKER} is not `<SHA-256> <file>`")),
        });
    };
    if !is_plain(name) {
        return Err(damaged(format!("{MARKER} names {name:?}, which is no plain file name")));
    }
    let bytes = folder.get(name).await?.ok_or_else(|| damaged(format!("{name} is missing")))?;
    if digest(&bytes) != committed {
        return Err(damaged(format!("{name} does not have the digest in {MARKER}")));
    }
    // The version first: another one may have other fields.
    let fields: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    let version = fields.get("version").cloned().unwrap_or_default();
    if version != VERSION {
        return Err(CommittedError::Version { path: folder.path_of(""), found: version.to_string() });
    }
    serde_json::from_value(fields).map(Some).map_err(|e| damaged(format!("{name}: {e}")))
}

/// What the marker holds that commits a manifest, given the file's bytes and name.
pub fn marker(manifest: &[u8], name: &str) -> String {
    format!("{} {name}", digest(manifest))
}

/// Whether a name is that of a file which lies in the folder itself.
pub fn is_plain(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=255).contains(&name.len()) && name.bytes().all(known) && !name.starts_with('.')
}

/// The folder and manifest of the checkpoint that `location` names: a step's folder itself, or a run's output, whose newest
/// one is taken.
///
/// # Errors
/// As [`manifest`], and a location without a committed checkpoint.
pub async fn find(location: &str) -> Result<(Folder, Manifest), CommittedError> {
    let folder = Folder::open(location)?;
    if let Some(found) = manifest(&folder).await? {
        return Ok((folder, found));
    }
    for steps in [folder.below(FOLDER), folder.clone()] {
        if let Some(found) = newest(&steps).await? {
            return Ok((steps.step(found.step), found));
        }
    }
    Err(CommittedError::Missing { path: location.into() })
}

/// The bytes of one part, as they were committed.
///
/// # Errors
/// A store that refuses, and bytes that are missing or differ from what was committed.
pub async fn part(folder: &Folder, part: &Part) -> Result<Bytes, CommittedError> {
    let damaged = |reason: String| CommittedError::Damaged { path: folder.path_of(""), reason };
    let bytes = folder.get(&part.name).await?.ok_or_else(|| damaged(format!("{} is missing", part.name)))?;
    if bytes.len() as u64 != part.size {
        return Err(damaged(format!(
            "{} has {} bytes, committed were {}",
            part.name,
            bytes.len(),
            part.size
        )));
    }
    if digest(&bytes) != part.sha256 {
        return Err(damaged(format!("{} does not have the digest that was committed", part.name)));
    }
    Ok(bytes)
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_version_or_field_is_refused_by_name() {
        type Change = fn(&mut serde_json::Value);
        let disk = tempfile::tempdir().unwrap();
        let folder = Folder::open(disk.path().to_str().unwrap()).unwrap();
        let manifest = |change: Change| {
            let mut manifest = serde_json::json!({
                "version": VERSION, "run": "r", "generation": 1, "step": 4, "config": "", "dataset": "", "state": {}, "parts": [],
                "ledger": {"name": "s", "size": 1, "sha256": ""}
            });
            change(&mut manifest);
            manifest.to_string().into_bytes()
        };
        let cases: [(Change, &str); 3] = [
            (|m| m["version"] = 99.into(), "`version` 99, this Tandem reads"),
            (|m| m["colour"] = 1.into(), "unknown field `colour`"),
            (|m| drop(m.as_object_mut().unwrap().remove("dataset")), "missing field `dataset`"),
        ];
        for (change, told) in cases {
            let bytes = manifest(change);
            folder.put(MARKER, marker(&bytes, "m").into_bytes()).await.unwrap();
            folder.put("m", bytes).await.unwrap();
            let error = super::manifest(&folder).await.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn a_marker_that_commits_nothing_is_told() {
        let disk = tempfile::tempdir().unwrap();
        let folder = Folder::open(disk.path().to_str().unwrap()).unwrap();
        let digest = digest(b"manifest");
        for (text, told) in [
            (digest.clone(), "`version` 3 or less, this Tandem reads"),
            (digest[1..].into(), "COMMITTED is not `<SHA-256> <file>`"),
            (String::new(), "COMMITTED is not `<SHA-256> <file>`"),
            (format!("{digest} ../m"), "no plain file name"),
            (format!("{digest} m"), "m is missing"),
            (format!("{digest} COMMITTED"), "does not have the digest"),
        ] {
            folder.put(MARKER, text.into_bytes()).await.unwrap();
            let error = super::manifest(&folder).await.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn a_part_with_one_flipped_byte_or_none_is_damaged() {
        let disk = tempfile::tempdir().unwrap();
        let folder = Folder::open(disk.path().to_str().unwrap()).unwrap();
        let bytes = b"tensors".to_vec();
        let named = Part { name: "p".into(), size: 7, sha256: digest(&bytes) };
        folder.put("p", bytes.clone()).await.unwrap();
        assert_eq!(part(&folder, &named).await.unwrap(), bytes);
        for (bad, told) in [(&b"tensorz"[..], "digest"), (b"tensor", "6 bytes")] {
            folder.put("p", bad.to_vec()).await.unwrap();
            let error = part(&folder, &named).await.unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("remove this folder"), "{error}");
        }
        folder.remove("p").await.unwrap();
        assert!(part(&folder, &named).await.unwrap_err().to_string().contains("missing"));
        let nothing = find(disk.path().to_str().unwrap()).await.unwrap_err();
        assert!(matches!(nothing, CommittedError::Missing { .. }), "{nothing}");
    }
}
