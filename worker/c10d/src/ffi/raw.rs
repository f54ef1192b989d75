//! The C interface of csrc/shim.h, in its order.

use std::ffi::{c_char, c_int, c_void};

/// `at::Tensor*`, as tch holds it.
pub(super) type TensorPtr = *mut torch_sys::C_tensor;

macro_rules! opaque {
    ($($name:ident),*) => {$(
        /// Owned by C++.
        #[repr(C)]
        pub(super) struct $name {
            _private: [u8; 0],
        }
    )*};
}
opaque!(Store, Group, Abort, Reducer, Span);

/// `tandem::StoreCalls`.
#[repr(C)]
pub(super) struct StoreCalls {
    pub(super) context: *mut c_void,
    pub(super) drop: unsafe extern "C" fn(*mut c_void),
    pub(super) set: unsafe extern "C" fn(*mut c_void, *const c_char, *const u8, usize, *mut c_void) -> c_int,
    pub(super) get: unsafe extern "C" fn(*mut c_void, *const c_char, i64, *mut c_void) -> c_int,
    pub(super) add: unsafe extern "C" fn(*mut c_void, *const c_char, i64, *mut i64, *mut c_void) -> c_int,
    pub(super) compare_set: unsafe extern "C" fn(
        *mut c_void,
        *const c_char,
        *const u8,
        usize,
        *const u8,
        usize,
        *mut c_void,
    ) -> c_int,
    pub(super) check:
        unsafe extern "C" fn(*mut c_void, *const *const c_char, usize, *mut c_int, *mut c_void) -> c_int,
    pub(super) remove: unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_int, *mut c_void) -> c_int,
    pub(super) wait:
        unsafe extern "C" fn(*mut c_void, *const *const c_char, usize, i64, *mut c_void) -> c_int,
}

unsafe extern "C" {
    pub(super) fn c10d_last_error() -> *const c_char;

    pub(super) fn c10d_sink_write(sink: *mut c_void, bytes: *const u8, length: usize);
    pub(super) fn c10d_store_new(calls: StoreCalls, timeout_ms: i64, out: *mut *mut Store) -> c_int;
    pub(super) fn c10d_store_pointer(store: *mut Store) -> *mut c_void;
    pub(super) fn c10d_store_free(store: *mut Store);

    pub(super) fn c10d_group_gloo(
        store: *mut Store,
        rank: c_int,
        world_size: c_int,
        interface: *const c_char,
        meeting_ms: i64,
        timeout_ms: i64,
        out: *mut *mut Group,
    ) -> c_int;
    pub(super) fn c10d_group_cuda(
        store: *mut Store,
        rank: c_int,
        world_size: c_int,
        timeout_ms: i64,
        backend: *mut c_void,
        out: *mut *mut Group,
    ) -> c_int;
    pub(super) fn c10d_group_free(group: *mut Group);
    pub(super) fn c10d_all_reduce(group: *mut Group, tensor: TensorPtr, op: c_int) -> c_int;
    pub(super) fn c10d_broadcast(group: *mut Group, tensor: TensorPtr, root: c_int) -> c_int;
    pub(super) fn c10d_all_gather(group: *mut Group, output: TensorPtr, input: TensorPtr) -> c_int;
    pub(super) fn c10d_all_to_all(
        group: *mut Group,
        input: TensorPtr,
        send: *const i64,
        receive: *const i64,
        ranks: usize,
        out: TensorPtr,
    ) -> c_int;
    pub(super) fn c10d_barrier(group: *mut Group) -> c_int;
    pub(super) fn c10d_abort_handle(group: *mut Group, out: *mut *mut Abort) -> c_int;
    pub(super) fn c10d_abort(handle: *mut Abort) -> c_int;
    pub(super) fn c10d_abort_free(handle: *mut Abort);

    pub(super) fn c10d_reducer_new(
        group: *mut Group,
        parameters: *const TensorPtr,
        count: usize,
        bucket_bytes: i64,
        out: *mut *mut Reducer,
    ) -> c_int;
    pub(super) fn c10d_reducer_prepare(reducer: *mut Reducer) -> c_int;
    pub(super) fn c10d_reducer_bucket_count(reducer: *mut Reducer, count: *mut usize) -> c_int;
    pub(super) fn c10d_reducer_free(reducer: *mut Reducer) -> c_int;
    pub(super) fn c10d_reducer_backward(reducer: *mut Reducer, loss: TensorPtr) -> c_int;
    pub(super) fn c10d_clear_grads(parameters: *const TensorPtr, count: usize) -> c_int;

    pub(super) fn c10d_fused_adamw(
        parameters: *const TensorPtr,
        grads: *const TensorPtr,
        exp_avgs: *const TensorPtr,
        exp_avg_sqs: *const TensorPtr,
        count: usize,
        step: f64,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
    pub(super) fn c10d_lerp(
        targets: *const TensorPtr,
        sources: *const TensorPtr,
        count: usize,
        weight: f64,
    ) -> c_int;
    pub(super) fn c10d_global_norm(list: *const TensorPtr, count: usize, out: TensorPtr) -> c_int;
    pub(super) fn c10d_scale(list: *const TensorPtr, count: usize, factor: f64) -> c_int;
    pub(super) fn c10d_autocast_enter(
        cuda: c_int,
        was_enabled: *mut c_int,
        previous_type: *mut c_int,
    ) -> c_int;
    pub(super) fn c10d_autocast_leave(cuda: c_int, was_enabled: c_int, previous_type: c_int) -> c_int;
    pub(super) fn c10d_profile_start(cuda: c_int) -> c_int;
    pub(super) fn c10d_profile_stop(path: *const c_char) -> c_int;
    pub(super) fn c10d_span_open(name: *const c_char, out: *mut *mut Span) -> c_int;
    pub(super) fn c10d_span_close(span: *mut Span);
}
