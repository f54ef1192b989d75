//! What ranks tell each other before the losses are known: teacher features and identities of all pairs, choices of negatives, and
//! the tokens of the chosen ones.

use super::Trainer;
use crate::batch::{LocalBatch, NegativeDraws};
use crate::error::Result;
use crate::exchange::Plan;
use crate::models::bert::{Sight, padding_mask};
use crate::objective::itc::{Features, Keys};
use crate::objective::itm::{self, Candidates};
use crate::queue::Queue;
use proto::config::Reach;
use std::ops::Range;
use tch::{Kind, Tensor};

/// The whole global batch as every rank knows it, in slot order.
#[derive(Debug)]
pub(super) struct Batch {
    /// Teacher features, `[B, embed]`.
    pub features: Features,
    /// Caption and image of each pair, `[B, 2]`, i64.
    pub identities: Tensor,
    /// Tokens of each text, `[B]`.
    lengths: Tensor,
}

/// Hard negatives: `[n]` slots, or rows once they are fetched.
#[derive(Debug)]
pub(super) struct Choice {
    /// For each text, an image that is not its own.
    pub image_for_text: Tensor,
    /// For each image, a text that is not its own.
    pub text_for_image: Tensor,
    /// Whether there was one, bool `[2n]`: images for texts, then texts for images.
    pub valid: Tensor,
}

/// Tokens that came from other ranks, with gradient, and where each choice now is.
#[derive(Debug)]
pub(super) struct Fetched {
    /// `[r, p, vision width]`; none where no image travels between any ranks. Where one does, every rank's losses depend on what
    /// came, be it nothing: backward is a collective then.
    pub image: Option<Tensor>,
    /// `[r, t, text width]`, `t` the longest text of the global batch; none where no text travels.
    pub text: Option<Tensor>,
    lengths: Tensor,
    /// Rows among the own pairs followed by what came.
    pub choice: Choice,
}

/// The own pairs' tokens followed by what came.
#[derive(Debug)]
pub(super) struct Pool {
    /// `[r, p, vision width]`.
    pub image: Tensor,
    /// `[r, t, text width]`.
    pub text: Tensor,
    /// Tokens of each text, `[r]`.
    pub lengths: Tensor,
}

/// What matching takes its texts and images from.
#[derive(Debug)]
pub(super) struct Rows {
    /// `[r, t, text width]`.
    pub text: Tensor,
    /// `[r, 1, 1, t]`.
    pub mask: Tensor,
    pub sight: Sight,
}

impl Batch {
    /// The slots of a rank.
    pub(super) fn of(&self, batch: &LocalBatch, rank: u32) -> Range<i64> {
        let first: i64 = batch.counts.iter().take(rank as usize).sum();
        first..first + batch.len() as i64
    }

    /// The identities of these slots.
    pub(super) fn part(&self, slots: &Range<i64>) -> Tensor {
        self.identities.narrow(0, slots.start, slots.end - slots.start)
    }

    /// These, then the queue.
    pub(super) fn keys(&self, features: &Features, identities: &Tensor, queue: &Queue) -> Keys {
        let queued = queue.keys();
        let join = |first: &Tensor, then: &Tensor| Tensor::cat(&[first, then], 0);
        let image = join(&features.image, &queued.features.image);
        let text = join(&features.text, &queued.features.text);
        Keys { features: Features { image, text }, identities: join(identities, &queued.identities) }
    }
}

impl Choice {
    /// How many negatives there are.
    pub(super) fn found(&self) -> f64 {
        self.valid.sum(Kind::Double).double_value(&[])
    }
}

impl Fetched {
    /// The own pairs' texts followed by those that came, and their lengths.
    pub(super) fn texts(&self, own: &Tensor, lengths: &Tensor) -> (Tensor, Tensor) {
        match &self.text {
            None => (own.shallow_clone(), lengths.shallow_clone()),
            Some(came) => {
                let own = widen(own, came.size()[1]);
                (Tensor::cat(&[&own, came], 0), Tensor::cat(&[lengths, &self.lengths], 0))
            }
        }
    }

    /// The own pairs' tokens followed by what came.
    pub(super) fn pool(&self, image: &Tensor, text: &Tensor, lengths: &Tensor) -> Pool {
        let (text, lengths) = self.texts(text, lengths);
        let image = match &self.image {
            None => image.shallow_clone(),
            Some(came) => Tensor::cat(&[image, came], 0),
        };
        Pool { image, text, lengths }
    }
}

impl Rows {
    pub(super) fn new(text: Tensor, lengths: &Tensor, sight: Sight) -> Self {
        let mask = padding_mask(lengths, text.size()[1], text.kind());
        Self { text, mask, sight }
    }
}

impl Trainer {
    /// Teacher features, identities and lengths of the whole global batch, in slot order.
    pub(super) fn gather(&mut self, batch: &LocalBatch, teacher: &Features) -> Result<Batch> {
        let width = teacher.image.size()[1];
        let features = Tensor::cat(&[&teacher.image, &teacher.text], 1);
        let features = self.group.all_gather_rows(&features, &batch.counts)?;
        let facts = batch.facts().to_device(self.group.device());
        let facts = self.group.all_gather_rows(&facts, &batch.counts)?;
        Ok(Batch {
            features: Features {
                image: features.narrow(1, 0, width),
                text: features.narrow(1, width, width),
            },
            identities: facts.narrow(1, 0, 2),
            lengths: facts.select(1, 2),
        })
    }

    /// The slots of each own pair's negatives.
    pub(super) fn choose(
        &self,
        batch: &LocalBatch,
        student: &Features,
        teacher: &Features,
        global: &Batch,
        draws: &NegativeDraws,
    ) -> Choice {
        let (from_image, from_text) = match draws {
            NegativeDraws::Given(given) => {
                let [image_for_text, text_for_image] =
                    [&given.image_for_text, &given.text_for_image].map(Tensor::shallow_clone);
                let valid = Tensor::ones([2 * batch.len() as i64], (Kind::Bool, image_for_text.device()));
                return Choice { image_for_text, text_for_image, valid };
            }
            NegativeDraws::Uniform { image_for_text, text_for_image } => (image_for_text, text_for_image),
        };
        let objective = &self.config.objective;
        let own = global.of(batch, self.group.rank());
        let identities = global.part(&own);
        let (first, base, keys, known) = match objective.negatives {
            Reach::Global => (own.start, 0, &global.features, &global.identities),
            Reach::Local => (0, own.start, teacher, &identities),
        };
        let side = |query: &Tensor, keys: &Tensor, uniform: &Tensor| {
            let duplicates = objective.draw_duplicates;
            let candidates = Candidates { keys, identities: known, first, duplicates };
            let at_once = i64::from(objective.tile).pow(2);
            let (drawn, found) =
                itm::draw(query, &identities, &candidates, &self.student.temp, uniform, at_once);
            (drawn + base, found)
        };
        let (image_for_text, image_found) = side(&student.text, &keys.image, from_image);
        let (text_for_image, text_found) = side(&student.image, &keys.text, from_text);
        Choice { image_for_text, text_for_image, valid: Tensor::cat(&[image_found, text_found], 0) }
    }

    /// Brings the chosen rows that other ranks hold, and only those, with gradient.
    pub(super) fn fetch(
        &mut self,
        batch: &LocalBatch,
        image: &Tensor,
        text: &Tensor,
        global: &Batch,
        choice: &Choice,
    ) -> Result<Fetched> {
        let images = self.plan(batch, &choice.image_for_text)?;
        let texts = self.plan(batch, &choice.text_for_image)?;
        let device = image.device();
        let index = |slots: &[i64]| Tensor::from_slice(slots).to_device(device);
        let lengths = global.lengths.index_select(0, &index(&texts.received));
        let longest =
            if texts.travelling > 0 { global.lengths.max().int64_value(&[]) } else { text.size()[1] };
        let rows = |plan: &Plan, slots: &Tensor| -> Result<Tensor> {
            let slots: Vec<i64> = slots.try_into()?;
            Ok(index(&slots.iter().filter_map(|slot| plan.row(*slot)).collect::<Vec<_>>()))
        };
        let choice = Choice {
            image_for_text: rows(&images, &choice.image_for_text)?,
            text_for_image: rows(&texts, &choice.text_for_image)?,
            valid: choice.valid.shallow_clone(),
        };
        let image = self.travel(image, &images)?;
        let text = self.travel(&widen(text, longest), &texts)?;
        Ok(Fetched { image, text, lengths, choice })
    }

    /// Every rank's choice is told to all, and each works out what it has to send.
    fn plan(&mut self, batch: &LocalBatch, slots: &Tensor) -> Result<Plan> {
        let all = match self.config.objective.negatives {
            Reach::Global => self.group.all_gather_rows(&slots.unsqueeze(1), &batch.counts)?,
            Reach::Local => return Ok(Plan::new(self.group.rank() as usize, &batch.counts, &[])),
        };
        let all: Vec<i64> = all.squeeze_dim(1).try_into()?;
        let mut rest = all.as_slice();
        let take = |count: &i64| {
            let (wanted, others) = rest.split_at(*count as usize);
            rest = others;
            wanted.to_vec()
        };
        let wanted: Vec<Vec<i64>> = batch.counts.iter().map(take).collect();
        Ok(Plan::new(self.group.rank() as usize, &batch.counts, &wanted))
    }

    fn travel(&mut self, rows: &Tensor, plan: &Plan) -> Result<Option<Tensor>> {
        if plan.travelling == 0 {
            return Ok(None);
        }
        let sent = Tensor::from_slice(&plan.sent).to_device(rows.device());
        Ok(Some(self.group.all_to_all_rows(&rows.index_select(0, &sent), &plan.send, &plan.receive)?))
    }
}

/// Text tokens with zeros behind them, up to `longest`.
fn widen(text: &Tensor, longest: i64) -> Tensor {
    match longest - text.size()[1] {
        0 => text.shallow_clone(),
        missing => text.constant_pad_nd([0, 0, 0, missing]),
    }
}
