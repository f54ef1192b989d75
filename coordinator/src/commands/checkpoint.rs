//! `tandem checkpoint`: what lies in a run's output, whether the run is going or not.

mod rewind;
mod show;
#[cfg(test)]
mod tests;
mod verify;

use super::{operate, say};
use crate::{
    Result,
    args::{
        Checkpoint,
        checkpoint::{List, Prune},
    },
    checkpoints::{
        Retention,
        retention::{self, Found},
    },
};
use indicatif::{HumanBytes, HumanDuration};
use proto::{
    GlobalStep,
    checkpoint::{FOLDER, Manifest},
};
use serde_json::{Value, json};
use shards::{
    committed::{self, CommittedError, digest},
    store::Folder,
};
use std::{
    io::Write,
    time::{Duration, SystemTime},
};

/// Hexadecimal digits of a digest that people are shown.
const SHORT: usize = 12;

/// Does what was asked for and tells it on `out`.
///
/// # Errors
/// Those of the verb.
pub(super) async fn act(verb: Checkpoint, out: &mut impl Write) -> Result<()> {
    match verb {
        Checkpoint::Now(arguments) => operate::checkpoint(&arguments, out).await,
        Checkpoint::List(arguments) => list(&arguments, out).await,
        Checkpoint::Show(arguments) => show::show(&arguments, out).await,
        Checkpoint::Verify(arguments) => verify::verify(&arguments, out).await,
        Checkpoint::Rewind(arguments) => rewind::rewind(&arguments, out).await,
        Checkpoint::Prune(arguments) => prune(&arguments, SystemTime::now(), out).await,
    }
}

/// The folder of a run's checkpoints.
fn folder(run: &str) -> Result<Folder> {
    Ok(Folder::open(run)?.below(FOLDER))
}

/// The checkpoint of a step, or the newest.
async fn find(checkpoints: &Folder, step: Option<u64>) -> Result<Manifest> {
    let (found, path) = match step.map(GlobalStep) {
        None => (committed::newest(checkpoints).await?, checkpoints.path_of("")),
        Some(step) => {
            let folder = checkpoints.step(step);
            (committed::manifest(&folder).await?, folder.path_of(""))
        }
    };
    Ok(found.ok_or(CommittedError::Missing { path })?)
}

/// What is wrong with a checkpoint whose place has been told.
fn reason(error: CommittedError) -> String {
    match error {
        CommittedError::Damaged { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// A folder, and what its manifest says where it has one that can be read.
struct Row {
    found: Found,
    manifest: Option<Manifest>,
    /// What is wrong with it.
    damage: Option<String>,
}

async fn list(arguments: &List, out: &mut impl Write) -> Result<()> {
    let checkpoints = folder(&arguments.run)?;
    let mut rows = Vec::new();
    for found in retention::list(&checkpoints).await? {
        let (manifest, damage) = match committed::manifest(&checkpoints.step(found.step)).await {
            Ok(Some(manifest)) => {
                let damage = found.lacking(&manifest);
                (Some(manifest), damage)
            }
            Ok(None) => (None, None),
            Err(CommittedError::Store(error)) => return Err(error.into()),
            Err(damaged) => (None, Some(reason(damaged))),
        };
        rows.push(Row { found, manifest, damage });
    }
    if rows.is_empty() {
        return Err(CommittedError::Missing { path: checkpoints.path_of("") }.into());
    }
    let now = SystemTime::now();
    let text = if arguments.json { list_json(&rows, now) } else { list_text(&rows, now) };
    say(out, &text)
}

/// The newest committed step, damaged or not.
fn newest(rows: &[Row]) -> Option<GlobalStep> {
    rows.iter().rev().find(|row| row.found.committed.is_some()).map(|row| row.found.step)
}

fn list_text(rows: &[Row], now: SystemTime) -> String {
    let mut text = "      step  generation  age             size         parts  config\n".to_owned();
    for Row { found, manifest, damage } in rows {
        let age = found.committed.map_or("-".into(), |written| age(written, now));
        let (generation, parts, config) = match manifest {
            Some(of) => {
                (of.generation.to_string(), of.parts.len().to_string(), short(&digest(of.config.as_bytes())))
            }
            None => ("-".into(), "-".into(), "-".into()),
        };
        let size = HumanBytes(found.bytes()).to_string();
        let remark = match (damage, found.committed) {
            (Some(damage), _) => format!("  damaged: {damage}"),
            (None, None) => "  not committed".into(),
            (None, Some(_)) if newest(rows) == Some(found.step) => "  newest".into(),
            (None, Some(_)) => String::new(),
        };
        let line = format!(
            "{:>10}  {generation:>10}  {age:<14}  {size:<11}  {parts:>5}  {config:<12}{remark}",
            found.step.0
        );
        text += &format!("{}\n", line.trim_end());
    }
    text
}

fn list_json(rows: &[Row], now: SystemTime) -> String {
    let one = |Row { found, manifest, damage }: &Row| {
        json!({
            "step": found.step,
            "committed": found.committed.is_some(),
            "newest": newest(rows) == Some(found.step),
            "generation": manifest.as_ref().map(|of| of.generation),
            "age_seconds": found.committed.map(|written| since(written, now).as_secs()),
            "bytes": found.bytes(),
            "parts": manifest.as_ref().map(|of| of.parts.len()),
            "config_hash": manifest.as_ref().map(|of| digest(of.config.as_bytes())),
            "damage": damage,
        })
    };
    let run = rows.iter().find_map(|row| row.manifest.as_ref()).map(|of| of.run.clone());
    printed(&json!({ "run": run, "checkpoints": rows.iter().map(one).collect::<Vec<_>>() }))
}

async fn prune(arguments: &Prune, now: SystemTime, out: &mut impl Write) -> Result<()> {
    let checkpoints = folder(&arguments.run)?;
    let retention = Retention::new(arguments.keep, arguments.older_than);
    let found = retention::list(&checkpoints).await?;
    let missing = || CommittedError::Missing { path: checkpoints.path_of("") };
    retention::check_newest(&checkpoints, &found).await?.ok_or_else(missing)?;
    let mut going = retention.outdated(&found, now);
    if !arguments.dry_run {
        // What is told is what was done: a running run may prune at the same time.
        going = retention::prune(&checkpoints, &retention, None, now).await?.into_iter().collect();
    }
    let gone: Vec<&Found> = found.iter().filter(|one| going.contains(&one.step)).collect();
    let stay = found.len() - gone.len();
    let text = if arguments.json {
        let one = |one: &&Found| json!({ "step": one.step, "committed": one.committed.is_some(), "bytes": one.bytes() });
        let gone: Vec<Value> = gone.iter().map(one).collect();
        printed(&json!({ "dry_run": arguments.dry_run, "removed": gone, "stay": stay }))
    } else {
        pruned(&gone, stay, arguments.dry_run, now)
    };
    say(out, &text)
}

fn pruned(gone: &[&Found], stay: usize, dry_run: bool, now: SystemTime) -> String {
    let mut text = String::new();
    for one in gone {
        let what = one.committed.map_or("never committed".into(), |written| age(written, now));
        text += &format!("step {}: {}, {what}\n", one.step, HumanBytes(one.bytes()));
    }
    let bytes = HumanBytes(gone.iter().map(|one| one.bytes()).sum());
    let done = if dry_run { "would be removed" } else { "removed" };
    text + &format!("{done}: {} of {} folders, {bytes}\n", gone.len(), gone.len() + stay)
}

fn since(written: SystemTime, now: SystemTime) -> Duration {
    // The store's clock may be ahead of ours.
    now.duration_since(written).unwrap_or_default()
}

fn age(written: SystemTime, now: SystemTime) -> String {
    format!("{} old", HumanDuration(since(written, now)))
}

fn short(digest: &str) -> String {
    digest.chars().take(SHORT).collect()
}

fn printed(value: &Value) -> String {
    format!("{value:#}\n")
}
