//! Who takes part in the run, as a pure state machine: an event and the time go in; a decision and the one sentence
//! that explains the state come out. No lock, no socket, no clock in here.
//!
//! The world size is fixed: a run starts one generation when [`Spec::workers`] have joined, and a member that is lost
//! ends it. Everything carries the generation all the same, so that a late message of an earlier one is refused.

mod member;
mod terms;
#[cfg(test)]
mod tests;

pub use member::{Member, MemberId, NoMember, Presence};
pub use terms::{Beat, Refusal, Spec, State, Verdict};

use proto::{Exit, Generation, GlobalStep, Rank, v1};
use std::{collections::BTreeMap, time::Duration};

/// How near the reason of a failure is to its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// A worker lost its peers or the coordinator.
    Symptom,
    /// A worker is gone.
    Loss,
    /// Somebody says what went wrong.
    Cause,
}

/// Whether an exit says only that somebody else is gone.
fn vague(exit: Exit) -> bool {
    matches!(exit, Exit::Lost | Exit::Unavailable)
}

/// The members, the state and what was asked for.
#[derive(Clone, Debug)]
pub struct Membership {
    spec: Spec,
    state: State,
    members: BTreeMap<MemberId, Member>,
    joined: u32,
    checkpoint_request: u64,
    stop: Option<v1::Stop>,
    committed: GlobalStep,
    verdict: Option<Verdict>,
    /// How much the reason of a failure is worth.
    evidence: Evidence,
}

impl Membership {
    /// Nobody has joined yet.
    pub fn new(spec: Spec) -> Self {
        Self {
            committed: spec.resume,
            spec,
            state: State::Waiting,
            members: BTreeMap::new(),
            joined: 0,
            checkpoint_request: 0,
            stop: None,
            verdict: None,
            evidence: Evidence::Symptom,
        }
    }

    /// A worker registers. The last one that is needed starts the generation.
    ///
    /// # Errors
    /// [`Refusal::Full`] and [`Refusal::Over`].
    pub fn join(&mut self, host: &str, pid: u32, now: Duration) -> Result<MemberId, Refusal> {
        if let Some(verdict) = &self.verdict {
            return Err(Refusal::Over(verdict.reason.clone()));
        }
        if self.state != State::Waiting {
            return Err(Refusal::Full(self.spec.workers));
        }
        self.joined += 1;
        let id = MemberId { generation: self.spec.generation, number: self.joined };
        self.members.insert(id, Member::new(host, pid, now));
        if self.members.len() == self.spec.workers.index() {
            self.assign();
        }
        Ok(id)
    }

    /// Ranks in the order of joining.
    fn assign(&mut self) {
        for (rank, member) in (0..).zip(self.members.values_mut()) {
            member.rank = Some(Rank(rank));
        }
        self.state = State::Preparing;
    }

    /// A worker lives; says what it has to do.
    ///
    /// # Errors
    /// [`Refusal::Stale`] and [`Refusal::Unknown`].
    pub fn heartbeat(&mut self, beat: Beat, now: Duration) -> Result<v1::Directive, Refusal> {
        let member = self.present(beat.member, beat.generation)?;
        member.heard = now;
        member.applied = member.applied.max(beat.applied);
        member.phase = beat.phase;
        let trains = |m: &Member| matches!(m.phase, v1::Phase::Training | v1::Phase::Finishing);
        if self.state == State::Preparing && self.members.values().all(trains) {
            self.state = State::Training;
        }
        Ok(self.directive(beat.member))
    }

    fn directive(&self, id: MemberId) -> v1::Directive {
        use v1::directive::Kind;
        let assignment = self.members.get(&id).and_then(|member| {
            let rank = member.rank?;
            let neighbours = self.members.values().filter(|other| other.host == member.host);
            let before = neighbours.clone().filter(|other| other.rank < member.rank).count();
            Some(Kind::Assignment(v1::Assignment {
                generation: self.spec.generation.0,
                rank: rank.0,
                world_size: self.spec.workers.0,
                resume_step: self.spec.resume.0,
                manifest_fingerprint: self.spec.fingerprint.clone(),
                local_world_size: neighbours.count() as u32,
                local_rank: before as u32,
            }))
        });
        let kind = match (&self.verdict, assignment) {
            (Some(verdict), _) => Kind::Abort(v1::Abort { reason: verdict.reason.clone() }),
            (None, Some(assignment)) => assignment,
            (None, None) => Kind::Wait(v1::Wait { reason: self.reason() }),
        };
        v1::Directive { kind: Some(kind), checkpoint_request: self.checkpoint_request, stop: self.stop }
    }

    /// A worker goes by its own will: `Ok` when its work is done, else why it can't go on.
    ///
    /// # Errors
    /// [`Refusal::Stale`] and [`Refusal::Unknown`].
    pub fn leave(
        &mut self,
        id: MemberId,
        generation: Generation,
        end: Result<(), (Exit, String)>,
    ) -> Result<(), Refusal> {
        let name = self.name(id);
        let waiting = self.state == State::Waiting;
        self.present(id, generation)?.presence = Presence::Left;
        match end {
            Err((exit, reason)) => {
                let evidence = if vague(exit) { Evidence::Symptom } else { Evidence::Cause };
                self.fail_by(evidence, exit, format!("{name} left: {reason}"));
            }
            Ok(()) if waiting => {
                self.members.remove(&id);
            }
            Ok(()) if self.drained() => self.conclude(),
            Ok(()) => {}
        }
        Ok(())
    }

    /// A worker's process has ended on this machine. What it said before it went counts more than how it ended.
    pub fn exited(&mut self, pid: u32, local_host: &str, exit: Exit, how: &str) {
        let known =
            self.members.iter().find(|(_, m)| m.pid == pid && m.host == local_host).map(|(id, _)| *id);
        let Some(id) = known else {
            return self.fail(exit, format!("worker process {pid} {how} before it joined"));
        };
        let name = self.name(id);
        if let Some(member) = self.members.get_mut(&id).filter(|m| m.presence == Presence::Here) {
            member.presence = Presence::Lost;
            self.fail(exit, format!("{name} {how} without a word"));
        }
    }

    /// Time passes: silent members are lost.
    pub fn tick(&mut self, now: Duration) {
        let lost_after = self.spec.lost_after;
        let silent = |m: &Member| m.presence == Presence::Here && now.saturating_sub(m.heard) > lost_after;
        let lost: Vec<MemberId> = self.members.iter().filter(|(_, m)| silent(m)).map(|(id, _)| *id).collect();
        for id in lost {
            if self.state == State::Waiting {
                self.members.remove(&id);
                continue;
            }
            let name = self.name(id);
            if let Some(member) = self.members.get_mut(&id) {
                member.presence = Presence::Lost;
                let silence = now.saturating_sub(member.heard).as_secs_f64();
                self.fail(
                    Exit::Lost,
                    format!("{name} was not heard for {silence:.1} s (cluster.lost_after)"),
                );
            }
        }
    }

    /// Asks for a checkpoint at the next step boundary; returns the request's number.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`].
    pub fn request_checkpoint(&mut self, expected: Generation) -> Result<u64, Refusal> {
        self.check_operator(expected)?;
        self.checkpoint_request += 1;
        Ok(self.checkpoint_request)
    }

    /// Asks for the end at the next step boundary; says whether that is news. Two requests make one that writes a checkpoint if either did.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`].
    pub fn request_stop(&mut self, expected: Generation, checkpoint: bool) -> Result<bool, Refusal> {
        self.check_operator(expected)?;
        let news = self.stop.is_none();
        let before = self.stop.is_some_and(|stop| stop.checkpoint);
        self.stop = Some(v1::Stop { checkpoint: checkpoint || before });
        if self.state == State::Waiting {
            self.end(
                State::Finished,
                Exit::Stopped,
                "stopped before all workers had joined, as asked".into(),
            );
        } else {
            self.state = State::Stopping;
        }
        Ok(news)
    }

    /// A checkpoint was committed; says whether that is news.
    pub fn committed(&mut self, step: GlobalStep) -> bool {
        let news = step > self.committed;
        self.committed = self.committed.max(step);
        news
    }

    /// The run can't go on.
    pub fn fail(&mut self, exit: Exit, reason: String) {
        self.fail_by(if vague(exit) { Evidence::Loss } else { Evidence::Cause }, exit, reason);
    }

    /// A better reason replaces that of the failure it has caused elsewhere.
    fn fail_by(&mut self, evidence: Evidence, exit: Exit, reason: String) {
        let better = self.state == State::Failed && evidence > self.evidence;
        if self.verdict.is_none() || better {
            self.evidence = evidence;
            self.end(State::Failed, exit, reason);
        }
    }

    fn end(&mut self, state: State, exit: Exit, reason: String) {
        self.state = state;
        self.verdict = Some(Verdict { exit, reason });
    }

    /// Everybody has left with its work done.
    fn conclude(&mut self) {
        if self.verdict.is_some() {
            return;
        }
        let (step, steps) = (self.step(), self.spec.steps);
        match self.stop {
            _ if self.committed >= steps => {
                self.end(State::Finished, Exit::Done, format!("all {steps} steps are done"));
            }
            Some(stop) if !stop.checkpoint => {
                self.end(
                    State::Finished,
                    Exit::Stopped,
                    format!("stopped at step {step} of {steps}, as asked"),
                );
            }
            Some(_) if self.committed >= step => {
                let reason = format!("stopped at step {step} of {steps}, as asked; go on with --resume");
                self.end(State::Finished, Exit::Stopped, reason);
            }
            _ => {
                let committed = self.committed;
                let reason = format!(
                    "the workers left at step {step} of {steps}, but the newest committed checkpoint is {committed}"
                );
                self.end(State::Failed, Exit::Internal, reason);
            }
        }
    }

    fn present(&mut self, id: MemberId, generation: Generation) -> Result<&mut Member, Refusal> {
        self.check_generation(generation)?;
        let member = self.members.get_mut(&id).filter(|member| member.presence == Presence::Here);
        member.ok_or(Refusal::Unknown(id))
    }

    /// The rank with which a worker speaks for the current generation.
    ///
    /// # Errors
    /// [`Refusal::Stale`], and [`Refusal::Unknown`] for who is not here or has no rank.
    pub fn rank_of(&self, id: MemberId, generation: Generation) -> Result<Rank, Refusal> {
        self.check_current(generation)?;
        let member = self.members.get(&id).filter(|member| member.presence == Presence::Here);
        member.and_then(|member| member.rank).ok_or(Refusal::Unknown(id))
    }

    fn check_current(&self, found: Generation) -> Result<(), Refusal> {
        let current = self.spec.generation;
        if found == current { Ok(()) } else { Err(Refusal::Stale { found, current }) }
    }

    /// As [`check_current`](Self::check_current), for what may be said before the first assignment, in generation 0.
    fn check_generation(&self, found: Generation) -> Result<(), Refusal> {
        if found.0 == 0 { Ok(()) } else { self.check_current(found) }
    }

    fn check_operator(&self, expected: Generation) -> Result<(), Refusal> {
        let current = self.spec.generation;
        if let Some(verdict) = &self.verdict {
            return Err(Refusal::Over(verdict.reason.clone()));
        }
        if expected == current || expected.0 == 0 {
            Ok(())
        } else {
            Err(Refusal::NotExpected { expected, current })
        }
    }

    /// How a member is called in messages.
    fn name(&self, id: MemberId) -> String {
        match self.members.get(&id) {
            Some(Member { rank: Some(rank), host, pid, .. }) => {
                format!("rank {rank} (process {pid} on {host})")
            }
            Some(Member { host, pid, .. }) => format!("worker {id} (process {pid} on {host})"),
            None => format!("worker {id}"),
        }
    }

    /// Why the run is in its state.
    pub fn reason(&self) -> String {
        if let Some(verdict) = &self.verdict {
            return verdict.reason.clone();
        }
        let (here, workers, generation) = (self.members.len(), self.spec.workers, self.spec.generation);
        match self.state {
            State::Waiting => format!("waiting for workers: {here} of {workers} have joined"),
            State::Preparing => {
                format!(
                    "generation {generation}: the data is opened and the model built on {workers} workers"
                )
            }
            State::Stopping if self.stop.is_some_and(|stop| stop.checkpoint) => {
                "stopping with a checkpoint at the next step boundary, as asked".into()
            }
            State::Stopping => "stopping at the next step boundary, as asked".into(),
            _ => format!("generation {generation} trains on {workers} workers"),
        }
    }

    /// Where the run stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// How the run ended, once it has.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Nobody is here (any more).
    pub fn drained(&self) -> bool {
        self.members.values().all(|member| member.presence != Presence::Here)
    }

    /// The newest step that a member has applied.
    pub fn step(&self) -> GlobalStep {
        self.members.values().map(|member| member.applied).fold(self.spec.resume, GlobalStep::max)
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
