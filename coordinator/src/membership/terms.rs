//! What goes into a membership's decisions, and what comes out of them.

use super::MemberId;
use crate::settings::Settings;
use proto::{Exit, Generation, GlobalStep, WorldSize, v1};
use std::time::Duration;

/// What a membership decides by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Workers that the run should have.
    pub wanted: WorldSize,
    /// Fewest with which it goes on.
    pub least: WorldSize,
    /// Most that take part.
    pub most: WorldSize,
    /// Streams of rows that the ranks share out.
    pub lanes: u32,
    /// How long a run that lost workers waits for others before it goes on with fewer.
    pub grace: Duration,
    /// Silence after which a worker counts as lost.
    pub lost_after: Duration,
    /// The run's last step.
    pub steps: GlobalStep,
    /// What operators may turn while it goes on.
    pub settings: Settings,
    /// Fingerprint of the dataset's manifest, hex.
    pub fingerprint: String,
}

/// How many workers take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scale {
    /// That the run should have.
    pub wanted: WorldSize,
    /// Fewest with which it goes on.
    pub least: WorldSize,
    /// Most that take part.
    pub most: WorldSize,
}

/// What is known of the run before this coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    /// The how-manieth coordinator of the run this one is, from 1.
    pub epoch: u64,
    /// The newest generation; 0 for none.
    pub generation: Generation,
    /// Its members, by rank, if it may still be going on.
    pub seats: Vec<Seat>,
    /// The newest committed checkpoint; 0 for none.
    pub committed: GlobalStep,
    /// The generation that wrote it.
    pub committed_by: Generation,
    /// The newest request for a checkpoint that a committed one has answered.
    pub answered: u64,
    /// Those of the members that were told to go.
    pub drained: Vec<MemberId>,
    /// The members were told to stop, with or without a checkpoint.
    pub stop: Option<bool>,
    /// Who has paused the run.
    pub paused: Option<String>,
}

/// With what a generation begins: the same for all its members, whatever is decided meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Begun {
    /// The newest checkpoint.
    pub(super) committed: (Generation, GlobalStep),
    /// The newest request for one that was answered.
    pub(super) answered: u64,
    /// Steps between them.
    pub(super) every: u64,
}

/// A member of a generation; its rank is its place among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// Whose.
    pub member: MemberId,
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Its share of the lanes is proportional to this.
    pub weight: u32,
    /// Takes part only in the place of a worker that was lost.
    pub spare: bool,
    /// Its number among the workers of its machine.
    pub slot: u32,
}

/// A generation that begins as soon as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Its number.
    pub generation: Generation,
    /// Its members, by rank.
    pub seats: Vec<Seat>,
    /// The step with which it begins: the newest that one of them holds, or that of the newest checkpoint.
    pub step: GlobalStep,
}

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Workers are missing, and none holds the run.
    Waiting,
    /// Every member has its rank; not all train yet.
    Preparing,
    /// Steps are being committed.
    Training,
    /// The generation has ended; those that hold the run form another.
    Regrouping,
    /// Somebody asked that no generation begins; who holds the run waits.
    Paused,
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
            Self::Regrouping => "regrouping",
            Self::Paused => "paused",
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Whether that is how it should end, or the next best.
    pub state: State,
    /// What the process exits with.
    pub exit: Exit,
    /// One sentence.
    pub reason: String,
}

/// What a worker says with every heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The worker.
    pub member: MemberId,
    /// The newest generation in which it had a seat; 0 before the first.
    pub generation: Generation,
    /// Committed updates.
    pub applied: GlobalStep,
    /// What it is doing.
    pub phase: v1::Phase,
    /// Its collectives failed: the generation can't go on.
    pub broken: bool,
    /// The newest generation in which its state was settled with the others'; 0: it holds none of the run.
    pub settled: Generation,
}

/// How a worker takes its leave.
pub type Goodbye = Result<(), (Exit, String)>;

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The message belongs to another generation.
    #[error("generation {found} is not the current one, {current}; join again")]
    Stale {
        /// Of the message.
        found: Generation,
        /// Of the run.
        current: Generation,
    },
    /// No such member.
    #[error("worker {0} is unknown here: it left, was lost, or joined an earlier coordinator; join again")]
    Unknown(MemberId),
    /// An operator named a worker that is not here.
    #[error("there is no worker {0:?}: give its name or its rank, as `tandem workers` shows them")]
    Nobody(String),
    /// What an operator asks for can't be, as the run is.
    #[error("{0}")]
    Impossible(String),
    /// An operator gives a value that can't be.
    #[error("{0}")]
    Invalid(String),
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
