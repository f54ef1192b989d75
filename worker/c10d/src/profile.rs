//! Traces of what a thread does, as PyTorch's profiler records it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::Device;

use crate::{Error, Kind, Result, ffi};

/// The profiler has one state for all threads.
static RUNNING: AtomicBool = AtomicBool::new(false);

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
    /// Another one that lives in this process.
    pub fn start(device: Device) -> Result<Self> {
        if RUNNING.swap(true, Ordering::AcqRel) {
            return Err(Error::new(Kind::Other, "another profile is being recorded"));
        }
        // From here on the drop ends it.
        let profile = Self { ended: false, not_send: PhantomData };
        ffi::profile_start(device.is_cuda())?;
        Ok(profile)
    }

    /// Ends, and writes a file, in the place of any that is there, that chrome://tracing and Perfetto read: JSON, with times in microseconds.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn write(mut self, path: &Path) -> Result<()> {
        self.ended = true;
        ffi::profile_stop(path)?;
        // The profiler itself says nothing of a full disk.
        match is_whole(path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(Kind::Other, format!("the trace in {} is cut off", path.display()))),
            Err(error) => Err(Error::new(Kind::Other, format!("no trace in {}: {error}", path.display()))),
        }
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if !self.ended {
            // There is nobody left to tell.
            let _ = ffi::profile_forget();
        }
        RUNNING.store(false, Ordering::Release);
    }
}

/// Whether the file ends like JSON.
fn is_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut end = [0; 64];
    let length = file.metadata()?.len().min(end.len() as u64) as usize;
    file.seek(SeekFrom::End(-(length as i64)))?;
    file.read_exact(&mut end[..length])?;
    Ok(end[..length].trim_ascii_end().ends_with(b"}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};
    use tch::Tensor;

    /// One at a time.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn a_trace_names_spans_and_the_operations_in_them() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = std::env::temp_dir().join(format!("c10d-profile-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let trace = |name: &str, work: &dyn Fn()| {
            let profile = Profile::start(Device::Cpu).unwrap();
            work();
            profile.write(&folder.join(name)).unwrap();
            std::fs::read_to_string(folder.join(name)).unwrap()
        };
        let matrix = Tensor::ones([4, 4], tch::kind::FLOAT_CPU).set_requires_grad(true);
        let first = trace("first.json", &|| {
            let _span = Span::open(c"encode").unwrap();
            matrix.matmul(&matrix).sum(tch::Kind::Float).backward();
        });
        for name in ["\"encode\"", "\"user_annotation\"", "\"aten::mm\"", "MmBackward0"] {
            assert!(first.contains(name), "{name} is not in {first}");
        }
        // The next one begins anew.
        let second = trace("second.json", &|| drop(&matrix + 1.0));
        assert!(second.contains("\"aten::add\"") && !second.contains("encode"), "{second}");
        let running = Profile::start(Device::Cpu).unwrap();
        assert!(Profile::start(Device::Cpu).unwrap_err().to_string().contains("another profile"));
        drop(running);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_can_not_be_written_is_an_error() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || Profile::start(Device::Cpu).unwrap();
        // A folder can't be replaced by a file.
        let taken = std::env::temp_dir().join(format!("c10d-profile-taken-{}", std::process::id()));
        std::fs::create_dir_all(taken.join("in")).unwrap();
        let error = start().write(&taken).unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        std::fs::remove_dir_all(&taken).unwrap();
        let error = start().write(Path::new("/no/such/folder/trace.json")).unwrap_err();
        assert!(error.to_string().contains("no trace in /no/such"), "{error}");
    }
}
