//! Fused kernels over lists of tensors. None of them records gradients. Lists that belong together have the same length
//! and, index by index, the same shapes and devices.

use tch::Tensor;

use crate::{Error, Result, ffi};

/// The constants of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay: a parameter shrinks by `lr * weight_decay` of itself.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One AdamW update of `parameters` and their moments `exp_avgs`, `exp_avg_sqs`, in place.
///
/// `step` is the number of this update, from 1; the kernels take it as f32, exact up to 2^24.
pub fn fused_adamw(
    parameters: &[Tensor],
    grads: &[Tensor],
    exp_avgs: &[Tensor],
    exp_avg_sqs: &[Tensor],
    step: u64,
    adamw: &AdamW,
) -> Result<()> {
    same_length("fused_adamw", &[parameters, grads, exp_avgs, exp_avg_sqs])?;
    ffi::fused_adamw(parameters, grads, exp_avgs, exp_avg_sqs, step as f64, adamw)
}

/// `targets += weight * (sources - targets)`, in place: an exponential moving average with momentum `1 - weight`.
pub fn lerp(targets: &[Tensor], sources: &[Tensor], weight: f64) -> Result<()> {
    same_length("lerp", &[targets, sources])?;
    ffi::lerp(targets, sources, weight)
}

/// The 2-norm of all elements together: a f64 scalar on the device of `tensors` (of at least one). Added up in f64, since
/// f32 loses digits over a large tensor. Does not wait for the device.
pub fn global_norm(tensors: &[Tensor]) -> Result<Tensor> {
    if tensors.is_empty() {
        return Err(Error::shape("global_norm: of no tensors"));
    }
    ffi::global_norm(tensors)
}

/// Multiplies every element by `factor`, in place.
pub fn scale(tensors: &[Tensor], factor: f64) -> Result<()> {
    ffi::scale(tensors, factor)
}

fn same_length(what: &str, lists: &[&[Tensor]]) -> Result<()> {
    let lengths: Vec<usize> = lists.iter().map(|list| list.len()).collect();
    if lengths.windows(2).all(|pair| pair[0] == pair[1]) {
        Ok(())
    } else {
        Err(Error::shape(format!("{what}: lists of {lengths:?} tensors")))
    }
}

#[cfg(test)]
mod tests;
