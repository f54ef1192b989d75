//! A worker's life, and the loop: take a batch, make a step, report it, keep a checkpoint, until the last step, until told to stop, or
//! until the generation ends and another seat is taken.

use crate::args::Train;
use crate::batch::LocalBatch;
use crate::error::{Error, Result};
use crate::laps::Phase;
use crate::ledger::Ledger;
use crate::metrics::{Tally, Unreported, substitutions};
use crate::scrape;
use crate::seat::{Place, Seat, sit};
use crate::session::Session;
use crate::settle::Holding;
use crate::step::{Outcome, Trainer};
use crate::warm::Warm;
use proto::{GlobalStep, RunConfig, v1};
use shards::loader::{Batch, Loader};
use std::time::Instant;
use tch::Tensor;
use telemetry::SPANS;
use tracing::Span;

/// Takes part in a run from joining to leaving.
///
/// # Errors
/// Why this worker could not do its part, or was stopped before the end; the coordinator has been told.
pub fn work(arguments: &Train) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| Error::System(format!("starting threads: {e}")))?;
    let mut session = runtime.block_on(Session::join(arguments))?;
    session.drain_on_signal();
    if let Some(address) = &arguments.metrics {
        scrape::serve(runtime.handle(), address, session.telling())?;
    }
    let done = live(&mut session, arguments.interface.as_deref());
    runtime.block_on(session.leave(&done));
    match done {
        Err(Error::Over { exit: proto::Exit::Done, reason }) => {
            tracing::info!("{reason}");
            Ok(())
        }
        done => done,
    }
}

/// How a generation ends for one of its ranks, if nothing failed.
enum End {
    /// The last step is done.
    Done,
    /// Somebody asked for the end of the run.
    Stopped,
    /// Another membership is waiting.
    Regroup,
    /// All go on from the newest checkpoint's state.
    RollBack,
}

/// One seat after the other.
fn live(session: &mut Session, interface: Option<&str>) -> Result<()> {
    let (mut warm, mut holding) = Warm::new(session)?;
    let mut unreported = Unreported::default();
    let mut broken = false;
    loop {
        session.wait(holding.held(), broken);
        let runtime = session.runtime().clone();
        let seat = Seat::new(&runtime.block_on(session.assignment())?, &warm.config);
        let end;
        (holding, end) = take(session, &mut warm, &seat, holding, &mut unreported, interface)?;
        broken = match end {
            Ok(End::Done) => return Ok(()),
            Ok(End::Stopped) => return Err(Error::Stopped(holding.state.step)),
            Ok(End::Regroup) => false,
            Ok(End::RollBack) => true,
            Err(error) if error.passes() => {
                tracing::warn!(
                    "generation {} is over at step {}: {error}",
                    seat.generation,
                    holding.state.step
                );
                true
            }
            Err(error) => return Err(error),
        };
    }
}

/// Takes a seat and trains in it; gives back what is held then.
///
/// # Errors
/// Weights that do not fit the model. All other errors are the seat's end.
fn take(
    session: &mut Session,
    warm: &mut Warm,
    seat: &Seat,
    mut holding: Holding,
    unreported: &mut Unreported,
    interface: Option<&str>,
) -> Result<(Holding, Result<End>)> {
    let Place { group, loader, settled } = match sit(session, warm, seat, &mut holding, interface) {
        Err(error) => return Ok((holding, Err(error))),
        Ok(place) => place,
    };
    if settled.foreign {
        unreported.clear();
        warm.outbox.branch_off();
    }
    let applied = settled.applied;
    let Holding { state, votes, ledger, settled, .. } = holding;
    let (config, special) = (warm.config.clone(), warm.special);
    let mut trainer = Trainer::new(&config, special, warm.steps_per_epoch, state, &seat.counts, group)?;
    trainer.remember(votes);
    let tally = Tally::default();
    let mut turn =
        Turn { session, warm, seat, trainer, loader, ledger, unreported, tally, sent: GlobalStep(0) };
    let end = turn.begin(applied).and_then(|()| turn.train());
    turn.warm.profiling.cut_off(seat, turn.session);
    let rolls_back = matches!(end, Ok(End::RollBack));
    let (trainer, ledger) = (turn.trainer, turn.ledger);
    let (state, staged, votes) = trainer.release();
    Ok((Holding { state, staged, votes, ledger, settled, rolls_back }, end))
}

/// One seat of one generation, while it trains.
struct Turn<'a> {
    session: &'a mut Session,
    warm: &'a mut Warm,
    seat: &'a Seat,
    trainer: Trainer,
    loader: Loader,
    ledger: Ledger,
    unreported: &'a mut Unreported,
    tally: Tally,
    /// The last step of the segments that were sent to the store from this seat.
    sent: GlobalStep,
}

impl Turn<'_> {
    fn step(&self) -> GlobalStep {
        self.trainer.state().step
    }

    /// What the last generation left undone: metrics, segments and a checkpoint that may have ended with one of its ranks.
    fn begin(&mut self, applied: Option<Outcome>) -> Result<()> {
        // Reports wait for that.
        self.session.enter(v1::Phase::Training, self.step());
        if let Some(outcome) = &applied {
            self.note(outcome);
        }
        if self.seat.leads() {
            let steps = self.unreported.all();
            self.warm.outbox.steps(steps, Vec::new())?;
            self.send_segments()?;
        }
        if overdue(&self.warm.config, self.seat.checkpoint_every, self.seat.resume, self.step()) {
            self.keep(true, self.step().0 == self.warm.config.optimizer.steps)?;
        }
        Ok(())
    }

    fn train(&mut self) -> Result<End> {
        let steps = self.warm.config.optimizer.steps;
        let mut end = End::Done;
        while self.step().0 < steps {
            // A trace of its own: one of the whole run would never end.
            let _span = span(self.step().next(), self.seat).entered();
            let start = Instant::now();
            self.trainer.laps().start(Phase::Data);
            let batch = self.loader.next_batch()?;
            self.trainer.laps().end();
            let waited = start.elapsed();
            let ballot = self.seat.ballot(self.session, self.warm, &batch)?;
            let replaced = substitutions(&batch);
            let outcome = self.trainer.step(&local(batch, &self.warm.config, &self.seat.counts), &ballot)?;
            self.ledger.enter(self.seat.generation, &outcome, self.trainer.votes());
            self.tally.add(start.elapsed(), waited);
            self.session.enter(v1::Phase::Training, outcome.step);
            self.session.took(self.trainer.laps());
            self.report(&outcome, replaced)?;
            if outcome.rolls_back(&self.warm.config) {
                return Ok(End::RollBack);
            }
            self.trainer.compare()?;
            self.boundary(&outcome)?;
            let Warm { profiling, device, output, .. } = &mut *self.warm;
            profiling.boundary(&outcome, *device, self.seat, self.session, output);
            match outcome.wishes {
                wishes if wishes.stop => {
                    end = End::Stopped;
                    break;
                }
                wishes if wishes.regroup => {
                    self.trainer.meet()?;
                    return Ok(End::Regroup);
                }
                _ => {}
            }
        }
        self.session.enter(v1::Phase::Finishing, self.step());
        let session = &*self.session;
        self.warm.outbox.flush(|| session.seated())?;
        self.warm.outbox.kept(self.seat.generation)?;
        self.trainer.meet()?;
        Ok(end)
    }

    /// Keeps a checkpoint where one is due, or asked for.
    fn boundary(&mut self, outcome: &Outcome) -> Result<()> {
        let config = &self.warm.config;
        let (step, every) = (outcome.step.0, outcome.verdict.heeded.checkpoint_every);
        let asked = outcome.wishes.checkpoint;
        let last = step == config.optimizer.steps || (asked && outcome.wishes.stop);
        if last || asked || (every > 0 && step.is_multiple_of(every)) {
            let start = Instant::now();
            self.keep(last || asked, last)?;
            self.tally.stall(start.elapsed());
        } else if self.ledger.full() {
            self.close()?;
        }
        self.warm.outbox.check()
    }

    /// Ends the ledger's segment and sends this rank's share of a checkpoint on its way. While the one before is still being written
    /// there is none, unless it `must` be. With the `last` one the run ends.
    fn keep(&mut self, must: bool, last: bool) -> Result<()> {
        self.close()?;
        if self.warm.outbox.writes() {
            if !must {
                tracing::warn!(
                    "step {}: the checkpoint before is still being written, so this one is left out",
                    self.step()
                );
                return Ok(());
            }
            let session = &*self.session;
            self.warm.outbox.flush(|| session.seated())?;
        }
        let share = self.seat.share(self.session, &self.trainer, &self.ledger, last)?;
        self.warm.outbox.share(share)
    }

    /// Ends the ledger's segment.
    fn close(&mut self) -> Result<()> {
        self.ledger.close()?;
        if self.seat.leads() { self.send_segments() } else { Ok(()) }
    }

    fn send_segments(&mut self) -> Result<()> {
        let sent = self.sent;
        for closed in self.ledger.closed().iter().filter(|closed| closed.to > sent) {
            self.sent = closed.to;
            self.warm.outbox.segment(closed.clone())?;
        }
        Ok(())
    }

    /// Remembers a committed step's metrics until they have arrived; forgets what has.
    fn note(&mut self, outcome: &Outcome) {
        if let Some(what) = &outcome.anomaly {
            tracing::warn!("step {}: {what}; its update is not applied", outcome.step);
        }
        let safe = outcome.verdict.safe;
        self.ledger.safe(safe.ledger);
        let due = self.tally.due(&self.warm.config, outcome);
        let drift = || self.trainer.state().teacher_drift();
        let report = due.then(|| self.tally.report(outcome, &self.seat.counts, drift()));
        self.unreported.note(safe.reported, report);
    }

    fn report(&mut self, outcome: &Outcome, replaced: Vec<v1::Substitution>) -> Result<()> {
        tracing::debug!("committed step {} in generation {}", outcome.step, self.seat.generation);
        self.note(outcome);
        let newest = self.unreported.newest(outcome.step).filter(|_| self.seat.leads());
        let steps: Vec<v1::StepReport> = newest.into_iter().collect();
        if steps.is_empty() && replaced.is_empty() {
            return Ok(());
        }
        self.warm.outbox.steps(steps, replaced)
    }
}

/// What a collector is told of a step.
fn span(step: GlobalStep, seat: &Seat) -> Span {
    let (step, generation, rank) = (step.0 as i64, seat.generation.0 as i64, i64::from(seat.rank.0));
    tracing::trace_span!(target: SPANS, parent: None, "step", step, generation, rank)
}

/// Whether a checkpoint that was due up to `step` is not committed.
fn overdue(config: &RunConfig, every: u64, committed: GlobalStep, step: GlobalStep) -> bool {
    let last = step.0 == config.optimizer.steps && committed < step;
    last || every > 0 && step.0 / every > committed.0 / every
}

/// A loader's batch as tensors.
fn local(batch: Batch, config: &RunConfig, counts: &[i64]) -> LocalBatch {
    let side = i64::from(config.model.image_size);
    LocalBatch {
        images: Tensor::from_slice(&batch.images).view([batch.lengths.len() as i64, 3, side, side]),
        tokens: batch.tokens,
        lengths: batch.lengths,
        rows: batch.rows,
        identities: batch.identities,
        first_slot: batch.first_slot.into(),
        counts: counts.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_ended_with_a_generation_is_made_up_for() {
        let mut config = RunConfig::default();
        config.optimizer.steps = 35;
        let overdue = |committed, step| overdue(&config, 10, GlobalStep(committed), GlobalStep(step));
        assert!(!overdue(0, 9) && overdue(0, 10) && overdue(0, 19) && !overdue(10, 19) && overdue(10, 20));
        assert!(!overdue(13, 19) && overdue(30, 35) && !overdue(35, 35));
    }
}
