//! The workers of a run on this machine: as many places as it wants, and in each one process after the other.

use crate::{
    Result,
    control::Control,
    start::Launch,
    supervise::{Next, Slot},
    workers::{Ended, Given, Workers, is_worker},
};
use proto::Exit;
use std::{path::Path, time::Duration};

/// The places and their processes.
pub struct Crew {
    host: String,
    workers: Workers,
    slots: Vec<Slot>,
    running: usize,
}

impl Crew {
    /// Starts the workers that a run wants on this machine, and `spares` more. Those of a coordinator that was killed keep their
    /// places if they are still at work.
    ///
    /// # Errors
    /// A missing program, logs that can't be written.
    pub fn start(launch: &Launch, spares: u32, given: Given<'_>, logs: &Path) -> Result<Self> {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let mut workers = Workers::new(&launch.url, given, logs)?;
        let wanted = launch.config.run.workers;
        let slot = |number| Slot::new(number >= wanted, launch.lead.resume);
        let mut slots: Vec<Slot> = (0..wanted + spares).map(slot).collect();
        let mut free: Vec<usize> = (0..slots.len()).collect();
        for seat in launch.lead.adopted.iter().filter(|seat| seat.host == host) {
            if !is_worker(seat.pid) {
                launch.lead.control.decide(|membership, now| {
                    membership.exited(seat.pid, &host, Exit::Lost, "has ended", now);
                });
                continue;
            }
            let place = free.iter().position(|slot| slots.get(*slot).is_some_and(|s| s.spare == seat.spare));
            let slot = place.map(|place| free.remove(place)).unwrap_or_else(|| {
                slots.push(Slot::new(seat.spare, launch.lead.resume));
                slots.len() - 1
            });
            workers.adopt(slot, seat.pid);
        }
        for slot in free {
            workers.start(slot, slots.get(slot).is_some_and(|slot| slot.spare), Duration::ZERO);
        }
        let running = slots.len();
        Ok(Self { host, workers, slots, running })
    }

    /// Whether there are processes.
    pub fn is_here(&self) -> bool {
        self.running > 0
    }

    /// Waits for the end of a process, tells it, and starts another one in its place where the run still needs it.
    pub async fn work(&mut self, control: &Control) {
        let Some(Ended { slot, pid, exit, how, lived }) = self.workers.next_end().await else {
            self.running = 0;
            return;
        };
        tracing::info!("worker process {pid} {how}");
        control.decide(|membership, now| membership.exited(pid, &self.host, exit, &how, now));
        let now = control.watch().borrow().clone();
        let place = self.slots.get_mut(slot).filter(|_| now.verdict.is_none());
        let next = place.map_or(Next::Leave, |place| place.ended(exit, lived, now.step));
        match next {
            Next::Start(wait) => {
                let spare = self.slots.get(slot).is_some_and(|slot| slot.spare);
                self.workers.start(slot, spare, wait);
            }
            Next::Leave => self.running -= 1,
            Next::Fail => {
                self.running -= 1;
                let reason = format!(
                    "worker {slot} of this machine does not come up: its process {pid} {how}, as those before it did"
                );
                control.decide(|membership, _| membership.fail(Exit::Lost, reason));
            }
        }
    }

    /// Starts no more.
    pub fn close(&self) {
        self.workers.close();
    }

    /// Kills those that still run.
    pub fn kill(&self) {
        self.workers.kill();
    }

    /// Lets them go on without this program.
    pub async fn release(self) {
        self.workers.release().await;
    }
}
