//! One worker as the coordinator sees it.

use super::Beat;
use proto::{Generation, GlobalStep, v1};
use std::{fmt, str::FromStr, time::Duration};

/// A worker's name: unlike its rank it exists before a generation does, and no later coordinator gives it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The how-manieth coordinator of the run it joined.
    pub epoch: u64,
    /// The how-manieth join there this was, from 1.
    pub number: u32,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

/// A text that is no worker's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no worker's name; send the one that Join returned")]
pub struct NoMember(String);

impl FromStr for MemberId {
    type Err = NoMember;

    fn from_str(text: &str) -> Result<Self, NoMember> {
        let parsed = text.split_once('-').and_then(|(epoch, number)| {
            Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| NoMember(text.chars().take(80).collect()))
    }
}

/// Whether a worker listens for what it has to do. A process that is killed takes its stream along; so does a network that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// It has not attended yet.
    Never,
    /// It listens; the number tells its streams apart.
    Open(u32),
    /// The stream with that number, its last, has ended.
    Gone(u32),
}

/// One worker that is here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Takes part only in the place of a worker that was lost.
    pub spare: bool,
    /// Its share of the lanes is proportional to this.
    pub weight: u32,
    /// The lowest number that no other member of its machine had when it joined: its device.
    pub slot: u32,
    /// What it is doing; unspecified until it is heard.
    pub phase: v1::Phase,
    /// The newest generation in which it says that it had a seat.
    pub generation: Generation,
    /// Its committed updates.
    pub applied: GlobalStep,
    /// The newest generation in which its state was settled with the others'; 0: it holds none of the run.
    pub settled: Generation,
    /// When it was last heard.
    pub heard: Duration,
    /// Whether it listens.
    pub stream: Stream,
    /// It was told to go.
    pub draining: bool,
}

impl Member {
    /// A worker that has just joined.
    pub(super) fn new(host: &str, pid: u32, now: Duration) -> Self {
        Self {
            host: host.into(),
            pid,
            spare: false,
            weight: 1,
            slot: 0,
            phase: v1::Phase::Warming,
            generation: Generation(0),
            applied: GlobalStep(0),
            settled: Generation(0),
            heard: now,
            stream: Stream::Never,
            draining: false,
        }
    }

    /// Takes over what it says; whether that is more than another step.
    pub(super) fn hear(&mut self, beat: Beat, now: Duration) -> bool {
        let before = (self.phase, self.generation, self.settled);
        self.heard = now;
        self.phase = beat.phase;
        // Within a generation a worker never goes back; a message that was overtaken may say so.
        let same = (beat.generation, beat.settled) == (self.generation, self.settled);
        self.applied = if same { self.applied.max(beat.applied) } else { beat.applied };
        self.generation = beat.generation;
        self.settled = beat.settled;
        before != (self.phase, self.generation, self.settled)
    }

    /// Whether it has ever had a part in the run's state.
    pub(super) fn holds(&self) -> bool {
        self.settled.0 > 0
    }

    /// Ready for a seat. One whose stream is gone may be dead: it is waited for until it listens again.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == v1::Phase::Waiting && !matches!(self.stream, Stream::Gone(_))
    }
}
