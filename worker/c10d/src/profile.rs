//! Traces of what a thread does, as PyTorch's profiler records it.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::path::Path;

use tch::Device;

use crate::{Result, ffi};

/// While it lives, the operations of this thread are recorded; on CUDA the kernels as well. Dropped without
/// [`write`](Self::write), it forgets them.
#[derive(Debug)]
pub struct Profile {
    ended: bool,
    /// The profiler is the thread's.
    not_send: PhantomData<*const ()>,
}

/// A part of a thread's work that a trace shows by name, from here to its drop. Without a [`Profile`] it costs nothing to speak of.
#[derive(Debug)]
pub struct Span(#[expect(dead_code, reason = "it is there for its drop")] ffi::Span);

impl Profile {
    /// Begins to record.
    ///
    /// # Errors
    /// A profiler that is running in this process already.
    pub fn start(device: Device) -> Result<Self> {
        ffi::profile_start(device.is_cuda())?;
        Ok(Self { ended: false, not_send: PhantomData })
    }

    /// Ends, and writes a file that chrome://tracing and Perfetto read: JSON, or the same compressed if `path` ends in .gz.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn write(mut self, path: &Path) -> Result<()> {
        self.ended = true;
        ffi::profile_stop(path)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if !self.ended {
            // There is nobody left to tell.
            let _ = ffi::profile_stop(Path::new("/dev/null"));
        }
    }
}

impl Span {
    /// Begins here.
    ///
    /// # Errors
    /// No memory.
    pub fn open(name: &CStr) -> Result<Self> {
        ffi::Span::open(name).map(Self)
    }
}
