//! Image–text matching with hard negatives (Li et al., 2021, section 3.2, equation 4).

use super::duplicates::same;
use tch::{Kind, Tensor};

/// Added to the weight of every possible negative: far below any weight that matters, it leaves a choice where all others
/// have underflowed to zero.
const FLOOR: f64 = 1e-30;

/// Negatives of a batch, `[n]` slots each.
#[derive(Debug)]
pub struct Negatives {
    /// For each text, an image that is not its own.
    pub image_for_text: Tensor,
    /// For each image, a text that is not its own.
    pub text_for_image: Tensor,
}

/// Pairs of which hard negatives are drawn, of one side.
#[derive(Debug)]
pub struct Candidates<'a> {
    /// Teacher features, `[c, embed]`.
    pub keys: &'a Tensor,
    /// Identities of caption and image, `[c, 2]`, i64.
    pub identities: &'a Tensor,
    /// The candidate that is the first query's own pair; the next query's is the next one.
    pub first: i64,
    /// Whether pairs with the same caption or image may be drawn.
    pub duplicates: bool,
}

/// Draws a negative for each query, with the probabilities of the softmax of its similarities to all candidates but its own pair
/// (and its duplicates): `[n]` indices of candidates, and whether there was anything to draw, bool `[n]`.
///
/// `queries` are student features `[n, embed]` with `identities` `[n, 2]`; `uniform` `[n]` in 0..1 inverts the distribution. At most
/// `at_once` similarities are held at a time.
pub fn draw(
    queries: &Tensor,
    identities: &Tensor,
    candidates: &Candidates<'_>,
    temp: &Tensor,
    uniform: &Tensor,
    at_once: i64,
) -> (Tensor, Tensor) {
    let _guard = tch::no_grad_guard();
    let (n, c) = (queries.size()[0], candidates.keys.size()[0]);
    let rows = (at_once / c.max(1)).clamp(1, n.max(1));
    let part = |start: i64| {
        let count = rows.min(n - start);
        let [queries, identities, uniform] =
            [queries, identities, uniform].map(|all| all.narrow(0, start, count));
        let own = Tensor::arange_start(
            candidates.first + start,
            candidates.first + start + count,
            (Kind::Int64, queries.device()),
        );
        let mut barred =
            own.unsqueeze(1).eq_tensor(&Tensor::arange(c, (Kind::Int64, queries.device())).unsqueeze(0));
        if !candidates.duplicates {
            barred = barred.logical_or(&same(&identities, candidates.identities));
        }
        let scores = queries.matmul(&candidates.keys.tr()) / temp;
        invert(&scores.softmax(-1, Kind::Double), &barred, &uniform)
    };
    let (drawn, found): (Vec<_>, Vec<_>) = (0..n).step_by(rows as usize).map(part).unzip();
    (Tensor::cat(&drawn, 0), Tensor::cat(&found, 0))
}

/// The index at which each row's cumulated weight, of what is not `barred`, passes `uniform`; and whether a row has any weight.
fn invert(weights: &Tensor, barred: &Tensor, uniform: &Tensor) -> (Tensor, Tensor) {
    let c = weights.size()[1];
    let cumulated = (weights + FLOOR).masked_fill(barred, 0.0).cumsum(1, Kind::Double);
    let total = cumulated.narrow(1, c - 1, 1);
    let point = uniform.to_kind(Kind::Double).unsqueeze(1) * &total;
    let drawn = point.searchsorted(&cumulated, false, true, "right", None::<&Tensor>);
    (drawn.squeeze_dim(1).clamp_max(c - 1), total.squeeze_dim(1).gt(0.0))
}

/// Cross-entropy summed over rows: the scores `[3n, 2]` of n positives, then 2n negatives, of which those count that are `valid`, 1 or 0
/// `[2n]`.
pub fn loss(logits: &Tensor, valid: &Tensor) -> Tensor {
    let n = logits.size()[0] / 3;
    let kind = logits.kind();
    let log_probabilities = logits.log_softmax(-1, kind);
    let negatives = log_probabilities.narrow(0, n, 2 * n).select(1, 0) * valid.to_kind(kind);
    -(log_probabilities.narrow(0, 0, n).select(1, 1).sum(kind) + negatives.sum(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tch::Device;

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    proptest! {
        #[test]
        fn a_row_never_draws_itself_or_its_duplicates(
            n in 1i64..7, others in 1i64..5, scale in prop::sample::select(vec![0.0, 1.0, 100.0, 1e4]), seed: i64, at_once in 1i64..40,
        ) {
            tch::manual_seed(seed);
            let c = n + others;
            let first = others / 2;
            let keys = Tensor::randn([c, 3], tch::kind::FLOAT_CPU) * scale;
            let identities = Tensor::randint_low(1, 8, [c, 2], (Kind::Int64, Device::Cpu));
            let rows = identities.narrow(0, first, n);
            let queries = keys.narrow(0, first, n);
            let temp = Tensor::from(1.0f32);
            for uniform in [Tensor::rand([n], F64), Tensor::zeros([n], F64), Tensor::full([n], 1.0 - 1e-16, F64)] {
                for duplicates in [true, false] {
                    let candidates = Candidates { keys: &keys, identities: &identities, first, duplicates };
                    let (drawn, found) = draw(&queries, &rows, &candidates, &temp, &uniform, at_once);
                    let whole = draw(&queries, &rows, &candidates, &temp, &uniform, 1_000);
                    prop_assert!(drawn.equal(&whole.0) && found.equal(&whole.1));
                    for row in 0..n {
                        let (own, index) = (first + row, drawn.int64_value(&[row]));
                        let at = |i: i64, side: i64| identities.int64_value(&[i, side]);
                        let twin = |i: i64| (0..2).any(|side| at(i, side) == at(own, side));
                        let possible = (0..c).any(|i| i != own && (duplicates || !twin(i)));
                        prop_assert_eq!(found.int64_value(&[row]) == 1, possible);
                        prop_assert!(!possible || index != own && (duplicates || !twin(index)), "row {row} drew {index}");
                    }
                }
            }
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        let weights = Tensor::from_slice(&[0.6, 0.1, 0.3]).view([1, 3]);
        let barred = Tensor::from_slice(&[true, false, false]).view([1, 3]);
        let of = |u: f64| invert(&weights, &barred, &Tensor::from_slice(&[u])).0.int64_value(&[0]);
        assert_eq!((of(0.0), of(0.24), of(0.26), of(0.99)), (1, 1, 2, 2));
    }

    #[test]
    fn what_is_not_valid_does_not_count() {
        let logits = Tensor::randn([6, 2], F64);
        let with = |valid: [f64; 4]| loss(&logits, &Tensor::from_slice(&valid)).double_value(&[]);
        let alone = -logits.log_softmax(-1, Kind::Double).double_value(&[3, 0]);
        assert!((with([1.0, 1.0, 1.0, 1.0]) - with([1.0, 0.0, 1.0, 1.0]) - alone).abs() < 1e-12);
    }
}
