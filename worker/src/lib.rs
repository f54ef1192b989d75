//! Training: networks, objectives, the step and the loop around it.
//!
//! `step.rs` is the paper's pseudocode and `train.rs` the loop; one OS thread owns every tensor and the process group.

pub mod args;
pub mod batch;
pub mod checkpoint;
pub mod device;
pub mod error;
pub mod eval;
pub mod exchange;
pub mod export;
pub mod fingerprint;
mod ledger;
pub mod masking;
pub mod models;
pub mod objective;
pub mod optimizer;
mod prepare;
pub mod pretrained;
pub mod pth;
pub mod queue;
pub mod report;
pub mod schedule;
pub mod session;
pub mod state;
pub mod step;
pub mod store;
pub mod train;
pub mod vote;
pub mod weights;

#[cfg(test)]
mod alone;
#[cfg(test)]
mod toy;

pub use error::{Error, Result};
