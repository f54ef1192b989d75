//! Image–text contrastive learning with momentum distillation (Li et al., 2021, sections 3.2 and 3.3, equations 1, 2 and 6).
//!
//! Queries are the student's features of this rank's pairs, keys the teacher's of the batch and of the queue. The target of a query
//! is `alpha` times the teacher's softmax plus `1 - alpha` times its own pair.

mod tiled;

use super::duplicates::same;
use proto::config::Duplicates;
use std::ops::Range;
use tch::{Kind, Tensor};

/// The score of what is masked: its probability is exactly 0 in every float type, and 0 times it is 0.
const NEVER: f64 = -1e30;

/// Features of pairs: unit rows, `[n, embed]` both.
#[derive(Debug)]
pub struct Features {
    /// Of the images.
    pub image: Tensor,
    /// Of the texts.
    pub text: Tensor,
}

/// Teacher features that queries are compared with, the batch's before the queue's, and what tells equal pairs among them.
#[derive(Debug)]
pub struct Keys {
    /// `[k, embed]` both.
    pub features: Features,
    /// Identities of caption and image, `[k, 2]`, i64.
    pub identities: Tensor,
}

/// What else the loss depends on.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The temperature, a scalar that is learned.
    pub temp: &'a Tensor,
    /// The key that is the first query's own pair; the next query's is the next key.
    pub first: i64,
    /// Weight of the teacher's softmax in the targets.
    pub alpha: f64,
    /// What pairs with the same caption or image are to each other.
    pub duplicates: Duplicates,
    /// Side of a tile: a similarity matrix with more than `tile * tile` elements is made tile by tile and never whole.
    pub tile: i64,
}

/// The loss summed over queries, the mean of both directions. `identities` are the queries', `[n, 2]`.
pub fn loss(
    student: &Features,
    teacher: &Features,
    identities: &Tensor,
    keys: &Keys,
    setting: &Setting<'_>,
) -> Tensor {
    let direction = |query: &Tensor, soft: &Tensor, key: &Tensor| {
        let side = Side { query, soft, key, rows: identities, columns: &keys.identities, setting };
        if side.n() * side.k() > setting.tile * setting.tile { tiled::loss(&side) } else { whole(&side) }
    };
    let i2t = direction(&student.image, &teacher.image, &keys.features.text);
    let t2i = direction(&student.text, &teacher.text, &keys.features.image);
    (i2t + t2i) * 0.5
}

/// One direction: the student's queries and the teacher's for the same rows, against the keys.
struct Side<'a> {
    query: &'a Tensor,
    soft: &'a Tensor,
    key: &'a Tensor,
    rows: &'a Tensor,
    columns: &'a Tensor,
    setting: &'a Setting<'a>,
}

/// Which elements of a block of the similarity matrix are what, bool `[rows, columns]`.
struct Marks {
    /// A query's own pair.
    own: Tensor,
    /// Other pairs with the same caption or image; none where they are negatives like all others.
    same: Option<Tensor>,
    duplicates: Duplicates,
}

impl Side<'_> {
    fn n(&self) -> i64 {
        self.query.size()[0]
    }

    fn k(&self) -> i64 {
        self.key.size()[0]
    }

    fn marks(&self, rows: &Range<i64>, columns: &Range<i64>) -> Marks {
        let index = |range: &Range<i64>, shift: i64| {
            Tensor::arange_start(range.start + shift, range.end + shift, (Kind::Int64, self.query.device()))
        };
        let own = index(rows, self.setting.first).unsqueeze(1).eq_tensor(&index(columns, 0).unsqueeze(0));
        let part = |all: &Tensor, range: &Range<i64>| all.narrow(0, range.start, range.end - range.start);
        let duplicates = self.setting.duplicates;
        let same = (duplicates != Duplicates::Negatives).then(|| {
            same(&part(self.rows, rows), &part(self.columns, columns)).logical_and(&own.logical_not())
        });
        Marks { own, same, duplicates }
    }
}

impl Marks {
    /// Scores with those of masked pairs out of the way.
    fn mask(&self, scores: Tensor) -> Tensor {
        match &self.same {
            Some(same) if self.duplicates == Duplicates::Masked => scores.masked_fill(same, NEVER),
            _ => scores,
        }
    }

    /// Every pair that is right, 1 where it is and 0 elsewhere: the own one, and the others that are wanted.
    fn positives(&self, kind: Kind) -> Tensor {
        match &self.same {
            Some(same) if self.duplicates == Duplicates::Positives => self.own.logical_or(same),
            _ => self.own.shallow_clone(),
        }
        .to_kind(kind)
    }
}

/// The loss of one direction from the whole similarity matrix.
fn whole(side: &Side<'_>) -> Tensor {
    let Setting { temp, alpha, .. } = side.setting;
    let kind = side.query.kind();
    let marks = side.marks(&(0..side.n()), &(0..side.k()));
    let scores = |query: &Tensor| marks.mask(query.matmul(&side.key.tr()) / *temp);
    let log_probabilities = scores(side.query).log_softmax(-1, kind);
    let targets = tch::no_grad(|| {
        let positives = marks.positives(kind);
        let hard = &positives / positives.sum_dim_intlist([1i64].as_slice(), true, kind);
        if *alpha == 0.0 { hard } else { hard * (1.0 - alpha) + scores(side.soft).softmax(-1, kind) * *alpha }
    });
    -(log_probabilities * targets).sum(kind)
}

#[cfg(test)]
mod tests;
