//! A short trial with a fixed seed: every kind of fault that is possible here, and nothing lost.

use std::process::Command;

#[test]
fn a_run_that_is_struck_again_and_again_ends_as_if_nothing_had_happened() {
    let strikes = e2e::chaos::Fault::ALL.len().to_string();
    let told =
        Command::new(env!("CARGO_BIN_EXE_chaos")).args(["--seed", "5", "--strikes", &strikes]).output();
    let Ok(told) = told else { panic!("the harness can't be started: {told:?}") };
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{out}{err}");
    assert!(out.contains("pairs lost 0, repeated 0") && out.contains("everything holds"), "{out}{err}");
    for fault in ["kill-worker", "kill-coordinator"] {
        assert!(err.contains(fault), "no {fault} was among the faults: {err}");
    }
}
