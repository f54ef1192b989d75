//! Masked language modelling with momentum distillation (Li et al., 2021, sections 3.2 and 3.3, equations 3 and 7).

use tch::{Kind, Tensor};

/// The loss summed over the masked positions: `scores` and `teacher` `[m, vocabulary]`, `labels` `[m]`. The target is `alpha`
/// times the teacher's softmax (absent when `alpha` is 0) plus `1 - alpha` times the one-hot label.
pub fn loss(scores: &Tensor, teacher: Option<&Tensor>, labels: &Tensor, alpha: f64) -> Tensor {
    let log_probabilities = scores.log_softmax(-1, scores.kind());
    let hard = -log_probabilities.gather(1, &labels.unsqueeze(1), false).sum(scores.kind());
    let Some(teacher) = teacher else { return hard };
    let targets = teacher.softmax(-1, scores.kind());
    let soft = -(log_probabilities * targets).sum(None::<Kind>);
    hard * (1.0 - alpha) + soft * alpha
}
