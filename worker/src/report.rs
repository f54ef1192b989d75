//! What leaves a worker while it trains: metrics to the coordinator, and parts of checkpoints to the store. Both go in the
//! background, in order; the loop hears of a failure at its next boundary.

use crate::checkpoint::Snapshot;
use crate::error::{Error, Result};
use crate::session::Voice;
use proto::v1;
use shards::committed::digest;
use shards::store::Folder;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Messages that may wait; when the coordinator is slower than that, the loop waits.
const WAITING: usize = 64;

/// Something to send.
enum Message {
    Steps(Vec<v1::StepReport>, Vec<v1::Substitution>),
    Part(Snapshot),
}

/// Sends in the background.
pub struct Outbox {
    runtime: Handle,
    messages: Option<mpsc::Sender<Message>>,
    sender: JoinHandle<Result<()>>,
}

impl Outbox {
    /// Starts sending for a worker that writes part number `rank` of `parts` into `checkpoints`.
    pub fn start(runtime: &Handle, voice: Voice, checkpoints: Folder, rank: u32, parts: u32) -> Self {
        let (messages, inbox) = mpsc::channel(WAITING);
        let sender = runtime.spawn(send(inbox, voice, checkpoints, rank, parts));
        Self { runtime: runtime.clone(), messages: Some(messages), sender }
    }

    /// Metrics of a committed step, and rows that were replaced.
    ///
    /// # Errors
    /// What made an earlier message fail.
    pub fn steps(&mut self, steps: Vec<v1::StepReport>, substitutions: Vec<v1::Substitution>) -> Result<()> {
        self.send(Message::Steps(steps, substitutions))
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

async fn send(
    mut inbox: mpsc::Receiver<Message>,
    voice: Voice,
    checkpoints: Folder,
    rank: u32,
    parts: u32,
) -> Result<()> {
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Steps(steps, substitutions) => voice.report(steps, substitutions).await?,
            Message::Part(snapshot) => {
                let request = write(snapshot, &checkpoints, rank, parts).await?;
                voice.report_part(request).await?;
            }
        }
    }
    Ok(())
}

async fn write(
    snapshot: Snapshot,
    checkpoints: &Folder,
    rank: u32,
    parts: u32,
) -> Result<v1::ReportPartRequest> {
    let (step, name, state) = (snapshot.step, snapshot.name.clone(), snapshot.counters.clone());
    let encoded = spawn_blocking(move || {
        let bytes = snapshot.encode()?;
        let sha256 = digest(&bytes);
        Ok::<_, Error>((bytes, sha256))
    });
    let lost =
        |lost: tokio::task::JoinError| Error::System(format!("encoding a checkpoint broke off: {lost}"));
    let (bytes, sha256) = encoded.await.map_err(lost)??;
    let size = bytes.len() as u64;
    checkpoints.step(step).put(&name, bytes).await?;
    let (member, generation) = (String::new(), 0);
    Ok(v1::ReportPartRequest { member, generation, step: step.0, rank, parts, name, size, sha256, state })
}
