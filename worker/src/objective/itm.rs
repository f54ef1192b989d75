//! Image–text matching with hard negatives (Li et al., 2021, section 3.4).

use tch::{Kind, Tensor};

/// Added to the weight of every possible negative: far below any weight that matters, it leaves a choice where all others
/// have underflowed to zero.
const FLOOR: f64 = 1e-30;

/// The negatives of a batch, as indices `[n]` into it.
#[derive(Debug)]
pub struct Negatives {
    /// For each text, an image that is not its own.
    pub image_for_text: Tensor,
    /// For each image, a text that is not its own.
    pub text_for_image: Tensor,
}

/// Probabilities, up to a factor, of the negatives of each row: the softmax of its similarities, 0 for its own pair.
///
/// `similarities` is `[n, n]`, row `i`'s own pair in column `i`.
pub fn weights(similarities: &Tensor) -> Tensor {
    let _guard = tch::no_grad_guard();
    similarities.softmax(-1, similarities.kind()).fill_diagonal_(0.0, false)
}

/// Draws one index a row by inverting the distribution: `weights` `[n, n]` from [`weights`], `uniform` `[n]` in 0..1. Stays on
/// the device; a row's own index has no mass and is never drawn.
pub fn draw(weights: &Tensor, uniform: &Tensor) -> Tensor {
    let n = weights.size()[0];
    let weights = (weights.to_kind(Kind::Double) + FLOOR).fill_diagonal_(0.0, false);
    let cumulated = weights.cumsum(1, Kind::Double);
    let point = uniform.to_kind(Kind::Double).unsqueeze(1) * cumulated.narrow(1, n - 1, 1);
    point.searchsorted(&cumulated, false, true, "right", None::<&Tensor>).squeeze_dim(1).clamp_max(n - 1)
}

/// Cross-entropy summed over rows: the scores `[3n, 2]` of n positives, then 2n negatives.
pub fn loss(logits: &Tensor) -> Tensor {
    let n = logits.size()[0] / 3;
    let log_probabilities = logits.log_softmax(-1, logits.kind());
    -(log_probabilities.narrow(0, 0, n).select(1, 1).sum(logits.kind())
        + log_probabilities.narrow(0, n, 2 * n).select(1, 0).sum(logits.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_never_draws_itself(n in 2i64..9, scale in prop::sample::select(vec![0.0, 1.0, 100.0, 1e4]), seed: i64) {
            tch::manual_seed(seed);
            let similarities = Tensor::randn([n, n], tch::kind::FLOAT_CPU) * scale + Tensor::eye(n, tch::kind::FLOAT_CPU) * scale;
            let uniform = Tensor::rand([n], (Kind::Double, tch::Device::Cpu));
            for uniform in [uniform, Tensor::zeros([n], (Kind::Double, tch::Device::Cpu)), Tensor::full([n], 1.0 - 1e-16, (Kind::Double, tch::Device::Cpu))] {
                let drawn: Vec<i64> = draw(&weights(&similarities), &uniform).try_into().unwrap();
                for (row, index) in drawn.into_iter().enumerate() {
                    prop_assert!(index != row as i64 && (0..n).contains(&index), "row {row} drew {index}");
                }
            }
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        let similarities =
            Tensor::from_slice2(&[[9.0f64, 0.0, 2.0f64.ln()], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]);
        let weights = weights(&similarities).narrow(0, 0, 1).expand([3, 3], false).contiguous();
        let of = |u: f64| {
            let row = weights.copy();
            i64::try_from(draw(&row, &Tensor::from_slice(&[u, u, u])).select(0, 0)).unwrap()
        };
        assert_eq!((of(0.0), of(0.33), of(0.34), of(0.99)), (1, 1, 2, 2));
    }
}
