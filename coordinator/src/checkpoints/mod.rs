//! Committing checkpoints: the ranks write parts and report them; when all parts of a step are there, the coordinator
//! writes the manifest and then, as the last thing, the commit marker. A folder without a valid marker does not exist.
//!
//! All files but the marker carry the generation that wrote them, and none of the manifests is ever written over: what is
//! committed stays as it was, whatever a coordinator or a worker of before still does.

pub mod retention;

#[cfg(test)]
mod tests;

pub use retention::Retention;

use proto::{
    Generation, GlobalStep, Rank,
    checkpoint::{FOLDER, MARKER, Manifest, Part, VERSION, manifest_name},
    config::CheckpointSection,
};
use shards::{
    committed::{self, CommittedError, is_plain},
    ledger,
    store::{Folder, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};
use tokio::sync::Mutex;

/// Steps whose parts may be reported in part at the same time; of more, the oldest are given up.
const PENDING: usize = 16;
/// Committed steps that are remembered, for reports that arrive again.
const REMEMBERED: usize = 64;

/// Why a checkpoint can't be committed, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store refuses: full disk, no permission, no connection.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is committed can't be read.
    #[error(transparent)]
    Committed(#[from] CommittedError),
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
    /// Somebody else wrote other content there.
    #[error(
        "{path} exists with other content: another coordinator writes to this output, or another run left it; stop that one, or remove the folder"
    )]
    Conflict {
        /// The marker or the manifest.
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
    /// Of what is pending.
    generation: Generation,
    pending: BTreeMap<GlobalStep, Pending>,
    committed: BTreeSet<GlobalStep>,
}

/// The checkpoints of one run.
pub struct Checkpoints {
    folder: Folder,
    ledger: Folder,
    identity: Identity,
    retention: Retention,
    progress: Mutex<Progress>,
}

impl Checkpoints {
    /// Those in a run's `output`. Old ones go as `spec` says; the ledger stays whole.
    pub fn new(output: &Folder, identity: Identity, spec: &CheckpointSection) -> Self {
        let (folder, ledger) = (output.below(FOLDER), output.below(ledger::FOLDER));
        Self { folder, ledger, identity, retention: Retention::of(spec), progress: Mutex::default() }
    }

    /// Takes a report; the one that completes the step commits it. Says whether the step is committed now. A repeated
    /// report is answered alike, and one of a generation that is over counts for nothing.
    ///
    /// # Errors
    /// Reports that can't be true, parts that are not in the store with their size, and a store that refuses.
    pub async fn report(&self, report: Report) -> Result<bool, CheckpointError> {
        check(&report)?;
        let (generation, step) = (report.generation, report.step);
        let mut progress = self.progress.lock().await;
        if progress.committed.contains(&step) {
            return Ok(true);
        }
        if generation < progress.generation {
            return Ok(false);
        }
        self.verify_size(&report, &self.folder.step(step), &report.part).await?;
        if let Some(segment) = &report.ledger {
            self.verify_size(&report, &self.ledger, segment).await?;
        }
        let Some(pending) = progress.take(report) else { return Ok(false) };
        self.commit(&self.manifest((generation, step), pending)?).await?;
        progress.commit(step);
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

    async fn commit(&self, ours: &Manifest) -> Result<(), CheckpointError> {
        let folder = self.folder.step(ours.step);
        if let Some(held) = committed::manifest(&folder).await? {
            return settle(&folder, &held, ours);
        }
        let name = manifest_name(ours.generation);
        let mut bytes = serde_json::to_vec_pretty(ours)
            .map_err(|e| CheckpointError::State { step: ours.step, reason: e.to_string() })?;
        // Never over one that is there: another coordinator may be about to commit it.
        if !folder.put_if_absent(&name, bytes.clone()).await? {
            let held = folder.get(&name).await?.unwrap_or_default();
            let read = serde_json::from_slice::<Manifest>(&held);
            if !read.is_ok_and(|held| is_same_attempt(&held, ours)) {
                return Err(CheckpointError::Conflict { path: folder.path_of(&name) });
            }
            bytes = held.to_vec();
        }
        let marker = committed::marker(&bytes, &name).into_bytes();
        if folder.put_if_absent(MARKER, marker).await? {
            return Ok(());
        }
        match committed::manifest(&folder).await? {
            Some(held) => settle(&folder, &held, ours),
            None => Err(CheckpointError::Conflict { path: folder.path_of(MARKER) }),
        }
    }

    /// Removes checkpoints that are not to be kept, and what attempts left that were never committed. Returns the steps
    /// removed.
    ///
    /// # Errors
    /// A store that refuses, and a newest checkpoint that is damaged: then nothing is removed.
    pub async fn prune(&self) -> Result<Vec<GlobalStep>, CheckpointError> {
        // No commit meanwhile: parts that it has seen have to stay.
        let _held = self.progress.lock().await;
        retention::prune(&self.folder, &self.retention, SystemTime::now()).await
    }
}

impl Progress {
    /// Takes note of a part; gives all parts of its step once they are there.
    fn take(&mut self, report: Report) -> Option<&Pending> {
        if report.generation > self.generation {
            self.generation = report.generation;
            self.pending.clear();
        }
        if !self.pending.contains_key(&report.step) && self.pending.len() == PENDING {
            self.pending.pop_first();
        }
        let pending = self.pending.entry(report.step).or_default();
        if report.rank == Rank(0) {
            (pending.state, pending.ledger) = (report.state, report.ledger);
        }
        pending.parts.insert(report.rank, report.part);
        (pending.parts.len() == report.parts as usize).then_some(&*pending)
    }

    fn commit(&mut self, step: GlobalStep) {
        // Reports of older steps that never became complete are of no use any more.
        self.pending.retain(|other, _| *other > step);
        self.committed.insert(step);
        if self.committed.len() > REMEMBERED {
            self.committed.pop_first();
        }
    }
}

/// What follows where a step is committed already: that of an earlier generation, or of this very attempt, is as good as ours.
fn settle(folder: &Folder, held: &Manifest, ours: &Manifest) -> Result<(), CheckpointError> {
    let earlier =
        held.generation < ours.generation && (held.step, &held.dataset) == (ours.step, &ours.dataset);
    if earlier || is_same_attempt(held, ours) {
        return Ok(());
    }
    Err(CheckpointError::Conflict { path: folder.path_of(MARKER) })
}

/// Whether both name the same files of the same run. A coordinator that was started again may have another configuration.
fn is_same_attempt(held: &Manifest, ours: &Manifest) -> bool {
    *held == Manifest { config: held.config.clone(), ..ours.clone() }
}

fn check(report: &Report) -> Result<(), CheckpointError> {
    let taken = [MARKER.to_owned(), manifest_name(report.generation)];
    for Part { name, sha256, .. } in [&report.part].into_iter().chain(&report.ledger) {
        if !is_plain(name) || taken.contains(name) {
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
