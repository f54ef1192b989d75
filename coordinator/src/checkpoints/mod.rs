//! Committing checkpoints: the ranks write parts and report them; when all parts of a step are there, the coordinator
//! writes the manifest and then, as the last thing, the commit marker. A folder without a valid marker does not exist.

#[cfg(test)]
mod tests;

use proto::{
    Generation, GlobalStep, Rank,
    checkpoint::{FOLDER, MANIFEST, MARKER, Manifest, Part, VERSION},
};
use shards::{
    committed::digest,
    ledger,
    store::{Folder, StoreError},
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::Mutex;

/// Why a checkpoint can't be committed, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store refuses: full disk, no permission, no connection.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A report that can't be true.
    #[error("the report of step {step}, rank {rank}, is refused: {reason}")]
    Report {
        /// Of the report.
        step: GlobalStep,
        /// Of the report.
        rank: Rank,
        /// What is wrong with it.
        reason: String,
    },
    /// Rank 0 gave no valid state.
    #[error("the state that rank 0 reported for step {step} is no JSON: {reason}")]
    State {
        /// Of the report.
        step: GlobalStep,
        /// What the parser says.
        reason: String,
    },
    /// Somebody else committed other content there.
    #[error("{path} exists with other content: another coordinator writes to this output; stop one of them")]
    Conflict {
        /// The marker.
        path: String,
    },
}

/// What goes into every manifest of the run.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The run's name.
    pub run: String,
    /// The whole configuration, TOML.
    pub config: String,
    /// Fingerprint of the dataset's manifest, hex.
    pub dataset: String,
}

/// One rank's word that its part lies in the store.
#[derive(Clone, Debug)]
pub struct Report {
    /// The generation that writes.
    pub generation: Generation,
    /// Committed updates.
    pub step: GlobalStep,
    /// Who wrote.
    pub rank: Rank,
    /// How many parts this step's checkpoint has.
    pub parts: u32,
    /// The file.
    pub part: Part,
    /// Rank 0: the small state, JSON.
    pub state: String,
    /// Rank 0: the newest segment of the ledger, which is in the store.
    pub ledger: Option<Part>,
}

#[derive(Default)]
struct Pending {
    parts: BTreeMap<Rank, Part>,
    state: String,
    ledger: Option<Part>,
}

#[derive(Default)]
struct Progress {
    pending: BTreeMap<(Generation, GlobalStep), Pending>,
    committed: BTreeSet<(Generation, GlobalStep)>,
}

/// The checkpoints of one run.
pub struct Checkpoints {
    folder: Folder,
    ledger: Folder,
    identity: Identity,
    keep: usize,
    progress: Mutex<Progress>,
}

impl Checkpoints {
    /// Those in a run's `output`; the newest `keep` committed ones stay, and the whole ledger.
    pub fn new(output: &Folder, identity: Identity, keep: u32) -> Self {
        let (folder, ledger) = (output.below(FOLDER), output.below(ledger::FOLDER));
        Self { folder, ledger, identity, keep: keep as usize, progress: Mutex::default() }
    }

    /// Takes a report; the one that completes the step commits it. Says whether the step is committed now. A repeated
    /// report is answered alike.
    ///
    /// # Errors
    /// Reports that can't be true, parts that are not in the store with their size, and a store that refuses.
    pub async fn report(&self, report: Report) -> Result<bool, CheckpointError> {
        check(&report)?;
        let key = (report.generation, report.step);
        let mut progress = self.progress.lock().await;
        if progress.committed.contains(&key) {
            return Ok(true);
        }
        self.verify_size(&report, &self.folder.step(report.step), &report.part).await?;
        if let Some(segment) = &report.ledger {
            self.verify_size(&report, &self.ledger, segment).await?;
        }
        let pending = progress.pending.entry(key).or_default();
        if report.rank == Rank(0) {
            (pending.state, pending.ledger) = (report.state, report.ledger);
        }
        pending.parts.insert(report.rank, report.part);
        if pending.parts.len() < report.parts as usize {
            return Ok(false);
        }
        let manifest = self.manifest(key, pending)?;
        self.commit(&manifest).await?;
        // Reports of older steps that never became complete are of no use any more.
        progress.pending.retain(|(_, step), _| *step > key.1);
        progress.committed.insert(key);
        Ok(true)
    }

    async fn verify_size(
        &self,
        report: &Report,
        folder: &Folder,
        Part { name, size: said, .. }: &Part,
    ) -> Result<(), CheckpointError> {
        let found = folder.size(name).await?;
        if found == Some(*said) {
            return Ok(());
        }
        let found = found.map_or("nothing".into(), |size| format!("{size} bytes"));
        Err(refused(report, format!("it names {said} bytes in {name}, the store has {found}")))
    }

    fn manifest(
        &self,
        key: (Generation, GlobalStep),
        pending: &Pending,
    ) -> Result<Manifest, CheckpointError> {
        let state = serde_json::from_str(&pending.state)
            .map_err(|e| CheckpointError::State { step: key.1, reason: e.to_string() })?;
        let ledger = pending.ledger.clone().ok_or(CheckpointError::Report {
            step: key.1,
            rank: Rank(0),
            reason: "it names no segment of the ledger".into(),
        })?;
        Ok(Manifest {
            version: VERSION,
            run: self.identity.run.clone(),
            generation: key.0,
            step: key.1,
            config: self.identity.config.clone(),
            dataset: self.identity.dataset.clone(),
            state,
            parts: pending.parts.values().cloned().collect(),
            ledger,
        })
    }

    async fn commit(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let folder = self.folder.step(manifest.step);
        let bytes = serde_json::to_vec_pretty(manifest)
            .map_err(|e| CheckpointError::State { step: manifest.step, reason: e.to_string() })?;
        let marker = digest(&bytes);
        folder.put(MANIFEST, bytes).await?;
        if !folder.put_if_absent(MARKER, marker.clone().into_bytes()).await? {
            // A retry may meet its own first attempt: what counts is the content.
            let held = folder.get(MARKER).await?.unwrap_or_default();
            if held != marker.as_bytes() {
                return Err(CheckpointError::Conflict { path: folder.path_of(MARKER) });
            }
        }
        Ok(())
    }

    /// Removes what is older than the newest committed checkpoints that are kept. Returns the steps removed.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn prune(&self) -> Result<Vec<GlobalStep>, CheckpointError> {
        let steps = self.folder.steps().await?;
        let mut committed = Vec::new();
        for step in steps.iter().rev() {
            if self.folder.step(*step).size(MARKER).await?.is_some() {
                committed.push(*step);
            }
        }
        let Some(oldest) = committed.get(self.keep.saturating_sub(1)) else { return Ok(Vec::new()) };
        let old: Vec<GlobalStep> = steps.into_iter().filter(|step| step < oldest).collect();
        for step in &old {
            let folder = self.folder.step(*step);
            // The marker goes first: a folder that is half removed exists for nobody.
            folder.remove(MARKER).await?;
            folder.remove_all().await?;
        }
        Ok(old)
    }
}

fn check(report: &Report) -> Result<(), CheckpointError> {
    for Part { name, sha256, .. } in [&report.part].into_iter().chain(&report.ledger) {
        let plain = !name.is_empty()
            && name.len() <= 255
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && !name.starts_with('.')
            && ![MANIFEST, MARKER].contains(&name.as_str());
        if !plain {
            return Err(refused(report, format!("{name:?} is no plain file name")));
        }
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refused(report, format!("{sha256:?} is no SHA-256 in hex")));
        }
    }
    if report.rank.0 >= report.parts {
        return Err(refused(report, format!("there are {} parts", report.parts)));
    }
    Ok(())
}

fn refused(report: &Report, reason: String) -> CheckpointError {
    CheckpointError::Report { step: report.step, rank: report.rank, reason }
}
