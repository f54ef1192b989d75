//! What outlives all processes: the journal and the checkpoints in the object store.

use super::worker::{Entry, Lineage};
use crate::membership::{MemberId, Membership, Proposal, Seat};
use proto::{Generation, GlobalStep};
use std::collections::BTreeMap;

/// A checkpoint in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Checkpoint {
    pub(super) generation: Generation,
    pub(super) state: Lineage,
    pub(super) ledger: Vec<Entry>,
    pub(super) request: u64,
}

impl Checkpoint {
    pub(super) fn step(&self) -> GlobalStep {
        GlobalStep(self.state.len() as u64)
    }
}

/// What is in the object store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Durable {
    /// Of the journal: who opened it last, the newest generation with its members, and the newest checkpoint that is decided.
    pub(super) epoch: u64,
    pub(super) generation: Generation,
    pub(super) seats: Vec<Seat>,
    pub(super) decided: Option<Checkpoint>,
    pub(super) answered: u64,
    pub(super) drained: Vec<MemberId>,
    pub(super) stop: Option<bool>,
    pub(super) ended: bool,
    /// What a coordinator that is about to open the journal has found.
    pub(super) looked: Option<GlobalStep>,
    /// The newest rollback: to which step, by which number; and whether later checkpoints may still be there.
    pub(super) rolled_back: (GlobalStep, Generation),
    pub(super) rewound: bool,
    /// Those with a marker, by step.
    pub(super) committed: BTreeMap<GlobalStep, Checkpoint>,
}

impl Durable {
    pub(super) fn begin(&mut self, proposal: &Proposal) {
        (self.generation, self.seats) = (proposal.generation, proposal.seats.clone());
        self.rewound = false;
        self.drained.clear();
    }

    /// The journal has a rollback.
    pub(super) fn roll_back(&mut self, step: GlobalStep, by: Generation) {
        (self.rolled_back, self.rewound) = ((step, by), true);
        self.generation = by;
        self.seats.clear();
        self.decided = None;
    }

    /// Later checkpoints than that which the journal has go.
    pub(super) fn remove_later(&mut self) {
        if self.rewound {
            let (to, _) = self.rolled_back;
            self.committed.retain(|step, _| *step <= to);
        }
    }

    /// The number that counts for the newest checkpoint.
    pub(super) fn committed_by(&self, step: GlobalStep) -> Generation {
        let wrote = self.committed.get(&step).map_or(Generation(0), |found| found.generation);
        let (to, by) = self.rolled_back;
        if to == step { wrote.max(by) } else { wrote }
    }

    /// Makes a marker unless there is one.
    pub(super) fn mark(&mut self, checkpoint: &Checkpoint) {
        self.committed.entry(checkpoint.step()).or_insert_with(|| checkpoint.clone());
    }

    /// Whether the journal has to be told of a stop, or of members that are to go.
    pub(super) fn lacks(&self, membership: &Membership) -> bool {
        let stop = membership.stop().map(|stop| stop.checkpoint);
        stop.is_some_and(|_| stop != self.stop) || leaving(membership).any(|id| !self.drained.contains(&id))
    }

    pub(super) fn ask(&mut self, membership: &Membership) {
        self.stop = membership.stop().map(|stop| stop.checkpoint);
        self.drained = leaving(membership).collect();
    }

    pub(super) fn newest(&self) -> GlobalStep {
        self.committed.keys().next_back().copied().unwrap_or_default()
    }
}

/// Members of the newest generation that are to go.
fn leaving(membership: &Membership) -> impl Iterator<Item = MemberId> {
    let draining = |id: &MemberId| membership.members.get(id).is_some_and(|member| member.draining);
    membership.seats.iter().map(|seat| seat.member).filter(draining)
}
