//! Libraries that are loaded at run time, and the NCCL backend inside one (csrc/nccl.cpp).

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use super::{Store, int, milliseconds};
use crate::{Error, GroupSpec, Kind, Result};

/// A loaded library. It stays for the rest of the process: libtorch's libraries cannot be unloaded.
#[derive(Debug)]
pub(crate) struct Library(NonNull<c_void>);

impl Library {
    /// Loads the library for the symbols asked of it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        Self::open_with(path, libc::RTLD_NOW | libc::RTLD_LOCAL)
    }

    /// Loads the library so that those loaded later find its symbols.
    pub(crate) fn open_global(path: &Path) -> Result<Self, String> {
        Self::open_with(path, libc::RTLD_NOW | libc::RTLD_GLOBAL)
    }

    fn open_with(path: &Path, flags: c_int) -> Result<Self, String> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // SAFETY: runs the initialisers of libtorch's own libraries, which have no demands of their own.
        NonNull::new(unsafe { libc::dlopen(path.as_ptr(), flags) }).map(Self).ok_or_else(|| {
            // SAFETY: after a failure, a C string that lives until this thread's next call of the loader.
            unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned()
        })
    }

    /// The address of a function; its name if there is none.
    fn symbol(&self, name: &CStr) -> Result<NonNull<c_void>, String> {
        // SAFETY: the library is loaded.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
            .ok_or_else(|| name.to_string_lossy().into_owned())
    }
}

/// The folder that this process's `libtorch_cpu.so` was loaded from. Does not call into libtorch.
pub(crate) fn libtorch_folder() -> Option<PathBuf> {
    // SAFETY: with no flags to load anything; null if it is not there.
    let library = NonNull::new(unsafe {
        libc::dlopen(c"libtorch_cpu.so".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD)
    })?;
    let symbol = Library(library).symbol(c"_ZN2at15get_num_threadsEv").ok()?;
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: `dladdr` only looks the address up.
    if unsafe { libc::dladdr(symbol.as_ptr(), info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: filled in, as the result is not 0; the name lives as long as the library.
    let name = unsafe { CStr::from_ptr(info.assume_init().dli_fname) };
    Path::new(OsStr::from_bytes(name.to_bytes())).parent().map(Path::to_owned)
}

/// The functions of libtandem_nccl.so.
#[derive(Debug)]
pub(crate) struct Nccl {
    last_error: unsafe extern "C" fn() -> *const c_char,
    device_count: unsafe extern "C" fn(*mut c_int) -> c_int,
    backend_new: unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, i64, *mut *mut c_void) -> c_int,
}

impl Nccl {
    /// The functions of `library`; the name of the first that is missing.
    pub(crate) fn new(library: Library) -> Result<Self, String> {
        let last_error = library.symbol(c"tandem_nccl_last_error")?;
        let device_count = library.symbol(c"tandem_nccl_device_count")?;
        let backend_new = library.symbol(c"tandem_nccl_backend_new")?;
        // SAFETY: csrc/nccl.cpp defines the three with these types, and the library is never unloaded.
        unsafe {
            Ok(Self {
                last_error: std::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn() -> *const c_char>(
                    last_error,
                ),
                device_count: std::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut c_int) -> c_int>(
                    device_count,
                ),
                backend_new: std::mem::transmute::<
                    NonNull<c_void>,
                    unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, i64, *mut *mut c_void) -> c_int,
                >(backend_new),
            })
        }
    }

    /// The number of CUDA devices, or CUDA's words about why there is none.
    pub(crate) fn device_count(&self) -> Result<c_int, String> {
        let mut count = 0;
        // SAFETY: the number is alive.
        match unsafe { (self.device_count)(&mut count) } {
            0 if count > 0 => Ok(count),
            0 => Err("the driver sees no GPU".to_owned()),
            _ => Err(self.error_text()),
        }
    }

    /// NCCL's end of a group on the CUDA device `index`.
    pub(crate) fn backend(&self, store: &Store, spec: &GroupSpec, index: usize) -> Result<Backend> {
        let (rank, world_size) = (int("rank", spec.rank)?, int("world size", spec.world_size)?);
        let device = int("cuda device", index)?;
        let mut out = std::ptr::null_mut();
        // SAFETY: the store is alive and C++ shares its ownership; `out` is alive.
        let status = unsafe {
            let store = store.shared_pointer();
            (self.backend_new)(store, rank, world_size, device, milliseconds(spec.timeout), &mut out)
        };
        match NonNull::new(out) {
            Some(backend) if status == 0 => Ok(Backend(backend)),
            _ => Err(Error::new(Kind::Cuda, format!("making NCCL's backend: {}", self.error_text()))),
        }
    }

    fn error_text(&self) -> String {
        // SAFETY: a C string that lives until this thread's next failure.
        unsafe { CStr::from_ptr((self.last_error)()) }.to_string_lossy().into_owned()
    }
}

/// An owned `c10::intrusive_ptr<c10d::Backend>*`, on its way into a group.
#[derive(Debug)]
pub(crate) struct Backend(NonNull<c_void>);

impl Backend {
    pub(super) fn into_raw(self) -> *mut c_void {
        self.0.as_ptr()
    }
}
