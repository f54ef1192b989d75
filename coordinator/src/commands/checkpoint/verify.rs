//! `tandem checkpoint verify`: every byte of a checkpoint against its manifest.

use super::{find, folder, printed, reason};
use crate::{Error, Result, args::checkpoint::Verify, checkpoints::retention, commands::say};
use indicatif::HumanBytes;
use proto::{
    GlobalStep,
    checkpoint::{FOLDER, Manifest},
};
use serde_json::json;
use shards::{
    committed::{self, CommittedError},
    ledger::{self, chain},
    store::Folder,
};
use std::io::Write;

/// A checkpoint that was looked at.
struct Checked {
    step: GlobalStep,
    bytes: u64,
    /// What is not as it was committed.
    damage: Vec<String>,
}

pub(super) async fn verify(arguments: &Verify, out: &mut impl Write) -> Result<()> {
    let output = Folder::open(&arguments.run)?;
    let checkpoints = folder(&arguments.run)?;
    let steps = if arguments.all {
        let found = retention::list(&checkpoints).await?;
        found.iter().filter(|one| one.committed.is_some()).map(|one| one.step).collect()
    } else {
        vec![find(&checkpoints, arguments.step).await?.step]
    };
    if steps.is_empty() {
        return Err(CommittedError::Missing { path: checkpoints.path_of("") }.into());
    }
    let mut damaged = Vec::new();
    let mut told = Vec::new();
    for step in steps {
        let checked = check(&output, step).await?;
        if !arguments.json {
            say(out, &as_text(&checked))?;
        }
        if !checked.damage.is_empty() {
            damaged.push(step.to_string());
        }
        told.push(json!({ "step": step, "bytes": checked.bytes, "damage": checked.damage }));
    }
    if arguments.json {
        say(out, &printed(&json!({ "verified": damaged.is_empty(), "checkpoints": told })))?;
    }
    if damaged.is_empty() {
        return Ok(());
    }
    Err(Error::Damaged { run: arguments.run.clone(), steps: damaged.join(", ") })
}

async fn check(output: &Folder, step: GlobalStep) -> Result<Checked> {
    let folder = output.below(FOLDER).step(step);
    let mut checked = Checked { step, bytes: 0, damage: Vec::new() };
    let manifest = match committed::manifest(&folder).await {
        Err(CommittedError::Store(error)) => return Err(error.into()),
        Err(damaged) => {
            checked.damage.push(reason(damaged));
            return Ok(checked);
        }
        // A running run may have removed it since.
        Ok(None) => return Ok(checked),
        Ok(Some(manifest)) => manifest,
    };
    read(output, &folder, &manifest, &mut checked).await?;
    Ok(checked)
}

async fn read(output: &Folder, folder: &Folder, manifest: &Manifest, checked: &mut Checked) -> Result<()> {
    if manifest.step != checked.step {
        checked.damage.push(format!("its manifest is of step {}", manifest.step));
    }
    for part in &manifest.parts {
        match committed::part(folder, part).await {
            Ok(_) => checked.bytes += part.size,
            Err(CommittedError::Store(error)) => return Err(error.into()),
            Err(damaged) => checked.damage.push(reason(damaged)),
        }
    }
    let segment = &manifest.ledger;
    match chain::read(&output.below(ledger::FOLDER), segment).await? {
        Ok(_) => checked.bytes += segment.size,
        Err(reason) => checked.damage.push(format!("segment {} of the ledger: {reason}", segment.name)),
    }
    Ok(())
}

fn as_text(Checked { step, bytes, damage }: &Checked) -> String {
    if damage.is_empty() {
        return format!("step {step}: {} are as they were committed\n", HumanBytes(*bytes));
    }
    damage.iter().map(|reason| format!("step {step}: damaged: {reason}\n")).collect()
}
