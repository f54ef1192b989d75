//! The contract between Tandem's processes: the messages of `tandem.v1`, the ids that must not be mixed, the run's
//! configuration with every knob defined once, and the exit codes that launch scripts act on.
//!
//! Invariants of absence: nothing here opens a file, a socket or a tensor.

pub mod checkpoint;
pub mod codec;
pub mod config;
pub mod exit;
pub mod exposition;
pub mod ids;
pub mod settle;

pub use config::RunConfig;
pub use exit::Exit;
pub use ids::{Generation, GlobalStep, LaneId, Rank, RowGroupId, WorldSize};

/// The version of the messages. A worker and a coordinator of different versions refuse each other.
pub const PROTOCOL_VERSION: u32 = 6;

/// The generated messages, clients and servers of `tandem.v1`.
pub mod v1 {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("tandem.v1");
    /// The encoded `FileDescriptorSet`, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tandem.v1.descriptors.bin"));
}
