//! `tandem config` as a user meets it.

use std::process::{Command, Output};

fn tandem(arguments: &[&str]) -> Output {
    let binary = e2e::program("tandem");
    Command::new(&binary)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; run cargo build", binary.display()))
}

#[test]
fn a_resolved_configuration_is_printed_with_its_documentation() {
    let output = tandem(&[
        "config",
        "--set",
        "model.preset=albef-tiny",
        "--set",
        "data.train=d",
        "--set",
        "text.tokenizer=t",
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("# Side of a patch, in pixels; divides image_size.\npatch_size = 8\n"), "{text}");
}

#[test]
fn a_typo_ends_with_a_code_and_the_nearest_knob() {
    let output = tandem(&["config", "--set", "optimizer.bacth=3"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("unknown key `optimizer.bacth`; did you mean `optimizer.batch`?"), "{text}");
}
