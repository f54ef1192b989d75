//! PyTorch's profiler.

use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use super::{check, made, raw};
use crate::{Error, Result};

/// Records what this thread does from here on.
pub(crate) fn profile_start(cuda: bool) -> Result<()> {
    // SAFETY: no pointers.
    check("starting the profiler", unsafe { raw::c10d_profile_start(c_int::from(cuda)) })
}

/// Ends it, and writes nothing.
pub(crate) fn profile_forget() -> Result<()> {
    // SAFETY: no path is one of the two that C++ takes.
    check("ending the profiler", unsafe { raw::c10d_profile_stop(std::ptr::null()) })
}

/// Ends it, and writes the file.
pub(crate) fn profile_stop(path: &Path) -> Result<()> {
    let shown = path.display();
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::shape(format!("the path {shown} holds a zero byte")))?;
    // SAFETY: the string outlives the call.
    check("ending the profiler", unsafe { raw::c10d_profile_stop(path.as_ptr()) })
}

/// `tandem::Span`.
#[derive(Debug)]
pub(crate) struct Span(NonNull<raw::Span>);

impl Span {
    pub(crate) fn open(name: &CStr) -> Result<Self> {
        // SAFETY: C++ copies the name.
        made("a span", |out| unsafe { raw::c10d_span_open(name.as_ptr(), out) }).map(Self)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // SAFETY: freed once, and on the thread that made it: it is not `Send`.
        unsafe { raw::c10d_span_close(self.0.as_ptr()) }
    }
}
