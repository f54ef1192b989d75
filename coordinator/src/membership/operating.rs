//! What operators ask of a run.

use super::{MemberId, Membership, Refusal, Scale, Stage};
use crate::settings::{Settings, Turn};
use proto::{Generation, Rank, WorldSize, v1};
use std::time::Duration;

/// Workers that were sent away and are remembered.
const REMEMBERED: usize = 1024;
/// Steps of the longest profile.
const MOST_PROFILED: u32 = 100;

impl Membership {
    /// Asks for a checkpoint at the next step boundary; returns the request's number.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`], [`Refusal::Over`]; [`Refusal::Impossible`] while the run is paused.
    pub fn request_checkpoint(&mut self, expected: Generation) -> Result<u64, Refusal> {
        self.check_operator(expected)?;
        if self.is_held_back() {
            return Err(Refusal::Impossible("the run is paused, and nobody trains: resume it first".into()));
        }
        self.ask_for_checkpoint();
        Ok(self.request)
    }

    /// Asks for the end at the next step boundary; says whether that is news. Two requests make one that writes a checkpoint if either did.
    /// A rollback that is not decided yet is withdrawn.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`].
    pub fn request_stop(&mut self, expected: Generation, checkpoint: bool) -> Result<bool, Refusal> {
        self.check_operator(expected)?;
        let before = self.stop.replace(v1::Stop { checkpoint });
        self.asked = true;
        self.withdraw_rollback("the run was asked to stop");
        if before.is_some_and(|before| before.checkpoint) {
            self.stop = before;
        }
        if self.stage == Stage::Idle && self.proposal.is_none() {
            self.conclude_idle();
        }
        Ok(before.is_none())
    }

    /// Ends the generation at its next step boundary, and begins no other until the run is resumed. Its workers keep what they hold.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`]; [`Refusal::Impossible`] for a run that is stopping.
    pub fn pause(&mut self, expected: Generation, by: &str, now: Duration) -> Result<(), Refusal> {
        self.check_operator(expected)?;
        if self.stop.is_some() {
            return Err(Refusal::Impossible("the run stops at its next step boundary".into()));
        }
        self.paused.get_or_insert_with(|| by.into());
        self.proceed(now);
        Ok(())
    }

    /// Goes on. Workers that were lost meanwhile are waited for as after any loss.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`].
    pub fn resume(&mut self, expected: Generation, now: Duration) -> Result<(), Refusal> {
        self.check_operator(expected)?;
        if self.paused.take().is_some() && self.deadline.is_some() {
            self.deadline = Some(now + self.spec.grace);
        }
        self.proceed(now);
        Ok(())
    }

    /// Changes how many workers take part: what is not given stays.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`]; [`Refusal::Impossible`] for numbers that do not fit together.
    pub fn scale(
        &mut self,
        expected: Generation,
        [workers, least, most]: [Option<u32>; 3],
        now: Duration,
    ) -> Result<Scale, Refusal> {
        self.check_operator(expected)?;
        let Scale { wanted, least: fewest, most: highest } = self.scaled();
        let scale = Scale {
            wanted: workers.map_or(wanted, WorldSize),
            least: least.map_or(fewest, WorldSize),
            most: most.map_or(highest, WorldSize),
        };
        let lanes = self.spec.lanes;
        let in_order = [1, scale.least.0, scale.wanted.0, scale.most.0, lanes].is_sorted();
        if !in_order {
            return Err(Refusal::Impossible(format!(
                "at least {}, {} wanted and at most {} workers: these have to grow in this order, from 1 to data.lanes = {lanes}",
                scale.least, scale.wanted, scale.most
            )));
        }
        (self.spec.wanted, self.spec.least, self.spec.most) = (scale.wanted, scale.least, scale.most);
        self.proceed(now);
        Ok(scale)
    }

    /// Turns knobs; all ranks heed them from the same step on. Gives all of them.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`]; [`Refusal::Invalid`].
    pub fn set(&mut self, expected: Generation, turn: &Turn) -> Result<Settings, Refusal> {
        self.check_operator(expected)?;
        self.spec.settings = self.spec.settings.turned(turn).map_err(Refusal::Invalid)?;
        Ok(self.spec.settings.clone())
    }

    /// The knobs that may be turned.
    pub fn settings(&self) -> &Settings {
        &self.spec.settings
    }

    /// Asks for a trace of the next steps; returns the request's number.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`], [`Refusal::Over`] and [`Refusal::Invalid`]; [`Refusal::Impossible`] while the run is paused.
    pub fn request_profile(&mut self, expected: Generation, steps: u32) -> Result<u64, Refusal> {
        self.check_operator(expected)?;
        if !(1..=MOST_PROFILED).contains(&steps) {
            return Err(Refusal::Invalid(format!(
                "steps is {steps}: give a number from 1 to {MOST_PROFILED}"
            )));
        }
        if self.is_held_back() {
            return Err(Refusal::Impossible("the run is paused, and nobody trains: resume it first".into()));
        }
        // Numbers grow, also over coordinators.
        let last = self.profile.map_or(self.epoch.saturating_sub(1) << 32, |last| last.request);
        self.profile = Some(v1::Profile { request: last + 1, steps });
        Ok(last + 1)
    }

    /// All have done with the request of that number: who comes later has no part in it.
    pub fn profiled(&mut self, request: u64) {
        if let Some(asked) = &mut self.profile
            && asked.request == request
        {
            asked.steps = 0;
        }
    }

    /// The request for a profile that is open.
    pub fn profile(&self) -> Option<v1::Profile> {
        self.profile.filter(|asked| asked.steps > 0)
    }

    /// Leaves a worker out of the next generation, which begins at the next step boundary.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`]; [`Refusal::Unknown`]; [`Refusal::Impossible`] while the run is paused: nobody
    /// takes over what the worker holds.
    pub fn dismiss(&mut self, expected: Generation, id: MemberId, now: Duration) -> Result<(), Refusal> {
        self.check_operator(expected)?;
        if self.is_held_back() {
            return Err(Refusal::Impossible("the run is paused: resume it first, or kick the worker".into()));
        }
        self.drain(id, now)
    }

    /// Sends a worker away at once, whatever it is doing. Its generation ends.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`]; [`Refusal::Unknown`].
    pub fn kick(
        &mut self,
        expected: Generation,
        id: MemberId,
        by: &str,
        now: Duration,
    ) -> Result<(), Refusal> {
        self.check_operator(expected)?;
        if !self.members.contains_key(&id) {
            return Err(Refusal::Unknown(id));
        }
        let how = format!("was kicked by {by}");
        self.lose(id, &how, now);
        if self.kicked.len() == REMEMBERED {
            self.kicked.pop_first();
        }
        self.kicked.insert(id, how);
        self.proceed(now);
        Ok(())
    }

    /// What a worker is told that was sent away.
    pub(super) fn sent_away(&self, id: MemberId) -> Option<v1::Directive> {
        let reason = self.kicked.get(&id)?.clone();
        let kind = Some(v1::directive::Kind::Dismiss(v1::Dismiss { reason: format!("it {reason}") }));
        Some(v1::Directive { kind, ..v1::Directive::default() })
    }

    /// The worker that people call so: by its name, or by its rank in the generation that goes on.
    ///
    /// # Errors
    /// [`Refusal::Nobody`].
    pub fn find(&self, worker: &str) -> Result<MemberId, Refusal> {
        let ranked = |rank: u32| self.seats.get(Rank(rank).index()).map(|seat| seat.member);
        let named = match worker.parse() {
            Ok(rank) => ranked(rank).filter(|id| self.seat(*id).is_some()),
            Err(_) => worker.parse().ok(),
        };
        let here = named.filter(|id| self.members.contains_key(id));
        here.ok_or_else(|| Refusal::Nobody(worker.chars().take(80).collect()))
    }

    /// No generation begins, because the run is paused. A stop is heeded all the same.
    pub(super) fn is_held_back(&self) -> bool {
        self.paused.is_some() && self.stop.is_none() && self.stage == Stage::Idle
    }

    /// Who paused the run, if it is.
    pub fn paused(&self) -> Option<&str> {
        self.paused.as_deref()
    }

    /// How many workers take part.
    pub fn scaled(&self) -> Scale {
        Scale { wanted: self.spec.wanted, least: self.spec.least, most: self.spec.most }
    }

    pub(super) fn check_going_on(&self) -> Result<(), Refusal> {
        self.verdict.as_ref().map_or(Ok(()), |verdict| Err(Refusal::Over(verdict.reason.clone())))
    }

    pub(super) fn check_operator(&self, expected: Generation) -> Result<(), Refusal> {
        self.check_going_on()?;
        let current = self.generation;
        if expected == current || expected.0 == 0 {
            Ok(())
        } else {
            Err(Refusal::NotExpected { expected, current })
        }
    }
}
