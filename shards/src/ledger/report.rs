//! What the ledger proves, and what it does not.

use super::StandIn;
use proto::{GlobalStep, LaneId};
use serde::Serialize;
use std::{fmt, ops::Range};

/// How many there are of something, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Named {
    /// All.
    pub count: u64,
    /// The manifest's numbers of the first.
    pub first: Vec<u64>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        write!(f, "{}", rows.join(", "))?;
        match self.count.saturating_sub(self.first.len() as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochReport {
    /// Whose: of the dataset's weighted sources, or 0 for the whole.
    pub pool: u32,
    /// Which.
    pub epoch: u64,
    /// All lanes have left it.
    pub complete: bool,
    /// Rows of the pool.
    pub rows: u64,
    /// Of these, how many the run's steps had to commit.
    pub due: u64,
    /// Rows committed exactly once.
    pub committed_once: u64,
    /// Slots that were committed with another row in the place of their own.
    pub substituted: u64,
    /// Rows that had to be committed, and were not.
    pub missing: Named,
    /// Rows committed more than once.
    pub repeated: Named,
}

/// Something that keeps the ledger from being a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// A segment that is missing, altered, or of another run.
    Segment {
        /// Its name.
        segment: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Steps that no segment holds.
    Missing {
        /// The steps.
        steps: Range<u64>,
        /// What they had to commit.
        rows: Named,
    },
    /// A step at the wrong place.
    Step {
        /// The step.
        step: GlobalStep,
        /// The segment.
        segment: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A lane whose slots held something else than its rows.
    Lane {
        /// The step.
        step: GlobalStep,
        /// The lane.
        lane: LaneId,
        /// Its slots.
        slots: Range<u64>,
        /// The rows that belong there.
        rows: Named,
        /// The step and lane whose rows stood there, where they are known.
        held: Option<(GlobalStep, LaneId)>,
    },
    /// A substitution that can't be.
    StandIn {
        /// The substitution.
        stand_in: StandIn,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { segment, reason } => write!(f, "segment {segment}: {reason}"),
            Self::Missing { steps, rows } if steps.end - steps.start == 1 => {
                write!(f, "step {} is in no segment of the chain; it had to commit rows {rows}", steps.start)
            }
            Self::Missing { steps, rows } => {
                let (first, last) = (steps.start, steps.end - 1);
                write!(
                    f,
                    "steps {first} to {last} are in no segment of the chain; they had to commit rows {rows}"
                )
            }
            Self::Step { step, segment, reason } => write!(f, "step {step} in segment {segment}: {reason}"),
            Self::Lane { step, lane, slots, rows, held } => {
                let (first, last) = (slots.start, slots.end - 1);
                write!(
                    f,
                    "step {step}, lane {lane}, slots {first} to {last}: not rows {rows} were committed"
                )?;
                match held {
                    Some((step, lane)) => write!(f, ", but those of step {step}, lane {lane}"),
                    None => Ok(()),
                }
            }
            Self::StandIn { stand_in: StandIn { step, slot, row, substitute }, reason } => {
                write!(f, "step {step}, slot {slot}: row {substitute} for row {row}: {reason}")
            }
        }
    }
}

/// What a run's ledger proves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The last committed step.
    pub steps: u64,
    /// Segments that were read.
    pub segments: u64,
    /// The epochs that were begun.
    pub epochs: Vec<EpochReport>,
    /// The first substitutions.
    pub stand_ins: Vec<StandIn>,
    /// How many substitutions there are.
    pub substituted: u64,
    /// Steps whose update was not applied, because their loss or gradient was an anomaly.
    pub skipped: u64,
    /// Steps whose update was taken back by a rollback.
    pub undone: u64,
    /// What keeps it from being a proof: the first of them.
    pub findings: Vec<Finding>,
    /// How many there are beyond those.
    pub more_findings: u64,
}

impl Report {
    /// Whether each row of each epoch was committed once, as far as the run has come.
    pub fn proven(&self) -> bool {
        let whole = |epoch: &EpochReport| epoch.missing.count == 0 && epoch.repeated.count == 0;
        self.findings.is_empty() && self.epochs.iter().all(whole)
    }
}
