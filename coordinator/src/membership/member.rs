//! One worker as the coordinator sees it.

use proto::{Generation, GlobalStep, Rank, v1};
use std::{fmt, str::FromStr, time::Duration};

/// A worker's name: unlike its rank it exists before the generation does, and no later coordinator gives it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The generation that it joined for.
    pub generation: Generation,
    /// The how-manieth join this was, from 1.
    pub number: u32,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.number)
    }
}

/// A text that is no worker's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no worker's name; send the one that Join returned")]
pub struct NoMember(String);

impl FromStr for MemberId {
    type Err = NoMember;

    fn from_str(text: &str) -> Result<Self, NoMember> {
        let parsed = text.split_once('-').and_then(|(generation, number)| {
            Some(Self { generation: Generation(generation.parse().ok()?), number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| NoMember(text.chars().take(80).collect()))
    }
}

/// Whether a worker is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It sends heartbeats.
    Here,
    /// It said that it goes.
    Left,
    /// It fell silent, or its process ended without a word.
    Lost,
}

/// One worker.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Its rank, once the generation has started.
    pub rank: Option<Rank>,
    /// What it is doing.
    pub phase: v1::Phase,
    /// Its committed updates.
    pub applied: GlobalStep,
    /// When it was last heard.
    pub heard: Duration,
    /// Whether it is still there.
    pub presence: Presence,
}

impl Member {
    /// A worker that has just joined.
    pub fn new(host: &str, pid: u32, now: Duration) -> Self {
        Self {
            host: host.into(),
            pid,
            rank: None,
            phase: v1::Phase::Waiting,
            applied: GlobalStep(0),
            heard: now,
            presence: Presence::Here,
        }
    }
}
