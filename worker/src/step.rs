//! One training step: the paper's pseudocode. Nothing above `commit` changes state.

mod accumulate;
pub(crate) mod commit;
mod heads;
mod travel;

use crate::batch::{Draws, LocalBatch};
use crate::error::Result;
use crate::fingerprint;
use crate::laps::{Laps, Phase};
use crate::masking::Special;
use crate::models::albef::{Albef, Encoders};
use crate::objective::itc::{self, Features, Setting};
use crate::schedule;
use crate::state::State;
use crate::vote::{Ballot, Sums, Votes};
use c10d::{Group, ReduceOp, Reducer};
pub use commit::Outcome;
use commit::{Staged, commit};
use heads::Inputs;
use proto::config::Reach;
use proto::{GlobalStep, RunConfig};
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
    /// Averages gradients while backward goes on; absent where several micro-batches make one step.
    reducer: Option<Reducer>,
    whole: bool,
    /// What a vote is about that has not ended: the gradients in the parameters are complete.
    staged: Option<Staged>,
    /// Of the last commit.
    votes: Votes,
    group: Group,
    laps: Laps,
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
    /// Trains `state` with the ranks of `group`, which have `counts` pairs of each global batch.
    ///
    /// # Errors
    /// Weights that don't fit the model.
    pub fn new(
        config: &RunConfig,
        special: Special,
        steps_per_epoch: f64,
        state: State,
        counts: &[i64],
        group: Group,
    ) -> Result<Self> {
        let student = Albef::over(&config.model, &state.student)?;
        let teacher = Encoders::teacher(&config.model, &state.teacher)?;
        let micro = i64::from(config.optimizer.micro_batch);
        // The same on all ranks: either all of them make their step in one pass, or none does.
        let whole = micro == 0 || counts.iter().all(|count| *count <= micro);
        Ok(Self {
            config: config.clone(),
            special,
            steps_per_epoch,
            state,
            student,
            teacher,
            reducer: None,
            whole,
            staged: None,
            votes: Votes::default(),
            group,
            laps: Laps::default(),
        })
    }

    /// The committed state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// One step on this rank's pairs. All ranks enter it together.
    ///
    /// # Errors
    /// A lost peer, or an anomaly that stops the run: the state is then what it was.
    pub fn step(&mut self, batch: &LocalBatch, ballot: &Ballot) -> Result<Outcome> {
        self.laps.enter(Phase::Encode);
        let draws = self.draws(batch);
        self.step_with(batch, &draws, ballot)
    }

    /// [`step`](Self::step) with the given draws.
    ///
    /// # Errors
    /// As there.
    pub fn step_with(&mut self, batch: &LocalBatch, draws: &Draws, ballot: &Ballot) -> Result<Outcome> {
        let (staged, votes) = self.stage(batch, draws, ballot)?;
        let outcome = commit(&self.config, self.steps_per_epoch, &mut self.state, &staged, &votes)?;
        self.votes = votes;
        self.laps.end();
        Ok(outcome)
    }

    /// Everything random about this rank's pairs in the next step.
    pub(crate) fn draws(&self, batch: &LocalBatch) -> Draws {
        let (seed, probability) = (self.config.run.seed, self.config.objective.mask_probability);
        batch.draws(seed, self.state.step, probability, self.special, self.group.device())
    }

    /// All of a step but its commit: no state has changed.
    pub(crate) fn stage(
        &mut self,
        batch: &LocalBatch,
        draws: &Draws,
        ballot: &Ballot,
    ) -> Result<(Staged, Votes)> {
        self.staged = None;
        let losses = if self.whole { self.learn(batch, draws)? } else { self.accumulate(batch, draws)? };
        self.laps.enter(Phase::Vote);
        let gradients: Vec<Tensor> = self.state.student.tensors().iter().map(Tensor::grad).collect();
        let norm = c10d::optim::global_norm(&gradients)?;
        let sums = Sums { losses: losses.sums, rows: losses.rows, norm };
        let staged = Staged { batch: losses.batch };
        let cast = ballot.cast(&sums, self.config.data.lanes, &mut self.group);
        self.laps.enter(Phase::Update);
        match cast {
            Ok(votes) => Ok((staged, votes)),
            Err(error) => {
                // The vote may have ended elsewhere: this rank can still apply the step when it learns so.
                self.staged = Some(staged);
                Err(error)
            }
        }
    }

    /// Compares the states of all ranks, where that is due after the last step.
    ///
    /// # Errors
    /// Ranks whose states differ, and those of the group.
    pub fn compare(&mut self) -> Result<()> {
        let (step, every) = (self.state.step.0, self.config.cluster.compare_every);
        if every > 0 && step.is_multiple_of(every) {
            fingerprint::compare(&self.state, GlobalStep(step - every), &mut self.group)?;
        }
        Ok(())
    }

    /// Where the time of the step goes.
    pub fn laps(&mut self) -> &mut Laps {
        &mut self.laps
    }

    /// The votes of the last commit.
    pub fn votes(&self) -> &Votes {
        &self.votes
    }

    /// The last commit was made by these votes, in an earlier generation.
    pub(crate) fn remember(&mut self, votes: Votes) {
        self.votes = votes;
    }

    /// Gives up the group and what belongs to it, which closes its connections.
    pub(crate) fn release(self) -> (State, Option<Staged>, Votes) {
        (self.state, self.staged, self.votes)
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
        self.reducer()?.zero_grad()?;
        self.reducer()?.prepare()?;
        let inputs = Inputs::new(batch, self.group.device(), self.student.temp.kind());
        let teacher = tch::no_grad(|| self.teach(&inputs))?;
        let student = self.encode(&inputs)?;
        self.laps.enter(Phase::Gather);
        let global = self.gather(batch, &teacher.features)?;
        self.laps.enter(Phase::Learn);
        let itc = self.contrast(batch, &student.features, &teacher.features, &global);

        let negatives = self.choose(batch, &student.features, &teacher.features, &global, &draws.negatives);
        self.laps.enter(Phase::Gather);
        let fetched = self.fetch(batch, &student.image, &student.text, &global, &negatives)?;
        self.laps.enter(Phase::Learn);
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
        self.reducer()?.backward(&total)?;
        Ok(Losses { sums: [itc, itm, mlm].map(|loss| loss.detach()), rows, batch: global })
    }

    /// Made at the first step, by all ranks together.
    fn reducer(&mut self) -> Result<&mut Reducer> {
        let reducer = match self.reducer.take() {
            Some(reducer) => reducer,
            None => {
                let bucket_bytes = self.config.optimizer.bucket_mib as usize * 1024 * 1024;
                Reducer::new(&self.group, &self.state.student.tensors(), bucket_bytes)?
            }
        };
        Ok(self.reducer.insert(reducer))
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

#[cfg(test)]
mod choices;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod passes;
#[cfg(test)]
mod worlds;
