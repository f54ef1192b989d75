//! The gradient reducer of DistributedDataParallel.

use tch::Tensor;

use crate::{Group, Result, ffi};

/// Averages gradients over the ranks of a group, in buckets that are reduced while backward still runs.
///
/// Each step, on every rank, in this order:
///
/// 1. [`Reducer::zero_grad`], or the new gradients add to the old ones. Do not detach `grad()` in place (as tch's
///    `Optimizer::zero_grad` does): gradients are views of the buckets, and libtorch refuses that.
/// 2. [`Reducer::prepare`], then the forward pass.
/// 3. [`Reducer::backward`] of one loss that every parameter takes part in, on every rank. When it returns, `grad()` of
///    every parameter is the mean over the ranks, bitwise the same on all of them.
///
/// A gradient stays valid until the `prepare` of the next step, which may lay the buckets out anew after the first
/// step. To keep one longer, copy it. A pass without reduction (for a loss whose gradient is not wanted from the
/// peers) is one without `prepare`.
///
/// After an error, drop the reducer and its group and make both anew; the weights are untouched by it.
#[derive(Debug)]
pub struct Reducer {
    handle: ffi::Reducer,
    parameters: Vec<Tensor>,
}

impl Reducer {
    /// Watches `parameters`: leaves that require gradients, all on the group's device, in the same order and with the
    /// same shapes on every rank. A bucket holds about `bucket_bytes` (DistributedDataParallel: 25 MiB), the first at
    /// most 1 MiB. A collective.
    ///
    /// # Errors
    /// `Other` if the ranks' parameters differ; the kinds of [`Group`]'s collectives.
    pub fn new(group: &Group, parameters: &[Tensor], bucket_bytes: usize) -> Result<Self> {
        let parameters: Vec<Tensor> = parameters.iter().map(Tensor::shallow_clone).collect();
        let handle = ffi::Reducer::new(group.handle(), &parameters, bucket_bytes)?;
        Ok(Self { handle, parameters })
    }

    /// Gets ready to reduce the gradients of one forward and backward pass. A collective on the second call (the
    /// ranks agree on buckets in the order in which the first backward made the gradients).
    ///
    /// # Errors
    /// `Other` if the last backward left parameters without gradient, naming their indices.
    pub fn prepare(&mut self) -> Result<()> {
        self.handle.prepare()
    }

    /// The backward pass. The same as `loss.f_backward()`, but its errors have the kinds of a collective's.
    pub fn backward(&mut self, loss: &Tensor) -> Result<()> {
        self.handle.backward(loss)
    }

    /// Takes the gradients away from the parameters, as `zero_grad(set_to_none=True)` does: backward then writes them
    /// into the buckets with no pass over zeros before it.
    pub fn zero_grad(&mut self) -> Result<()> {
        ffi::clear_grads(&self.parameters)
    }

    /// The number of buckets that the next backward reduces.
    pub fn buckets(&self) -> Result<usize> {
        self.handle.bucket_count()
    }
}

#[cfg(test)]
mod tests;
