//! Checkpoints as the run commits them: parts are reported, the journal takes the decision (see [`record`](crate::record)), then
//! the marker follows.

use super::{Control, ReportError, lock};
use crate::{
    checkpoints::{CheckpointError, Checkpoints, Prepared, Report},
    membership::{MemberId, Membership},
};
use proto::{Exit, Generation, GlobalStep, Rank};
use shards::committed::CommittedError;

impl Control {
    /// Takes the report of a checkpoint's part, and the newest request that the checkpoint answers; says whether that step, or a
    /// later one, is committed now.
    ///
    /// # Errors
    /// Who is no member of the current generation; a store that does not take it, which may be tried again; a report that can't
    /// be true, which also ends the run.
    pub async fn report_part(
        &self,
        member: MemberId,
        report: Report,
        request: u64,
    ) -> Result<bool, ReportError> {
        let (step, attempt) = (report.step, (report.generation, report.step));
        self.check_part(member, &report)?;
        if report.rank == Rank(0) {
            let mut answers = lock(&self.answers);
            answers.retain(|(generation, _), _| *generation == attempt.0);
            answers.insert(attempt, request);
        }
        let reported = if self.is_past(step) { Ok(None) } else { self.checkpoints.report(report).await };
        if self.is_past(step) {
            // Its parts may be gone by now.
            let request = self.answer(attempt);
            self.decide(|membership, _| membership.committed(step, request));
            return Ok(true);
        }
        if let Some(whole) = reported.inspect_err(|error| self.fail_on(error))? {
            let mut held = lock(&self.prepared);
            if held.as_ref().is_none_or(|held| held.attempt() <= attempt) {
                *held = Some(whole);
                self.turns.send_modify(|turns| *turns += 1);
            }
        }
        Ok(false)
    }

    /// Whether a checkpoint of this step, or of a later one, is committed.
    fn is_past(&self, step: GlobalStep) -> bool {
        self.look(|membership| membership.newest_committed() >= step)
    }

    /// The newest request that a checkpoint answers.
    fn answer(&self, attempt: (Generation, GlobalStep)) -> u64 {
        lock(&self.answers).get(&attempt).copied().unwrap_or_default()
    }

    fn fail_on(&self, error: &CheckpointError) {
        if let Some(exit) = fatal(error) {
            self.decide(|membership, _| membership.fail(exit, error.to_string()));
        }
    }

    /// The checkpoint that waits to be committed, and the newest request that it answers. One that came too late is given up: of a
    /// generation that is over it may be of steps that are done again.
    pub(crate) fn prepared(&self) -> Option<(Prepared, u64)> {
        let (generation, newest) =
            self.look(|membership| (membership.generation(), membership.newest_committed()));
        let mut held = lock(&self.prepared);
        held.take_if(|held| {
            let (of, step) = held.attempt();
            of != generation || step <= newest
        });
        held.clone().map(|prepared| (prepared.clone(), self.answer(prepared.attempt())))
    }

    /// Commits a checkpoint that the journal has. That it can't because of what lies there ends the run.
    ///
    /// # Errors
    /// A store that does not take it, which is to be tried again.
    pub(crate) async fn commit(&self, prepared: &Prepared, request: u64) -> Result<(), CheckpointError> {
        if let Err(error) = self.checkpoints.commit(prepared).await {
            if fatal(&error).is_none() {
                return Err(error);
            }
            self.fail_on(&error);
            *lock(&self.prepared) = None;
            return Ok(());
        }
        let (_, step) = prepared.attempt();
        if self.decide(|membership, _| membership.committed(step, request)) {
            tracing::info!("checkpoint of step {step} is committed");
        }
        Ok(())
    }

    /// The checkpoints.
    pub(crate) fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// Removes checkpoints that are not to be kept. That it can't is told, and no more.
    pub(crate) async fn prune(&self) {
        if let Err(error) = self.checkpoints.prune(self.look(Membership::going_back)).await {
            tracing::warn!("old checkpoints stay: {error}");
        }
    }

    /// A member reports its own part, of as many as there are ranks: else a step could be committed that lacks some.
    fn check_part(&self, member: MemberId, report: &Report) -> Result<(), ReportError> {
        let (rank, world) = self.look(|membership| {
            membership.rank_of(member, report.generation).map(|rank| (rank, membership.world()))
        })?;
        if (report.rank, report.parts) == (rank, world.0) {
            return Ok(());
        }
        let reason = format!(
            "worker {member} has rank {rank} of {world}, but reports part {} of {}",
            report.rank, report.parts
        );
        Err(CheckpointError::Report { step: report.step, rank: report.rank, reason }.into())
    }
}

/// How a run ends whose checkpoint can't be committed; a store that does not answer is asked again by the worker.
fn fatal(error: &CheckpointError) -> Option<Exit> {
    match error {
        CheckpointError::Store(_) | CheckpointError::Committed(CommittedError::Store(_)) => None,
        CheckpointError::Conflict { .. } => Some(Exit::Output),
        CheckpointError::Committed(_) => Some(Exit::Data),
        CheckpointError::Report { .. } | CheckpointError::State { .. } => Some(Exit::Internal),
    }
}
