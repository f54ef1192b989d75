//! Resumes: of a copy in another place, by another number of workers, from an older checkpoint.
#![allow(clippy::unwrap_used)]

use e2e::run::{Place, tandem};
use std::process::Command;

#[test]
fn a_copy_goes_on_from_any_committed_step_at_any_number_of_workers() {
    let place = Place::new();
    let run = |output: &str, steps: &str, more: &[&str]| {
        let sets = ["model.dropout=0", "optimizer.min_learning_rate=1e-3", "checkpoint.keep=9", steps];
        let told = place.run(output, &sets, more);
        assert_eq!(told.code, Some(0), "{output}: {told:?}");
    };
    run("undisturbed", "optimizer.steps=24", &["--workers", "1"]);
    let expected = place.losses("undisturbed");
    assert_eq!(expected.len(), 24);
    run("first", "optimizer.steps=12", &["--workers", "2"]);
    for (output, workers, from) in [("three", "3", "12"), ("one", "1", "8"), ("four", "4", "4")] {
        let copied = Command::new("cp").args(["-r", &place.path("first"), &place.path(output)]).status();
        assert!(copied.unwrap().success());
        let rewound = tandem(&["checkpoint", "rewind", "--run", &place.path(output), "--to", from]);
        assert_eq!(rewound.code, Some(0), "{rewound:?}");
        run(output, "optimizer.steps=24", &["--resume", "--workers", workers]);
        let found = place.losses(output);
        assert_eq!(found.len(), expected.len());
        let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / b.abs()).fold(0.0, f64::max);
        assert!(apart < 1e-4, "{output}: losses are {apart:e} apart");
        let proof = tandem(&["data", "verify-ledger", "--run", &place.path(output)]);
        assert!(proof.code == Some(0) && proof.out.contains("proven"), "{proof:?}");
    }
}
