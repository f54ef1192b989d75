//! The protocol of membership and commit, searched exhaustively: every order of events within a bound of workers, steps and faults.
//!
//! Real are [`Membership`] and [`proto::settle`]. Around them stand models: of a worker (`worker.rs`), of the collectives of a
//! generation (`group.rs`), of the coordinator's adapters (`coordinator.rs`), and of the journal and the object store (`durable.rs`).
//! `events.rs` and `faults.rs` say what may happen next, `promises.rs` what has to hold in every state, `fair.rs` what comes when no
//! more faults happen, and `search.rs` goes through all states breadth first, so that the trace of a broken promise is a shortest one.
//!
//! A heartbeat, the decision that it leads to and the answer are one event. A message that is under way is then a worker or a
//! coordinator that has not acted yet; what that does not cover (an answer that is lost, a message that is delivered a
//! second time after later ones) are faults of their own. A message that is lost is one that was not sent yet: the
//! next one says the same. Time is still; silence and the end of a wait are events.
//!
//! Left out, because they only multiply states: a worker joins as soon as it can, and the coordinator writes its next decision as soon
//! as the one before is done, but for checkpoints while a coordinator may be lost; a heartbeat that only tells another applied step is not
//! sent; the stream tells something that the next heartbeat would not only where messages fail.

mod calls;
mod collectives;
mod coordinator;
mod durable;
mod events;
mod fair;
mod faults;
mod group;
mod piece;
mod promises;
mod search;
mod story;
mod tests;
mod walks;
mod worker;

use super::{Beat, MemberId, Spec};
use crate::settings::Settings;
use coordinator::{Coordinator, Memory, Told};
use durable::Durable;
use group::Group;
use piece::Piece;
use proto::settle::{Deed, Held, Plan, settle};
use proto::{Generation, GlobalStep, WorldSize};
use std::{collections::BTreeMap, time::Duration};
use worker::{Life, Worker};

/// What can go wrong, each so and so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    /// A worker is killed.
    Kill,
    /// It is stopped, and may wake up.
    Stop,
    /// It reaches no coordinator, and may again.
    Cut,
    /// Its connections to the other ranks break.
    Sever,
    /// The coordinator is killed.
    KillCoordinator,
    /// Another coordinator opens the journal while one serves.
    Rival,
    /// An answer is lost, or a message comes again after later ones.
    Message,
    /// A step's losses are such that the run goes back to its newest checkpoint.
    Spoil,
    /// Somebody asks for the end with a checkpoint.
    Halt,
    /// A worker is told to go.
    Drain,
    /// Somebody asks for an older checkpoint.
    RollBack,
}

const FAULTS: usize = Fault::RollBack as usize + 1;

/// What is searched.
#[derive(Clone, Debug)]
struct Rules {
    workers: u32,
    most: u32,
    steps: u64,
    /// Steps between checkpoints.
    every: u64,
    /// Whether a run that lost a worker waits for another one.
    grace: bool,
    /// All faults together, and those of each kind.
    faults: u8,
    kinds: [u8; FAULTS],
    /// What is wrong with the protocol, on purpose.
    defect: Option<Defect>,
    memory: Memory,
}

/// A defect that the search has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// The lowest applied step wins.
    TheLowestStepWins,
    /// The highest applied step wins, also that of a branch that was given up.
    BranchesAreNotToldApart,
    /// Who is one step behind keeps its state.
    WhoIsBehindKeeps,
    /// Who takes the leader's state keeps its own ledger.
    TheLedgerStays,
    /// Half of the leader's state counts as what the receiver had.
    HalfAStateCounts,
    /// A rank commits when it enters the vote.
    CommitBeforeTheVote,
    /// A coordinator that takes over gives the number of the newest generation again.
    ANumberAgain,
    /// A generation begins before the journal has it.
    BegunBeforeTheJournal,
    /// A checkpoint gets its marker without a word in the journal.
    MarkedBeforeTheJournal,
    /// A coordinator looks for the newest checkpoint before it opens the journal.
    LooksBeforeItOpens,
    /// A part of the last checkpoint is reported once, and forgotten with the coordinator.
    TheLastPartIsReportedOnce,
    /// A coordinator writes into the journal of one that has taken over.
    NoFence,
    /// Nobody is ever given up.
    SilenceIsNoLoss,
    /// A rollback takes no number of a generation for itself.
    ARollbackHasNoNumber,
    /// A coordinator that takes over does not remove what another one rolled back from.
    ARollbackIsLeftHalfDone,
}

impl Rules {
    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    fn spec(&self) -> Spec {
        Spec {
            wanted: WorldSize(self.workers),
            least: WorldSize(1),
            most: WorldSize(self.most),
            lanes: self.most,
            grace: Duration::from_secs(if self.grace { 5 } else { 0 }),
            lost_after: Duration::from_secs(20),
            steps: GlobalStep(self.steps),
            settings: Settings { checkpoint_every: self.every, ..Settings::default() },
            fingerprint: String::new(),
        }
    }

    fn settle(&self, table: &[Held], committed: (Generation, GlobalStep)) -> Plan {
        match self.defect {
            Some(Defect::BranchesAreNotToldApart) => {
                let one = |held: &Held| Held { settled: Generation(held.settled.0.min(1)), ..*held };
                settle(&table.iter().map(one).collect::<Vec<_>>(), committed)
            }
            Some(Defect::TheLowestStepWins) => {
                let lowest = table.iter().filter(|held| held.settled.0 > 0).map(|held| held.applied).min();
                let low = |held: &Held| Held {
                    settled: if Some(held.applied) == lowest { held.settled } else { Generation(0) },
                    ..*held
                };
                settle(&table.iter().map(low).collect::<Vec<_>>(), committed)
            }
            Some(Defect::WhoIsBehindKeeps) => match settle(table, committed) {
                Plan::Settle { leader, step, mut deeds } => {
                    deeds.iter_mut().filter(|deed| **deed == Deed::Apply).for_each(|deed| *deed = Deed::Keep);
                    Plan::Settle { leader, step, deeds }
                }
                other => other,
            },
            _ => settle(table, committed),
        }
    }
}

/// One state of everything.
#[derive(Clone, Debug, Hash)]
struct World {
    /// Those that serve, by epoch.
    coordinators: BTreeMap<u64, Piece<Coordinator>>,
    durable: Piece<Durable>,
    workers: Vec<Piece<Worker>>,
    /// Those that somebody is still in.
    groups: Piece<BTreeMap<Generation, Group>>,
    late: Piece<Late>,
    left: Left,
    record: Piece<Record>,
}

/// Faults that may still happen.
#[derive(Clone, Debug, Hash)]
struct Left {
    all: u8,
    kinds: [u8; FAULTS],
}

/// Messages that somebody has got already and that come again.
#[derive(Clone, Debug, Default, Hash)]
struct Late {
    /// For the coordinator of this epoch.
    beat: Option<(u64, Beat)>,
    /// For the worker in this place, by that name.
    told: Option<(usize, MemberId, Told)>,
}

/// What is remembered for the promises alone.
#[derive(Clone, Debug, Default, Hash)]
struct Record {
    /// Who has been given a place in a generation.
    given: BTreeMap<Generation, Vec<MemberId>>,
    /// The newest generation in which a rank found all states the same.
    settled: Generation,
    next_pid: u32,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Start(usize),
    Beat(usize),
    Hear(usize),
    Advance(usize),
    Fail(usize),
    /// It fails while the leader's state is coming.
    FailHalfway(usize),
    Report(usize),
    Move(usize),
    Wake(usize),
    Heal(usize),
    Expire(Generation),
    Look,
    Open,
    Write(u64),
    Act(u64),
    Fence(u64),
    Miss(u64, MemberId),
    Gone(u64, MemberId),
    GraceEnds(u64),
    LateBeat,
    LateDirective,
    Kill(usize),
    Stop(usize),
    Cut(usize),
    Sever(Generation),
    KillCoordinator(u64),
    Rival,
    LoseAnswer(usize),
    RepeatBeat(usize),
    RepeatDirective(usize),
    Spoil(Generation),
    Halt(u64),
    Drain(u64, MemberId),
    RollBack(u64, GlobalStep),
}

/// A promise that does not hold.
type Broken = String;

impl World {
    /// A coordinator serves, and workers have joined.
    fn first(rules: &Rules) -> Self {
        let mut durable = Durable::default();
        let coordinator = Coordinator::open(&mut durable, (Generation(0), GlobalStep(0)), rules);
        let workers = (1..=rules.workers).map(|pid| Piece::new(Worker::new(pid))).collect();
        let mut world = Self {
            coordinators: BTreeMap::from([(1, Piece::new(coordinator))]),
            durable: Piece::new(durable),
            workers,
            groups: Piece::new(BTreeMap::new()),
            late: Piece::new(Late::default()),
            left: Left { all: rules.faults, kinds: rules.kinds },
            record: Piece::new(Record { next_pid: rules.workers + 1, ..Record::default() }),
        };
        (0..world.workers.len()).for_each(|place| world.join(place, rules));
        world
    }

    /// The coordinator that a worker talks to: the one it knows, or else the newest. The journal leads to none that came before.
    fn reach(&self, place: usize) -> Option<u64> {
        let link = self.workers.get(place)?.link;
        let newest = self.coordinators.keys().next_back().copied().filter(|newest| *newest > link);
        if self.coordinators.contains_key(&link) { Some(link) } else { newest }
    }

    /// Whether a member still speaks to this coordinator.
    fn is_heard(&self, epoch: u64, id: MemberId) -> bool {
        (0..self.workers.len()).any(|place| {
            let worker = &self.workers[place];
            worker.member == Some(id) && worker.speaks() && self.reach(place) == Some(epoch)
        })
    }

    /// Whether the run is at its end.
    fn is_over(&self) -> bool {
        self.durable.ended
    }

    fn is_alive(&self, place: usize) -> bool {
        matches!(self.workers[place].life, Life::Running | Life::Stopped)
    }
}
