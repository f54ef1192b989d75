//! Reads the tree as its rules see it: files, functions, and the parts of a file that are not tests.

pub mod chaos;
pub mod faults;
pub mod load;
pub mod net;
pub mod run;
pub mod worker;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the clone that cargo runs the test of. Asked for at run time, since a target folder may be shared or moved.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A program of the workspace, beside the running program or in the folder above that of the running test, whatever the target
/// folder is.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let places = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    places.reduce(|beside, above| if beside.is_file() { beside } else { above }).unwrap_or_default()
}

/// What a command prints, run at the top of the clone; empty if it can't be run.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The files that git tracks, relative to the top.
pub fn tracked() -> Vec<String> {
    output("git", &["ls-files"]).lines().map(str::to_owned).collect()
}

/// The lines of a Rust file without its tests: those before an inline test module, none of a file of tests.
pub fn product_lines<'a>(path: &str, text: &'a str) -> Vec<&'a str> {
    if path.starts_with("tests/")
        || path.starts_with("worker/tests/")
        || path.starts_with("shards/fuzz/")
        || path.ends_with("tests.rs")
        || path.contains("/tests/")
        || path.contains("/membership/model/")
        || path.contains("/session/simulation/")
        || ["alone.rs", "toy.rs", "step/choices.rs", "step/drift.rs", "step/passes.rs", "step/worlds.rs"]
            .iter()
            .any(|name| path.ends_with(name))
    {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let inline = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_end().ends_with('{');
    let end = lines.windows(2).position(inline).unwrap_or(lines.len());
    lines[..end].to_vec()
}

/// Names and lengths of the functions, in lines; formatted code only.
pub fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter_map(|(at, line)| {
        let code = line.trim_start();
        let words: Vec<&str> = code.split_whitespace().take_while(|word| !word.contains('(')).collect();
        let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe"];
        let head: Vec<&&str> = words.iter().filter(|word| !modifiers.contains(*word)).collect();
        let named = code.split_once("fn ").map(|(_, rest)| rest.split(['(', '<']).next().unwrap_or(rest));
        (head.first() == Some(&&"fn")).then_some((at, line.len() - code.len(), named?.to_owned()))
    });
    let ends = starts.map(|(at, indent, name)| {
        let close = format!("{}}}", " ".repeat(indent));
        let one_line = lines[at].trim_end().ends_with([';', '}']);
        let length = lines[at..].iter().position(|line| *line == close).filter(|_| !one_line);
        (name, length.unwrap_or(0) + 1)
    });
    ends.collect()
}
