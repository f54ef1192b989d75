//! A process that is started, listened to and waited for by a thread of its own.

use super::{
    failure::{Outcome, Why},
    watch::Seen,
};
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::Sender,
    thread,
    time::Instant,
};

/// What a process did.
#[derive(Debug)]
pub(super) struct Event {
    /// Which.
    pub(super) pid: u64,
    /// When.
    pub(super) at: Instant,
    /// What.
    pub(super) what: What,
}

/// Kinds of events.
#[derive(Debug)]
pub(super) enum What {
    /// It said something of interest.
    Said(Seen),
    /// It ended, with this exit code; none after a signal.
    Ended(Option<i32>),
}

/// Starts a process. What it says goes to `log`; what is of interest in it, and its end, to `events`.
///
/// # Errors
/// It can't be started, or its log can't be written.
pub(super) fn launch(mut command: Command, log: &Path, events: Sender<Event>) -> Outcome<u64> {
    let doing = |error: &std::io::Error| Why::new(&format!("starting {command:?}"), error);
    let file = OpenOptions::new().create(true).append(true).open(log).map_err(|error| doing(&error))?;
    let output = file.try_clone().map_err(|error| doing(&error))?;
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| Why::new(&format!("starting {command:?}"), &error))?;
    let pid = child.id().into();
    thread::spawn(move || attend(child, pid, file, &events));
    Ok(pid)
}

/// Listens until the end. A line is stamped when it is read, which is never before it happened.
fn attend(mut child: Child, pid: u64, mut log: File, events: &Sender<Event>) {
    let said = child.stderr.take().map(BufReader::new);
    for line in said.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        let at = Instant::now();
        if let Some(seen) = Seen::in_line(&line) {
            let _ = events.send(Event { pid, at, what: What::Said(seen) });
        }
        let _ = writeln!(log, "{line}");
    }
    let code = child.wait().ok().and_then(|status| status.code());
    let _ = writeln!(log, "--- process {pid} ended: {code:?}");
    let _ = events.send(Event { pid, at: Instant::now(), what: What::Ended(code) });
}
