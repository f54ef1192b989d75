//! A coordinator: the real [`Membership`] with what its adapters do around it.

use super::{
    Broken, Defect, Rules,
    durable::{Checkpoint, Durable},
    piece::{Piece, hash},
    worker::{Lineage, Part},
};
use crate::membership::{Beat, MemberId, Membership, Past, Stage, Stream};
use proto::{Exit, Generation, GlobalStep, v1, v1::directive::Kind};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
    time::Duration,
};

/// The time of all events. Silence and the end of a wait are events of their own.
pub(super) const NOW: Duration = Duration::from_secs(1000);

/// A place in a generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Given {
    pub(super) generation: Generation,
    pub(super) rank: u32,
    pub(super) world: u32,
    pub(super) resume: (Generation, GlobalStep),
    pub(super) answered: u64,
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Told {
    pub(super) what: What,
    pub(super) request: u64,
    pub(super) stop: Option<bool>,
    pub(super) regroup: bool,
}

/// What it has to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    Sit(Given),
    Wait,
    /// The run is over, or goes on without it.
    Leave,
}

impl Told {
    fn of(directive: v1::Directive) -> Self {
        let v1::Directive { kind, checkpoint_request: request, stop, regroup, .. } = directive;
        let what = match kind {
            Some(Kind::Assignment(a)) => What::Sit(Given {
                generation: Generation(a.generation),
                rank: a.rank,
                world: a.world_size,
                resume: (Generation(a.resume_generation), GlobalStep(a.resume_step)),
                answered: a.checkpoint_request,
            }),
            Some(Kind::Abort(_) | Kind::Dismiss(_)) => What::Leave,
            Some(Kind::Wait(_)) | None => What::Wait,
        };
        Self { what, request, stop: stop.map(|stop| stop.checkpoint), regroup }
    }
}

/// What a coordinator hears or notices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Join(u32),
    Beat(Beat),
    /// A heartbeat whose answer nobody waits for.
    Late(Beat),
    /// What the stream tells a member.
    Look(MemberId),
    Report(MemberId, Part),
    /// With its work done, or not.
    Leave(MemberId, bool),
    /// A member was not heard for too long.
    Miss(MemberId),
    /// Its stream has ended.
    Gone(MemberId),
    GraceEnds,
    /// The journal has the proposed generation.
    Confirm(Generation),
    /// The whole checkpoint has its marker.
    Committed,
    Halt,
    Drain(MemberId),
    RollBack(GlobalStep),
    /// The journal has the rollback that takes this number.
    DecidedRollback(GlobalStep, Generation),
    /// Later checkpoints are gone.
    RolledBack,
}

/// What comes back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Nothing,
    Joined(Option<MemberId>),
    /// None for who is not known, or does not listen.
    Told(Option<Told>),
    /// Whether the checkpoint is committed; none where the part is of no use.
    Part(Option<bool>),
    Broken(Broken),
}

/// Coordinators meet the same calls in the same states over and over: what followed is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Rc<RefCell<HashMap<Question, Followed>>>);

/// The coordinator afterwards, and what it answered.
type Followed = (Piece<Coordinator>, Answer);

/// The hashes of a coordinator and of a call.
type Question = (u64, u64);

impl Memory {
    pub(super) fn take(&self, it: &mut Piece<Coordinator>, call: &Call) -> Answer {
        let key = (hash(it), hash(call));
        if let Some((after, answer)) = self.0.borrow().get(&key) {
            it.clone_from(after);
            return answer.clone();
        }
        let answer = it.change(|it| {
            let answer = it.take(call);
            it.forget_lost_parts();
            answer
        });
        self.0.borrow_mut().insert(key, (it.clone(), answer.clone()));
        answer
    }
}

/// What a coordinator is about to have in the journal or the store. It does one thing after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Writing {
    Nothing,
    /// The journal has the proposed generation; it has not begun.
    Generation(Generation),
    /// The journal has the checkpoint of which all parts are there; it has no marker.
    Decided,
    /// The journal has an older checkpoint as the newest; later ones are still there.
    RolledBack,
}

/// A coordinator that serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Coordinator {
    pub(super) membership: Membership,
    pub(super) epoch: u64,
    /// The generation whose ranks may meet.
    pub(super) open: Option<Generation>,
    /// Parts that were reported, by step and rank; of one generation.
    parts: BTreeMap<GlobalStep, BTreeMap<u32, Part>>,
    of: Generation,
    /// All its parts are there.
    pub(super) whole: Option<Checkpoint>,
    pub(super) writing: Writing,
}

impl Coordinator {
    /// Opens the journal, by what it then finds. `known` is the newest checkpoint that it knows of.
    pub(super) fn open(durable: &mut Durable, known: (Generation, GlobalStep), rules: &Rules) -> Self {
        durable.epoch += 1;
        let mut generation = durable.generation;
        if rules.has(Defect::ANumberAgain) {
            generation = Generation(generation.0.saturating_sub(1));
        }
        let past = Past {
            epoch: durable.epoch,
            generation,
            seats: durable.seats.clone(),
            committed: known.1,
            committed_by: known.0,
            answered: durable.answered,
            drained: durable.drained.clone(),
            stop: durable.stop,
            paused: None,
        };
        let membership = Membership::new(rules.spec(), past, NOW);
        let (parts, of, whole) = (BTreeMap::new(), Generation(0), None);
        let (epoch, writing) = (durable.epoch, Writing::Nothing);
        Self { membership, epoch, open: None, parts, of, whole, writing }
    }

    /// Lets the membership decide, and does what follows.
    fn decide<T>(&mut self, act: impl FnOnce(&mut Membership) -> T) -> T {
        let it = &mut self.membership;
        let before = it.generation;
        let answer = act(it);
        if it.generation != before {
            self.open = Some(it.generation);
        }
        if it.verdict.is_some() || !matches!(it.stage, Stage::Together | Stage::Adopted) {
            self.open = None;
        }
        // Of the reasons only that there is one counts for what comes next.
        it.why.truncate(1);
        it.why.iter_mut().for_each(String::clear);
        answer
    }

    /// What a call changes, and its answer.
    fn take(&mut self, call: &Call) -> Answer {
        match call.clone() {
            Call::Join(pid) => Answer::Joined(self.decide(|it| it.join("", pid, false, 1, None, NOW)).ok()),
            Call::Beat(beat) => Answer::Told(self.beat(beat)),
            Call::Late(beat) => self.silently(|it| it.heartbeat(beat, NOW).is_ok()),
            Call::Look(id) => Answer::Told(self.told(id)),
            Call::Report(member, part) => match self.report(member, part) {
                Ok(committed) => Answer::Part(committed),
                Err(broken) => Answer::Broken(broken),
            },
            Call::Leave(id, done) => {
                let end = if done { Ok(()) } else { Err((Exit::Stopped, String::new())) };
                self.silently(|it| it.leave(id, end, NOW).is_ok())
            }
            Call::Miss(id) => self.silently(|it| {
                it.members.entry(id).and_modify(|member| member.heard = Duration::ZERO);
                it.tick(NOW);
            }),
            Call::Gone(id) => self.silently(|it| it.gone(id, 0, NOW)),
            Call::GraceEnds => self.silently(|it| {
                it.deadline = Some(NOW);
                it.tick(NOW);
            }),
            Call::Confirm(generation) => {
                self.writing = Writing::Nothing;
                self.silently(|it| it.confirm(generation, NOW))
            }
            Call::Committed => {
                if self.writing == Writing::Decided {
                    self.writing = Writing::Nothing;
                }
                self.note();
                Answer::Nothing
            }
            Call::Halt => self.silently(|it| it.request_stop(Generation(0), true).is_ok()),
            Call::Drain(id) => self.silently(|it| it.drain(id, NOW).is_ok()),
            Call::RollBack(step) => self.silently(|it| it.roll_back(Generation(0), step, NOW).is_ok()),
            Call::DecidedRollback(step, by) => {
                self.writing = Writing::RolledBack;
                self.silently(|it| it.decide_rollback(step, by))
            }
            Call::RolledBack => {
                self.writing = Writing::Nothing;
                self.silently(|it| it.end_rollback(NOW))
            }
        }
    }

    /// Of a checkpoint that lacks the part of a rank that is gone nothing comes any more.
    fn forget_lost_parts(&mut self) {
        let it = &self.membership;
        let here = |rank: &u32| {
            it.seats.get(*rank as usize).is_some_and(|seat| it.members.contains_key(&seat.member))
        };
        let current = self.of == it.generation;
        self.parts.retain(|step, parts| {
            let world = parts.values().next().map_or(0, |part| part.world);
            let may_come = current && (0..world).all(|rank| parts.contains_key(&rank) || here(&rank));
            *step > it.newest_committed() && may_come
        });
        if self.parts.is_empty() {
            self.of = Generation(0);
        }
    }

    fn silently<T>(&mut self, act: impl FnOnce(&mut Membership) -> T) -> Answer {
        self.decide(act);
        Answer::Nothing
    }

    /// The stream is opened if it is not, then comes the heartbeat.
    fn beat(&mut self, beat: Beat) -> Option<Told> {
        self.decide(|it| {
            let id = beat.member;
            let listens = |it: &Membership| {
                it.members.get(&id).is_some_and(|member| matches!(member.stream, Stream::Open(_)))
            };
            if !listens(it) && it.attend(id, NOW).is_ok() {
                // The number of a stream only keeps apart what the model never confuses.
                it.members.entry(id).and_modify(|member| member.stream = Stream::Open(0));
            }
            it.heartbeat(beat, NOW).ok().and_then(|()| tell(it, id))
        })
    }

    /// What the stream tells.
    fn told(&self, id: MemberId) -> Option<Told> {
        let listens = matches!(self.membership.members.get(&id)?.stream, Stream::Open(_));
        tell(&self.membership, id).filter(|_| listens)
    }

    /// Takes the report of a part; says whether it is of use and, if so, whether its checkpoint is committed.
    fn report(&mut self, member: MemberId, part: Part) -> Result<Option<bool>, String> {
        let step = GlobalStep(part.state.len() as u64);
        let rank = self.membership.rank_of(member, part.generation);
        let fits = rank.is_ok_and(|rank| (rank.0, self.membership.world().0) == (part.rank, part.world));
        if !fits {
            return Ok(None);
        }
        if self.membership.newest_committed() >= step {
            return Ok(Some(true));
        }
        if part.generation != self.of {
            self.of = part.generation;
            self.parts.clear();
        }
        let world = part.world as usize;
        let parts = self.parts.entry(step).or_default();
        parts.insert(part.rank, part);
        if parts.len() < world {
            return Ok(Some(false));
        }
        let parts = self.parts.remove(&step).unwrap_or_default();
        let contents: BTreeSet<&Lineage> = parts.values().map(|part| &part.state).collect();
        if contents.len() > 1 {
            return Err(format!(
                "the parts of the checkpoint of step {step} are of different states: {contents:?}"
            ));
        }
        self.whole = parts.into_values().next().map(|first| {
            let Part { generation, state, ledger, request, .. } = first;
            Checkpoint { generation, state, ledger, request }
        });
        Ok(Some(false))
    }

    /// The checkpoint has its marker.
    fn note(&mut self) {
        if let Some(done) = self.whole.take() {
            let step = done.step();
            self.decide(|it| it.committed(step, done.request));
        }
    }
}

fn tell(it: &Membership, id: MemberId) -> Option<Told> {
    it.directive(id, &it.bulletin()).ok().map(Told::of)
}
