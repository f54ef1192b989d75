//! The end of a step: all ranks have agreed, and everything moves together. Nothing in here can fail for a reason that one rank has
//! alone, short of a broken device: what reads or allocates has been done before.

use super::travel::Batch;
use crate::error::{Error, Result};
use crate::schedule;
use crate::state::State;
use crate::vote::{Verdict, Votes, Wishes};
use proto::config::OnAnomaly;
use proto::{GlobalStep, RunConfig};
use shards::ledger::Outcome as Recorded;
use std::collections::BTreeMap;

/// What a committed step tells, alike on all ranks.
#[derive(Debug)]
pub struct Outcome {
    /// The committed step.
    pub step: GlobalStep,
    /// Losses and other numbers of the whole global batch, by name.
    pub scalars: BTreeMap<&'static str, f64>,
    /// What any rank wished for: all ranks act on it at this boundary.
    pub wishes: Wishes,
    /// What was wrong with the step, if its update was not made.
    pub anomaly: Option<String>,
    /// What was voted on.
    pub verdict: Verdict,
}

/// What a commit needs beside the gradients, which are in the parameters, and the votes.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(super) batch: Batch,
}

/// Weights, optimizer, temperature, teacher, queue and counters move together; or, where the step is an anomaly and the run is told
/// to skip it, the counters alone.
///
/// # Errors
/// [`Error::Anomaly`], with the state as it was; [`Error::Torn`].
pub(crate) fn commit(
    config: &RunConfig,
    steps_per_epoch: f64,
    state: &mut State,
    staged: &Staged,
    votes: &Votes,
) -> Result<Outcome> {
    let verdict = votes.verdict();
    let (objective, optimizer) = (&config.objective, &config.optimizer);
    let step = state.step.next();
    let anomaly = state.course.anomaly(optimizer, &verdict);
    if let Some(what) = &anomaly
        && (optimizer.on_anomaly == OnAnomaly::Stop || state.course.anomalies >= optimizer.anomalies)
    {
        return Err(Error::Anomaly { step, what: what.clone(), before: state.course.anomalies });
    }
    let scheduled = schedule::learning_rate(optimizer, steps_per_epoch, state.step);
    let learning_rate = scheduled * verdict.heeded.learning_rate_scale;
    let clip = optimizer.clip_norm;
    let factor = if clip > 0.0 { (clip / (verdict.norm + 1e-6)).min(1.0) } else { 1.0 };
    let (_, filled) = state.queue.counters();
    let rows = staged.batch.features.image.size()[0];
    let scalars = BTreeMap::from([
        ("loss", verdict.loss()),
        ("loss_itc", verdict.itc),
        ("loss_itm", verdict.itm),
        ("loss_mlm", verdict.mlm),
        ("gradient_norm", verdict.norm),
        ("learning_rate", learning_rate),
        ("alpha", schedule::alpha(objective, steps_per_epoch, state.step)),
        ("temperature", state.temperature().double_value(&[])),
        ("queue_filled", filled as f64),
        ("queue_age", (filled as f64 / rows as f64).ceil()),
    ]);
    if anomaly.is_none() {
        let _guard = tch::no_grad_guard();
        let torn = |error: Error| Error::Torn { step, reason: error.to_string() };
        state.optimizer.update(optimizer, learning_rate, factor).map_err(torn)?;
        let _ = state.temperature().clamp_(objective.min_temperature, objective.max_temperature);
        let averaged = state.averaged();
        c10d::optim::lerp(&state.teacher.tensors(), &averaged, 1.0 - objective.momentum)
            .map_err(|error| torn(error.into()))?;
        state.queue.push(&staged.batch.features, &staged.batch.identities);
    }
    state.course.note(&verdict, anomaly.is_some());
    state.step = step;
    Ok(Outcome { step, scalars, wishes: verdict.wishes, anomaly, verdict })
}

impl Outcome {
    /// Whether the run goes on from the newest checkpoint's state.
    pub fn rolls_back(&self, config: &RunConfig) -> bool {
        self.anomaly.is_some() && config.optimizer.on_anomaly == OnAnomaly::Rollback
    }

    /// What the ledger says about the step.
    pub fn recorded(&self) -> Recorded {
        if self.anomaly.is_some() { Recorded::Skipped } else { Recorded::Applied }
    }
}
