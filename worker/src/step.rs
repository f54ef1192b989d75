//! One training step: the paper's pseudocode. Nothing above `commit` changes state.

use crate::batch::{Draws, LocalBatch, Masked, NegativeDraws, Texts};
use crate::error::{Error, Result};
use crate::masking::Special;
use crate::models::albef::{Albef, Encoders, averaged};
use crate::models::bert::{Bert, Sight, Wanted, padding_mask};
use crate::objective::itc::{self, Keys};
use crate::objective::itm::{self, Negatives};
use crate::objective::mlm;
use crate::schedule;
use crate::state::State;
use crate::vote::{Ballot, Verdict, Wishes};
use c10d::{Autocast, Group, ReduceOp, Reducer};
use proto::config::{Precision, Semantics};
use proto::{GlobalStep, RunConfig};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

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
    reducer: Reducer,
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

/// What a forward pass leaves for the vote and the commit.
#[derive(Debug)]
struct Forward {
    total: Tensor,
    itc: Tensor,
    itm: Tensor,
    mlm: Tensor,
    masked: i64,
    image_features: Tensor,
    text_features: Tensor,
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
        let reducer = Reducer::new(&group, &state.student.tensors(), bucket_bytes)?;
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
    /// A lost peer, or a loss or gradient that is not finite; the state is then what it was.
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
        self.seed_dropout();
        self.reducer.zero_grad()?;
        self.reducer.prepare()?;
        let forward = self.forward(batch, draws)?;
        self.reducer.backward(&forward.total)?;
        let verdict = self.vote(batch, &forward, wishes)?;
        self.commit(forward, verdict)
    }

    /// Waits until all ranks are here: none leaves while others are still in a collective with it.
    ///
    /// # Errors
    /// Those of the group.
    pub fn meet(&mut self) -> Result<()> {
        Ok(self.group.barrier()?)
    }

    fn forward(&mut self, batch: &LocalBatch, draws: &Draws) -> Result<Forward> {
        let device = self.group.device();
        let alpha = self.alpha();
        let images = batch.images.to_device(device).to_kind(self.student.temp.kind());
        let Texts { ids, lengths } = batch.texts(device);
        let mask = padding_mask(&lengths, ids.size()[1], images.kind());
        let dropout = self.config.model.dropout;

        let (teacher_image, image_feature_m, text_feature_m) =
            tch::no_grad(|| self.teach(&images, &ids, &mask))?;
        let cast = self.autocast()?;
        let (image, image_feature) = self.student.encoders.image(&images);
        let (text, text_feature) = self.student.encoders.text(&ids, &mask, dropout);
        let sight = self.student.encoders.text_encoder.sight(&image);
        drop(cast);

        let (image_features, text_features) = self.gather(batch, &image_feature_m, &text_feature_m)?;
        let (first, keys) =
            self.keys(batch, [&image_feature_m, &text_feature_m], [&image_features, &text_features]);
        let temp = &self.student.temp;
        let similarities = itc::similarities(&image_feature, &text_feature, &keys, temp);
        let soft = tch::no_grad(|| itc::similarities(&image_feature_m, &text_feature_m, &keys, temp));
        let itc = itc::loss(&similarities, &soft, first, alpha);

        let own = |similarity: &Tensor| itm::weights(&similarity.narrow(1, first, batch.len() as i64));
        let negatives = choose(&draws.negatives, &own(&similarities.i2t), &own(&similarities.t2i));
        let itm = self.matching(&text, &mask, &sight, &negatives)?;
        let mlm = self.restore_words(draws, &mask, &sight, &teacher_image, alpha)?;

        let masked = draws.masked.labels.size()[0];
        let total = self.total(batch, &itc, &itm, &mlm, masked)?;
        Ok(Forward { total, itc, itm, mlm, masked, image_features, text_features })
    }

    /// The teacher's image tokens and features.
    fn teach(&self, images: &Tensor, ids: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let _cast = self.autocast()?;
        let (tokens, image_feature) = self.teacher.image(images);
        let (_, text_feature) = self.teacher.text(ids, mask, self.teacher_dropout());
        Ok((tokens, image_feature, text_feature))
    }

    /// The teacher's features of the whole global batch, in slot order.
    fn gather(&mut self, batch: &LocalBatch, image: &Tensor, text: &Tensor) -> Result<(Tensor, Tensor)> {
        let width = image.size()[1];
        let both = self.group.all_gather_rows(&Tensor::cat(&[image, text], 1), &batch.counts)?;
        Ok((both.narrow(1, 0, width), both.narrow(1, width, width)))
    }

    /// The keys, and the place of this rank's first positive among them.
    fn keys(&self, batch: &LocalBatch, local: [&Tensor; 2], global: [&Tensor; 2]) -> (i64, Keys) {
        let (first, [image, text]) = match self.config.objective.semantics {
            Semantics::Global => (batch.counts.iter().take(self.group.rank() as usize).sum(), global),
            Semantics::Paper => (0, local),
        };
        let (queued_image, queued_text) = self.state.queue.features();
        (
            first,
            Keys {
                image: Tensor::cat(&[image, &queued_image], 0),
                text: Tensor::cat(&[text, &queued_text], 0),
            },
        )
    }

    /// Matching of n pairs and 2n hard negatives, summed.
    fn matching(&self, text: &Tensor, mask: &Tensor, sight: &Sight, negatives: &Negatives) -> Result<Tensor> {
        let _cast = self.autocast()?;
        let own = Tensor::arange(text.size()[0], (Kind::Int64, text.device()));
        let negative_text = text.index_select(0, &negatives.text_for_image);
        let negative_mask = mask.index_select(0, &negatives.text_for_image);
        let fused = self.student.encoders.text_encoder.fuse(
            &Tensor::cat(&[text, text, &negative_text], 0),
            &Tensor::cat(&[mask, mask, &negative_mask], 0),
            &sight.select(&Tensor::cat(&[&own, &negatives.image_for_text, &own], 0)),
            Wanted::First,
            self.config.model.dropout,
        );
        let logits = self.student.itm_logits(&fused);
        Ok(itm::loss(&logits.to_kind(self.student.temp.kind())))
    }

    /// Masked words from the text around them and the image, summed over the masked tokens.
    fn restore_words(
        &self,
        draws: &Draws,
        mask: &Tensor,
        sight: &Sight,
        teacher_image: &Tensor,
        alpha: f64,
    ) -> Result<Tensor> {
        let _cast = self.autocast()?;
        let Masked { ids, positions, labels } = &draws.masked;
        let predict = |bert: &Bert, sight: &Sight, dropout: f64| {
            let text = bert.encode(ids, mask, dropout);
            let fused = bert.fuse(&text, mask, sight, Wanted::At(positions), dropout);
            bert.predict(&fused).to_kind(self.student.temp.kind())
        };
        let bert = &self.teacher.text_encoder;
        let teacher = (alpha > 0.0)
            .then(|| tch::no_grad(|| predict(bert, &bert.sight(teacher_image), self.teacher_dropout())));
        let student = predict(&self.student.encoders.text_encoder, sight, self.config.model.dropout);
        Ok(mlm::loss(&student, teacher.as_ref(), labels, alpha))
    }

    /// The sum of the three means. The reducer averages gradients over ranks: in `global` each sum is divided by the global
    /// count over the world size, so that the average is the gradient of the global mean, whatever each rank's share.
    fn total(
        &mut self,
        batch: &LocalBatch,
        itc: &Tensor,
        itm: &Tensor,
        mlm: &Tensor,
        masked: i64,
    ) -> Result<Tensor> {
        let masked = Tensor::from(masked as f64).to_device(self.group.device());
        let (pairs, masked) = match self.config.objective.semantics {
            Semantics::Paper => (batch.len() as f64, masked),
            Semantics::Global => {
                self.group.all_reduce(&masked, ReduceOp::Sum)?;
                let world = f64::from(self.group.world_size());
                (batch.counts.iter().sum::<i64>() as f64 / world, masked / world)
            }
        };
        let masked = masked.clamp_min(f64::MIN_POSITIVE.max(1e-9)).to_kind(mlm.kind());
        Ok(itc / pairs + itm / (3.0 * pairs) + mlm / masked)
    }

    /// One small all-reduce that every rank enters only with its gradients complete.
    fn vote(&mut self, batch: &LocalBatch, forward: &Forward, wishes: Wishes) -> Result<Verdict> {
        let gradients: Vec<Tensor> = self.state.student.tensors().iter().map(Tensor::grad).collect();
        let norm = c10d::optim::global_norm(&gradients)?;
        let ballot = Ballot {
            losses: [&forward.itc, &forward.itm, &forward.mlm].map(Tensor::detach),
            pairs: batch.len() as i64,
            masked: forward.masked,
            norm,
            wishes,
        };
        ballot.cast(&mut self.group)
    }

    /// Weights, optimizer, temperature, teacher, queue and counters move together.
    fn commit(&mut self, forward: Forward, verdict: Verdict) -> Result<Outcome> {
        if let Some(what) = verdict.not_finite {
            return Err(Error::NotFinite { step: self.state.step.next(), what });
        }
        let (objective, optimizer) = (&self.config.objective, &self.config.optimizer);
        let learning_rate = schedule::learning_rate(optimizer, self.state.step);
        let clip = optimizer.clip_norm;
        let factor = if clip > 0.0 { (clip / (verdict.norm + 1e-6)).min(1.0) } else { 1.0 };
        let scalars = BTreeMap::from([
            ("loss", verdict.itc + verdict.itm + verdict.mlm),
            ("loss_itc", verdict.itc),
            ("loss_itm", verdict.itm),
            ("loss_mlm", verdict.mlm),
            ("gradient_norm", verdict.norm),
            ("learning_rate", learning_rate),
            ("alpha", self.alpha()),
            ("temperature", self.student.temp.double_value(&[])),
            ("queue_filled", self.state.queue.counters().1 as f64),
        ]);

        let _guard = tch::no_grad_guard();
        self.state.optimizer.update(optimizer, learning_rate, factor)?;
        let _ = self.student.temp.clamp_(objective.min_temperature, objective.max_temperature);
        c10d::optim::lerp(&self.state.teacher.tensors(), &self.averaged, 1.0 - objective.momentum)?;
        self.state.queue.push(&forward.image_features, &forward.text_features);
        self.state.step = self.state.step.next();
        Ok(Outcome { step: self.state.step, scalars, wishes: verdict.wishes })
    }

    fn alpha(&self) -> f64 {
        schedule::alpha(&self.config.objective, self.steps_per_epoch, self.state.step)
    }

    /// Dropout's generator starts anew each step, so that a resumed run draws what an uninterrupted one would.
    fn seed_dropout(&self) {
        use rand::RngExt;
        let words = [self.config.run.seed, self.state.step.0, self.group.rank().into()];
        tch::manual_seed(shards::keyed::rng("dropout", &words).random::<i64>());
    }

    /// The published code leaves the teacher in training mode.
    fn teacher_dropout(&self) -> f64 {
        match self.config.objective.semantics {
            Semantics::Paper => self.config.model.dropout,
            Semantics::Global => 0.0,
        }
    }

    fn autocast(&self) -> Result<Option<Autocast>> {
        match self.config.optimizer.precision {
            Precision::F32 => Ok(None),
            Precision::Bf16 => Ok(Some(Autocast::bf16(self.group.device())?)),
        }
    }
}

fn choose(draws: &NegativeDraws, i2t: &Tensor, t2i: &Tensor) -> Negatives {
    match draws {
        NegativeDraws::Uniform { image_for_text, text_for_image } => Negatives {
            image_for_text: itm::draw(t2i, image_for_text),
            text_for_image: itm::draw(i2t, text_for_image),
        },
        NegativeDraws::Given(Negatives { image_for_text, text_for_image }) => Negatives {
            image_for_text: image_for_text.shallow_clone(),
            text_for_image: text_for_image.shallow_clone(),
        },
    }
}
