//! What all simulated processes share: the store, the collectives, and a record that holds the promises.

use super::plane::Plane;
use object_store::{memory::InMemory, path::Path};
use proto::checkpoint::{FOLDER, Manifest};
use proto::{RunConfig, config};
use shards::committed;
use shards::store::Folder;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The port of a coordinator.
pub(super) const PORT: u16 = 4000;

/// Shared by all.
#[derive(Clone)]
pub(super) struct World {
    pub(super) config: Arc<RunConfig>,
    pub(super) output: Folder,
    pub(super) plane: Plane,
    /// For what a coordinator writes on its own disk.
    pub(super) disk: Arc<tempfile::TempDir>,
    record: Arc<Mutex<Record>>,
}

/// What has happened.
#[derive(Default)]
pub(super) struct Record {
    /// In order, with the time.
    pub(super) story: Vec<String>,
    /// The first promise that was broken.
    pub(super) broken: Option<String>,
    /// The longest line of a committed checkpoint.
    committed: Vec<u64>,
    /// The host that is to lead.
    pub(super) hub: usize,
    /// The run has ended as it should.
    pub(super) done: bool,
    pids: u32,
}

impl World {
    pub(super) fn new(workers: usize, least: usize, steps: u64) -> Self {
        let sets = [
            "data.train=/data".into(),
            "data.lanes=32".into(),
            "text.tokenizer=/vocabulary".into(),
            "model.preset=albef-tiny".into(),
            "run.output=/output".into(),
            format!("run.workers={workers}"),
            format!("run.min_workers={least}"),
            "run.max_workers=32".into(),
            "optimizer.batch=32".into(),
            format!("optimizer.steps={steps}"),
            "checkpoint.every=7".into(),
            "cluster.heartbeat_ms=200".into(),
            "cluster.lost_after=3".into(),
            "cluster.orphan_after=600".into(),
        ];
        Self {
            config: Arc::new(config::resolve("the simulation", "", &sets).unwrap()),
            output: Folder::new(Arc::new(InMemory::new()), Path::from("output")),
            plane: Plane::default(),
            disk: Arc::new(tempfile::tempdir().unwrap()),
            record: Arc::default(),
        }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    pub(super) fn tell(&self, what: impl std::fmt::Display) {
        self.tell_at(turmoil::sim_elapsed().unwrap_or_default(), what);
    }

    /// For whoever is outside of the simulation.
    pub(super) fn tell_at(&self, now: Duration, what: impl std::fmt::Display) {
        self.record().story.push(format!("{:9.3} s  {what}", now.as_secs_f64()));
    }

    pub(super) fn pid(&self) -> u32 {
        let mut record = self.record();
        record.pids += 1;
        record.pids
    }

    pub(super) fn url(&self) -> String {
        format!("http://hub-{}:{PORT}", self.record().hub)
    }

    /// A promise is broken: the first one is kept.
    pub(super) fn object(&self, what: String) {
        self.tell(&what);
        self.record().broken.get_or_insert(what);
    }

    /// The newest checkpoint and its line, which goes on from that of the one before.
    pub(super) async fn newest(&self) -> (Option<Manifest>, Vec<u64>) {
        let checkpoints = self.output.below(FOLDER);
        let Some(manifest) = committed::newest(&checkpoints).await.unwrap() else {
            return (None, Vec::new());
        };
        let mut lines = Vec::new();
        for part in &manifest.parts {
            let bytes = committed::part(&checkpoints.step(manifest.step), part).await.unwrap();
            lines.push(serde_json::from_slice::<Vec<u64>>(&bytes).unwrap());
        }
        let line = lines.first().cloned().unwrap_or_default();
        if lines.iter().any(|other| *other != line) || line.len() as u64 != manifest.step.0 {
            self.object(format!("the parts of step {} are of different states: {lines:?}", manifest.step));
        }
        let before = std::mem::replace(&mut self.record().committed, line.clone());
        if !line.starts_with(&before) {
            self.object(format!("the checkpoint {line:?} does not go on from {before:?}"));
        }
        (Some(manifest), line)
    }
}
