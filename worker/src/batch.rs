//! This rank's share of a global batch, and everything random about its step.

use crate::masking::{self, Special, UNPREDICTED};
use crate::objective::itm::Negatives;
use proto::GlobalStep;
use rand::RngExt;
use shards::identity::Identity;
use shards::keyed;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// This rank's pairs of one step, `n` of them, in slot order.
#[derive(Debug)]
pub struct LocalBatch {
    /// Normalised pixels, `[n, 3, size, size]`, f32 on the CPU.
    pub images: Tensor,
    /// Token ids, right-padded, row after row: `n * width` of them.
    pub tokens: Vec<i64>,
    /// Tokens of each text, with `[CLS]` and `[SEP]`.
    pub lengths: Vec<u32>,
    /// (epoch, row) of each pair: the key of its masks.
    pub rows: Vec<(u64, u64)>,
    /// What tells equal captions and equal images of each pair.
    pub identities: Vec<Identity>,
    /// The global slot of the first pair.
    pub first_slot: u64,
    /// Pairs of every rank, by rank.
    pub counts: Vec<i64>,
}

/// Texts as the network takes them.
#[derive(Debug)]
pub struct Texts {
    /// Ids, `[n, t]`, cut to the longest text of the batch.
    pub ids: Tensor,
    /// Lengths, `[n]`.
    pub lengths: Tensor,
}

/// Texts with masked tokens, and what they were.
#[derive(Debug)]
pub struct Masked {
    /// Ids with masks and random words, `[n, t]`.
    pub ids: Tensor,
    /// Positions to predict, as indices into the `n * t` tokens, `[m]`.
    pub positions: Tensor,
    /// The ids that stood there, `[m]`.
    pub labels: Tensor,
}

/// How the negatives for matching come about.
#[derive(Debug)]
pub enum NegativeDraws {
    /// One uniform number a slot and side, `[n]` each, f64: the choice follows the similarities.
    Uniform {
        /// Chooses an image for each text.
        image_for_text: Tensor,
        /// Chooses a text for each image.
        text_for_image: Tensor,
    },
    /// These slots, whatever the similarities: how recorded steps are replayed.
    Given(Negatives),
}

/// Everything random about a step but dropout, as data.
#[derive(Debug)]
pub struct Draws {
    /// For masked language modelling.
    pub masked: Masked,
    /// For matching.
    pub negatives: NegativeDraws,
}

impl LocalBatch {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether this rank has no pair.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// What other ranks have to know of each pair: identities of caption and image, tokens of the text; `[n, 3]`, i64, on the CPU.
    pub fn facts(&self) -> Tensor {
        let facts = self.identities.iter().zip(&self.lengths);
        let facts: Vec<i64> =
            facts.flat_map(|([caption, image], length)| [*caption, *image, i64::from(*length)]).collect();
        Tensor::from_slice(&facts).view([self.len() as i64, 3])
    }

    /// The texts, cut to the longest.
    pub fn texts(&self, device: Device) -> Texts {
        let lengths: Vec<i64> = self.lengths.iter().map(|length| i64::from(*length)).collect();
        Texts {
            ids: self.table(&self.tokens).to_device(device),
            lengths: Tensor::from_slice(&lengths).to_device(device),
        }
    }

    /// The draws of this batch at `step`: masks by (seed, epoch, row), negatives by (seed, step, slot).
    pub fn draws(
        &self,
        seed: u64,
        step: GlobalStep,
        probability: f64,
        special: Special,
        device: Device,
    ) -> Draws {
        Draws {
            masked: self.mask(seed, probability, special, device),
            negatives: NegativeDraws::Uniform {
                image_for_text: self.uniform("negative image", seed, step, device),
                text_for_image: self.uniform("negative text", seed, step, device),
            },
        }
    }

    fn mask(&self, seed: u64, probability: f64, special: Special, device: Device) -> Masked {
        let width = self.width();
        let mut ids = Vec::with_capacity(self.tokens.len());
        let mut labels = Vec::with_capacity(self.tokens.len());
        for (row, &(epoch, number)) in self.tokens.chunks(width).zip(&self.rows) {
            let draws = masking::draws(seed, epoch, number, 0..special.vocabulary);
            let (masked, label) = masking::mask(row, probability, special, draws);
            ids.extend(masked);
            labels.extend(label);
        }
        Masked::new(self.table(&ids), self.table(&labels), device)
    }

    fn uniform(&self, domain: &str, seed: u64, step: GlobalStep, device: Device) -> Tensor {
        let slots = self.first_slot..self.first_slot + self.len() as u64;
        let drawn: Vec<f64> = slots.map(|slot| keyed::rng(domain, &[seed, step.0, slot]).random()).collect();
        Tensor::from_slice(&drawn).to_device(device)
    }

    fn width(&self) -> usize {
        (self.tokens.len() / self.len().max(1)).max(1)
    }

    /// `[n, t]` of one value a token, cut to the longest text.
    fn table(&self, values: &[i64]) -> Tensor {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        Tensor::from_slice(values)
            .view([self.len() as i64, self.width() as i64])
            .narrow(1, 0, longest.into())
            .contiguous()
    }
}

impl Masked {
    /// How many tokens are to be predicted.
    pub fn count(&self) -> f64 {
        self.labels.size()[0] as f64
    }

    /// Those of the texts in `range`, of texts with `tokens` each.
    pub fn part(&self, range: &Range<i64>, tokens: i64) -> Self {
        let (first, end) = (range.start * tokens, range.end * tokens);
        let within = self.positions.ge(first).logical_and(&self.positions.lt(end));
        Self {
            ids: self.ids.narrow(0, range.start, range.end - range.start),
            positions: self.positions.masked_select(&within) - first,
            labels: self.labels.masked_select(&within),
        }
    }

    /// From ids and labels `[n, t]`, [`UNPREDICTED`] where there is none, on the CPU.
    pub fn new(ids: Tensor, labels: Tensor, device: Device) -> Self {
        let labels = labels.flatten(0, -1);
        let positions = labels.ne(UNPREDICTED).nonzero().squeeze_dim(1);
        let labels = labels.index_select(0, &positions).to_kind(Kind::Int64);
        Self {
            ids: ids.to_device(device),
            positions: positions.to_device(device),
            labels: labels.to_device(device),
        }
    }
}
