//! What is refused at the start, and what a start leaves behind. The end-to-end tests start real runs.

use super::*;
use proto::{Exit, checkpoint::VERSION};

fn manifest(config: &RunConfig) -> checkpoint::Manifest {
    checkpoint::Manifest {
        version: VERSION,
        run: "r".into(),
        generation: Generation(1),
        step: GlobalStep(5),
        config: config.to_toml(),
        dataset: "f00d".into(),
        state: serde_json::Value::Null,
        parts: Vec::new(),
        ledger: checkpoint::Part { name: "s".into(), size: 0, sha256: String::new() },
    }
}

fn config(sets: &[&str]) -> RunConfig {
    let given = ["data.train=d", "text.tokenizer=t"].iter().chain(sets).map(ToString::to_string);
    config::resolve("test", "", &given.collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_run_keeps_what_decides_its_batches_and_tensors() {
    let found = manifest(&config(&[]));
    for changed in
        ["optimizer.batch=64", "data.lanes=4", "run.seed=9", "model.text_depth=3", "objective.queue=0"]
    {
        let error = check_same_run(&found, &config(&[changed])).unwrap_err();
        let key = changed.split('=').next().unwrap();
        assert!(error.to_string().contains(key), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    for free in ["optimizer.steps=9", "run.workers=2", "metrics.every=1", "objective.queue_start=random"] {
        check_same_run(&found, &config(&[free])).unwrap();
    }
}

#[test]
fn a_checkpoint_of_a_tandem_with_other_knobs_is_refused_by_their_names() {
    let now = config(&[]);
    let mut found = manifest(&now);
    let line = found.config.lines().find(|line| line.starts_with("micro_batch")).unwrap().to_owned();
    found.config = found.config.replace(&line, "wings = 2");
    let error = check_same_run(&found, &now).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("without optimizer.micro_batch, with the unknown optimizer.wings"), "{told}");
    assert_eq!(error.exit(), Exit::Data);
}

#[tokio::test]
async fn every_start_claims_a_generation_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let output = Folder::open(folder.path().to_str().unwrap()).unwrap();
    let both = tokio::join!(claim(&output, "a"), claim(&output, "b"));
    let mut claimed = [both.0.unwrap(), both.1.unwrap()];
    claimed.sort_unstable();
    assert_eq!(claimed, [Generation(1), Generation(2)]);
    assert_eq!(claim(&output, "c").await.unwrap(), Generation(3));
}
