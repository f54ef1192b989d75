//! `tandem eval`: hands over to the sibling `tandem-worker`, which has libtorch.

use crate::{Error, Result, workers::program};
use std::{os::unix::process::CommandExt, process::Command};

/// Replaces this process; returns only when that fails.
pub(super) fn hand_over(arguments: &[String]) -> Result<()> {
    let path = program()?;
    let source = Command::new(&path).arg("eval").args(arguments).exec();
    Err(Error::Read { path, source })
}
