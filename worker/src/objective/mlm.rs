//! Masked language modelling with momentum distillation (Li et al., 2021, sections 3.3 and 3.5, equation 7).

use super::soft_cross_entropy;
use tch::Tensor;

/// The loss summed over the masked positions: `scores` and `teacher` `[m, vocabulary]`, `labels` `[m]`. The target is `alpha`
/// times the teacher's softmax (absent when `alpha` is 0) plus `1 - alpha` times the one-hot label.
pub fn loss(scores: &Tensor, teacher: Option<&Tensor>, labels: &Tensor, alpha: f64) -> Tensor {
    let log_probabilities = scores.log_softmax(-1, scores.kind());
    let hard = -log_probabilities.gather(1, &labels.unsqueeze(1), false).sum(scores.kind());
    match teacher {
        None => hard,
        Some(teacher) => {
            hard * (1.0 - alpha) + soft_cross_entropy(&log_probabilities, teacher).sum(scores.kind()) * alpha
        }
    }
}
