//! What leaves a worker while it trains: metrics to the coordinator, segments of the ledger and parts of checkpoints to the store.
//! All go in the background, in order, over generations; the loop hears of a failure at its next boundary. A checkpoint that can't be
//! written is told and given up, as often as the run allows: the next one comes.

use crate::checkpoint::Snapshot;
use crate::error::{Error, Result};
use crate::ledger::Closed;
use crate::session::{Told, Voice};
use crate::vote::Safe;
use proto::checkpoint::{FOLDER, Part};
use proto::config::CheckpointSection;
use proto::{Generation, GlobalStep, v1};
use shards::committed::digest;
use shards::ledger;
use shards::store::Folder;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

/// How long the last checkpoint's next attempt waits.
const AGAIN: Duration = Duration::from_secs(5);
/// How soon the last checkpoint is asked after: first, and at most.
const ASK: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// How often a wait looks whether it is still of use.
const LOOK: Duration = Duration::from_millis(100);

/// Something to send; metrics and segments with the branch that they are of.
enum Message {
    Steps(u64, Vec<v1::StepReport>, Vec<v1::Substitution>),
    Segment(u64, Closed),
    Part(Box<Share>),
}

/// A rank's share of a checkpoint.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) snapshot: Snapshot,
    pub(crate) generation: Generation,
    /// This rank, and how many there are.
    pub(crate) rank: u32,
    pub(crate) parts: u32,
    /// Of rank 0: the newest segment of the ledger, and the request that this checkpoint answers.
    pub(crate) ledger: Option<Part>,
    pub(crate) request: u64,
    /// The run ends with it, so it is tried again, and waited for.
    pub(crate) last: bool,
}

/// Sends in the background.
pub(crate) struct Outbox {
    messages: mpsc::UnboundedSender<Message>,
    /// Messages that were sent, and how many of them are done with.
    sent: u64,
    /// How often this worker has taken a state that does not go on from its own.
    branch: u64,
    settled: watch::Receiver<u64>,
    sender: JoinHandle<Result<()>>,
    runtime: Handle,
    done: Arc<Done>,
}

/// How far the sender is.
#[derive(Default)]
struct Done {
    reached: Mutex<Reached>,
    /// Shares that are not written yet.
    shares: AtomicU64,
    /// The last share that the run was to end with and that became of no use: its generation, and why.
    given_up: Mutex<Option<(Generation, String)>>,
}

/// What has arrived of a branch.
#[derive(Clone, Copy, Default)]
struct Reached {
    branch: u64,
    safe: Safe,
}

impl Done {
    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of(&self, branch: u64) -> bool {
        self.reached().branch == branch
    }

    /// Takes note of what has arrived, unless it is of a branch that counts no more.
    fn note(&self, branch: u64, arrived: impl FnOnce(&mut Safe)) {
        let mut reached = self.reached();
        if reached.branch == branch {
            arrived(&mut reached.safe);
        }
    }
}

impl Outbox {
    /// Starts sending for a worker that writes into `output`.
    pub(crate) fn start(
        runtime: &Handle,
        voice: Voice,
        output: &Folder,
        section: &CheckpointSection,
    ) -> Self {
        // Reports are small and the number of shares is bounded by the loop.
        let (messages, inbox) = mpsc::unbounded_channel();
        let done = Arc::new(Done::default());
        let (settle, settled) = watch::channel(0);
        let sender = Sender {
            voice,
            checkpoints: output.below(FOLDER),
            ledger: output.below(ledger::FOLDER),
            section: section.clone(),
            unwritten: VecDeque::new(),
            failures: 0,
            done: done.clone(),
            settle,
        };
        let sender = runtime.spawn(sender.send(inbox));
        Self { messages, sent: 0, branch: 0, settled, sender, runtime: runtime.clone(), done }
    }

    /// Metrics of committed steps, and rows that were replaced.
    ///
    /// # Errors
    /// What made an earlier message fail.
    pub(crate) fn steps(&mut self, steps: Vec<v1::StepReport>, rows: Vec<v1::Substitution>) -> Result<()> {
        self.send(Message::Steps(self.branch, steps, rows))
    }

    /// The next segment of the run's ledger.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub(crate) fn segment(&mut self, segment: Closed) -> Result<()> {
        self.send(Message::Segment(self.branch, segment))
    }

    /// This rank's share of a checkpoint.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub(crate) fn share(&mut self, share: Share) -> Result<()> {
        self.done.shares.fetch_add(1, Ordering::Relaxed);
        self.send(Message::Part(Box::new(share)))
    }

    /// Whether a share is still being written: another snapshot would take its memory once more.
    pub(crate) fn writes(&self) -> bool {
        self.done.shares.load(Ordering::Relaxed) > 0
    }

    /// What has arrived.
    pub(crate) fn safe(&self) -> Safe {
        self.done.reached().safe
    }

    /// This worker has taken a state that does not go on from its own: what has arrived, or is on its way, is of a branch that was
    /// given up.
    pub(crate) fn branch_off(&mut self) {
        self.branch += 1;
        *self.done.reached() = Reached { branch: self.branch, safe: Safe::default() };
    }

    /// Fails if a message has failed.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.sender.is_finished() { self.ended() } else { Ok(()) }
    }

    /// Waits until everything is sent, or until `over` says that it is of no use.
    ///
    /// # Errors
    /// As [`steps`](Self::steps), and those of `over`.
    pub(crate) fn flush(&mut self, over: impl Fn() -> Result<()>) -> Result<()> {
        loop {
            self.check()?;
            over()?;
            let settled = self.settled.wait_for(|settled| *settled >= self.sent);
            let waited = self.runtime.block_on(async { timeout(LOOK, settled).await.map(drop) });
            if waited.is_ok() {
                return self.check();
            }
        }
    }

    /// Fails if the checkpoint that the run was to end with was given up in `generation`.
    ///
    /// # Errors
    /// [`Error::Unseated`].
    pub(crate) fn kept(&self, generation: Generation) -> Result<()> {
        let given_up = self.done.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        match given_up.as_ref().filter(|(of, _)| *of == generation) {
            Some((_, reason)) => Err(Error::Unseated { generation, reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn send(&mut self, message: Message) -> Result<()> {
        self.sent += 1;
        if self.messages.send(message).is_ok() { Ok(()) } else { self.ended() }
    }

    fn ended(&mut self) -> Result<()> {
        let broken = |lost| Error::System(format!("the sender of reports broke off: {lost}"));
        self.runtime.block_on(&mut self.sender).map_err(broken)?
    }
}

/// The task in the background.
struct Sender {
    voice: Voice,
    checkpoints: Folder,
    ledger: Folder,
    section: CheckpointSection,
    /// Segments that the store did not take yet.
    unwritten: VecDeque<(u64, Closed)>,
    /// Checkpoints in a row that could not be written.
    failures: u32,
    done: Arc<Done>,
    settle: watch::Sender<u64>,
}

impl Sender {
    async fn send(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) -> Result<()> {
        while let Some(message) = inbox.recv().await {
            match message {
                Message::Steps(branch, steps, substitutions) => {
                    let last = GlobalStep(steps.last().map_or(0, |report| report.step));
                    self.voice.report(steps, substitutions, || self.done.is_of(branch)).await?;
                    self.done.note(branch, |safe| safe.reported = safe.reported.max(last));
                }
                Message::Segment(branch, segment) => {
                    self.unwritten.push_back((branch, segment));
                    if let Err(error) = self.write_segments().await {
                        tracing::warn!("the ledger is kept in memory for now: {error}");
                    }
                }
                Message::Part(share) => {
                    let done = self.keep(*share).await;
                    self.done.shares.fetch_sub(1, Ordering::Relaxed);
                    done?;
                }
            }
            self.settle.send_modify(|settled| *settled += 1);
        }
        Ok(())
    }

    /// Writes and reports a share. Fails when that has failed too often.
    async fn keep(&mut self, share: Share) -> Result<()> {
        let (step, last) = (share.snapshot.step, share.last);
        let share = Arc::new(share);
        loop {
            let Err(error) = self.write(&share).await else {
                self.failures = 0;
                return Ok(());
            };
            self.failures += 1;
            if !matches!(error, Error::Store(_)) || self.failures > self.section.failures {
                return Err(error);
            }
            tracing::warn!(
                "the checkpoint of step {step} is not written ({} of checkpoint.failures = {}): {error}",
                self.failures,
                self.section.failures
            );
            if !last {
                return Ok(());
            }
            sleep(AGAIN).await;
        }
    }

    async fn write_segments(&mut self) -> Result<()> {
        while let Some((branch, Closed { part, to, bytes })) = self.unwritten.front() {
            if self.done.is_of(*branch) {
                self.ledger.put(&part.name, bytes.to_vec()).await?;
                self.done.note(*branch, |safe| safe.ledger = safe.ledger.max(*to));
            }
            self.unwritten.pop_front();
        }
        Ok(())
    }

    #[tracing::instrument(target = "spans", level = "trace", name = "write checkpoint", skip_all, fields(step = share.snapshot.step.0 as i64))]
    async fn write(&mut self, share: &Arc<Share>) -> Result<()> {
        self.write_segments().await?;
        let given = share.clone();
        let encode = spawn_blocking(move || {
            let bytes = given.snapshot.encode()?;
            let sha256 = digest(&bytes);
            Ok::<_, Error>((bytes, sha256))
        });
        let lost = |lost| Error::System(format!("encoding a checkpoint broke off: {lost}"));
        let (bytes, sha256) = encode.await.map_err(lost)??;
        let Share { snapshot, generation, rank, parts, ledger, request, .. } = &**share;
        let (name, size) = (snapshot.name.clone(), bytes.len() as u64);
        let pace = self.section.upload_mib;
        self.checkpoints.step(snapshot.step).put_paced(&name, bytes, pace).await?;
        let ledger = ledger.clone().map(|Part { name, size, sha256 }| v1::Segment { name, size, sha256 });
        let request = v1::ReportPartRequest {
            member: String::new(),
            generation: generation.0,
            step: snapshot.step.0,
            rank: *rank,
            parts: *parts,
            name,
            size,
            sha256,
            state: snapshot.counters.clone(),
            ledger,
            checkpoint_request: *request,
        };
        self.tell(request, share.last).await
    }

    /// Reports a part; the last one until its checkpoint is committed, or of no use.
    async fn tell(&self, part: v1::ReportPartRequest, last: bool) -> Result<()> {
        let [mut pause, longest] = ASK;
        let generation = Generation(part.generation);
        loop {
            match self.voice.report_part(part.clone()).await? {
                Told::GivenUp(reason) if last => {
                    let mut given_up = self.done.given_up.lock().unwrap_or_else(PoisonError::into_inner);
                    *given_up = Some((generation, reason));
                    return Ok(());
                }
                Told::Taken if last => {}
                _ => return Ok(()),
            }
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_of_a_branch_that_was_given_up_counts_no_more() {
        let done = Done::default();
        let arrives = |branch: u64, step: u64| {
            done.note(branch, |safe| safe.reported = GlobalStep(step));
            let reached = *done.reached();
            reached.safe.reported.0
        };
        assert_eq!(arrives(0, 190), 190);
        *done.reached() = Reached { branch: 1, safe: Safe::default() };
        assert_eq!(arrives(0, 191), 0);
        assert!(done.is_of(1) && !done.is_of(0));
        assert_eq!(arrives(1, 151), 151);
    }
}
