//! A Rust store as a `c10d::Store`: the callbacks that C++ calls.

use std::any::Any;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::{made, milliseconds, raw};
use crate::{Result, StoreError};

/// What C++ holds: a shared store.
type Context = Arc<dyn crate::Store>;

/// `tandem::StoreHandle`.
#[derive(Debug)]
pub(crate) struct Store(NonNull<raw::Store>);

impl Store {
    /// `timeout` bounds the waits that libtorch gives no bound of its own.
    pub(crate) fn new(store: Context, timeout: Duration) -> Result<Self> {
        let calls = raw::StoreCalls {
            context: Box::into_raw(Box::new(store)).cast(),
            drop,
            set,
            get,
            add,
            compare_set,
            check,
            remove,
            wait,
        };
        // SAFETY: C++ takes over `context` and gives it to `drop` at most once.
        made("making a store", |out| unsafe { raw::c10d_store_new(calls, milliseconds(timeout), out) })
            .map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut raw::Store {
        self.0.as_ptr()
    }

    /// The `c10::intrusive_ptr<c10d::Store>*` for other libraries, valid as long as `self`.
    pub(super) fn shared_pointer(&self) -> *mut c_void {
        // SAFETY: the handle is alive.
        unsafe { raw::c10d_store_pointer(self.0.as_ptr()) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: freed once; groups share the ownership of the store inside.
        unsafe { raw::c10d_store_free(self.0.as_ptr()) }
    }
}

/// Runs one call of the store and tells C++ its outcome: 0, or 1 with the text of the error in the sink.
///
/// # Safety
/// `context` and `sink` are those that C++ passed to the callback.
unsafe fn answer(
    context: *mut c_void,
    sink: *mut c_void,
    call: impl FnOnce(&dyn crate::Store) -> Result<Option<Vec<u8>>, StoreError>,
) -> c_int {
    // SAFETY: made by `Store::new`, alive until `drop`, and `Sync`.
    let store = unsafe { &*context.cast::<Context>() };
    // A broken store is only ever asked again; it must keep its own promises after a panic, as any `Sync` value.
    let outcome = catch_unwind(AssertUnwindSafe(|| call(store.as_ref())))
        .unwrap_or_else(|panic| Err(StoreError(format!("it panicked: {}", panic_text(&*panic)))));
    let (status, bytes) = match outcome {
        Ok(bytes) => (0, bytes),
        Err(StoreError(text)) => (1, Some(text.into_bytes())),
    };
    if let Some(bytes) = bytes {
        // SAFETY: the sink is alive during the callback and copies the bytes.
        unsafe { raw::c10d_sink_write(sink, bytes.as_ptr(), bytes.len()) };
    }
    status
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// # Safety
/// `key` is a C string that lives as long as the callback.
unsafe fn text<'a>(key: *const c_char) -> Result<&'a str, StoreError> {
    // SAFETY: by the contract.
    let key = unsafe { CStr::from_ptr(key) };
    key.to_str().map_err(|_| StoreError(format!("the key {key:?} is not UTF-8")))
}

/// # Safety
/// `keys` are `count` C strings that live as long as the callback.
unsafe fn texts<'a>(keys: *const *const c_char, count: usize) -> Result<Vec<&'a str>, StoreError> {
    // SAFETY: by the contract; `add` stays within the array.
    (0..count).map(|index| unsafe { text(*keys.add(index)) }).collect()
}

/// # Safety
/// `bytes` are `length` bytes that live as long as the callback; may be null if there are none.
unsafe fn slice<'a>(bytes: *const u8, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: by the contract.
    unsafe { std::slice::from_raw_parts(bytes, length) }
}

fn duration(timeout_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

unsafe extern "C" fn drop(context: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `Store::new`; C++ calls this once, at the end.
    std::mem::drop(unsafe { Box::from_raw(context.cast::<Context>()) });
}

unsafe extern "C" fn set(
    context: *mut c_void,
    key: *const c_char,
    value: *const u8,
    length: usize,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: C++ passes its own pointers, which live as long as the callback.
    unsafe {
        answer(context, sink, |store| {
            store.set(text(key)?, slice(value, length))?;
            Ok(None)
        })
    }
}

unsafe extern "C" fn get(
    context: *mut c_void,
    key: *const c_char,
    timeout_ms: i64,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: as in `set`.
    unsafe { answer(context, sink, |store| store.get(text(key)?, duration(timeout_ms)).map(Some)) }
}

unsafe extern "C" fn add(
    context: *mut c_void,
    key: *const c_char,
    delta: i64,
    sum: *mut i64,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: as in `set`.
    unsafe {
        answer(context, sink, |store| {
            *sum = store.add(text(key)?, delta)?;
            Ok(None)
        })
    }
}

unsafe extern "C" fn compare_set(
    context: *mut c_void,
    key: *const c_char,
    expected: *const u8,
    expected_length: usize,
    desired: *const u8,
    desired_length: usize,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: as in `set`.
    unsafe {
        answer(context, sink, |store| {
            let (expected, desired) = (slice(expected, expected_length), slice(desired, desired_length));
            store.compare_set(text(key)?, expected, desired).map(Some)
        })
    }
}

unsafe extern "C" fn check(
    context: *mut c_void,
    keys: *const *const c_char,
    count: usize,
    present: *mut c_int,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: as in `set`.
    unsafe {
        answer(context, sink, |store| {
            *present = c_int::from(store.check(&texts(keys, count)?)?);
            Ok(None)
        })
    }
}

unsafe extern "C" fn remove(
    context: *mut c_void,
    key: *const c_char,
    existed: *mut c_int,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: as in `set`.
    unsafe {
        answer(context, sink, |store| {
            *existed = c_int::from(store.delete(text(key)?)?);
            Ok(None)
        })
    }
}

unsafe extern "C" fn wait(
    context: *mut c_void,
    keys: *const *const c_char,
    count: usize,
    timeout_ms: i64,
    sink: *mut c_void,
) -> c_int {
    // SAFETY: as in `set`.
    unsafe {
        answer(context, sink, |store| {
            store.wait(&texts(keys, count)?, duration(timeout_ms))?;
            Ok(None)
        })
    }
}
