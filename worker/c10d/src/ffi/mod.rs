//! All the unsafe code: the C interface of csrc, and a safe wrapper for each of its functions.
//!
//! What the wrappers rely on everywhere: a `tch::Tensor` holds a live `at::Tensor` for as long as it is borrowed; an
//! owned handle is made by C++, not null, and freed once, by its `Drop`; C++ lets no exception out and writes its `out`
//! arguments before it returns 0.

mod library;
mod profile;
mod raw;
mod store;
mod tensors;

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

use tch::Tensor;

use crate::{Error, GroupSpec, Kind, ReduceOp, Result};
use raw::TensorPtr;

pub(crate) use library::{Library, Nccl, libtorch_folder};
pub(crate) use profile::{Span, profile_forget, profile_start, profile_stop};
pub(crate) use store::Store;
pub(crate) use tensors::{
    AutocastState, autocast_enter, autocast_leave, clear_grads, fused_adamw, global_norm, lerp, scale,
};

/// Turns a status of `what` into a result, with the text that C++ kept for this thread.
fn check(what: &str, status: c_int) -> Result<()> {
    let kind = match status {
        0 => return Ok(()),
        1 => Kind::Timeout,
        2 => Kind::Peer,
        3 => Kind::Store,
        4 => Kind::Shape,
        5 => Kind::Cuda,
        _ => Kind::Other,
    };
    // SAFETY: a C string that lives until this thread's next failure.
    let text = unsafe { CStr::from_ptr(raw::c10d_last_error()) }.to_string_lossy();
    Err(Error::new(kind, format!("{what}: {}", text.trim_end())))
}

/// Runs a function that makes a handle.
fn made<T>(what: &str, make: impl FnOnce(*mut *mut T) -> c_int) -> Result<NonNull<T>> {
    let mut out = ptr::null_mut();
    check(what, make(&mut out))?;
    NonNull::new(out).ok_or_else(|| Error::new(Kind::Other, format!("{what}: made nothing")))
}

fn tensor(tensor: &Tensor) -> TensorPtr {
    tensor.as_ptr().cast_mut()
}

fn pointers(tensors: &[Tensor]) -> Vec<TensorPtr> {
    tensors.iter().map(tensor).collect()
}

fn int(what: &str, value: impl TryInto<c_int> + Copy + std::fmt::Display) -> Result<c_int> {
    value.try_into().map_err(|_| Error::shape(format!("{what} {value} is too large")))
}

fn milliseconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)
}

/// `tandem::GroupHandle`.
#[derive(Debug)]
pub(crate) struct Group(NonNull<raw::Group>);

// SAFETY: a process group may be used from any thread, by one at a time; it is not `Sync`.
unsafe impl Send for Group {}

impl Group {
    /// Gloo over the interface of `spec`.
    pub(crate) fn gloo(store: &Store, spec: &GroupSpec) -> Result<Self> {
        let (rank, world_size) = (int("rank", spec.rank)?, int("world size", spec.world_size)?);
        let interface = CString::new(spec.interface.as_str())
            .map_err(|_| Error::shape(format!("the interface {:?} holds a zero byte", spec.interface)))?;
        let (meeting, timeout) = (milliseconds(spec.meeting), milliseconds(spec.timeout));
        // SAFETY: the store and the string outlive the call; C++ shares the ownership of the store.
        made(&format!("meeting over {}", spec.interface), |out| unsafe {
            let (store, interface) = (store.as_ptr(), interface.as_ptr());
            raw::c10d_group_gloo(store, rank, world_size, interface, meeting, timeout, out)
        })
        .map(Self)
    }

    /// A group around NCCL's backend.
    pub(crate) fn cuda(store: &Store, spec: &GroupSpec, backend: library::Backend) -> Result<Self> {
        let (rank, world_size) = (int("rank", spec.rank)?, int("world size", spec.world_size)?);
        let timeout = milliseconds(spec.timeout);
        // SAFETY: C++ takes over the backend, which `into_raw` gives away.
        made("making a CUDA group", |out| unsafe {
            raw::c10d_group_cuda(store.as_ptr(), rank, world_size, timeout, backend.into_raw(), out)
        })
        .map(Self)
    }

    pub(crate) fn all_reduce(&mut self, value: &Tensor, op: ReduceOp) -> Result<()> {
        // c10d::ReduceOp::RedOpType.
        let op = match op {
            ReduceOp::Sum => 0,
            ReduceOp::Min => 3,
            ReduceOp::Max => 4,
        };
        // SAFETY: the group and the tensor are alive; the call returns when neither is used any more.
        check("all_reduce", unsafe { raw::c10d_all_reduce(self.0.as_ptr(), tensor(value), op) })
    }

    pub(crate) fn broadcast(&mut self, value: &Tensor, root: u32) -> Result<()> {
        let root = int("root", root)?;
        // SAFETY: as in `all_reduce`.
        check("broadcast", unsafe { raw::c10d_broadcast(self.0.as_ptr(), tensor(value), root) })
    }

    /// `output` is `[world_size, ...]`, `input` `[1, ...]`.
    pub(crate) fn all_gather(&mut self, output: &Tensor, input: &Tensor) -> Result<()> {
        // SAFETY: as in `all_reduce`.
        check("all_gather", unsafe { raw::c10d_all_gather(self.0.as_ptr(), tensor(output), tensor(input)) })
    }

    /// `send` and `receive` have one number of rows for each rank.
    pub(crate) fn all_to_all(&mut self, input: &Tensor, send: &[i64], receive: &[i64]) -> Result<Tensor> {
        let ranks = send.len().min(receive.len());
        let out = Tensor::new();
        // SAFETY: as in `all_reduce`; both lists hold at least `ranks` numbers; C++ assigns to the empty tensor. What it leaves
        // in the graph shares the ownership of what it needs of the group.
        check("all_to_all", unsafe {
            let (send, receive) = (send.as_ptr(), receive.as_ptr());
            raw::c10d_all_to_all(self.0.as_ptr(), tensor(input), send, receive, ranks, tensor(&out))
        })?;
        Ok(out)
    }

    pub(crate) fn barrier(&mut self) -> Result<()> {
        // SAFETY: the group is alive.
        check("barrier", unsafe { raw::c10d_barrier(self.0.as_ptr()) })
    }

    pub(crate) fn abort_handle(&self) -> Result<AbortHandle> {
        // SAFETY: the group is alive; C++ only copies pointers out of it.
        made("abort_handle", |out| unsafe { raw::c10d_abort_handle(self.0.as_ptr(), out) }).map(AbortHandle)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: freed once; works and reducers share the ownership of what they use.
        unsafe { raw::c10d_group_free(self.0.as_ptr()) }
    }
}

/// `tandem::AbortHandle`.
#[derive(Debug)]
pub(crate) struct AbortHandle(NonNull<raw::Abort>);

// SAFETY: it shares a structure made for several threads (csrc/group.h), and the backends' `abort` may be called while
// another thread uses the group.
unsafe impl Send for AbortHandle {}
// SAFETY: as above.
unsafe impl Sync for AbortHandle {}

impl AbortHandle {
    pub(crate) fn abort(&self) -> Result<()> {
        // SAFETY: the handle is alive.
        check("abort", unsafe { raw::c10d_abort(self.0.as_ptr()) })
    }
}

impl Drop for AbortHandle {
    fn drop(&mut self) {
        // SAFETY: freed once.
        unsafe { raw::c10d_abort_free(self.0.as_ptr()) }
    }
}

/// `tandem::ReducerHandle`.
#[derive(Debug)]
pub(crate) struct Reducer(NonNull<raw::Reducer>);

// SAFETY: a reducer may be used from any thread, by one at a time; it is not `Sync`.
unsafe impl Send for Reducer {}

impl Reducer {
    pub(crate) fn new(group: &Group, parameters: &[Tensor], bucket_bytes: usize) -> Result<Self> {
        let bytes = i64::try_from(bucket_bytes).unwrap_or(i64::MAX);
        let list = pointers(parameters);
        // SAFETY: all pointers are alive during the call; C++ shares the ownership of the group and the tensors. The
        // group is used by this thread alone: it is borrowed, and not `Sync`.
        made("making a reducer", |out| unsafe {
            raw::c10d_reducer_new(group.0.as_ptr(), list.as_ptr(), list.len(), bytes, out)
        })
        .map(Self)
    }

    pub(crate) fn prepare(&mut self) -> Result<()> {
        // SAFETY: the reducer is alive.
        check("preparing the reducer", unsafe { raw::c10d_reducer_prepare(self.0.as_ptr()) })
    }

    pub(crate) fn backward(&mut self, loss: &Tensor) -> Result<()> {
        // SAFETY: the reducer and the tensor are alive.
        check("backward", unsafe { raw::c10d_reducer_backward(self.0.as_ptr(), tensor(loss)) })
    }

    pub(crate) fn bucket_count(&self) -> Result<usize> {
        let mut count = 0;
        // SAFETY: the reducer is alive, and so is the number.
        check("counting buckets", unsafe { raw::c10d_reducer_bucket_count(self.0.as_ptr(), &mut count) })?;
        Ok(count)
    }
}

impl Drop for Reducer {
    fn drop(&mut self) {
        // SAFETY: freed once; its hooks are taken off the parameters first. There is nobody to tell about an error.
        unsafe { raw::c10d_reducer_free(self.0.as_ptr()) };
    }
}
