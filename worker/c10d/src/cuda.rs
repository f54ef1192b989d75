//! CUDA at run time: one build serves machines with and without it, and its libraries are loaded when a run asks.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{Error, Kind, ffi};

/// What stands between this process and CUDA, and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// A library, or one that it needs, is not there.
    #[error("cannot load {library}: {text}; install the CUDA libraries with `scripts/setup.sh --cuda`")]
    Library {
        /// The library that was asked for.
        library: String,
        /// The loader's words, which name the file that is missing.
        text: String,
    },
    /// The NCCL library was built from other sources than this program.
    #[error("{library} lacks the symbol {symbol}: build it anew with `scripts/setup.sh --cuda`")]
    Symbol {
        /// The library that was loaded.
        library: String,
        /// The function that it should have.
        symbol: String,
    },
    /// The libraries are there, but no usable GPU or driver.
    #[error("no CUDA device: {0}; check the driver with `nvidia-smi`, or set the device to cpu")]
    Device(String),
    /// libtorch was asked about CUDA before its CUDA libraries were loaded, and has settled for none.
    #[error("libtorch was used before cuda::load: call it first in the process")]
    TooLate,
    /// The folder of libtorch is not known.
    #[error("cannot tell where libtorch was loaded from: give its folder")]
    Folder,
}

static NCCL: OnceLock<ffi::Nccl> = OnceLock::new();

/// Loads libtorch's CUDA libraries and the NCCL backend. Must be the first use of libtorch in the process; later calls
/// do nothing more.
///
/// `libtorch_lib` is the folder of `libtorch_cuda.so`; by default the one that this process's `libtorch_cpu.so` is in.
///
/// # Errors
/// [`CudaError`], naming what is missing and how to get it.
pub fn load(libtorch_lib: Option<&Path>) -> Result<(), CudaError> {
    if NCCL.get().is_some() {
        return Ok(());
    }
    let folder = match libtorch_lib {
        Some(folder) => folder.to_owned(),
        None => ffi::libtorch_folder().ok_or(CudaError::Folder)?,
    };
    open(&folder, "libtorch_cuda.so", ffi::Library::open_global)?;
    let nccl = ffi::Nccl::new(open(&folder, "libtandem_nccl.so", ffi::Library::open)?)
        .map_err(|symbol| CudaError::Symbol { library: "libtandem_nccl.so".to_owned(), symbol })?;
    nccl.device_count().map_err(CudaError::Device)?;
    if !tch::Cuda::is_available() {
        return Err(CudaError::TooLate);
    }
    NCCL.get_or_init(|| nccl);
    Ok(())
}

fn open(
    folder: &Path,
    name: &str,
    open: impl FnOnce(&Path) -> Result<ffi::Library, String>,
) -> Result<ffi::Library, CudaError> {
    let library: PathBuf = folder.join(name);
    open(&library).map_err(|text| CudaError::Library { library: library.display().to_string(), text })
}

/// The loaded NCCL backend.
pub(crate) fn nccl() -> Result<&'static ffi::Nccl, Error> {
    NCCL.get().ok_or_else(|| Error::new(Kind::Cuda, "a CUDA group was asked for before cuda::load"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn what_is_missing_is_named_with_the_mend() {
        let error = load(Some(Path::new("/nowhere"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/libtorch_cuda.so"), "{error}");
        assert!(error.contains("scripts/setup.sh --cuda"), "{error}");
    }

    #[test]
    fn the_folder_of_libtorch_is_found() {
        let folder = ffi::libtorch_folder().unwrap();
        assert!(folder.join("libtorch_cpu.so").exists(), "{}", folder.display());
    }

    #[test]
    fn a_cuda_group_needs_cuda_loaded() {
        let spec = crate::GroupSpec {
            rank: 0,
            world_size: 1,
            device: tch::Device::Cuda(0),
            interface: "127.0.0.1".into(),
            meeting: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let error = crate::Group::new(spec, Arc::new(crate::MemoryStore::new())).unwrap_err();
        assert_eq!(error.kind, Kind::Cuda);
    }
}
