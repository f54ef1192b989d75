//! The rules of the house, each with a planted violation that it has to find.

use e2e::{functions, output, product_lines, root, tracked};
use std::fs;

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 80;
const TOP: [&str; 14] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "clippy.toml",
    "rustfmt.toml",
    "coordinator",
    "docker",
    "docs",
    "proto",
    "scripts",
    "shards",
    "tests",
    "worker",
    "LICENSE",
];

/// Paths and texts of the tracked Rust files.
fn sources() -> Vec<(String, String)> {
    let rust = tracked().into_iter().filter(|path| path.ends_with(".rs"));
    let read: Vec<_> =
        rust.filter_map(|path| Some((path.clone(), fs::read_to_string(root().join(&path)).ok()?))).collect();
    assert!(read.len() > 30, "found only {} Rust files", read.len());
    read
}

/// Fails with every violation that `rule` finds, and if it does not find the planted one.
fn enforce(rule: impl Fn(&str, &str) -> Vec<String>, planted: (&str, &str)) {
    assert!(!rule(planted.0, planted.1).is_empty(), "the rule misses what was planted: {planted:?}");
    let found: Vec<String> = sources().iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_fit_in_the_head() {
    let rule = |path: &str, text: &str| {
        let lines = text.lines().count();
        if lines > LONGEST_FILE { vec![format!("{path} has {lines} lines")] } else { vec![] }
    };
    enforce(rule, ("proto/src/x.rs", &"\n".repeat(LONGEST_FILE + 1)));
}

#[test]
fn functions_fit_on_a_screen() {
    let rule = |path: &str, text: &str| {
        let long = functions(text).into_iter().filter(|(_, lines)| *lines > LONGEST_FUNCTION);
        long.map(|(name, lines)| format!("{path}: {name} has {lines} lines")).collect()
    };
    let planted = format!(
        "impl X {{\n    pub async fn long() {{\n{}    }}\n}}\n",
        "        f();\n".repeat(LONGEST_FUNCTION)
    );
    enforce(rule, ("proto/src/x.rs", &planted));
}

#[test]
fn what_can_fail_is_an_error_and_not_a_panic() {
    let rule = |path: &str, text: &str| {
        let calls = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("];
        let code = product_lines(path, text).into_iter().filter(|line| !line.trim_start().starts_with("//"));
        let bad = code.filter(|line| calls.iter().any(|call| line.contains(call)));
        bad.map(|line| format!("{path}: {}", line.trim())).collect()
    };
    enforce(rule, ("proto/src/x.rs", "fn f() {\n    x.unwrap();\n}\n"));
}

#[test]
fn unsafe_is_in_c10d_only_and_says_why_it_is_sound() {
    let rule = |path: &str, text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        let uses =
            |line: &str| ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|word| line.contains(word));
        let bad = lines.iter().enumerate().filter(|(at, line)| {
            let above = &lines[at.saturating_sub(6)..=*at];
            let sound = above.iter().any(|line| line.contains("SAFETY") || line.contains("# Safety"));
            uses(line) && !line.trim_start().starts_with("//") && !(path.starts_with("worker/c10d/") && sound)
        });
        bad.map(|(at, _)| format!("{path}:{}: unsafe", at + 1)).collect()
    };
    let rule =
        |path: &str, text: &str| if path == "tests/tests/house.rs" { vec![] } else { rule(path, text) };
    enforce(rule, ("worker/src/x.rs", "// SAFETY: none\nunsafe { f() }"));
    enforce(rule, ("worker/c10d/src/x.rs", "unsafe { f() }"));
}

#[test]
fn every_module_says_what_it_is_for_and_has_a_telling_name() {
    let rule = |path: &str, text: &str| {
        let vague = ["manager", "helper", "utils", "common", "base"];
        let name = path.trim_end_matches(".rs");
        let mut bad: Vec<String> = vague
            .iter()
            .filter(|word| name.split('/').any(|part| part == **word))
            .map(|word| format!("{path} is named {word}"))
            .collect();
        if !text.starts_with("//!") {
            bad.push(format!("{path} does not begin with //!"));
        }
        bad
    };
    enforce(rule, ("proto/src/utils.rs", "//! Things."));
    enforce(rule, ("proto/src/x.rs", "fn f() {}"));
}

#[test]
fn the_top_level_is_fixed() {
    let strange = |path: &str| {
        let top = path.split('/').next().unwrap_or(path);
        !top.starts_with('.') && !TOP.contains(&top)
    };
    assert!(strange("misc/notes.md"));
    let found: Vec<String> = tracked().into_iter().filter(|path| strange(path)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn dependencies_point_one_way() {
    let names = |package: &str| -> Vec<String> {
        let tree = output(
            "cargo",
            &["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none"],
        );
        tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    assert!(names("worker").contains(&"torch-sys".to_owned()), "the rule would miss torch");
    let forbidden = [
        ("proto", vec!["shards", "coordinator", "worker", "c10d", "tch", "torch-sys"]),
        ("access", vec!["telemetry", "shards", "coordinator", "worker", "c10d", "tch", "torch-sys"]),
        ("telemetry", vec!["access", "shards", "coordinator", "worker", "c10d", "tch", "torch-sys"]),
        ("shards", vec!["access", "telemetry", "coordinator", "worker", "c10d", "tch", "torch-sys"]),
        ("imaging", vec!["shards", "coordinator", "worker", "c10d", "tch", "torch-sys"]),
        ("coordinator", vec!["worker", "c10d", "tch", "torch-sys"]),
        ("c10d", vec!["proto", "shards", "coordinator", "worker"]),
        ("worker", vec!["coordinator"]),
    ];
    for (package, forbidden) in forbidden {
        let found = names(package);
        assert!(found.contains(&package.to_owned()), "cargo tree told nothing of {package}");
        for name in forbidden {
            assert!(!found.contains(&name.to_owned()), "{package} depends on {name}");
        }
    }
}

#[test]
fn nothing_is_left_for_later_and_no_path_of_a_machine_is_kept() {
    let marks = ["TO-DO", "FIX-ME", "/ro-ot/", "/ho-me/"].map(|mark| mark.replace('-', ""));
    let found = |text: &str| marks.iter().find(|mark| text.contains(mark.as_str())).cloned();
    assert!(found(&format!("// {}: later", marks[0])).is_some());
    for path in tracked().iter().filter(|path| !path.starts_with("tests/golden/") && *path != "Cargo.lock") {
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        assert_eq!(found(&text), None, "{path}");
    }
}
