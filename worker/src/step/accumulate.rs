//! A step in micro-batches whose contrastive loss is that of the whole batch: features and tokens are encoded once without a graph,
//! the losses give gradients with respect to them, and a second pass carries these into the encoders (Gao et al., 2021, "Scaling
//! deep contrastive learning batch size under memory limited setup", section 3.2; here also for the tokens that matching and masked
//! words see).

use super::heads::{Encoded, Inputs};
use super::travel::{Choice, Pool, Rows};
use super::{Losses, Scale, Trainer};
use crate::batch::{Draws, LocalBatch};
use crate::error::Result;
use crate::laps::Phase;
use crate::objective::itc::Features;
use c10d::ReduceOp;
use std::ops::Range;
use tch::{Kind, Tensor};

impl Trainer {
    /// Losses and gradients of the batch, with the memory of a micro-batch.
    pub(super) fn accumulate(&mut self, batch: &LocalBatch, draws: &Draws) -> Result<Losses> {
        self.state.student.clear_gradients();
        let inputs = Inputs::new(batch, self.group.device(), self.student.temp.kind());
        let parts = ranges(batch.len() as i64, self.config.optimizer.micro_batch.into());
        let (student, teacher) = tch::no_grad(|| self.encode_parts(&inputs, &parts))?;
        self.laps.enter(Phase::Gather);
        let global = self.gather(batch, &teacher.features)?;
        self.laps.enter(Phase::Learn);
        let itc = self.contrast(batch, &student.features, &teacher.features, &global);

        let negatives = self.choose(batch, &student.features, &teacher.features, &global, &draws.negatives);
        self.laps.enter(Phase::Gather);
        let fetched = self.fetch(batch, &student.image, &student.text, &global, &negatives)?;
        self.laps.enter(Phase::Learn);
        let pool = fetched.pool(&student.image, &student.text, &inputs.lengths);
        let rows = [batch.len() as f64, batch.len() as f64 + negatives.found(), draws.masked.count()];
        let scale = self.scale(rows)?;
        (&itc * scale.itc).f_backward()?;
        let leaves = Pool { image: leaf(&pool.image), text: leaf(&pool.text), lengths: pool.lengths };
        let [itm, mlm] =
            self.heads(&inputs, draws, &parts, (&leaves, &fetched.choice), &teacher.image, scale)?;
        // The gradients of what came from other ranks go back there.
        for (tokens, leaf) in [(&pool.image, &leaves.image), (&pool.text, &leaves.text)] {
            (tokens * gradient(leaf)).sum(tokens.kind()).f_backward()?;
        }
        self.second_pass(&inputs, &parts, &student)?;
        self.laps.enter(Phase::Gather);
        self.reduce()?;
        Ok(Losses { sums: [itc.detach(), itm, mlm], rows, batch: global })
    }

    /// The first pass: student and teacher of all pairs. The student's are leaves of a new graph.
    pub(super) fn encode_parts(&self, inputs: &Inputs, parts: &[Range<i64>]) -> Result<(Encoded, Encoded)> {
        let (mut students, mut teachers) = (Vec::new(), Vec::new());
        for (range, number) in parts.iter().zip(0..) {
            self.seed_dropout(number);
            students.push(self.encode(&inputs.part(range))?);
            teachers.push(self.teach(&inputs.part(range))?);
        }
        Ok((joined(&students, leaf), joined(&teachers, Tensor::shallow_clone)))
    }

    /// Matching and masked words, micro-batch by micro-batch: their sums. Their gradients are left in the parameters and the leaves.
    fn heads(
        &self,
        inputs: &Inputs,
        draws: &Draws,
        parts: &[Range<i64>],
        (pool, choice): (&Pool, &Choice),
        teacher_image: &Tensor,
        scale: Scale,
    ) -> Result<[Tensor; 2]> {
        let (n, t) = (inputs.ids.size()[0], inputs.ids.size()[1]);
        let sums = [(); 2].map(|()| self.student.temp.detach().zeros_like());
        for range in parts {
            let (m, part) = (range.end - range.start, choice.part(range, n));
            let index =
                |first: i64| Tensor::arange_start(first, first + m, (Kind::Int64, inputs.ids.device()));
            // The own pairs of this part, then the negatives that they chose.
            let pick = |all: &Tensor, chosen: &Tensor| {
                all.index_select(0, &Tensor::cat(&[&index(range.start), chosen], 0))
            };
            let text = pick(&pool.text, &part.text_for_image);
            let lengths = pick(&pool.lengths, &part.text_for_image);
            let sight = self.sight(&pick(&pool.image, &part.image_for_text))?;
            let own = sight.select(&index(0));
            let found = Choice { image_for_text: index(m), text_for_image: index(m), valid: part.valid };
            let itm = self.matching(&Rows::new(text, &lengths, sight), &found)?;
            let [mask, seen] = [&inputs.mask, teacher_image].map(|all| all.narrow(0, range.start, m));
            let mlm = self.restore_words(&draws.masked.part(range, t), &mask, &own, &seen)?;
            (&itm * scale.itm + &mlm * scale.mlm).f_backward()?;
            for (sum, loss) in sums.iter().zip([itm, mlm]) {
                let _ = sum.shallow_clone().g_add_(&loss.detach());
            }
        }
        Ok(sums)
    }

    /// Encodes again, with a graph, and hands it the gradients that the leaves have got.
    fn second_pass(&self, inputs: &Inputs, parts: &[Range<i64>], leaves: &Encoded) -> Result<()> {
        for (range, number) in parts.iter().zip(0..) {
            self.seed_dropout(number);
            let part = |leaf: &Tensor| gradient(leaf).narrow(0, range.start, range.end - range.start);
            let encoded = self.encode(&inputs.part(range))?;
            let pairs = [
                (&encoded.image, &leaves.image),
                (&encoded.text, &leaves.text),
                (&encoded.features.image, &leaves.features.image),
                (&encoded.features.text, &leaves.features.text),
            ];
            let sums = pairs.map(|(encoded, leaf)| (encoded * part(leaf)).sum(self.student.temp.kind()));
            sums.into_iter().sum::<Tensor>().f_backward()?;
        }
        Ok(())
    }

    /// Averages the gradients over the ranks, in buckets.
    fn reduce(&mut self) -> Result<()> {
        let world = f64::from(self.group.world_size());
        let gradients: Vec<Tensor> = self.state.student.tensors().iter().map(Tensor::grad).collect();
        let bucket = self.config.optimizer.bucket_mib as usize * 1024 * 1024;
        let mut rest = gradients.as_slice();
        while !rest.is_empty() {
            let bytes = rest.iter().scan(0, |sum, tensor| {
                *sum += tensor.numel() * tensor.kind().elt_size_in_bytes();
                Some(*sum)
            });
            let fit = bytes.take_while(|bytes| *bytes <= bucket).count().max(1);
            let (now, later) = rest.split_at(fit);
            let flat = Tensor::cat(&now.iter().map(|tensor| tensor.reshape([-1])).collect::<Vec<_>>(), 0);
            self.group.all_reduce(&flat, ReduceOp::Sum)?;
            let sizes: Vec<i64> = now.iter().map(|tensor| tensor.numel() as i64).collect();
            for (tensor, sum) in now.iter().zip((flat / world).split_with_sizes(&sizes, 0)) {
                tensor.shallow_clone().copy_(&sum.view_as(tensor));
            }
            rest = later;
        }
        Ok(())
    }
}

impl Choice {
    /// The choices of the pairs in `range`, of `n`.
    fn part(&self, range: &Range<i64>, n: i64) -> Self {
        let count = range.end - range.start;
        let part = |all: &Tensor, start: i64| all.narrow(0, start, count);
        Self {
            image_for_text: part(&self.image_for_text, range.start),
            text_for_image: part(&self.text_for_image, range.start),
            valid: Tensor::cat(&[part(&self.valid, range.start), part(&self.valid, n + range.start)], 0),
        }
    }
}

fn joined(parts: &[Encoded], finish: fn(&Tensor) -> Tensor) -> Encoded {
    let join =
        |part: fn(&Encoded) -> &Tensor| finish(&Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0));
    Encoded {
        image: join(|part| &part.image),
        text: join(|part| &part.text),
        features: Features {
            image: join(|part| &part.features.image),
            text: join(|part| &part.features.text),
        },
    }
}

fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().set_requires_grad(true)
}

/// What a leaf has got; zeros where nobody used it.
fn gradient(leaf: &Tensor) -> Tensor {
    let gradient = leaf.grad();
    if gradient.defined() { gradient } else { leaf.detach().zeros_like() }
}

/// `0..count` in pieces of at most `size`.
fn ranges(count: i64, size: i64) -> Vec<Range<i64>> {
    (0..count).step_by(size.max(1) as usize).map(|start| start..(start + size).min(count)).collect()
}
