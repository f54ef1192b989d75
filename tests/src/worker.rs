//! Workers that a test starts by hand.

use crate::program;
use crate::run::{LOOK, PATIENCE, signal};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

/// A worker's process. Dropping it kills it.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts one that joins `url` and writes its log to `log`.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start(url: &str, log: &str, more: &[&str]) -> Self {
        let Ok(file) = File::create(log) else { panic!("{log} can't be written") };
        let mut command = Command::new(program("tandem-worker"));
        let command = command.args(["--coordinator", url]).args(more);
        let Ok(child) = command.stdout(Stdio::null()).stderr(file).spawn() else { panic!("no worker") };
        Self { child, log: log.into() }
    }

    /// Its process.
    pub fn pid(&self) -> u64 {
        self.child.id().into()
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        signal(name, &[self.pid()]);
    }

    /// What it has said.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its end: its exit code, none after a signal.
    ///
    /// # Panics
    /// When it does not come.
    pub fn end(mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the worker does not end:\n{}", self.said());
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
