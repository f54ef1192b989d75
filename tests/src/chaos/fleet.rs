//! The processes of a run, and a launcher that starts again what ends, as Kubernetes would.

use super::{
    failure::{Outcome, Why},
    hosts::{Host, Hosts},
    process::{Event, What, launch},
    watch::Watch,
};
use crate::{program, run::signal};
use std::{
    fs,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

/// What a launcher keeps running.
#[derive(Debug)]
struct Slot {
    name: String,
    host: Host,
    spare: bool,
    life: Life,
    /// How often it was started.
    starts: u32,
    /// It was told to end.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running(u64),
    /// It is started then.
    Due(Instant),
    /// It stays away.
    Away,
}

/// A process that ended though nobody killed it or told it to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnEnd {
    /// When, since the run began.
    pub(super) at: Duration,
    /// Which.
    pub(super) name: String,
    /// How.
    pub(super) code: Option<i32>,
}

/// All processes of a run. Dropping it kills them.
pub(super) struct Fleet {
    began: Instant,
    /// Of `tandem coordinator`.
    arguments: Vec<String>,
    logs: PathBuf,
    /// The coordinator's comes first, then the workers', then the spares', and the last is away until it is wanted.
    slots: Vec<Slot>,
    events: Receiver<Event>,
    tell: Sender<Event>,
    absence: Duration,
    keeps: bool,
    own_ends: Vec<OwnEnd>,
    last_code: Option<i32>,
}

impl Fleet {
    /// Nothing runs yet. `arguments` are those of the coordinator.
    ///
    /// # Errors
    /// The folder for logs can't be made.
    pub(super) fn new(workers: usize, spares: usize, arguments: Vec<String>, logs: PathBuf) -> Outcome<Self> {
        fs::create_dir_all(&logs).map_err(|error| Why::new("making the folder for logs", &error))?;
        let now = Instant::now();
        let slot = |name: String, host, spare, life| Slot { name, host, spare, life, starts: 0, told: false };
        let worker = |number| {
            let life = if number < workers + spares { Life::Due(now) } else { Life::Away };
            let spare = (workers..workers + spares).contains(&number);
            slot(format!("worker-{number}"), Host::Worker(number), spare, life)
        };
        let coordinator = slot("coordinator".into(), Host::Hub, false, Life::Due(now));
        let slots = std::iter::once(coordinator).chain((0..=workers + spares).map(worker)).collect();
        let (tell, events) = channel();
        Ok(Self {
            began: now,
            arguments,
            logs,
            slots,
            events,
            tell,
            absence: Duration::ZERO,
            keeps: true,
            own_ends: Vec::new(),
            last_code: None,
        })
    }

    /// Time since the run began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Hears what the processes say, and starts what is due, for a while.
    ///
    /// # Errors
    /// A process that can't be started.
    pub(super) fn pass(&mut self, time: Duration, hosts: &Hosts, watch: &mut Watch) -> Outcome<()> {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            for number in 0..self.slots.len() {
                if matches!(self.slots[number].life, Life::Due(due) if due <= now) {
                    self.start(number, hosts)?;
                }
            }
            let due = self.slots.iter().filter_map(|slot| match slot.life {
                Life::Due(due) => Some(due),
                _ => None,
            });
            let next = due.chain([end]).min().unwrap_or(end);
            match self.events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => self.hear(event, watch),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= end => return Ok(()),
                Err(_) => {}
            }
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, Event { pid, at, what }: Event, watch: &mut Watch) {
        let at = at.saturating_duration_since(self.began);
        match what {
            What::Said(seen) => watch.note(pid, at, seen),
            What::Ended(code) => {
                watch.ended(pid);
                let due = if self.keeps { Life::Due(Instant::now() + self.absence) } else { Life::Away };
                let extra = Host::Worker(self.slots.len() - 2);
                let Some(slot) = self.slots.iter_mut().find(|slot| slot.life == Life::Running(pid)) else {
                    return;
                };
                slot.life = if slot.host == extra { Life::Away } else { due };
                if slot.host == Host::Hub {
                    self.last_code = code;
                }
                if !slot.told {
                    self.own_ends.push(OwnEnd { at, name: slot.name.clone(), code });
                }
            }
        }
    }

    fn start(&mut self, number: usize, hosts: &Hosts) -> Outcome<()> {
        let Slot { name, host, spare, starts, .. } = &self.slots[number];
        let mut command;
        if *host == Host::Hub {
            command = hosts.command(*host, &program("tandem"));
            command.arg("coordinator").args(&self.arguments);
            command.args((*starts > 0).then_some("--resume"));
        } else {
            command = hosts.command(*host, &program("tandem-worker"));
            command.args(["--coordinator", &format!("http://{}", hosts.coordinator())]);
            command.args(["--interface", &hosts.interface(*host)]);
            command.args(spare.then_some("--spare"));
            command.env("RUST_LOG", "info,worker=debug");
        }
        let pid = launch(command, &self.logs.join(format!("{name}.log")), self.tell.clone())?;
        let slot = &mut self.slots[number];
        (slot.life, slot.told) = (Life::Running(pid), false);
        slot.starts += 1;
        Ok(())
    }

    /// Sends a signal to some at once; they are not missed when it ends them.
    pub(super) fn signal(&mut self, name: &str, pids: &[u64]) {
        if name == "KILL" || name == "TERM" {
            let hit = self.slots.iter_mut();
            let hit = hit.filter(|slot| matches!(slot.life, Life::Running(pid) if pids.contains(&pid)));
            hit.for_each(|slot| slot.told = true);
        }
        if !pids.is_empty() {
            signal(name, pids);
        }
    }

    /// How long what ends from here on stays away.
    pub(super) fn stay_away(&mut self, absence: Duration) {
        self.absence = absence;
    }

    /// What ends from here on is not started again.
    pub(super) fn let_go(&mut self) {
        self.keeps = false;
        self.slots
            .iter_mut()
            .filter(|slot| matches!(slot.life, Life::Due(_)))
            .for_each(|slot| slot.life = Life::Away);
    }

    /// Starts the worker that is there only at times.
    pub(super) fn join(&mut self) {
        if let Some(slot) = self.slots.last_mut().filter(|slot| slot.life == Life::Away) {
            slot.life = Life::Due(Instant::now());
        }
    }

    /// The process of the worker that is there only at times.
    pub(super) fn joined(&self) -> Option<u64> {
        self.slots.last().and_then(Slot::pid)
    }

    /// The process of the coordinator, unless it is away or on its way out.
    pub(super) fn coordinator(&self) -> Option<u64> {
        self.slots.first().filter(|slot| !slot.told).and_then(Slot::pid)
    }

    /// The processes that are on their way out.
    pub(super) fn leaving(&self) -> Vec<u64> {
        self.slots.iter().filter(|slot| slot.told).filter_map(Slot::pid).collect()
    }

    /// The processes of workers.
    pub(super) fn workers(&self) -> Vec<u64> {
        self.slots.iter().skip(1).filter_map(Slot::pid).collect()
    }

    /// Where a process runs, and its name.
    pub(super) fn whereabouts(&self, pid: u64) -> Option<(Host, &str)> {
        let slot = self.slots.iter().find(|slot| slot.pid() == Some(pid))?;
        Some((slot.host, &slot.name))
    }

    /// The names of those that are there.
    pub(super) fn running(&self) -> Vec<String> {
        self.slots.iter().filter(|slot| slot.pid().is_some()).map(|slot| slot.name.clone()).collect()
    }

    /// Whether all are there that should be.
    pub(super) fn is_complete(&self) -> bool {
        self.slots.iter().all(|slot| !matches!(slot.life, Life::Due(_)))
    }

    /// The exit code of the coordinator that ended last.
    pub(super) fn last_code(&self) -> Option<i32> {
        self.last_code
    }

    /// What ended by itself.
    pub(super) fn own_ends(&self) -> &[OwnEnd] {
        &self.own_ends
    }
}

impl Slot {
    fn pid(&self) -> Option<u64> {
        match self.life {
            Life::Running(pid) => Some(pid),
            _ => None,
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let all: Vec<u64> = self.slots.iter().filter_map(Slot::pid).collect();
        self.signal("CONT", &all);
        self.signal("KILL", &all);
    }
}
