//! Image–text contrastive learning with momentum distillation (Li et al., 2021, section 3.2 and equation 6).

use super::soft_cross_entropy;
use tch::{Kind, Tensor};

/// Features that queries are compared with: the batch's, then the queue's.
#[derive(Debug)]
pub struct Keys {
    /// `[k, embed]`, unit rows.
    pub image: Tensor,
    /// `[k, embed]`, unit rows.
    pub text: Tensor,
}

/// Scores of this rank's rows against all keys.
#[derive(Debug)]
pub struct Similarities {
    /// Images against text keys, `[n, k]`.
    pub i2t: Tensor,
    /// Texts against image keys, `[n, k]`.
    pub t2i: Tensor,
}

/// Cosine similarities over the temperature; `image` and `text` are unit features `[n, embed]`.
pub fn similarities(image: &Tensor, text: &Tensor, keys: &Keys, temp: &Tensor) -> Similarities {
    Similarities { i2t: image.matmul(&keys.text.tr()) / temp, t2i: text.matmul(&keys.image.tr()) / temp }
}

/// The loss summed over rows, the mean of both directions.
///
/// The positive of row `i` is key `first + i`. The target is `alpha` times the teacher's softmax plus `1 - alpha` times the
/// one-hot positive.
pub fn loss(student: &Similarities, teacher: &Similarities, first: i64, alpha: f64) -> Tensor {
    let direction = |student: &Tensor, teacher: &Tensor| {
        let log_probabilities = student.log_softmax(-1, student.kind());
        let n = student.size()[0];
        let positive = Tensor::arange_start(first, first + n, (Kind::Int64, student.device())).unsqueeze(1);
        let hard = -log_probabilities.gather(1, &positive, false).squeeze_dim(1);
        if alpha == 0.0 {
            return hard.sum(student.kind());
        }
        let soft = soft_cross_entropy(&log_probabilities, teacher);
        (hard * (1.0 - alpha) + soft * alpha).sum(student.kind())
    };
    (direction(&student.i2t, &teacher.i2t) + direction(&student.t2i, &teacher.t2i)) * 0.5
}
