//! What a run's journal says: the decisions, and what they add up to. Pure: nothing here reads a store.

use crate::settings::Settings;
use proto::{Exit, Generation, GlobalStep, Rank};
use serde::{Deserialize, Serialize};

/// What a coordinator says of itself when it takes over a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The run's name.
    pub run: String,
    /// Where it serves.
    pub url: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Hash of the run's configuration.
    pub config: String,
    /// Drawn anew by every process: tells apart two that are the same in all else, such as containers.
    pub nonce: u64,
}

/// A worker that has a place in a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    /// The worker's name.
    pub member: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Its number in the generation.
    pub rank: Rank,
    /// Its share of the lanes is proportional to this.
    pub weight: u32,
    /// It joined as a spare.
    pub spare: bool,
    /// Its number among the workers of its machine.
    pub slot: u32,
}

/// A checkpoint that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committed {
    /// Its step.
    pub step: GlobalStep,
    /// The generation that wrote it.
    pub generation: Generation,
    /// The newest request for a checkpoint that it answers.
    pub request: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Its exit code.
    pub code: u8,
    /// Why, in words.
    pub reason: String,
}

/// What an operator has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Of the request, drawn by who asks.
    pub id: String,
    /// Who asks.
    pub by: String,
    /// For what, in words.
    pub what: String,
}

/// How many workers take part, where an operator has changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// That the run should have.
    pub workers: u32,
    /// Fewest with which it goes on.
    pub min_workers: u32,
    /// Most that take part.
    pub max_workers: u32,
}

/// A decision of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// It takes over the run. Every coordinator before it is fenced by that.
    Opened(Opening),
    /// A membership. Its number is larger than all before it.
    Generation {
        /// Its number.
        generation: Generation,
        /// Who takes part.
        seats: Vec<Seat>,
    },
    /// A checkpoint is committed.
    Committed(Committed),
    /// An older checkpoint is the newest, since those after it are gone or are to go; none where none is left.
    Rewound(Option<Committed>),
    /// A worker is to be left out of the next generation.
    Drained {
        /// The worker's name.
        member: String,
    },
    /// An operator asks. What follows from it is an entry of its own, where a later coordinator has to know it.
    Asked(Asked),
    /// No generation is to begin until the run is resumed.
    Paused {
        /// Who asked.
        by: String,
    },
    /// The run goes on.
    Resumed,
    /// Another number of workers takes part.
    Scaled(Scale),
    /// Knobs are turned.
    Set(Settings),
    /// The run is to stop at its next step boundary.
    Stopping {
        /// With a checkpoint.
        checkpoint: bool,
    },
    /// The run is over.
    Ended(End),
}

/// What all decisions up to one add up to: enough to go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// How many coordinators have opened the journal; the last one is the only one that may write.
    pub epoch: u64,
    /// The last one.
    pub by: Opening,
    /// The newest generation; 0 for none.
    pub generation: Generation,
    /// Who takes part in it.
    pub seats: Vec<Seat>,
    /// Who is to be left out of the next one.
    pub drained: Vec<String>,
    /// The newest committed checkpoint.
    pub committed: Option<Committed>,
    /// Later ones may still be there, and are to go before anything else is decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rewound: bool,
    /// The run is to stop, and whether with a checkpoint.
    pub stopping: Option<bool>,
    /// The run is paused, and who asked.
    pub paused: Option<String>,
    /// The number of workers that an operator has asked for.
    pub scale: Option<Scale>,
    /// The knobs that operators have turned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// The newest request of an operator.
    pub asked: Option<String>,
    /// The run is over, and nobody has opened it since.
    pub ended: Option<End>,
}

/// A generation that does not grow: whoever asks for it has not read the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("generation {next} does not follow generation {last}; this is a defect of Tandem, please report it")]
pub struct Backwards {
    /// The newest.
    pub last: Generation,
    /// The one that was to follow.
    pub next: Generation,
}

impl End {
    /// A run that ended so.
    pub fn new(exit: Exit, reason: impl Into<String>) -> Self {
        Self { code: exit.code(), reason: reason.into() }
    }

    /// Its exit code, where this Tandem knows it.
    pub fn exit(&self) -> Option<Exit> {
        Exit::from_code(self.code.into())
    }
}

impl Past {
    /// What it is after one more decision. One that has been taken changes nothing.
    ///
    /// # Errors
    /// A generation that is not larger than the newest, nor the newest itself.
    pub fn apply(&self, event: &Event) -> Result<Self, Backwards> {
        let mut next = self.clone();
        match event {
            Event::Opened(by) => {
                next.epoch += 1;
                // Another configuration says anew how many workers there are.
                let same = by.config == self.by.config;
                next.scale = self.scale.filter(|_| same);
                next.settings.take_if(|_| !same);
                next.by = by.clone();
                // What stopped or ended it is over as well; who takes over a run that goes on has to know it all.
                if next.ended.take().is_some() {
                    (next.stopping, next.paused, next.scale) = (None, None, None);
                    next.drained.clear();
                }
            }
            Event::Generation { generation, seats } => {
                if (*generation, seats) == (self.generation, &self.seats) {
                    return Ok(next);
                }
                if *generation <= self.generation {
                    return Err(Backwards { last: self.generation, next: *generation });
                }
                (next.generation, next.seats) = (*generation, seats.clone());
                next.rewound = false;
                next.drained.clear();
            }
            Event::Committed(new) => {
                next.rewound = false;
                let old = self.committed.unwrap_or(*new);
                let newest = if new.step > old.step { *new } else { old };
                next.committed = Some(Committed { request: new.request.max(old.request), ..newest });
            }
            Event::Rewound(newest) => {
                next.rewound = true;
                // Numbers of requests grow all the same.
                let request = self.committed.map_or(0, |old| old.request);
                next.committed =
                    newest.map(|newest| Committed { request: newest.request.max(request), ..newest });
                // While the run goes on, it takes the number of a generation for itself: what was settled before does not count.
                if let Some(by) = newest.map(|newest| newest.generation).filter(|by| *by > self.generation) {
                    next.generation = by;
                    next.seats.clear();
                }
            }
            Event::Drained { member } => {
                if !next.drained.contains(member) {
                    next.drained.push(member.clone());
                }
            }
            Event::Asked(asked) => next.asked = Some(asked.id.clone()),
            Event::Paused { by } => next.paused = Some(by.clone()),
            Event::Resumed => next.paused = None,
            Event::Scaled(scale) => next.scale = Some(*scale),
            Event::Set(settings) => next.settings = Some(settings.clone()),
            Event::Stopping { checkpoint } => next.stopping = Some(*checkpoint),
            Event::Ended(end) => {
                next.ended = Some(end.clone());
                next.seats.clear();
            }
        }
        Ok(next)
    }
}
