//! Where the right answers stand.

use crate::error::Result;
use std::ops::Range;
use tch::{Kind, Tensor};

/// Queries that are ranked at once: bounds the matrix of scores.
const BLOCK: usize = 1024;
/// The score of candidates that the matching head has not seen, as published: below all that it has.
const UNSEEN: f64 = -100.0;
/// Answers that are kept for people.
const SHOWN: i64 = 5;

/// Of each query: wrong candidates that are no worse than the best right one, and the best answers.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// `[n]`; 0 where a right answer comes first.
    pub before: Vec<i64>,
    /// `[n][5]`, or fewer where there are fewer candidates.
    pub best: Vec<Vec<i64>>,
}

/// Share of queries with a right answer among the first so many, in %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Recall {
    pub r1: f64,
    pub r5: f64,
    pub r10: f64,
}

impl Ranking {
    /// Ranks `queries` queries block by block.
    pub(super) fn of(queries: usize, ranked: impl Fn(Range<i64>) -> Result<Self>) -> Result<Self> {
        let mut all = Self::default();
        for start in (0..queries).step_by(BLOCK) {
            let end = (start + BLOCK).min(queries);
            let Self { before, best } = ranked(start as i64..end as i64)?;
            all.before.extend(before);
            all.best.extend(best);
        }
        Ok(all)
    }

    pub(super) fn recall(&self) -> Recall {
        let within = |places: i64| {
            let found = self.before.iter().filter(|before| **before < places).count();
            100.0 * found as f64 / self.before.len().max(1) as f64
        };
        Recall { r1: within(1), r5: within(5), r10: within(10) }
    }
}

/// Unit features `[n, embed]` to the similarities of the queries `rows` with all candidates, `[rows, n]`.
pub(super) fn similarities(queries: &Tensor, candidates: &Tensor, rows: &Range<i64>) -> Tensor {
    queries.narrow(0, rows.start, rows.end - rows.start).matmul(&candidates.tr())
}

/// Ranks by `scores` `[q, n]`, where `matches` `[q, n]` says what is right. Ties count against the query, and so does what is no
/// number, so that a network that gives the same score to everything finds nothing.
pub(super) fn rank(scores: &Tensor, matches: &Tensor) -> Result<Ranking> {
    let best_right = scores.masked_fill(&matches.logical_not(), f64::NEG_INFINITY).amax([1i64], true);
    let no_worse = scores.less_tensor(&best_right).logical_not();
    let before =
        no_worse.logical_and(&matches.logical_not()).sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
    let best = scores.topk(SHOWN.min(scores.size()[1]), 1, true, true).1;
    let rows = (0..best.size()[0]).map(|row| Vec::try_from(best.select(0, row)));
    let best = rows.collect::<std::result::Result<_, tch::TchError>>()?;
    Ok(Ranking { before: Vec::try_from(before)?, best })
}

/// Scores `[rows, n]` by `score(queries, candidates)` for the candidates `near` `[rows, k]`, and [`UNSEEN`] for the rest.
pub(super) fn match_scores(
    rows: &Range<i64>,
    near: &Tensor,
    candidates: i64,
    at_once: i64,
    score: &dyn Fn(&Tensor, &Tensor) -> Tensor,
) -> Tensor {
    let (queries, k) = (rows.end - rows.start, near.size()[1]);
    let query = Tensor::arange_start(rows.start, rows.end, tch::kind::INT64_CPU)
        .repeat_interleave_self_int(k, None, None);
    let pairs = query.split(at_once, 0).into_iter().zip(near.flatten(0, 1).split(at_once, 0));
    let scored: Vec<Tensor> = pairs.map(|(query, candidate)| score(&query, &candidate)).collect();
    let scored = Tensor::cat(&scored, 0).view([queries, k]);
    Tensor::full([queries, candidates], UNSEEN, (scored.kind(), tch::Device::Cpu)).scatter(1, near, &scored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(scores: &[[f64; 3]], groups: &[i64; 3]) -> Ranking {
        let groups = Tensor::from_slice(groups);
        let queries = groups.narrow(0, 0, scores.len() as i64);
        rank(&Tensor::from_slice2(scores), &queries.unsqueeze(1).eq_tensor(&groups.unsqueeze(0))).unwrap()
    }

    #[test]
    fn wrong_candidates_that_are_no_worse_are_counted() {
        let found = ranked(&[[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], &[0, 1, 2]);
        assert_eq!(found.before, [0, 1, 2]);
        assert_eq!(found.best[0], [0, 1, 2]);
        assert!((found.recall().r1 - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!(found.recall().r5, 100.0);
    }

    #[test]
    fn rows_with_the_same_caption_match_each_other() {
        assert_eq!(ranked(&[[1.0, 2.0, 3.0]], &[7, 8, 7]).before, [0]);
    }

    #[test]
    fn a_network_that_says_always_the_same_finds_nothing() {
        assert_eq!(ranked(&[[1.0; 3]], &[0, 1, 2]).before, [2]);
        assert_eq!(ranked(&[[f64::NAN; 3]], &[0, 1, 2]).before, [2]);
    }

    #[test]
    fn what_is_not_matched_comes_last() {
        let near = Tensor::from_slice2(&[[2i64, 0], [1, 2]]);
        let score = |query: &Tensor, candidate: &Tensor| (query * 10 + candidate).to_kind(Kind::Double);
        let scores = match_scores(&(1..3), &near, 3, 3, &score);
        assert_eq!(
            Vec::<f64>::try_from(scores.flatten(0, 1)).unwrap(),
            [10.0, -100.0, 12.0, -100.0, 21.0, 22.0]
        );
    }
}
