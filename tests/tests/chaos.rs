//! A short trial with a fixed seed: every kind of fault once that needs no more time than a test has, and nothing lost. The script
//! strikes with the others too.

use std::process::Command;

const FAULTS: [&str; 13] = [
    "kill-worker",
    "kill-coordinator",
    "kill-both",
    "kill-workers",
    "kill-all",
    "stop-briefly",
    "stop-long",
    "stop-coordinator",
    "drain",
    "join",
    "cut-coordinator",
    "cut-all",
    "disk-full",
];

#[test]
fn a_run_that_is_struck_again_and_again_ends_as_if_nothing_had_happened() {
    let (strikes, faults) = (FAULTS.len().to_string(), FAULTS.join(","));
    let told = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["--seed", "5", "--strikes", &strikes, "--faults", &faults])
        .output();
    let Ok(told) = told else { panic!("the harness can't be started: {told:?}") };
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{out}{err}");
    assert!(out.contains("pairs lost 0, repeated 0") && out.contains("everything holds"), "{out}{err}");
    for fault in ["kill-worker", "kill-coordinator"] {
        assert!(err.contains(fault), "no {fault} was among the faults: {err}");
    }
}
