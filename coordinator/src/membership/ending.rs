//! How a run ends.

use super::{MemberId, Membership, State, Verdict, is_cause};
use proto::{Exit, GlobalStep, v1};

impl Membership {
    /// A checkpoint of this generation was committed, which answers the requests up to `request`; says whether the step is news.
    pub fn committed(&mut self, step: GlobalStep, request: u64) -> bool {
        let news = step > self.committed;
        if news {
            (self.committed, self.committed_by) = (step, self.generation);
            if let Some(mut proposal) = self.proposal.take() {
                proposal.step = self.begins(&proposal.seats);
                self.proposal = Some(proposal);
            }
        }
        self.answered = self.answered.max(request);
        news
    }

    /// The run can't go on. The first reason stays, but a loss gives way to its cause.
    pub fn fail(&mut self, exit: Exit, reason: String) {
        let better =
            |verdict: &Verdict| verdict.state == State::Failed && !is_cause(verdict.exit) && is_cause(exit);
        if self.verdict.as_ref().is_none_or(better) {
            self.end(State::Failed, exit, reason);
        }
    }

    fn end(&mut self, state: State, exit: Exit, reason: String) {
        self.verdict = Some(Verdict { state, exit, reason });
    }

    /// Nothing is left to do for this run: the checkpoint that was asked for, or the last one, is committed.
    pub(super) fn is_complete(&self) -> bool {
        let stopped = self.stop.is_some_and(|stop| stop.checkpoint) && self.committed >= self.step();
        stopped || self.committed >= self.spec.steps
    }

    /// A member of the generation that goes on has done its work; with the last one the run is over.
    pub(super) fn take_as_finished(&mut self, id: MemberId) {
        self.finished.insert(id);
        if self.verdict.is_none() && self.seats.iter().all(|seat| self.finished.contains(&seat.member)) {
            self.conclude();
        }
    }

    fn conclude(&mut self) {
        let (step, steps, committed) = (self.step(), self.spec.steps, self.committed);
        if committed >= steps || self.stop.is_some_and(|stop| !stop.checkpoint || committed >= step) {
            return self.close();
        }
        let reason = format!(
            "the workers left at step {step} of {steps}, but the newest committed checkpoint is {committed}"
        );
        self.end(State::Failed, Exit::Internal, reason);
    }

    /// Ends a run that has no generation, if it is done, or asked to stop with nothing left to write; says whether it did.
    pub(super) fn conclude_idle(&mut self) -> bool {
        let stopped = self.stop.is_some_and(|stop| !stop.checkpoint);
        let over = stopped || self.is_complete();
        if over {
            self.close();
        }
        over
    }

    /// The end that was asked for.
    fn close(&mut self) {
        let (step, steps) = (self.step(), self.spec.steps);
        if self.committed >= steps {
            return self.end(State::Finished, Exit::Done, format!("all {steps} steps are done"));
        }
        let reason = match self.stop {
            _ if self.generation.0 == 0 => "stopped before all workers had joined, as asked".into(),
            Some(stop) if stop.checkpoint => {
                format!("stopped at step {step} of {steps}, as asked; go on with --resume")
            }
            _ => format!("stopped at step {step} of {steps}, as asked"),
        };
        self.end(State::Finished, Exit::Stopped, reason);
    }

    /// What was asked for, if the run has to end.
    pub fn stop(&self) -> Option<v1::Stop> {
        self.stop
    }

    /// The newest request for a checkpoint.
    pub fn request(&self) -> u64 {
        self.request
    }

    /// The newest request that a committed checkpoint has answered.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// How the run ended, once it has.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }
}
