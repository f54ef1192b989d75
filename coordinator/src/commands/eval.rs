//! `tandem eval` and `tandem export`: hand over to the sibling `tandem-worker`, which has libtorch.

use crate::{Error, Result, workers::program};
use std::{os::unix::process::CommandExt, process::Command};

/// Replaces this process; returns only when that fails.
pub(super) fn hand_over(verb: &str, arguments: &[String]) -> Result<()> {
    let path = program()?;
    let source = Command::new(&path).arg(verb).args(arguments).exec();
    Err(Error::Read { path, source })
}
