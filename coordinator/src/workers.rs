//! The workers of a run on this machine: started as siblings of this program, watched, and ended.

use crate::{Error, Result};
use proto::Exit;
use std::{
    env,
    fs::{self, OpenOptions},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};

/// A worker's process has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its process.
    pub pid: u32,
    /// What its end stands for.
    pub exit: Exit,
    /// In words.
    pub how: String,
}

/// Running worker processes. Dropping it kills them.
pub struct Workers {
    watched: JoinSet<Ended>,
    kill: watch::Sender<bool>,
}

/// The `tandem-worker` that belongs to this `tandem`.
///
/// # Errors
/// There is none beside it.
pub fn program() -> Result<PathBuf> {
    let own = env::current_exe().map_err(|source| Error::Read { path: "this program".into(), source })?;
    let path = own.with_file_name("tandem-worker");
    if path.is_file() { Ok(path) } else { Err(Error::NoWorker { path }) }
}

impl Workers {
    /// Starts `count` workers that join `url`, each in a process group of its own, so that a Ctrl-C reaches only this program.
    /// What they say goes to `logs/worker-N.log`.
    ///
    /// # Errors
    /// A missing program, logs that can't be written.
    pub fn start(count: u32, url: &str, logs: &Path) -> Result<Self> {
        let program = program()?;
        fs::create_dir_all(logs).map_err(|source| Error::Write { path: logs.into(), source })?;
        let mut workers = Self { watched: JoinSet::new(), kill: watch::Sender::new(false) };
        for number in 0..count {
            let path = logs.join(format!("worker-{number}.log"));
            let child = spawn(&program, url, &path).map_err(|source| Error::Write { path, source })?;
            workers.watched.spawn(watch_over(child, workers.kill.subscribe()));
        }
        Ok(workers)
    }

    /// Waits for the next end of a worker; none when all have ended.
    pub async fn next_end(&mut self) -> Option<Ended> {
        let ended = self.watched.join_next().await?;
        Some(ended.unwrap_or_else(|lost| Ended { pid: 0, exit: Exit::Internal, how: lost.to_string() }))
    }

    /// Kills those that still run.
    pub fn kill(&self) {
        self.kill.send_replace(true);
    }
}

fn spawn(program: &Path, url: &str, log: &Path) -> io::Result<Child> {
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(program)
        .args(["--coordinator", url])
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn watch_over(mut child: Child, mut kill: watch::Receiver<bool>) -> Ended {
    let pid = child.id().unwrap_or_default();
    let status = tokio::select! {
        status = child.wait() => status,
        () = asked(&mut kill) => {
            // It may have ended by itself in the meantime; what counts is how it ended.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    match status {
        Ok(status) => {
            let (exit, how) = told(status);
            Ended { pid, exit, how }
        }
        Err(error) => Ended { pid, exit: Exit::Internal, how: format!("can't be watched: {error}") },
    }
}

async fn asked(kill: &mut watch::Receiver<bool>) {
    // Without a sender nobody asks any more; then the process is killed as well.
    let _ = kill.wait_for(|kill| *kill).await;
}

/// What the end of a process stands for.
fn told(status: ExitStatus) -> (Exit, String) {
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            (Exit::from_code(code).unwrap_or(Exit::Internal), format!("ended with exit code {code}"))
        }
        (None, Some(9)) => {
            (Exit::Lost, "was killed (signal 9; the kernel does so when memory runs out)".into())
        }
        (None, signal) => (Exit::Lost, format!("was ended by signal {}", signal.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_code_and_signal() {
        assert_eq!(told(ExitStatus::from_raw(74 << 8)), (Exit::Output, "ended with exit code 74".into()));
        assert_eq!(told(ExitStatus::from_raw(101 << 8)).0, Exit::Internal);
        let (exit, how) = told(ExitStatus::from_raw(9));
        assert!(exit == Exit::Lost && how.contains("signal 9"), "{how}");
        assert_eq!(told(ExitStatus::from_raw(6)), (Exit::Lost, "was ended by signal 6".into()));
    }
}
