//! What goes into a membership's decisions, and what comes out of them.

use super::MemberId;
use proto::{Exit, Generation, GlobalStep, WorldSize, v1};
use std::time::Duration;

/// What a membership decides by.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Workers that the generation needs.
    pub workers: WorldSize,
    /// Silence after which a worker counts as lost.
    pub lost_after: Duration,
    /// The run's last step.
    pub steps: GlobalStep,
    /// The committed checkpoint to go on from; 0 starts fresh.
    pub resume: GlobalStep,
    /// The generation that the members will form.
    pub generation: Generation,
    /// Fingerprint of the dataset's manifest, hex.
    pub fingerprint: String,
}

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Workers are missing.
    Waiting,
    /// Every member has its rank; not all train yet.
    Preparing,
    /// Steps are being committed.
    Training,
    /// Somebody asked for the end; the members reach it at the next step boundary.
    Stopping,
    /// Over, as it should be.
    Finished,
    /// Over, for the reason given.
    Failed,
}

impl State {
    /// The word for people and for `StatusReply`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Training => "training",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    /// Nothing follows it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed)
    }
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the process exits with.
    pub exit: Exit,
    /// One sentence.
    pub reason: String,
}

/// What a worker says with every heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// The worker.
    pub member: MemberId,
    /// Its generation; 0 before the first assignment.
    pub generation: Generation,
    /// Committed updates.
    pub applied: GlobalStep,
    /// What it is doing.
    pub phase: v1::Phase,
}

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The message belongs to another generation.
    #[error("generation {found} is not the current one, {current}; leave, and join again")]
    Stale {
        /// Of the message.
        found: Generation,
        /// Of the run.
        current: Generation,
    },
    /// No such member.
    #[error("worker {0} is unknown here: it left, was lost, or joined an earlier coordinator; join again")]
    Unknown(MemberId),
    /// There is no room.
    #[error("the run has the {0} workers that it needs (run.workers)")]
    Full(WorldSize),
    /// The run is over.
    #[error("the run is over: {0}")]
    Over(String),
    /// The operator named another generation than the current one.
    #[error(
        "the run is in generation {current}, not in the expected {expected}; look at `tandem status` and ask again"
    )]
    NotExpected {
        /// Of the request.
        expected: Generation,
        /// Of the run.
        current: Generation,
    },
}
