//! Committing checkpoints: the ranks write parts and report them; when all parts of a step are there, the coordinator
//! writes the manifest, then its decision into the journal, which a coordinator that is fenced can't, and then, as the last
//! thing, the commit marker. A folder without a valid marker does not exist.
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
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Steps whose parts may be reported in part at the same time; of more, the oldest are given up.
const PENDING: usize = 16;

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

/// A checkpoint that lacks nothing but its marker.
#[derive(Clone, Debug)]
pub struct Prepared {
    manifest: Manifest,
    marker: String,
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
}

impl Prepared {
    /// The generation that wrote it, and its step.
    pub fn attempt(&self) -> (Generation, GlobalStep) {
        (self.manifest.generation, self.manifest.step)
    }
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
    /// Whether the checkpoint of a step can be gone on from: it is committed, and all its parts are there in their sizes.
    ///
    /// # Errors
    /// [`CommittedError::Missing`] and [`CommittedError::Damaged`]; a store that refuses.
    pub async fn check_whole(&self, step: GlobalStep) -> Result<(), CommittedError> {
        let folder = self.folder.step(step);
        let path = folder.path_of("");
        let manifest = committed::manifest(&folder).await?;
        let manifest = manifest.ok_or_else(|| CommittedError::Missing { path: path.clone() })?;
        for part in &manifest.parts {
            let found = folder.size(&part.name).await?;
            if found != Some(part.size) {
                let is = found.map_or("is missing".into(), |size| format!("has {size} bytes"));
                let reason = format!("{} {is}, committed were {}", part.name, part.size);
                return Err(CommittedError::Damaged { path, reason });
            }
        }
        Ok(())
    }

    /// Removes the newest, if it is later than `step`; says whether there was one.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn remove_newest(&self, step: GlobalStep) -> Result<bool, StoreError> {
        retention::remove_newest(&self.folder, step).await
    }

    /// Those in a run's `output`. Old ones go as `spec` says; the ledger stays whole.
    pub fn new(output: &Folder, identity: Identity, spec: &CheckpointSection) -> Self {
        let (folder, ledger) = (output.below(FOLDER), output.below(ledger::FOLDER));
        Self { folder, ledger, identity, retention: Retention::of(spec), progress: Mutex::default() }
    }

    /// Takes a report; the one that completes the step writes its manifest, and so does each that is repeated after it. One of a
    /// generation that is over counts for nothing.
    ///
    /// # Errors
    /// Reports that can't be true, parts that are not in the store with their size, and a store that refuses.
    pub async fn report(&self, report: Report) -> Result<Option<Prepared>, CheckpointError> {
        check(&report)?;
        self.verify_size(&report, &self.folder.step(report.step), &report.part).await?;
        if let Some(segment) = &report.ledger {
            self.verify_size(&report, &self.ledger, segment).await?;
        }
        let key = (report.generation, report.step);
        let whole = self.progress(|progress| progress.take(report).map(|parts| self.manifest(key, parts)));
        match whole {
            None => Ok(None),
            Some(manifest) => self.prepare(manifest?).await.map(Some),
        }
    }

    fn progress<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        look(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
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

    /// Writes the manifest, never over one that is there: another coordinator may be about to commit it.
    async fn prepare(&self, manifest: Manifest) -> Result<Prepared, CheckpointError> {
        let (folder, name) = (self.folder.step(manifest.step), manifest_name(manifest.generation));
        let mut bytes = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| CheckpointError::State { step: manifest.step, reason: e.to_string() })?;
        if !folder.put_if_absent(&name, bytes.clone()).await? {
            let held = folder.get(&name).await?.unwrap_or_default();
            let read = serde_json::from_slice::<Manifest>(&held);
            if !read.is_ok_and(|held| is_same_attempt(&held, &manifest)) {
                return Err(CheckpointError::Conflict { path: folder.path_of(&name) });
            }
            bytes = held.to_vec();
        }
        Ok(Prepared { marker: committed::marker(&bytes, &name), manifest })
    }

    /// Commits a checkpoint that the journal has: from now on it exists. That it is committed already is no error.
    ///
    /// # Errors
    /// A store that refuses, and a marker for something else.
    pub async fn commit(&self, Prepared { manifest, marker }: &Prepared) -> Result<(), CheckpointError> {
        let folder = self.folder.step(manifest.step);
        if !folder.put_if_absent(MARKER, marker.clone().into_bytes()).await? {
            let conflict = || CheckpointError::Conflict { path: folder.path_of(MARKER) };
            let held = committed::manifest(&folder).await?.ok_or_else(conflict)?;
            if !is_as_good(&held, manifest) {
                return Err(conflict());
            }
        }
        // Reports of older steps that never became complete are of no use any more.
        self.progress(|progress| progress.pending.retain(|other, _| *other > manifest.step));
        Ok(())
    }

    /// Removes checkpoints that are neither to be kept nor `spared`, and what attempts left that were never committed. Returns the steps
    /// removed.
    ///
    /// # Errors
    /// A store that refuses, and a newest checkpoint that is damaged: then nothing is removed.
    pub async fn prune(&self, spared: Option<GlobalStep>) -> Result<Vec<GlobalStep>, CheckpointError> {
        retention::prune(&self.folder, &self.retention, spared, SystemTime::now()).await
    }
}

impl Progress {
    /// Takes note of a part; gives all parts of its step once they are there.
    fn take(&mut self, report: Report) -> Option<&Pending> {
        if report.generation < self.generation {
            return None;
        }
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
}

/// Gives the checkpoint its marker that the journal calls committed, as a coordinator leaves it that is killed between the two.
///
/// # Errors
/// A store that refuses.
pub async fn complete(
    folder: &Folder,
    (generation, step): (Generation, GlobalStep),
) -> Result<(), CheckpointError> {
    let (folder, name) = (folder.step(step), manifest_name(generation));
    if folder.size(MARKER).await?.is_some() {
        return Ok(());
    }
    let Some(manifest) = folder.get(&name).await? else {
        let path = folder.path_of(&name);
        tracing::warn!(
            "the journal has step {step} as committed, but {path} is gone: the run goes on from the newest checkpoint that is there"
        );
        return Ok(());
    };
    folder.put_if_absent(MARKER, committed::marker(&manifest, &name).into_bytes()).await?;
    Ok(())
}

/// Whether what is committed is as good as ours: that of an earlier generation, or of this very attempt.
fn is_as_good(held: &Manifest, ours: &Manifest) -> bool {
    let earlier =
        held.generation < ours.generation && (held.step, &held.dataset) == (ours.step, &ours.dataset);
    earlier || is_same_attempt(held, ours)
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
