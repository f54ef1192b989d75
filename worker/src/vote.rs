//! The vote that ends a step: one small all-reduce after which all ranks know the same and do the same.

use crate::error::Result;
use c10d::{Group, ReduceOp};
use tch::{Kind, Tensor};

/// What somebody asked for at the next boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Write a checkpoint.
    pub checkpoint: bool,
    /// End the run.
    pub stop: bool,
}

/// What a rank brings.
#[derive(Debug)]
pub struct Ballot {
    /// Contrastive, matching and masked-word losses, summed over this rank's rows.
    pub losses: [Tensor; 3],
    /// This rank's rows of each loss: pairs, pairs and negatives, masked tokens.
    pub rows: [f64; 3],
    /// L2 norm of the reduced gradient, a f64 scalar, the same on every rank.
    pub norm: Tensor,
    /// What this rank was asked for.
    pub wishes: Wishes,
}

/// What all ranks know after it.
#[derive(Debug)]
pub struct Verdict {
    /// What is not finite on some rank, if anything.
    pub not_finite: Option<&'static str>,
    /// Mean contrastive loss of the global batch.
    pub itc: f64,
    /// Mean matching loss.
    pub itm: f64,
    /// Mean masked-word loss.
    pub mlm: f64,
    /// L2 norm of the gradient.
    pub norm: f64,
    /// What any rank was asked for.
    pub wishes: Wishes,
}

impl Ballot {
    /// The collective. It holds the step's only wait for the device.
    ///
    /// # Errors
    /// Those of the group.
    pub fn cast(self, group: &mut Group) -> Result<Verdict> {
        let [pairs, matched, masked] = self.rows;
        let host = [pairs, matched, masked, self.wishes.checkpoint.into(), self.wishes.stop.into()];
        let device = self.losses.map(|loss| loss.to_kind(Kind::Double));
        let losses = Tensor::stack(&device, 0);
        let sums = Tensor::cat(&[losses, Tensor::from_slice(&host).to_device(group.device())], 0);
        group.all_reduce(&sums, ReduceOp::Sum)?;
        let all = Tensor::cat(&[sums, self.norm.to_kind(Kind::Double).reshape([1])], 0);
        Ok(count(&Vec::<f64>::try_from(all)?))
    }
}

fn count(votes: &[f64]) -> Verdict {
    let at = |index: usize| votes.get(index).copied().unwrap_or(f64::NAN);
    let [itc, itm, mlm, pairs, matched, masked, checkpoint, stop, norm] = std::array::from_fn(at);
    let not_finite = match () {
        () if !(itc + itm + mlm).is_finite() => Some("loss"),
        () if !norm.is_finite() => Some("gradient"),
        () => None,
    };
    Verdict {
        not_finite,
        itc: itc / pairs,
        itm: itm / matched,
        mlm: mlm / masked.max(1.0),
        norm,
        wishes: Wishes { checkpoint: checkpoint > 0.0, stop: stop > 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_become_means_and_one_wish_is_enough() {
        let verdict = count(&[8.0, 12.0, 6.0, 4.0, 12.0, 3.0, 0.0, 1.0, 2.5]);
        assert_eq!((verdict.itc, verdict.itm, verdict.mlm, verdict.norm), (2.0, 1.0, 2.0, 2.5));
        assert_eq!(verdict.wishes, Wishes { checkpoint: false, stop: true });
        assert_eq!(verdict.not_finite, None);
    }

    #[test]
    fn what_is_not_finite_is_named() {
        assert_eq!(count(&[f64::NAN, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]).not_finite, Some("loss"));
        assert_eq!(
            count(&[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, f64::INFINITY]).not_finite,
            Some("gradient")
        );
    }

    #[test]
    fn a_batch_without_masked_tokens_has_no_word_loss() {
        assert_eq!(count(&[1.0, 1.0, 0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0]).mlm, 0.0);
    }
}
