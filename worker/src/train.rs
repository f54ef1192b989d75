//! The loop: take a batch, make a step, report it, keep a checkpoint, until the last step or until told to stop.

use crate::args::Train;
use crate::batch::LocalBatch;
use crate::checkpoint::snapshot;
use crate::error::{Error, Result};
use crate::prepare::{Worker, prepare};
use crate::session::Session;
use crate::step::Outcome;
use crate::vote::Wishes;
use proto::{Rank, RunConfig, v1};
use shards::loader::Batch;
use std::time::{Duration, Instant};
use tch::Tensor;

/// Takes part in a run from joining to leaving.
///
/// # Errors
/// Why this worker could not do its part; the coordinator has been told.
pub fn work(arguments: &Train) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| Error::System(format!("starting threads: {e}")))?;
    let url = arguments.coordinator.as_deref().unwrap_or_default();
    let patience = Duration::try_from_secs_f64(arguments.connect_timeout).unwrap_or(Duration::MAX);
    let mut session = Session::join(runtime.handle(), url, patience)?;
    session.stop_on_signal();
    let prepared = prepare(&mut session, url, arguments.interface.as_deref());
    let done = prepared.and_then(|mut worker| {
        worker.train(&mut session)?;
        worker.outbox.finish()?;
        worker.trainer.meet()
    });
    session.leave(&done);
    done
}

impl Worker {
    fn train(&mut self, session: &mut Session) -> Result<()> {
        let mut tally = Tally::default();
        session.enter(v1::Phase::Training, self.trainer.state().step);
        while self.trainer.state().step.0 < self.config.optimizer.steps {
            let wishes = self.wishes(session)?;
            let start = Instant::now();
            let batch = self.loader.next_batch()?;
            let waited = start.elapsed();
            let (substitutions, record) = (substitutions(&batch), self.ledger.read(&batch));
            let outcome = self.trainer.step(&local(batch, &self.config, &self.counts), wishes)?;
            tally.add(start.elapsed(), waited);
            self.ledger.enter(outcome.step, record);
            session.enter(v1::Phase::Training, outcome.step);
            self.report(&outcome, &mut tally, substitutions)?;
            let keeps = self.keeps(&outcome);
            if keeps || self.ledger.full() {
                self.ledger.close(&mut self.trainer)?.map_or(Ok(()), |closed| self.outbox.segment(closed))?;
            }
            if keeps {
                self.outbox.part(snapshot(self.trainer.state(), self.rank, self.world)?)?;
            }
            self.outbox.check()?;
            if outcome.wishes.stop {
                break;
            }
        }
        session.enter(v1::Phase::Finishing, self.trainer.state().step);
        Ok(())
    }

    /// Rank 0 alone passes on what the coordinator asks for, so that one request is heard at one boundary.
    fn wishes(&self, session: &mut Session) -> Result<Wishes> {
        let asked = session.wishes()?;
        Ok(if self.rank == Rank(0) { asked } else { Wishes::default() })
    }

    fn keeps(&self, outcome: &Outcome) -> bool {
        let (step, every) = (outcome.step.0, self.config.checkpoint.every);
        let due = every > 0 && step.is_multiple_of(every);
        due || step == self.config.optimizer.steps || outcome.wishes.checkpoint
    }

    fn report(
        &mut self,
        outcome: &Outcome,
        tally: &mut Tally,
        substitutions: Vec<v1::Substitution>,
    ) -> Result<()> {
        let (step, every) = (outcome.step.0, self.config.metrics.every.max(1));
        let last = step == self.config.optimizer.steps || outcome.wishes.stop;
        let due = self.rank == Rank(0) && (step.is_multiple_of(every) || step == 1 || last);
        let steps: Vec<v1::StepReport> =
            due.then(|| tally.report(outcome, &self.counts)).into_iter().collect();
        if steps.is_empty() && substitutions.is_empty() {
            return Ok(());
        }
        self.outbox.steps(steps, substitutions)
    }
}

/// Times since the last report.
#[derive(Default)]
struct Tally {
    steps: u32,
    seconds: Duration,
    waited: Duration,
}

impl Tally {
    fn add(&mut self, seconds: Duration, waited: Duration) {
        self.steps += 1;
        self.seconds += seconds;
        self.waited += waited;
    }

    fn report(&mut self, outcome: &Outcome, counts: &[i64]) -> v1::StepReport {
        let Self { steps, seconds, waited } = std::mem::take(self);
        let mean = |total: Duration| total.as_secs_f64() / f64::from(steps.max(1));
        v1::StepReport {
            step: outcome.step.0,
            seconds: mean(seconds),
            data_wait_seconds: mean(waited),
            pairs: counts.iter().sum::<i64>().try_into().unwrap_or(u32::MAX),
            scalars: outcome.scalars.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    }
}

fn substitutions(batch: &Batch) -> Vec<v1::Substitution> {
    let substitution = |s: &shards::loader::Substitution| {
        tracing::warn!("row {} can't be used ({}); row {} takes its slot", s.row, s.reason, s.substitute);
        v1::Substitution {
            step: batch.step.next().0,
            row: s.row,
            substitute: s.substitute,
            reason: s.reason.clone(),
        }
    };
    batch.substitutions.iter().map(substitution).collect()
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
