//! Who takes part in the run, as a pure state machine: an event and the time go in; a decision and the one sentence
//! that explains the state come out. No lock, no socket, no clock in here.
//!
//! Workers join, warm up, and wait for a seat. A generation is a list of seats: it is proposed when enough workers are ready, begins
//! once the journal has it, and ends when a seat is lost, when a member says that the collectives are broken, or at the step boundary
//! at which another membership was asked for. Its members then come back, and form the next one with who else is ready.

mod ending;
mod forming;
mod layout;
mod member;
#[cfg(test)]
mod model;
mod operating;
mod rollback;
mod silence;
mod terms;
#[cfg(test)]
mod tests;
mod told;

pub use member::{Member, MemberId, NoMember, Stream};
pub use terms::{Beat, Goodbye, Past, Proposal, Refusal, Scale, Seat, Spec, State, Verdict};
pub use told::Bulletin;

pub use rollback::{Course, Rollback};

use layout::Layout;
use proto::{Exit, Generation, GlobalStep, Rank, WorldSize, v1};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use terms::Begun;

/// Where the newest generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// It has ended, or there was none.
    Idle,
    /// An earlier coordinator formed it, and its members were not all heard since.
    Adopted,
    /// Its members form their group, train or finish.
    Together,
    /// It ends: its members come back. With `broken`, one of them said that its peers are gone.
    Parting { broken: bool },
}

/// The members, their generation, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    spec: Spec,
    epoch: u64,
    joined: u32,
    members: BTreeMap<MemberId, Member>,
    generation: Generation,
    stage: Stage,
    /// Of the newest generation, by rank, also after its end.
    seats: Vec<Seat>,
    /// What follows from them.
    layout: Layout,
    /// Those of them whose work is done.
    finished: BTreeSet<MemberId>,
    /// The newest step that they have applied.
    applied: GlobalStep,
    /// With what it began.
    begun: Begun,
    /// Why it ended.
    why: Vec<String>,
    /// When a run that had workers goes on with fewer; none before its first generation.
    deadline: Option<Duration>,
    proposal: Option<Proposal>,
    request: u64,
    answered: u64,
    committed: GlobalStep,
    committed_by: Generation,
    stop: Option<v1::Stop>,
    /// This coordinator was asked for the stop, and not an earlier one.
    asked: bool,
    /// Who asked that no generation begins.
    paused: Option<String>,
    /// The newest request for an older checkpoint.
    rollback: Option<Rollback>,
    /// The newest request for a profile.
    profile: Option<v1::Profile>,
    /// Who was sent away, and how; the newest.
    kicked: BTreeMap<MemberId, String>,
    /// Consequences are drawn later.
    puts_off: bool,
    /// There are some to draw.
    stirred: bool,
    verdict: Option<Verdict>,
}

impl Membership {
    /// Nobody has joined yet; members of a generation of an earlier coordinator may still be at work.
    pub fn new(spec: Spec, past: Past, now: Duration) -> Self {
        let adopted = past.seats.iter().map(|seat| {
            let (weight, spare, slot) = (seat.weight, seat.spare, seat.slot);
            let draining = past.drained.contains(&seat.member);
            let unheard = Member::new(&seat.host, seat.pid, now);
            let phase = v1::Phase::Unspecified;
            (seat.member, Member { weight, spare, slot, phase, draining, ..unheard })
        });
        Self {
            epoch: past.epoch,
            joined: 0,
            members: adopted.collect(),
            generation: past.generation,
            stage: if past.seats.is_empty() { Stage::Idle } else { Stage::Adopted },
            layout: Layout::of(&past.seats, spec.lanes),
            seats: past.seats,
            finished: BTreeSet::new(),
            applied: past.committed,
            begun: Begun {
                committed: (past.committed_by, past.committed),
                answered: past.answered,
                every: spec.settings.checkpoint_every,
            },
            spec,
            why: Vec::new(),
            deadline: None,
            proposal: None,
            request: past.answered,
            answered: past.answered,
            committed: past.committed,
            committed_by: past.committed_by,
            stop: past.stop.map(|checkpoint| v1::Stop { checkpoint }),
            asked: false,
            paused: past.paused,
            rollback: None,
            profile: None,
            kicked: BTreeMap::new(),
            puts_off: false,
            stirred: false,
            verdict: None,
        }
    }

    /// A worker registers. A process that was a member before is one no more under its earlier name, but keeps its `slot`.
    ///
    /// # Errors
    /// [`Refusal::Over`].
    pub fn join(
        &mut self,
        host: &str,
        pid: u32,
        spare: bool,
        weight: u32,
        slot: Option<u32>,
        now: Duration,
    ) -> Result<MemberId, Refusal> {
        self.check_going_on()?;
        if let Some(before) = self.process(host, pid) {
            self.lose(before, "joined again", now);
        }
        self.joined += 1;
        let id = MemberId { epoch: self.epoch, number: self.joined };
        let taken: BTreeSet<u32> =
            self.members.values().filter(|other| other.host == host).map(|other| other.slot).collect();
        let slot = slot.or_else(|| (0..).find(|slot| !taken.contains(slot))).unwrap_or_default();
        self.members.insert(id, Member { spare, weight, slot, ..Member::new(host, pid, now) });
        self.proceed(now);
        Ok(id)
    }

    /// A worker listens for its directives; the number tells this stream from its later ones.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn attend(&mut self, id: MemberId, now: Duration) -> Result<u32, Refusal> {
        let member = self.members.get_mut(&id).ok_or(Refusal::Unknown(id))?;
        let serial = match member.stream {
            Stream::Never => 0,
            Stream::Open(last) | Stream::Gone(last) => last + 1,
        };
        member.stream = Stream::Open(serial);
        self.proceed(now);
        Ok(serial)
    }

    /// A stream has ended. By itself that is no loss: a worker that lives listens again.
    pub fn gone(&mut self, id: MemberId, serial: u32, now: Duration) {
        if let Some(member) = self.members.get_mut(&id).filter(|m| m.stream == Stream::Open(serial)) {
            member.stream = Stream::Gone(serial);
            self.proceed(now);
        }
    }

    /// A worker lives, and says how far it is.
    ///
    /// # Errors
    /// [`Refusal::Stale`] and [`Refusal::Unknown`].
    pub fn heartbeat(&mut self, beat: Beat, now: Duration) -> Result<(), Refusal> {
        let (id, current) = (beat.member, self.generation);
        if self.kicked.contains_key(&id) {
            return Ok(());
        }
        let member = self.members.get_mut(&id).ok_or(Refusal::Unknown(id))?;
        if beat.generation < member.generation || beat.generation > current {
            return Err(Refusal::Stale { found: beat.generation, current });
        }
        let news = member.hear(beat, now) || beat.broken;
        let applied = member.applied;
        if beat.generation == current && self.rank(id).is_some() {
            // Until the generation has one state, its members tell of those that they came with.
            if beat.settled == current {
                self.applied = self.applied.max(applied);
            }
            if beat.broken {
                self.part(true, Some(format!("the collectives of {} failed", self.name(id))), now);
            } else if beat.phase == v1::Phase::Waiting {
                self.part(false, None, now);
            }
        }
        if news {
            self.proceed(now);
        }
        Ok(())
    }

    /// A worker goes by its own will: `Ok` when its work is done, else why it can't go on.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn leave(&mut self, id: MemberId, end: Goodbye, now: Duration) -> Result<(), Refusal> {
        if !self.members.contains_key(&id) {
            return Err(Refusal::Unknown(id));
        }
        match end {
            Ok(()) => self.finish(id),
            Err((exit, reason)) => self.give_up(id, exit, &format!("left: {reason}"), now),
        }
        self.proceed(now);
        Ok(())
    }

    /// A worker's process has ended on this machine. What it said before it went counts more than how it ended.
    pub fn exited(&mut self, pid: u32, local_host: &str, exit: Exit, how: &str, now: Duration) {
        match self.process(local_host, pid) {
            Some(id) if exit == Exit::Done => self.finish(id),
            Some(id) => self.give_up(id, exit, &format!("{how} without a word"), now),
            None if is_cause(exit) && !self.is_held(None) => {
                self.fail(exit, format!("worker process {pid} {how} before it joined"));
            }
            None => {}
        }
        self.proceed(now);
    }

    /// A worker was told to go: the next generation has no seat for it.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn drain(&mut self, id: MemberId, now: Duration) -> Result<(), Refusal> {
        self.members.get_mut(&id).ok_or(Refusal::Unknown(id))?.draining = true;
        self.proceed(now);
        Ok(())
    }

    /// Whether all members of the generation train.
    fn trains(&self) -> bool {
        let trains = |member: &Member| matches!(member.phase, v1::Phase::Training | v1::Phase::Finishing);
        let mut seated = self.seats.iter().filter_map(|seat| self.members.get(&seat.member));
        seated.all(trains)
    }

    /// A member is gone. The generation in which it has a seat can't go on, unless its work is done.
    fn lose(&mut self, id: MemberId, how: &str, now: Duration) {
        let name = self.name(id);
        let Some(member) = self.members.remove(&id).filter(|_| self.rank(id).is_some()) else { return };
        // A stop is heeded at the next step boundary: until a member is there, its work is not done.
        let done = member.phase == v1::Phase::Finishing || self.committed >= self.spec.steps;
        match self.stage {
            Stage::Together if done && self.is_complete() => self.take_as_finished(id),
            Stage::Together | Stage::Parting { .. } => self.part(false, Some(format!("{name} {how}")), now),
            Stage::Adopted => self.why.push(format!("{name} {how}")),
            Stage::Idle => {}
        }
    }

    /// A member's work is done.
    fn finish(&mut self, id: MemberId) {
        self.members.remove(&id);
        if self.rank(id).is_some() && self.stage != Stage::Idle {
            self.take_as_finished(id);
        }
    }

    /// A member can't go on. Where the cause would meet the others as well, the run can't either; a newcomer's is its own as long
    /// as others hold the run.
    fn give_up(&mut self, id: MemberId, exit: Exit, how: &str, now: Duration) {
        let newcomer = self.members.get(&id).is_none_or(|member| member.generation.0 == 0);
        if !is_cause(exit) || (newcomer && self.rank(id).is_none() && self.is_held(Some(id))) {
            return self.lose(id, how, now);
        }
        let reason = format!("{} {how}", self.name(id));
        self.members.remove(&id);
        self.fail(exit, reason);
    }

    /// Whether somebody beside `one` has had a part in the run.
    fn is_held(&self, one: Option<MemberId>) -> bool {
        let mut others = self.members.iter().filter(|(id, _)| Some(**id) != one);
        others.any(|(id, member)| member.generation.0 > 0 || self.rank(*id).is_some())
    }

    fn process(&self, host: &str, pid: u32) -> Option<MemberId> {
        let own = |(_, member): &(&MemberId, &Member)| member.pid == pid && member.host == host;
        self.members.iter().find(own).map(|(id, _)| *id)
    }

    /// The rank of a member in the newest generation.
    fn rank(&self, id: MemberId) -> Option<Rank> {
        self.layout.rank(id)
    }

    /// The rank with which a worker speaks for the current generation.
    ///
    /// # Errors
    /// [`Refusal::Stale`], and [`Refusal::Unknown`] for who is not here or has no seat.
    pub fn rank_of(&self, id: MemberId, generation: Generation) -> Result<Rank, Refusal> {
        let current = self.generation;
        if generation != current {
            return Err(Refusal::Stale { found: generation, current });
        }
        let rank = self.rank(id).filter(|_| self.members.contains_key(&id));
        rank.ok_or(Refusal::Unknown(id))
    }

    /// The rank of a member in the generation that goes on.
    pub fn seat(&self, id: MemberId) -> Option<Rank> {
        self.rank(id).filter(|_| self.stage != Stage::Idle)
    }

    /// Members of the newest generation.
    pub fn world(&self) -> WorldSize {
        WorldSize(self.seats.len() as u32)
    }

    /// The newest generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether a generation goes on.
    pub fn is_together(&self) -> bool {
        matches!(self.stage, Stage::Together | Stage::Adopted)
    }

    /// Nobody is here (any more).
    pub fn drained(&self) -> bool {
        self.members.is_empty()
    }

    /// The newest step that those who hold the run have applied.
    pub fn step(&self) -> GlobalStep {
        match self.stage {
            Stage::Idle => self.newest_held(self.members.values()),
            _ => self.applied.max(self.committed),
        }
    }

    /// Grows with every member that is gone.
    pub fn departures(&self) -> i64 {
        i64::from(self.joined) - self.members.len() as i64
    }

    /// A member.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// The how-manieth coordinator of the run this is.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The members in the order of joining.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Step of the newest committed checkpoint; 0 when there is none.
    pub fn newest_committed(&self) -> GlobalStep {
        self.committed
    }

    /// What it decides by.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
}

/// Whether an exit names something that would happen again, and not only that somebody is gone or was told to go.
fn is_cause(exit: Exit) -> bool {
    !matches!(exit, Exit::Done | Exit::Lost | Exit::Unavailable | Exit::Stopped)
}
