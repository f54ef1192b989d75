//! Why a harness can't go on, and commands that have to work.

use std::{fmt, process::Command};

/// A result of the harness.
pub type Outcome<T> = Result<T, Why>;

/// A sentence for people.
#[derive(Debug)]
pub struct Why(String);

impl Why {
    /// While doing what, and the reason.
    pub fn new(doing: &str, reason: &dyn fmt::Display) -> Self {
        Self(format!("{doing}: {reason}"))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It can't be started, or fails; with what it says.
pub(super) fn run(program: &str, arguments: &[&str]) -> Outcome<()> {
    let told = Command::new(program).args(arguments).output();
    let doing = || format!("{program} {}", arguments.join(" "));
    match told {
        Err(error) => Err(Why::new(&doing(), &error)),
        Ok(told) if told.status.success() => Ok(()),
        Ok(told) => Err(Why::new(&doing(), &String::from_utf8_lossy(&told.stderr).trim())),
    }
}
