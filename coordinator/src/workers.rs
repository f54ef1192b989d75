//! The workers of a run on this machine: started as siblings of this program, watched, and ended.

use crate::{Error, Result};
use proto::Exit;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{interval, timeout},
};

/// How often a process that is no child of this one is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A worker's process has ended.
#[derive(Debug)]
pub struct Ended {
    /// Whose place it had.
    pub slot: usize,
    /// Its process.
    pub pid: u32,
    /// What its end stands for.
    pub exit: Exit,
    /// In words.
    pub how: String,
    /// How long it ran.
    pub lived: Duration,
}

/// What workers are started with.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What they show the coordinator.
    pub credentials: Option<&'a Path>,
    /// Where their traces go.
    pub traces: Option<&'a str>,
}

/// What becomes of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// They go on, and others may be started.
    Run,
    /// They go on to their end.
    Close,
    /// They are killed.
    Kill,
    /// They go on without this program.
    Release,
}

/// Running worker processes. Dropping it kills its children, unless they were released.
pub struct Workers {
    program: PathBuf,
    /// The same for all.
    arguments: Vec<OsString>,
    logs: PathBuf,
    watched: JoinSet<Ended>,
    fate: watch::Sender<Fate>,
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
    /// Workers that join `url`. What they say goes to `logs/worker-N.log`.
    ///
    /// # Errors
    /// A missing program, logs that can't be written.
    pub fn new(url: &str, given: Given<'_>, logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs).map_err(|source| Error::Write { path: logs.into(), source })?;
        let (watched, fate) = (JoinSet::new(), watch::Sender::new(Fate::Run));
        let mut arguments: Vec<OsString> = vec!["--coordinator".into(), url.into()];
        arguments.extend(given.credentials.iter().flat_map(|folder| ["--credentials".into(), folder.into()]));
        arguments.extend(given.traces.iter().flat_map(|url| ["--traces".into(), url.into()]));
        Ok(Self { program: program()?, arguments, logs: logs.into(), watched, fate })
    }

    /// Starts one for the place `slot`, after `wait`, in a process group of its own, so that a Ctrl-C reaches only this program.
    pub fn start(&mut self, slot: usize, spare: bool, wait: Duration) {
        let path = self.logs.join(format!("worker-{slot}.log"));
        let (program, arguments, mut fate) =
            (self.program.clone(), self.arguments.clone(), self.fate.subscribe());
        self.watched.spawn(async move {
            let ended = |exit, how: String| Ended { slot, pid: 0, exit, how, lived: Duration::ZERO };
            if timeout(wait, fate.wait_for(|fate| *fate != Fate::Run)).await.is_ok() {
                return ended(Exit::Stopped, "was not started any more".into());
            }
            match spawn(&program, &arguments, spare, &path) {
                Ok(child) => watch_over(slot, child, fate).await,
                Err(error) => {
                    ended(Exit::Output, format!("can't be started with its log {}: {error}", path.display()))
                }
            }
        });
    }

    /// Takes a worker into the place `slot` that an earlier program has started.
    pub fn adopt(&mut self, slot: usize, pid: u32) {
        self.watched.spawn(watch_from_afar(slot, pid, self.fate.subscribe()));
    }

    /// Waits for the next end of a worker; none when all have ended.
    pub async fn next_end(&mut self) -> Option<Ended> {
        let ended = self.watched.join_next().await?;
        let lost = |lost: JoinError| Ended {
            slot: usize::MAX,
            pid: 0,
            exit: Exit::Internal,
            how: lost.to_string(),
            lived: Duration::ZERO,
        };
        Some(ended.unwrap_or_else(lost))
    }

    /// Starts no more.
    pub fn close(&self) {
        self.fate.send_if_modified(|fate| {
            let runs = *fate == Fate::Run;
            if runs {
                *fate = Fate::Close;
            }
            runs
        });
    }

    /// Kills those that still run.
    pub fn kill(&self) {
        self.fate.send_replace(Fate::Kill);
    }

    /// Lets them go on without this program.
    pub async fn release(mut self) {
        self.fate.send_replace(Fate::Release);
        while self.next_end().await.is_some() {}
    }
}

fn spawn(program: &Path, arguments: &[OsString], spare: bool, log: &Path) -> io::Result<Child> {
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(program)
        .args(arguments)
        .args(spare.then_some("--spare"))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn watch_over(slot: usize, mut child: Child, mut fate: watch::Receiver<Fate>) -> Ended {
    let (pid, begin) = (child.id().unwrap_or_default(), Instant::now());
    let ended = |exit, how| Ended { slot, pid, exit, how, lived: begin.elapsed() };
    let decided = tokio::select! {
        status = child.wait() => Ok(status),
        fate = decided(&mut fate) => Err(fate),
    };
    let status = match decided {
        Ok(status) => status,
        Err(Fate::Release) => {
            std::mem::forget(child);
            return ended(Exit::Done, "was released".into());
        }
        Err(_) => {
            // It may have ended by itself in the meantime; what counts is how it ended.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let (exit, how) =
        status.map_or_else(|error| (Exit::Internal, format!("can't be watched: {error}")), told);
    ended(exit, how)
}

/// The end of a process whose parent is gone is seen, but not how it ended.
async fn watch_from_afar(slot: usize, pid: u32, mut fate: watch::Receiver<Fate>) -> Ended {
    let (begin, mut looks) = (Instant::now(), interval(LOOK));
    let ended = |exit, how: &str| Ended { slot, pid, exit, how: how.into(), lived: begin.elapsed() };
    loop {
        tokio::select! {
            _ = looks.tick() => if !is_worker(pid) {
                return ended(Exit::Lost, "is gone");
            },
            fate = decided(&mut fate) => {
                if fate == Fate::Kill {
                    end(pid);
                }
                return ended(Exit::Done, "is not watched any more");
            }
        }
    }
}

/// Whether that process of this machine is a worker, and runs.
pub fn is_worker(pid: u32) -> bool {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let named = String::from_utf8_lossy(&read("cmdline")).contains("tandem-worker");
    let stat = String::from_utf8_lossy(&read("stat")).into_owned();
    named && stat.rsplit(')').next().is_some_and(|state| !state.trim_start().starts_with('Z'))
}

fn end(pid: u32) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = process.map(|process| kill_process(process, Signal::KILL)) {
        tracing::warn!("worker process {pid} can't be killed: {error}");
    }
}

/// Waits until it is decided what becomes of the processes.
async fn decided(fate: &mut watch::Receiver<Fate>) -> Fate {
    // Without a sender nobody decides any more; then they are killed as well.
    let decided = fate.wait_for(|fate| matches!(fate, Fate::Kill | Fate::Release));
    decided.await.map_or(Fate::Kill, |fate| *fate)
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

    /// A process that looks like a worker and only sleeps.
    async fn sleeper() -> (Child, u32) {
        let mut command = Command::new("sleep");
        command.arg0("tandem-worker").arg("600").kill_on_drop(true);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id().unwrap();
        // It has its name a moment after it has its number.
        while !is_worker(pid) {
            tokio::task::yield_now().await;
        }
        (child, pid)
    }

    #[tokio::test]
    async fn a_worker_of_another_program_is_seen_to_end_and_can_be_killed() {
        let fate = watch::Sender::new(Fate::Run);
        let ((mut first, one), (mut second, two)) = (sleeper().await, sleeper().await);
        assert!(!is_worker(std::process::id()), "this is a test");
        let watched = tokio::spawn(watch_from_afar(4, one, fate.subscribe()));
        first.start_kill().unwrap();
        let Ended { slot, pid, exit, .. } = watched.await.unwrap();
        assert_eq!((slot, pid, exit), (4, one, Exit::Lost));
        let watched = tokio::spawn(watch_from_afar(5, two, fate.subscribe()));
        fate.send_replace(Fate::Kill);
        assert_eq!(watched.await.unwrap().exit, Exit::Done);
        assert_eq!(second.wait().await.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn workers_that_are_released_live_on_and_others_are_not_started_after_the_end() {
        let fate = watch::Sender::new(Fate::Close);
        let (child, pid) = sleeper().await;
        let watched = tokio::spawn(watch_over(0, child, fate.subscribe()));
        let (program, logs) = (PathBuf::from("sleep"), PathBuf::new());
        let mut workers = Workers { program, arguments: Vec::new(), logs, watched: JoinSet::new(), fate };
        workers.start(1, false, Duration::from_secs(600));
        assert_eq!(workers.next_end().await.unwrap().exit, Exit::Stopped);
        workers.release().await;
        assert_eq!(watched.await.unwrap().exit, Exit::Done);
        assert!(is_worker(pid));
        end(pid);
    }
}
