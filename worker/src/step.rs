//! One training step: the paper's pseudocode. Nothing above `commit` changes state.

mod accumulate;
mod commit;
mod heads;
mod travel;

use crate::batch::{Draws, LocalBatch};
use crate::error::Result;
use crate::fingerprint;
use crate::masking::Special;
use crate::models::albef::{Albef, Encoders, averaged};
use crate::objective::itc::{self, Features, Setting};
use crate::schedule;
use crate::state::State;
use crate::vote::Wishes;
use c10d::{Group, ReduceOp, Reducer};
use heads::Inputs;
use proto::config::Reach;
use proto::{GlobalStep, RunConfig, WorldSize};
use shards::order::lanes_of;
use std::collections::BTreeMap;
use tch::Tensor;
use travel::{Batch, Rows};

/// A run's state and what trains it.
#[derive(Debug)]
pub struct Trainer {
    config: RunConfig,
    special: Special,
    steps_per_epoch: f64,
    state: State,
    student: Albef,
    teacher: Encoders,
    averaged: Vec<Tensor>,
    /// Averages gradients while backward goes on; absent where several micro-batches make one step.
    reducer: Option<Reducer>,
    group: Group,
}

/// What a committed step tells.
#[derive(Debug)]
pub struct Outcome {
    /// The committed step.
    pub step: GlobalStep,
    /// Losses and other numbers of the whole global batch, by name.
    pub scalars: BTreeMap<&'static str, f64>,
    /// What any rank wished for: all ranks act on it at this boundary.
    pub wishes: Wishes,
}

/// What the losses of a batch leave for the vote and the commit; the gradients are in the parameters.
#[derive(Debug)]
struct Losses {
    /// Contrastive, matching and masked-word losses, each summed over this rank's rows.
    sums: [Tensor; 3],
    /// This rank's rows of each.
    rows: [f64; 3],
    batch: Batch,
}

/// What each loss is multiplied with, so that the average of all ranks' gradients is that of the means.
#[derive(Clone, Copy, Debug)]
struct Scale {
    itc: f64,
    itm: f64,
    mlm: f64,
}

impl Trainer {
    /// Trains `state` with the ranks of `group`. A collective: all ranks make theirs together.
    ///
    /// # Errors
    /// Weights that don't fit the model, and those of the group.
    pub fn new(
        config: &RunConfig,
        special: Special,
        steps_per_epoch: f64,
        state: State,
        group: Group,
    ) -> Result<Self> {
        let student = Albef::over(&config.model, &state.student)?;
        let teacher = Encoders::teacher(&config.model, &state.teacher)?;
        let sources = state.student.iter().filter(|(name, _)| averaged(name));
        let averaged = sources.map(|(_, tensor)| tensor.shallow_clone()).collect();
        let bucket_bytes = config.optimizer.bucket_mib as usize * 1024 * 1024;
        let whole = !accumulates(config, WorldSize(group.world_size()));
        let reducer =
            whole.then(|| Reducer::new(&group, &state.student.tensors(), bucket_bytes)).transpose()?;
        Ok(Self {
            config: config.clone(),
            special,
            steps_per_epoch,
            state,
            student,
            teacher,
            averaged,
            reducer,
            group,
        })
    }

    /// The committed state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// One step on this rank's pairs. All ranks enter it together.
    ///
    /// # Errors
    /// A lost peer, or a loss or gradient that is not finite: the state is then what it was. Ranks whose states differ.
    pub fn step(&mut self, batch: &LocalBatch, wishes: Wishes) -> Result<Outcome> {
        let probability = self.config.objective.mask_probability;
        let draws = batch.draws(
            self.config.run.seed,
            self.state.step,
            probability,
            self.special,
            self.group.device(),
        );
        self.step_with(batch, &draws, wishes)
    }

    /// [`step`](Self::step) with the given draws.
    ///
    /// # Errors
    /// As there.
    pub fn step_with(&mut self, batch: &LocalBatch, draws: &Draws, wishes: Wishes) -> Result<Outcome> {
        let losses = match self.reducer {
            Some(_) => self.learn(batch, draws)?,
            None => self.accumulate(batch, draws)?,
        };
        let verdict = self.vote(&losses, wishes)?;
        let outcome = self.commit(losses, verdict)?;
        let every = self.config.cluster.compare_every;
        if every > 0 && outcome.step.0.is_multiple_of(every) {
            fingerprint::compare(&self.state, GlobalStep(outcome.step.0 - every), &mut self.group)?;
        }
        Ok(outcome)
    }

    /// Waits until all ranks are here: none leaves while others are still in a collective with it.
    ///
    /// # Errors
    /// Those of the group.
    pub fn meet(&mut self) -> Result<()> {
        Ok(self.group.barrier()?)
    }

    /// Losses and gradients of the batch in one pass.
    fn learn(&mut self, batch: &LocalBatch, draws: &Draws) -> Result<Losses> {
        self.seed_dropout(0);
        if let Some(reducer) = &mut self.reducer {
            reducer.zero_grad()?;
            reducer.prepare()?;
        }
        let inputs = Inputs::new(batch, self.group.device(), self.student.temp.kind());
        let teacher = tch::no_grad(|| self.teach(&inputs))?;
        let student = self.encode(&inputs)?;
        let global = self.gather(batch, &teacher.features)?;
        let itc = self.contrast(batch, &student.features, &teacher.features, &global);

        let negatives = self.choose(batch, &student.features, &teacher.features, &global, &draws.negatives);
        let fetched = self.fetch(batch, &student.image, &student.text, &global, &negatives)?;
        let own = self.sight(&student.image)?;
        let (text, lengths) = fetched.texts(&student.text, &inputs.lengths);
        let sight = match &fetched.image {
            None => own.shallow_clone(),
            Some(came) => own.and(&self.sight(came)?),
        };
        let itm = self.matching(&Rows::new(text, &lengths, sight), &fetched.choice)?;
        let mlm = self.restore_words(&draws.masked, &inputs.mask, &own, &teacher.image)?;

        let rows = [batch.len() as f64, batch.len() as f64 + negatives.found(), draws.masked.count()];
        let scale = self.scale(rows)?;
        let total = &itc * scale.itc + &itm * scale.itm + &mlm * scale.mlm;
        if let Some(reducer) = &mut self.reducer {
            reducer.backward(&total)?;
        }
        Ok(Losses { sums: [itc, itm, mlm].map(|loss| loss.detach()), rows, batch: global })
    }

    /// The contrastive loss of this rank's rows, summed.
    fn contrast(&self, batch: &LocalBatch, student: &Features, teacher: &Features, global: &Batch) -> Tensor {
        let objective = &self.config.objective;
        let setting = |first| Setting {
            temp: &self.student.temp,
            first,
            alpha: self.alpha(),
            duplicates: objective.duplicates,
            tile: objective.tile.into(),
        };
        let own = global.of(batch, self.group.rank());
        let (first, keys) = match objective.keys {
            Reach::Global => {
                (own.start, global.keys(&global.features, &global.identities, &self.state.queue))
            }
            Reach::Local => (0, global.keys(teacher, &global.part(&own), &self.state.queue)),
        };
        itc::loss(student, teacher, &global.part(&own), &keys, &setting(first))
    }

    /// The reducer averages gradients over ranks: where means are global, each sum is divided by the global count over the world
    /// size, so that the average is the gradient of the global mean, whatever each rank's share.
    fn scale(&mut self, rows: [f64; 3]) -> Result<Scale> {
        let [itc, itm, mlm] = match self.config.objective.means {
            Reach::Local => rows,
            Reach::Global => {
                let sums = Tensor::from_slice(&rows).to_device(self.group.device());
                self.group.all_reduce(&sums, ReduceOp::Sum)?;
                let mean = sums / f64::from(self.group.world_size());
                [0, 1, 2].map(|loss| mean.double_value(&[loss]))
            }
        };
        // Nothing to average is no loss.
        let over = |count: f64| if count > 0.0 { 1.0 / count } else { 0.0 };
        Ok(Scale { itc: over(itc), itm: over(itm), mlm: over(mlm) })
    }

    fn alpha(&self) -> f64 {
        schedule::alpha(&self.config.objective, self.steps_per_epoch, self.state.step)
    }

    /// Dropout's generator starts anew for each part of each step, so that a resumed run and a second pass draw the same.
    fn seed_dropout(&self, part: u64) {
        use rand::RngExt;
        let words = [self.config.run.seed, self.state.step.0, self.group.rank().into(), part];
        tch::manual_seed(shards::keyed::rng("dropout", &words).random::<i64>());
    }
}

/// Whether a step is made of several micro-batches; the same on all ranks.
fn accumulates(config: &RunConfig, world: WorldSize) -> bool {
    let (lanes, micro) = (config.data.lanes, config.optimizer.micro_batch);
    let share = |rank| {
        lanes_of(proto::Rank(rank), world, lanes).len() as u32 * (config.optimizer.batch / lanes.max(1))
    };
    micro > 0 && (0..world.0).any(|rank| share(rank) > micro)
}

#[cfg(test)]
mod choices;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod passes;
#[cfg(test)]
mod worlds;
