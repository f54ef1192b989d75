//! The run at one moment: what people are shown of it, and what others act on.

use crate::{
    membership::{Bulletin, Membership, State, Verdict},
    metrics,
    pace::Pace,
};
use proto::{Generation, GlobalStep, v1};
use std::{collections::BTreeMap, time::Duration};

/// The run at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where it stands.
    pub state: State,
    /// Why.
    pub reason: String,
    /// How long others are still waited for before it goes on with fewer workers.
    pub patience: Option<Duration>,
    /// Its generation.
    pub generation: Generation,
    /// Committed updates.
    pub step: GlobalStep,
    /// The run's last step.
    pub steps: GlobalStep,
    /// Step of the newest committed checkpoint; 0 for none.
    pub committed: GlobalStep,
    /// Pairs per second, over the last half minute.
    pub pairs_per_second: f64,
    /// Seconds of the last reported step.
    pub step_seconds: f64,
    /// Share of the last reported step that was spent waiting for data.
    pub data_wait: f64,
    /// Time until the last step, where it is known.
    pub remaining: Option<Duration>,
    /// Scalars of the last reported step.
    pub scalars: BTreeMap<String, f64>,
    /// Rows replaced so far, because they can't be decoded.
    pub substitutions: usize,
    /// How it ended, once it has.
    pub verdict: Option<Verdict>,
    /// No worker is here (any more).
    pub drained: bool,
}

impl Snapshot {
    /// The run as it is `now`.
    pub(super) fn of(
        membership: &Membership,
        outlook: &Outlook,
        now: Duration,
        pace: &Pace,
        batch: u32,
        latest: &metrics::Latest,
    ) -> Self {
        let steps = membership.spec().steps;
        Self {
            state: outlook.acts.state,
            reason: outlook.bulletin.reason.clone(),
            patience: membership.patience(now),
            generation: membership.generation(),
            step: membership.step().max(latest.step),
            steps,
            committed: membership.newest_committed(),
            pairs_per_second: pace.steps_per_second() * f64::from(batch),
            step_seconds: latest.seconds,
            data_wait: latest.data_wait,
            remaining: pace.remaining(steps),
            scalars: latest.scalars.clone(),
            substitutions: latest.substitutions,
            verdict: membership.verdict().cloned(),
            drained: membership.drained(),
        }
    }
}

/// What of a decision others have to act on, and its sentence.
pub(super) struct Outlook {
    pub(super) bulletin: Bulletin,
    pub(super) acts: Acts,
}

/// What of a decision others have to act on.
#[derive(PartialEq)]
pub(super) struct Acts {
    pub(super) state: State,
    regroup: bool,
    pub(super) generation: Generation,
    pub(super) together: bool,
    /// Grows with every member that is gone.
    departures: i64,
    draining: usize,
    request: u64,
    committed: (GlobalStep, u64),
    stop: Option<v1::Stop>,
    proposed: Option<Generation>,
    rolls_back: Option<(GlobalStep, Generation)>,
}

impl Acts {
    /// Whether a member has gone by then.
    pub(super) fn departed_until(&self, later: &Self) -> bool {
        later.departures > self.departures
    }
}

impl Outlook {
    pub(super) fn of(membership: &Membership) -> Self {
        let bulletin = membership.bulletin();
        let acts = Acts {
            state: membership.state(),
            regroup: bulletin.regroup,
            generation: membership.generation(),
            together: membership.is_together(),
            departures: membership.departures(),
            draining: membership.members().filter(|(_, member)| member.draining).count(),
            request: membership.request(),
            committed: (membership.newest_committed(), membership.answered()),
            stop: membership.stop(),
            rolls_back: membership.rolls_back(),
            proposed: membership.proposal().map(|proposal| proposal.generation),
        };
        Self { bulletin, acts }
    }
}
