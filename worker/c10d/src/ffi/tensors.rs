//! Kernels over lists of tensors, and autocast.

use std::ffi::c_int;

use tch::Tensor;

use super::{check, pointers, raw, tensor};
use crate::Result;
use crate::optim::AdamW;

pub(crate) fn clear_grads(parameters: &[Tensor]) -> Result<()> {
    let list = pointers(parameters);
    // SAFETY: the tensors are alive.
    check("clearing gradients", unsafe { raw::c10d_clear_grads(list.as_ptr(), list.len()) })
}

/// The lists have the same length: checked by the caller, in `optim`, and here once more for C++'s sake.
pub(crate) fn fused_adamw(
    parameters: &[Tensor],
    grads: &[Tensor],
    exp_avgs: &[Tensor],
    exp_avg_sqs: &[Tensor],
    step: f64,
    adamw: &AdamW,
) -> Result<()> {
    let count = parameters.len().min(grads.len()).min(exp_avgs.len()).min(exp_avg_sqs.len());
    let lists = [parameters, grads, exp_avgs, exp_avg_sqs].map(pointers);
    let AdamW { lr, beta1, beta2, weight_decay, eps } = *adamw;
    // SAFETY: each list holds at least `count` live tensors.
    check("fused_adamw", unsafe {
        raw::c10d_fused_adamw(
            lists[0].as_ptr(),
            lists[1].as_ptr(),
            lists[2].as_ptr(),
            lists[3].as_ptr(),
            count,
            step,
            lr,
            beta1,
            beta2,
            weight_decay,
            eps,
        )
    })
}

pub(crate) fn lerp(targets: &[Tensor], sources: &[Tensor], weight: f64) -> Result<()> {
    let count = targets.len().min(sources.len());
    let (targets, sources) = (pointers(targets), pointers(sources));
    // SAFETY: both lists hold at least `count` live tensors.
    check("lerp", unsafe { raw::c10d_lerp(targets.as_ptr(), sources.as_ptr(), count, weight) })
}

pub(crate) fn global_norm(tensors: &[Tensor]) -> Result<Tensor> {
    let list = pointers(tensors);
    let out = Tensor::new();
    // SAFETY: the tensors are alive; C++ assigns to the empty one.
    check("global_norm", unsafe { raw::c10d_global_norm(list.as_ptr(), list.len(), tensor(&out)) })?;
    Ok(out)
}

pub(crate) fn scale(tensors: &[Tensor], factor: f64) -> Result<()> {
    let list = pointers(tensors);
    // SAFETY: the tensors are alive.
    check("scale", unsafe { raw::c10d_scale(list.as_ptr(), list.len(), factor) })
}

/// What autocast was set to before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AutocastState {
    enabled: c_int,
    kind: c_int,
}

pub(crate) fn autocast_enter(cuda: bool) -> Result<AutocastState> {
    let mut state = AutocastState { enabled: 0, kind: 0 };
    // SAFETY: the numbers are alive.
    check("autocast", unsafe {
        raw::c10d_autocast_enter(c_int::from(cuda), &mut state.enabled, &mut state.kind)
    })?;
    Ok(state)
}

/// Cannot fail: it sets thread-local numbers.
pub(crate) fn autocast_leave(cuda: bool, previous: AutocastState) {
    // SAFETY: takes numbers only.
    unsafe { raw::c10d_autocast_leave(c_int::from(cuda), previous.enabled, previous.kind) };
}
