//! Evaluation beside a run that goes on: of its checkpoints, so that nobody who trains waits for it.

use super::measure;
use crate::args::{Follow, Retrieval};
use crate::error::{Error, Result};
use proto::{GlobalStep, checkpoint, config};
use shards::committed;
use shards::store::{Folder, local_path};
use std::fs;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::sleep;

/// The folder below a run's output for what was found.
const FOLDER: &str = "evaluations";
/// How often a new checkpoint is looked for.
const LOOK: Duration = Duration::from_secs(2);

/// Evaluates what is due until the run's last step has been.
///
/// # Errors
/// An output or a dataset that can't be read, and an output that can't be written.
pub(super) fn follow(runtime: &Runtime, arguments: &Follow) -> Result<()> {
    let output = Folder::open(&arguments.run)?;
    let found = output.below(FOLDER);
    let mut last = runtime.block_on(evaluated(&found))?.into_iter().max();
    loop {
        let newest = runtime.block_on(committed::newest(&output.below(checkpoint::FOLDER)))?;
        let Some(newest) = newest else {
            runtime.block_on(sleep(LOOK));
            continue;
        };
        let steps = config::stored(&newest.config, &[])?.optimizer.steps;
        let step = newest.step.0;
        if last.is_some_and(|last| last > step) {
            last = runtime.block_on(forget_later(&found, step))?;
        }
        if due(step, last, arguments.every, steps) {
            take(runtime, arguments, &found, newest.step)?;
            last = Some(step);
        }
        if step >= steps {
            return Ok(());
        }
        runtime.block_on(sleep(LOOK));
    }
}

/// Whether a checkpoint of `step` is evaluated after that of `last`, in a run of so many steps.
fn due(step: u64, last: Option<u64>, every: u64, steps: u64) -> bool {
    last.is_none_or(|last| step > last && (step - last >= every || step >= steps))
}

/// The steps that have been evaluated.
async fn evaluated(found: &Folder) -> Result<Vec<u64>> {
    Ok(found.files().await?.iter().filter_map(|name| step_of(name, ".json")).collect())
}

/// Removes what was found of steps that a run has gone back from, and will come by again; returns the newest that is left.
async fn forget_later(found: &Folder, step: u64) -> Result<Option<u64>> {
    for name in found.files().await? {
        let of = step_of(&name, ".json").or_else(|| step_of(&name, ".png"));
        if of.is_some_and(|of| of > step) {
            found.remove(&name).await?;
        }
    }
    tracing::info!("the run has gone back to step {step}: evaluations of later steps are removed");
    Ok(evaluated(found).await?.into_iter().max())
}

/// Evaluates one checkpoint. One that was removed meanwhile is left out.
fn take(runtime: &Runtime, arguments: &Follow, found: &Folder, step: GlobalStep) -> Result<()> {
    let name = format!("step-{:09}", step.0);
    let place = format!("{}/{}/{name}", arguments.run.trim_end_matches('/'), checkpoint::FOLDER);
    let grid = local_path(&arguments.run).map(|folder| folder.join(FOLDER));
    if let Some(folder) = &grid {
        fs::create_dir_all(folder).map_err(|e| Error::System(format!("making {}: {e}", folder.display())))?;
    }
    let retrieval = Retrieval {
        checkpoint: place.clone(),
        data: arguments.data.clone(),
        rerank: arguments.rerank,
        batch: arguments.batch,
        grid: grid.map(|folder| folder.join(format!("{name}.png"))),
        json: true,
        sets: arguments.sets.clone(),
    };
    match measure(runtime, &retrieval) {
        Ok(measured) => {
            tracing::info!("{}", measured.table);
            let bytes = format!("{:#}\n", measured.json).into_bytes();
            Ok(runtime.block_on(found.put(&format!("{name}.json"), bytes))?)
        }
        Err(error) if runtime.block_on(committed::find(&place)).is_err() => {
            tracing::warn!("step {step} is left out: its checkpoint was removed meanwhile ({error})");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The step whose evaluation a file holds.
fn step_of(name: &str, ending: &str) -> Option<u64> {
    name.strip_prefix("step-")?.strip_suffix(ending)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due() {
        assert!(due(10, None, 100, 1000), "the first one always");
        assert!(!due(10, Some(10), 0, 1000) && due(11, Some(10), 0, 1000));
        assert!(!due(109, Some(10), 100, 1000) && due(110, Some(10), 100, 1000));
        assert!(due(1000, Some(990), 100, 1000), "the last one always");
        assert!(!due(1000, Some(1000), 0, 1000));
    }

    #[tokio::test]
    async fn what_was_found_of_steps_gone_back_from_is_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let found = Folder::open(place.path().to_str().unwrap()).unwrap();
        for name in [
            "step-000000100.json",
            "step-000000100.png",
            "step-000000200.json",
            "step-000000200.png",
            "other",
        ] {
            found.put(name, vec![1]).await.unwrap();
        }
        assert_eq!(forget_later(&found, 150).await.unwrap(), Some(100));
        let mut left = found.files().await.unwrap();
        left.sort();
        assert_eq!(left, ["other", "step-000000100.json", "step-000000100.png"]);
        assert_eq!(forget_later(&found, 50).await.unwrap(), None);
    }
}
