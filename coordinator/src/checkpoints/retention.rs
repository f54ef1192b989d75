//! Which checkpoints stay, and removing the others. The newest that is committed always stays; the ledger is never touched.

use super::CheckpointError;
use proto::{
    GlobalStep,
    checkpoint::{MARKER, Manifest, manifest_name, step_of},
    config::CheckpointSection,
};
use shards::{
    committed::{self, CommittedError},
    store::{Folder, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

/// Which committed checkpoints stay: those that either says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest; at least one.
    pub keep: usize,
    /// Those that are younger.
    pub younger: Duration,
}

/// A step's folder as the store lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The step.
    pub step: GlobalStep,
    /// When its marker was written; none where nothing is committed.
    pub committed: Option<SystemTime>,
    /// Its files, with their bytes.
    pub files: BTreeMap<String, u64>,
}

impl Retention {
    /// As the knobs say.
    pub fn of(spec: &CheckpointSection) -> Self {
        Self::new(spec.keep, spec.keep_hours)
    }

    /// The newest `keep`, and those that are younger than so many hours.
    pub fn new(keep: u32, hours: f64) -> Self {
        let younger = Duration::try_from_secs_f64(hours * 3600.0).unwrap_or(Duration::MAX);
        Self { keep: keep.max(1) as usize, younger }
    }

    /// The steps among `found`, ascending by step, whose folders go: committed ones that nothing keeps, and what is not committed
    /// and older than the newest that is.
    pub fn outdated(&self, found: &[Found], now: SystemTime) -> BTreeSet<GlobalStep> {
        let committed = || found.iter().rev().filter(|one| one.committed.is_some());
        let Some(newest) = committed().next() else { return BTreeSet::new() };
        let kept: BTreeSet<GlobalStep> = committed().take(self.keep.max(1)).map(|one| one.step).collect();
        let is_young =
            |written: SystemTime| now.duration_since(written).map_or(true, |age| age < self.younger);
        let goes = |one: &&Found| {
            one.step < newest.step && !kept.contains(&one.step) && !one.committed.is_some_and(is_young)
        };
        found.iter().filter(goes).map(|one| one.step).collect()
    }
}

impl Found {
    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    /// What the manifest names and is not there with its size.
    pub fn lacking(&self, manifest: &Manifest) -> Option<String> {
        let lacks = manifest.parts.iter().find(|part| self.files.get(&part.name) != Some(&part.size))?;
        let found = self.files.get(&lacks.name).map_or("missing".into(), |size| format!("of {size} bytes"));
        Some(format!("{} is {found}, committed were {} bytes", lacks.name, lacks.size))
    }

    /// Whether its files are of one attempt, by their names.
    fn is_plain(&self) -> bool {
        let mut attempts =
            self.files.keys().filter(|name| *name != MARKER).map(|name| name.split('-').next());
        let first = attempts.next();
        attempts.all(|other| Some(other) == first)
    }
}

/// The step folders of `folder`, ascending.
///
/// # Errors
/// A store that refuses.
pub async fn list(folder: &Folder) -> Result<Vec<Found>, StoreError> {
    let mut found: BTreeMap<GlobalStep, Found> = BTreeMap::new();
    for step in folder.steps().await? {
        // On a disk a folder may hold nothing that is listed: a write that was broken off, or nothing at all.
        found.insert(step, Found { step, ..Found::default() });
    }
    for object in folder.objects().await? {
        let path = folder.relative(&object);
        let Some((step, name)) = path.split_once('/') else { continue };
        let Some(step) = step_of(step) else { continue };
        let one = found.entry(step).or_insert_with(|| Found { step, ..Found::default() });
        if name == MARKER {
            one.committed = Some(object.last_modified.into());
        }
        one.files.insert(name.to_owned(), object.size);
    }
    Ok(found.into_values().collect())
}

/// Removes the step folders below `folder` that `retention` does not keep and that are not `spared`, and in those that stay what other attempts left.
/// Returns the steps removed.
///
/// # Errors
/// A store that refuses, and a newest checkpoint that is damaged: then nothing is removed.
pub async fn prune(
    folder: &Folder,
    retention: &Retention,
    spared: Option<GlobalStep>,
    now: SystemTime,
) -> Result<Vec<GlobalStep>, CheckpointError> {
    let found = list(folder).await?;
    check_newest(folder, &found).await?;
    let mut gone = retention.outdated(&found, now);
    gone.retain(|step| Some(*step) != spared);
    for step in &gone {
        remove(folder, *step).await?;
    }
    for one in found.iter().filter(|one| one.committed.is_some() && !gone.contains(&one.step)) {
        clean(folder, one).await?;
    }
    Ok(gone.into_iter().collect())
}

/// Removes a step's folder.
///
/// # Errors
/// A store that refuses.
pub async fn remove(folder: &Folder, step: GlobalStep) -> Result<(), StoreError> {
    let folder = folder.step(step);
    // The marker goes first: a folder that is half removed exists for nobody.
    folder.remove(MARKER).await?;
    folder.remove_all().await
}

/// Removes the folders of later steps, the newest first: wherever that is broken off, what is left is a run that had come so far.
///
/// # Errors
/// A store that refuses.
pub async fn remove_after(folder: &Folder, step: GlobalStep) -> Result<(), StoreError> {
    while remove_newest(folder, step).await? {}
    Ok(())
}

/// Removes the newest step's folder, if it is after `step`; says whether there was one.
///
/// # Errors
/// A store that refuses.
pub async fn remove_newest(folder: &Folder, step: GlobalStep) -> Result<bool, StoreError> {
    let newest = folder.steps().await?.into_iter().max().filter(|newest| *newest > step);
    if let Some(newest) = newest {
        remove(folder, newest).await?;
    }
    Ok(newest.is_some())
}

/// Of a damaged newest checkpoint, those before it are all that is left: the newest is looked at before anything goes.
///
/// # Errors
/// A store that refuses, and the damage.
pub async fn check_newest(folder: &Folder, found: &[Found]) -> Result<Option<Manifest>, CheckpointError> {
    let Some(manifest) = committed::newest(folder).await? else { return Ok(None) };
    let listed = found.iter().find(|one| one.step == manifest.step);
    match listed.and_then(|one| one.lacking(&manifest)) {
        None => Ok(Some(manifest)),
        Some(reason) => {
            let path = folder.step(manifest.step).path_of("");
            Err(CommittedError::Damaged { path, reason }.into())
        }
    }
}

/// Removes from a committed folder what its manifest does not name.
async fn clean(folder: &Folder, one: &Found) -> Result<(), CheckpointError> {
    let folder = folder.step(one.step);
    folder.remove_unfinished().await?;
    if one.is_plain() {
        return Ok(());
    }
    let manifest = match committed::manifest(&folder).await {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(()),
        Err(CommittedError::Store(error)) => return Err(error.into()),
        Err(damaged) => {
            tracing::warn!("nothing is removed from a checkpoint that can't be read: {damaged}");
            return Ok(());
        }
    };
    let named: BTreeSet<String> = manifest.parts.iter().map(|part| part.name.clone()).collect();
    let own = [MARKER.to_owned(), manifest_name(manifest.generation)];
    for name in one.files.keys().filter(|name| !named.contains(*name) && !own.contains(name)) {
        folder.remove(name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
