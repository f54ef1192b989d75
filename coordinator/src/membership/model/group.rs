//! The process group of a generation. A collective ends at a rank once every rank has entered it, also where another rank never
//! sees its end; what a leader hands over arrives once the leader has entered. A collective fails only in a group that somebody has
//! left, that has lost a connection, or that waited too long for somebody.

use super::worker::{Holding, Stage};
use proto::{
    Generation, GlobalStep,
    settle::{Held, Plan},
};

/// What the ranks of a generation have told each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    /// By rank.
    pub(super) ranks: Vec<Option<Rank>>,
    /// Its collectives may fail.
    pub(super) broken: bool,
    /// What the leader hands over.
    pub(super) told: Option<Holding>,
    /// What all are told with the votes, by even and odd steps: a rank may be one step behind.
    pub(super) ballots: [Ballot; 2],
}

/// A rank that has entered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rank {
    pub(super) pid: u32,
    /// Collectives entered, and the last of them.
    pub(super) count: u8,
    pub(super) stage: Stage,
    /// What it held when it entered the table.
    pub(super) held: Held,
    /// The hash of its state when it entered the comparison.
    pub(super) sum: u64,
}

/// What is told with the votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ballot {
    pub(super) checkpoint: bool,
    pub(super) stop: bool,
    pub(super) regroup: bool,
    /// The losses are such that the run goes back to its newest checkpoint.
    pub(super) spoiled: bool,
}

impl Group {
    pub(super) fn new(world: u32) -> Self {
        Self { ranks: vec![None; world as usize], broken: false, told: None, ballots: <[_; 2]>::default() }
    }

    pub(super) fn rank(&mut self, rank: u32) -> Option<&mut Rank> {
        self.ranks.get_mut(rank as usize)?.as_mut()
    }

    /// Whether every rank has entered this collective.
    pub(super) fn all_reached(&self, count: u8) -> bool {
        self.ranks.iter().all(|rank| rank.as_ref().is_some_and(|rank| rank.count >= count))
    }

    /// Ranks that are in different collectives at one place of their sequences, which would wait for each other for ever.
    pub(super) fn is_crossed(&self) -> bool {
        let mut at: Vec<(u8, Stage)> = self.ranks.iter().flatten().map(|r| (r.count, r.stage)).collect();
        at.sort_by_key(|(count, _)| *count);
        at.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
    }

    /// Whether all have brought the same state to the comparison.
    pub(super) fn is_one(&self) -> bool {
        let sums: Vec<u64> = self.ranks.iter().flatten().map(|rank| rank.sum).collect();
        sums.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// The newest generation that counts for a state in it, and the highest step of that.
    pub(super) fn newest(&self) -> Option<(Generation, GlobalStep)> {
        self.ranks.iter().flatten().map(|rank| (rank.held.settled, rank.held.applied)).max()
    }

    pub(super) fn plan(&self, settle: impl Fn(&[Held]) -> Plan) -> Plan {
        let table: Vec<Held> = self.ranks.iter().flatten().map(|rank| rank.held).collect();
        settle(&table)
    }
}

/// Where the ballot about the step after `applied` is.
pub(super) fn parity(applied: GlobalStep) -> usize {
    (applied.0 % 2) as usize
}
