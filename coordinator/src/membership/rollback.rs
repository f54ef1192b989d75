//! Going back to an older checkpoint while the run goes on: asked for, then decided in the journal while no generation goes on, then
//! done once the later checkpoints are gone.

use super::{Membership, Refusal, Stage};
use proto::{Generation, GlobalStep, v1};
use std::time::Duration;

/// The newest request for an older checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rollback {
    /// Its number.
    pub request: u64,
    /// The checkpoint's step.
    pub step: GlobalStep,
    /// How far it is.
    pub course: Course,
}

/// How far a rollback is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Course {
    /// It is to be decided when no generation goes on.
    Asked,
    /// As asked, and the store has refused to show the checkpoint, saying this: it is asked again.
    Delayed(String),
    /// The journal has it. Later checkpoints are being removed.
    Decided,
    /// Nothing is left of what came after.
    Done,
    /// It does not come about, for this reason.
    Withdrawn(String),
}

impl Rollback {
    /// Whether it may still be withdrawn.
    fn is_open(&self) -> bool {
        matches!(self.course, Course::Asked | Course::Delayed(_))
    }
}

impl Membership {
    /// Ends the generation at its next step boundary; the next one begins with the checkpoint of `step`, which is there. Returns the
    /// request's number.
    ///
    /// # Errors
    /// [`Refusal::NotExpected`] and [`Refusal::Over`]; [`Refusal::Impossible`] for a run that is stopping, or in the middle of another
    /// rollback.
    pub fn roll_back(
        &mut self,
        expected: Generation,
        step: GlobalStep,
        now: Duration,
    ) -> Result<u64, Refusal> {
        self.check_operator(expected)?;
        if self.stop.is_some() {
            return Err(Refusal::Impossible("the run stops at its next step boundary".into()));
        }
        let last = match &self.rollback {
            Some(Rollback { course: Course::Decided, step, .. }) => {
                let reason = format!("the run is going back to step {step}: ask again when it has");
                return Err(Refusal::Impossible(reason));
            }
            Some(last) => last.request,
            // Numbers grow, also over coordinators.
            None => self.epoch.saturating_sub(1) << 32,
        };
        self.rollback = Some(Rollback { request: last + 1, step, course: Course::Asked });
        self.proceed(now);
        Ok(last + 1)
    }

    /// The checkpoint that the run is to go back to, and has not yet.
    pub fn going_back(&self) -> Option<GlobalStep> {
        let open = self.rollback.as_ref().filter(|it| it.is_open() || it.course == Course::Decided);
        open.map(|it| it.step)
    }

    /// The rollback to be decided now that no generation goes on: to which step, and the number of a generation that it takes.
    pub fn rolls_back(&self) -> Option<(GlobalStep, Generation)> {
        let idle = self.stage == Stage::Idle && self.proposal.is_none() && self.verdict.is_none();
        let asked = self.rollback.as_ref().filter(|it| idle && it.is_open())?;
        Some((asked.step, self.generation.next()))
    }

    /// The journal has it: what is held of later steps, or of earlier generations, counts no more.
    pub fn decide_rollback(&mut self, step: GlobalStep, by: Generation) {
        if let Some(it) = &mut self.rollback {
            (it.step, it.course) = (step, Course::Decided);
        }
        (self.generation, self.committed_by) = (by, by);
        (self.committed, self.applied) = (step, step);
    }

    /// The later checkpoints are gone: the run goes on.
    pub fn end_rollback(&mut self, now: Duration) {
        if let Some(it) = self.rollback.as_mut().filter(|it| it.course == Course::Decided) {
            it.course = Course::Done;
        }
        self.proceed(now);
    }

    /// One that is not decided yet is so once the store answers.
    pub fn delay_rollback(&mut self, why: &str) {
        if let Some(it) = self.rollback.as_mut().filter(|it| it.is_open()) {
            it.course = Course::Delayed(why.into());
        }
    }

    /// What the store says, that a rollback waits for.
    pub(super) fn delayed_by(&self) -> Option<&str> {
        match &self.rollback.as_ref()?.course {
            Course::Delayed(why) => Some(why),
            _ => None,
        }
    }

    /// One that is not decided yet does not come about.
    pub fn withdraw_rollback(&mut self, why: &str) {
        if let Some(it) = self.rollback.as_mut().filter(|it| it.is_open()) {
            it.course = Course::Withdrawn(why.into());
        }
    }

    /// The newest one, for operators.
    pub fn told_rollback(&self) -> Option<v1::Rollback> {
        self.rollback.as_ref().map(|Rollback { request, step, course }| v1::Rollback {
            request: *request,
            step: step.0,
            done: *course == Course::Done,
            fault: if let Course::Withdrawn(why) = course { why.clone() } else { String::new() },
        })
    }
}
