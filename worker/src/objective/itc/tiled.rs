//! The contrastive loss tile by tile: memory grows with rows plus keys, not with rows times keys.
//!
//! With scores `S = q kᵀ / t`, probabilities `P = softmax(S)` and targets `T` that sum to 1, the loss of a row is
//! `logsumexp(S) - sum(T S)`, and its gradient with respect to `S` is `P - T`. So one pass over the keys finds the rows'
//! logsumexp (Milakov & Gimelshein, 2018, "Online normalizer calculation for softmax"), and a second one makes loss and gradients
//! of queries and temperature. The gradients then enter autograd through an expression that is linear in queries and temperature.

use super::{Marks, Setting, Side};
use std::ops::Range;
use tch::{Kind, Tensor};

/// The loss of one direction.
pub(super) fn loss(side: &Side<'_>) -> Tensor {
    let gathered = tch::no_grad(|| {
        let blocks = ranges(side.n(), side.setting.tile);
        let parts: Vec<Gathered> = blocks.iter().map(|rows| Block::new(side, rows).gather()).collect();
        let all = |part: fn(&Gathered) -> &Tensor| parts.iter().map(part).collect::<Vec<_>>();
        Gathered {
            loss: Tensor::stack(&all(|p| &p.loss), 0).sum(side.query.kind()),
            query: Tensor::cat(&all(|p| &p.query), 0),
            temp: Tensor::stack(&all(|p| &p.temp), 0).sum(side.query.kind()),
        }
    });
    let kind = side.query.kind();
    let linear = (side.query * &gathered.query).sum(kind) + side.setting.temp * &gathered.temp;
    &linear - linear.detach() + gathered.loss
}

/// A loss and its gradients.
struct Gathered {
    loss: Tensor,
    /// `[rows, embed]`.
    query: Tensor,
    temp: Tensor,
}

/// Some rows and what is known of them before the second pass.
struct Block<'a> {
    side: &'a Side<'a>,
    rows: &'a Range<i64>,
    query: Tensor,
    soft: Tensor,
    columns: Vec<Range<i64>>,
    /// logsumexp of the student's scores, `[rows, 1]`.
    student: Tensor,
    /// Of the teacher's.
    teacher: Tensor,
    /// Number of right pairs, `[rows, 1]`.
    positives: Tensor,
}

impl<'a> Block<'a> {
    /// The first pass.
    fn new(side: &'a Side<'a>, rows: &'a Range<i64>) -> Self {
        let part = |all: &Tensor| all.detach().narrow(0, rows.start, rows.end - rows.start);
        let nothing = |value: f64| {
            Tensor::full([rows.end - rows.start, 1], value, (side.query.kind(), side.query.device()))
        };
        let mut block = Self {
            side,
            rows,
            query: part(side.query),
            soft: part(side.soft),
            columns: ranges(side.k(), side.setting.tile),
            student: nothing(f64::NEG_INFINITY),
            teacher: nothing(f64::NEG_INFINITY),
            positives: nothing(0.0),
        };
        for columns in block.columns.clone() {
            let marks = side.marks(rows, &columns);
            let add =
                |sum: &Tensor, scores: Tensor| sum.logaddexp(&scores.logsumexp([1i64].as_slice(), true));
            block.student = add(&block.student, block.scores(&block.query, &columns, &marks));
            if side.setting.alpha > 0.0 {
                block.teacher = add(&block.teacher, block.scores(&block.soft, &columns, &marks));
            }
            let positives = marks.positives(side.query.kind());
            block.positives += positives.sum_dim_intlist([1i64].as_slice(), true, None::<Kind>);
        }
        block
    }

    /// The second pass.
    fn gather(&self) -> Gathered {
        let Setting { temp, alpha, .. } = self.side.setting;
        let kind = self.query.kind();
        let mut loss = self.student.sum(kind);
        let mut query = self.query.zeros_like();
        let mut slope = loss.zeros_like();
        for columns in &self.columns {
            let marks = self.side.marks(self.rows, columns);
            let scores = self.scores(&self.query, columns, &marks);
            let mut targets = marks.positives(kind) / &self.positives * (1.0 - alpha);
            if *alpha > 0.0 {
                targets += (self.scores(&self.soft, columns, &marks) - &self.teacher).exp() * *alpha;
            }
            loss -= (&targets * &scores).sum(kind);
            let gradient = (&scores - &self.student).exp() - targets;
            query += gradient.matmul(&self.keys(columns));
            slope += (gradient * scores).sum(kind);
        }
        Gathered { loss, query: query / *temp, temp: -slope / *temp }
    }

    fn scores(&self, query: &Tensor, columns: &Range<i64>, marks: &Marks) -> Tensor {
        marks.mask(query.matmul(&self.keys(columns).tr()) / self.side.setting.temp)
    }

    fn keys(&self, columns: &Range<i64>) -> Tensor {
        self.side.key.narrow(0, columns.start, columns.end - columns.start)
    }
}

/// `0..count` in pieces of `size`.
fn ranges(count: i64, size: i64) -> Vec<Range<i64>> {
    (0..count).step_by(size.max(1) as usize).map(|start| start..(start + size).min(count)).collect()
}
