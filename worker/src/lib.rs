//! Training: networks, objectives, the step and the loop around it.
//!
//! `step.rs` is the paper's pseudocode and `train.rs` the loop; one OS thread owns every tensor and the process group.

pub mod args;
pub mod batch;
pub mod checkpoint;
pub mod course;
pub mod device;
pub mod error;
pub mod eval;
pub mod exchange;
pub mod export;
pub mod fingerprint;
pub mod laps;
mod ledger;
pub mod masking;
mod metrics;
pub mod models;
pub mod objective;
pub mod optimizer;
pub mod pretrained;
mod profiling;
pub mod pth;
pub mod queue;
pub mod ranks;
mod report;
pub mod schedule;
mod scrape;
mod seat;
pub mod session;
mod settle;
pub mod state;
pub mod step;
pub mod store;
pub mod train;
pub mod vote;
mod warm;
pub mod weights;

#[cfg(test)]
mod alone;
#[cfg(test)]
mod toy;

pub use error::{Error, Result};
