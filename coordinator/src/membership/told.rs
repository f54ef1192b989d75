//! What workers and people are told: each member's directive, the state's word, and the sentence that explains it.

use super::{Member, MemberId, Membership, Refusal, Stage, State};
use proto::{Rank, v1};
use std::time::Duration;
use v1::directive::Kind;

/// How many are named in a sentence.
const LISTED: usize = 4;

/// What all members are told alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulletin {
    /// The generation is to end at its next step boundary.
    pub regroup: bool,
    /// Why the run is in its state.
    pub reason: String,
}

impl Membership {
    /// What all are told alike, as long as nothing but steps happens.
    pub fn bulletin(&self) -> Bulletin {
        Bulletin { regroup: self.wants_regroup(), reason: self.reason() }
    }

    /// What a member has to do, without a serial number.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn directive(&self, id: MemberId, bulletin: &Bulletin) -> Result<v1::Directive, Refusal> {
        if let Some(told) = self.sent_away(id) {
            return Ok(told);
        }
        let member = self.members.get(&id).ok_or(Refusal::Unknown(id))?;
        let seat = self.rank(id).filter(|_| matches!(self.stage, Stage::Together | Stage::Adopted));
        let kind = match (&self.verdict, seat) {
            (Some(verdict), _) => Kind::Abort(v1::Abort {
                reason: verdict.reason.clone(),
                exit_code: verdict.exit.code().into(),
            }),
            (None, Some(rank)) => Kind::Assignment(self.assignment(rank)),
            (None, None) if self.is_dismissed(id, member) => {
                Kind::Dismiss(v1::Dismiss { reason: "it was told to go, and has no seat".into() })
            }
            (None, None) => Kind::Wait(v1::Wait { reason: self.why_it_waits(member, bulletin) }),
        };
        Ok(v1::Directive {
            kind: Some(kind),
            checkpoint_request: self.request,
            stop: self.stop,
            regroup: seat.is_some() && bulletin.regroup,
            settings: Some(self.spec.settings.to_wire()),
            profile: self.profile(),
            ..v1::Directive::default()
        })
    }

    /// A member that was told to go and holds the run stays until others have taken it over.
    fn is_dismissed(&self, id: MemberId, member: &Member) -> bool {
        let proposed = self.proposal.as_ref().is_some_and(|p| p.seats.iter().any(|seat| seat.member == id));
        let held = self.stage == Stage::Together || !(member.holds() || self.seat(id).is_some());
        member.draining && self.stop.is_none() && !proposed && held
    }

    fn assignment(&self, rank: Rank) -> v1::Assignment {
        let (local_rank, local_world_size) = self.layout.local(rank);
        let (ranks, lanes) = self.layout.alike.clone();
        v1::Assignment {
            generation: self.generation.0,
            rank: rank.0,
            world_size: self.world().0,
            resume_step: self.begun.committed.1.0,
            resume_generation: self.begun.committed.0.0,
            manifest_fingerprint: self.spec.fingerprint.clone(),
            local_world_size,
            local_rank,
            ranks,
            lanes,
            checkpoint_request: self.begun.answered,
            checkpoint_every: self.begun.every,
        }
    }

    fn why_it_waits(&self, member: &Member, bulletin: &Bulletin) -> String {
        if self.stage != Stage::Together {
            return bulletin.reason.clone();
        }
        let (generation, workers, spec) = (self.generation, self.world(), &self.spec);
        if bulletin.regroup {
            return format!(
                "generation {generation} ends at its next step boundary, and another membership begins"
            );
        }
        if member.spare && workers >= spec.wanted {
            return format!(
                "generation {generation} has the {} workers of run.workers; this spare is held ready",
                spec.wanted
            );
        }
        format!(
            "generation {generation} has {} of at most {} (run.max_workers); this one is held ready",
            count(workers.0),
            spec.most
        )
    }

    /// How a member is called in messages.
    pub(super) fn name(&self, id: MemberId) -> String {
        let rank = self.rank(id);
        match (rank.and_then(|rank| self.seats.get(rank.index())), self.members.get(&id), rank) {
            (Some(seat), _, Some(rank)) => format!("rank {rank} (process {} on {})", seat.pid, seat.host),
            (_, Some(member), _) => format!("worker {id} (process {} on {})", member.pid, member.host),
            _ => format!("worker {id}"),
        }
    }

    /// Where the run stands.
    pub fn state(&self) -> State {
        match (&self.verdict, self.stage) {
            (Some(verdict), _) => verdict.state,
            _ if self.stop.is_some() => State::Stopping,
            (None, Stage::Together) if self.trains() => State::Training,
            (None, Stage::Together) => State::Preparing,
            (None, Stage::Parting { .. }) => State::Regrouping,
            (None, Stage::Idle) if self.is_held_back() => State::Paused,
            (None, Stage::Idle) if self.members.values().any(Member::holds) => State::Regrouping,
            (None, Stage::Idle | Stage::Adopted) => State::Waiting,
        }
    }

    /// Why the run is in its state.
    pub fn reason(&self) -> String {
        if let Some(verdict) = &self.verdict {
            return verdict.reason.clone();
        }
        let course = self.course();
        match self.stop {
            None if self.paused.is_some() && self.stage != Stage::Idle => {
                let by = self.paused().unwrap_or_default();
                format!("pausing at the next step boundary, as {by} asked; {course}")
            }
            None => match self.going_back().filter(|_| self.stage != Stage::Idle) {
                Some(step) => format!("going back to step {step} at the next step boundary; {course}"),
                None => course,
            },
            Some(stop) => {
                let how = if stop.checkpoint { "with a checkpoint " } else { "" };
                format!("stopping {how}at the next step boundary, as asked; {course}")
            }
        }
    }

    fn course(&self) -> String {
        let (generation, workers) = (self.generation, self.world());
        match self.stage {
            Stage::Idle if self.proposal.is_some() => {
                format!("generation {} begins when the journal has it", generation.next())
            }
            Stage::Idle if self.going_back().is_some() => {
                let step = self.going_back().unwrap_or_default();
                match self.delayed_by() {
                    Some(why) => {
                        format!("going back to step {step} once the store answers, which says: {why}")
                    }
                    None => format!("going back to the checkpoint of step {step}; later ones are removed"),
                }
            }
            Stage::Idle if self.is_held_back() => {
                let (by, held) = (self.paused().unwrap_or_default(), self.candidates().len() as u32);
                format!("paused, as {by} asked, until it is resumed; {} ready", count(held))
            }
            Stage::Idle => self.who_is_missing(),
            Stage::Adopted => {
                let unheard = self.named(|member| member.phase == v1::Phase::Unspecified);
                format!("generation {generation} of an earlier coordinator: {unheard} not heard yet")
            }
            Stage::Together if !self.trains() => {
                format!(
                    "generation {generation}: {} to form a group and take over the state",
                    count(workers.0)
                )
            }
            Stage::Together => format!("generation {generation} trains on {}", count(workers.0)),
            Stage::Parting { .. } => {
                let away = self.named(|member| member.phase != v1::Phase::Waiting);
                format!("{}; waiting for {away} to come back", self.how_it_ended())
            }
        }
    }

    fn how_it_ended(&self) -> String {
        let why = match self.why.is_empty() {
            true => "another membership was waiting".into(),
            false => listed(self.why.iter(), String::clone),
        };
        format!("generation {} ended: {why}", self.generation)
    }

    fn who_is_missing(&self) -> String {
        let (ready, spec) = (self.candidates().len(), &self.spec);
        let (wanted, least) = (spec.wanted, spec.least);
        if self.deadline.is_none() {
            return format!("waiting for workers: {ready} of {wanted} are ready (run.workers)");
        }
        let ended = self.how_it_ended();
        if ready < least.index() {
            return format!("{ended}; {ready} workers are ready, and {least} are needed (run.min_workers)");
        }
        format!("{ended}; {ready} of {wanted} workers are ready, and others are waited for (cluster.grace)")
    }

    /// The members of the generation that `is` so, for a sentence.
    fn named(&self, is: impl Fn(&Member) -> bool) -> String {
        let seated = self.seats.iter().map(|seat| seat.member);
        let found = seated.filter(|id| self.members.get(id).is_some_and(&is));
        listed(found, |id| self.name(id))
    }

    /// How long others are still waited for before the run goes on with fewer.
    pub fn patience(&self, now: Duration) -> Option<Duration> {
        let idle = self.stage == Stage::Idle && self.proposal.is_none() && self.verdict.is_none();
        let waits = idle && !self.is_held_back();
        let enough = || self.candidates().len() >= self.spec.least.index();
        let left = self.deadline.filter(|_| waits && enough())?.checked_sub(now);
        left.filter(|left| !left.is_zero())
    }
}

/// Few of many: a sentence is told to every worker.
fn listed<T>(mut all: impl Iterator<Item = T>, name: impl Fn(T) -> String) -> String {
    let few: Vec<String> = all.by_ref().take(LISTED).map(name).collect();
    match all.count() {
        0 => few.join(", "),
        more => format!("{} and {more} more", few.join(", ")),
    }
}

fn count(workers: u32) -> String {
    if workers == 1 { "1 worker".into() } else { format!("{workers} workers") }
}
