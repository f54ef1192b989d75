//! ALBEF's three losses (Li et al., 2021, sections 3.2 to 3.4), each as a sum over this rank's rows, so that ranks with
//! different counts add up to one mean.

pub mod itc;
pub mod itm;
pub mod mlm;

use tch::{Kind, Tensor};

/// `-sum(log_softmax(scores) * softmax(teacher))` of each row; `[n, k]` both, gives `[n]`.
fn soft_cross_entropy(log_probabilities: &Tensor, teacher: &Tensor) -> Tensor {
    let targets = teacher.softmax(-1, log_probabilities.kind());
    -(log_probabilities * targets).sum_dim_intlist([-1i64].as_slice(), false, None::<Kind>)
}
