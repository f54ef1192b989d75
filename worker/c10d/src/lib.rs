//! A safe API over the parts of libtorch that `tch` does not offer: process groups and their rendezvous store, the
//! gradient reducer of DistributedDataParallel, fused kernels over lists of tensors, bf16 autocast, and the profiler.
//!
//! One thread owns a [`Group`] and the tensors; an [`AbortHandle`] may end its collectives from any other thread.
//! `ffi` holds all the unsafe code of the workspace.

mod autocast;
mod error;
mod ffi;
mod group;
mod memory_store;
mod profile;
mod reducer;
mod store;

pub mod cuda;
pub mod optim;

pub use autocast::Autocast;
pub use error::{Error, Kind, Result};
pub use group::{AbortHandle, Group, GroupSpec, ReduceOp};
pub use memory_store::MemoryStore;
pub use profile::{Profile, Span};
pub use reducer::Reducer;
pub use store::{Store, StoreError};
