//! What leaves a worker while it trains: metrics to the coordinator, segments of the ledger and parts of checkpoints to the store.
//! All go in the background, in order; the loop hears of a failure at its next boundary.

use crate::checkpoint::Snapshot;
use crate::error::{Error, Result};
use crate::session::Voice;
use proto::checkpoint::{FOLDER, Part};
use proto::{Rank, WorldSize, v1};
use shards::committed::digest;
use shards::ledger::{self, Segment};
use shards::store::Folder;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Messages that may wait; when the coordinator is slower than that, the loop waits.
const WAITING: usize = 64;

/// Something to send.
enum Message {
    Steps(Vec<v1::StepReport>, Vec<v1::Substitution>),
    Segment(Box<Segment>),
    Part(Snapshot),
}

/// Sends in the background.
pub struct Outbox {
    runtime: Handle,
    messages: Option<mpsc::Sender<Message>>,
    sender: JoinHandle<Result<()>>,
}

impl Outbox {
    /// Starts sending for a worker that writes its part of each checkpoint into `output`, and segments that go on from `newest`.
    pub fn start(
        runtime: &Handle,
        voice: Voice,
        output: &Folder,
        (rank, world): (Rank, WorldSize),
        newest: Option<Part>,
    ) -> Self {
        let (messages, inbox) = mpsc::channel(WAITING);
        let (checkpoints, ledger) = (output.below(FOLDER), output.below(ledger::FOLDER));
        let sender = Sender { voice, checkpoints, ledger, newest, rank, world };
        let sender = runtime.spawn(sender.send(inbox));
        Self { runtime: runtime.clone(), messages: Some(messages), sender }
    }

    /// Metrics of a committed step, and rows that were replaced.
    ///
    /// # Errors
    /// What made an earlier message fail.
    pub fn steps(&mut self, steps: Vec<v1::StepReport>, substitutions: Vec<v1::Substitution>) -> Result<()> {
        self.send(Message::Steps(steps, substitutions))
    }

    /// The next segment of the run's ledger. Parts that are sent after it name it.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub fn segment(&mut self, segment: Segment) -> Result<()> {
        self.send(Message::Segment(Box::new(segment)))
    }

    /// This rank's share of a checkpoint.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub fn part(&mut self, snapshot: Snapshot) -> Result<()> {
        self.send(Message::Part(snapshot))
    }

    /// Fails if a message has failed.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub fn check(&mut self) -> Result<()> {
        if self.sender.is_finished() { self.ended() } else { Ok(()) }
    }

    /// Waits until everything is sent.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub fn finish(mut self) -> Result<()> {
        self.messages = None;
        self.ended()
    }

    fn send(&mut self, message: Message) -> Result<()> {
        let sent = self.messages.as_ref().map(|messages| self.runtime.block_on(messages.send(message)));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { self.ended() }
    }

    fn ended(&mut self) -> Result<()> {
        let ended = self.runtime.block_on(&mut self.sender);
        ended.unwrap_or_else(|lost| Err(Error::System(format!("the sender of reports broke off: {lost}"))))
    }
}

/// The task in the background.
struct Sender {
    voice: Voice,
    checkpoints: Folder,
    ledger: Folder,
    /// The newest segment of the ledger.
    newest: Option<Part>,
    rank: Rank,
    world: WorldSize,
}

impl Sender {
    async fn send(mut self, mut inbox: mpsc::Receiver<Message>) -> Result<()> {
        while let Some(message) = inbox.recv().await {
            match message {
                Message::Steps(steps, substitutions) => self.voice.report(steps, substitutions).await?,
                Message::Segment(segment) => self.chain(segment).await?,
                Message::Part(snapshot) => {
                    let request = self.write(snapshot).await?;
                    self.voice.report_part(request).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes a segment that names the one before it.
    async fn chain(&mut self, mut segment: Box<Segment>) -> Result<()> {
        segment.header.previous = self.newest.take();
        let generation = segment.entries.first().map(|entry| entry.generation).unwrap_or_default();
        let name = ledger::segment_name(segment.header.from, segment.header.to, generation);
        let encode = move || segment.encode().map_err(|bad| Error::System(format!("the ledger: {bad}")));
        let (bytes, part) = encoded(name, encode).await?;
        self.ledger.put(&part.name, bytes).await?;
        self.newest = Some(part);
        Ok(())
    }

    async fn write(&self, snapshot: Snapshot) -> Result<v1::ReportPartRequest> {
        let (step, name, state) = (snapshot.step, snapshot.name.clone(), snapshot.counters.clone());
        let (bytes, part) = encoded(name, move || snapshot.encode()).await?;
        self.checkpoints.step(step).put(&part.name, bytes).await?;
        let Part { name, size, sha256 } = part;
        let ledger = self.newest.clone().filter(|_| self.rank == Rank(0));
        let ledger = ledger.map(|Part { name, size, sha256 }| v1::Segment { name, size, sha256 });
        let (rank, parts) = (self.rank.0, self.world.0);
        let (member, generation) = (String::new(), 0);
        let step = step.0;
        Ok(v1::ReportPartRequest { member, generation, step, rank, parts, name, size, sha256, state, ledger })
    }
}

/// A file's bytes, made on a thread that may take long, and what names them.
async fn encoded(
    name: String,
    encode: impl FnOnce() -> Result<Vec<u8>> + Send + 'static,
) -> Result<(Vec<u8>, Part)> {
    let work = spawn_blocking(move || {
        let bytes = encode()?;
        let part = Part { name, size: bytes.len() as u64, sha256: digest(&bytes) };
        Ok::<_, Error>((bytes, part))
    });
    let lost =
        |lost: tokio::task::JoinError| Error::System(format!("encoding a checkpoint broke off: {lost}"));
    work.await.map_err(lost)?
}
