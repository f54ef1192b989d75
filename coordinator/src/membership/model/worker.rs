//! A worker as the protocol sees it, after the worker's `train.rs`, `settle.rs` and `session.rs`: what it holds, where it stands in
//! its group, what it has heard, and what it has yet to report.

use super::{Defect, Rules, coordinator::Given};
use crate::membership::{Beat, MemberId};
use proto::{Generation, GlobalStep, settle::Held, v1::Phase};

/// A committed step in a state. Within a generation a step ends in one way only, so what was made by the same votes is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Made {
    /// The generation whose votes they were.
    pub(super) by: Generation,
    /// By the verdict its update was not made.
    pub(super) spoiled: bool,
}

/// What stands for the content of a state: all steps in it.
pub(super) type Lineage = Vec<Made>;

/// A step in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) step: GlobalStep,
    pub(super) by: Generation,
    /// The checkpoint to which the run went back with it.
    pub(super) back_to: Option<GlobalStep>,
}

/// What a worker keeps from one generation to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Holding {
    pub(super) settled: Generation,
    pub(super) state: Lineage,
    pub(super) ledger: Vec<Entry>,
    /// Whose vote about the next step it has entered and not seen the end of.
    pub(super) staged: Option<Generation>,
    pub(super) rolls_back: bool,
    /// Some tensors are the leader's and some are not.
    pub(super) torn: bool,
}

impl Holding {
    pub(super) fn applied(&self) -> GlobalStep {
        GlobalStep(self.state.len() as u64)
    }

    pub(super) fn held(&self) -> Held {
        let Self { settled, staged, rolls_back, .. } = *self;
        Held { settled, applied: self.applied(), staged: staged.is_some(), rolls_back }
    }

    /// A step's vote has ended: it is applied and entered together.
    pub(super) fn commit(&mut self, by: Generation, spoiled: bool) {
        self.state.push(Made { by, spoiled });
        self.ledger.push(Entry { step: self.applied(), by, back_to: None });
    }
}

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    /// Killed: another one may start in its place.
    Dead,
    Running,
    /// By a signal; it knows nothing of it.
    Stopped,
    /// It has left for good.
    Left,
}

/// What a rank does in its group. It is inside the collective of that name until it ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Meet,
    /// Tells what it holds.
    Table,
    /// The leader hands over.
    Hand,
    /// Compares states.
    Compare,
    /// The gradients of the next step.
    Gather,
    Vote,
    /// All leave for another membership.
    Part,
    /// No collective: what is left to report is reported.
    Flush,
    /// All leave, and the run is done.
    End,
}

/// A rank of its generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seat {
    pub(super) given: Given,
    pub(super) stage: Stage,
    /// Collectives entered, which are counted alike on all ranks.
    pub(super) count: u8,
    /// Its own control thread has ended its collectives: it enters no other.
    pub(super) severed: bool,
}

/// A rank's share of a checkpoint on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) generation: Generation,
    pub(super) rank: u32,
    pub(super) world: u32,
    pub(super) state: Lineage,
    pub(super) ledger: Vec<Entry>,
    /// The newest request that it answers; of rank 0.
    pub(super) request: u64,
    /// It is reported until it is committed.
    pub(super) last: bool,
}

/// What the coordinator wants, by its newest answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Orders {
    pub(super) seat: Option<Given>,
    pub(super) request: u64,
    pub(super) stop: Option<bool>,
    pub(super) regroup: bool,
}

/// A process in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) life: Life,
    pub(super) pid: u32,
    /// No coordinator is reached.
    pub(super) cut: bool,
    /// Which coordinator it talks to, by epoch.
    pub(super) link: u64,
    pub(super) member: Option<MemberId>,
    /// The coordinator does not know it by that name.
    pub(super) refused: bool,
    pub(super) generation: Generation,
    /// What it says of its last seat, and of what it held then.
    pub(super) broken: bool,
    pub(super) settled: Generation,
    pub(super) orders: Orders,
    pub(super) served: u64,
    pub(super) holding: Holding,
    pub(super) seat: Option<Seat>,
    pub(super) outbox: Vec<Part>,
}

impl Worker {
    /// A new process.
    pub(super) fn new(pid: u32) -> Self {
        Self {
            life: Life::Running,
            pid,
            cut: false,
            link: 0,
            member: None,
            refused: false,
            generation: Generation(0),
            broken: false,
            settled: Generation(0),
            orders: Orders::default(),
            served: 0,
            holding: Holding::default(),
            seat: None,
            outbox: Vec::new(),
        }
    }

    /// Its place without a process.
    pub(super) fn ended(&self, life: Life) -> Self {
        Self { life, ..Self::new(self.pid) }
    }

    pub(super) fn runs(&self) -> bool {
        self.life == Life::Running
    }

    /// Whether its calls may arrive.
    pub(super) fn speaks(&self) -> bool {
        self.runs() && !self.cut && self.member.is_some() && !self.refused
    }

    /// What it says of itself now.
    pub(super) fn beat(&self) -> Option<Beat> {
        let phase = match self.seat.as_ref().map(|seat| seat.stage) {
            None => Phase::Waiting,
            // That it is preparing the coordinator sees by what it says of its state.
            Some(Stage::Meet | Stage::Table | Stage::Hand | Stage::Compare) => Phase::Training,
            Some(Stage::Gather | Stage::Vote | Stage::Part) => Phase::Training,
            Some(Stage::Flush | Stage::End) => Phase::Finishing,
        };
        let Self { generation, broken, settled, .. } = *self;
        let (member, applied) = (self.member?, self.holding.applied());
        Some(Beat { member, generation, applied, phase, broken, settled })
    }

    /// Has no seat any more.
    pub(super) fn wait(&mut self, broken: bool) {
        (self.seat, self.broken) = (None, broken);
        self.settled = self.holding.settled;
    }

    /// Takes the seat that it was told of, if it has none.
    pub(super) fn sit(&mut self) {
        let Some(given) = self.orders.seat.clone() else { return };
        if self.seat.is_some() || self.refused || given.generation <= self.generation {
            return;
        }
        (self.generation, self.broken, self.served) = (given.generation, false, given.answered);
        self.seat = Some(Seat { given, stage: Stage::Meet, count: 0, severed: false });
    }

    /// Keeps its share of a checkpoint. While the one before is on its way there is none, unless it `must` be.
    pub(super) fn keep(&mut self, must: bool, last: bool) {
        let Some(given) = self.seat.as_ref().map(|seat| seat.given.clone()) else { return };
        if !must && !self.outbox.is_empty() {
            return;
        }
        if given.rank == 0 {
            self.served = self.orders.request;
        }
        let request = if given.rank == 0 { self.served } else { 0 };
        let Holding { state, ledger, .. } = self.holding.clone();
        let Given { generation, rank, world, .. } = given;
        self.outbox.push(Part { generation, rank, world, state, ledger, request, last });
    }

    /// What follows from the leader's word, by this rank's deed: `Ok` when all of it came.
    pub(super) fn take(&mut self, deed: proto::settle::Deed, told: &Holding, whole: bool, rules: &Rules) {
        use proto::settle::Deed::{Apply, Keep, Receive};
        match deed {
            Receive => {
                if !rules.has(Defect::HalfAStateCounts) {
                    self.holding.settled = Generation(0);
                }
                self.holding.torn = !whole;
                if !whole {
                    return;
                }
                self.holding.state.clone_from(&told.state);
            }
            Apply => {
                // By the votes that the leader tells.
                let spoiled = told.state.last().is_some_and(|made| made.spoiled);
                self.holding.state.extend(self.holding.staged.map(|by| Made { by, spoiled }));
            }
            Keep => {}
        }
        self.holding.staged = None;
        if !rules.has(Defect::TheLedgerStays) || deed == Keep {
            self.holding.ledger.clone_from(&told.ledger);
        }
    }
}
