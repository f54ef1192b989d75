//! Tandem's control plane and the `tandem` command: who takes part, what they are told, what is committed, and the verbs
//! that people type.
//!
//! Invariants of absence: no torch here; images are decoded by `tandem data` only; [`membership`] and [`pace`] know
//! no clock, lock or socket; only [`checkpoints`] writes commit markers.

pub mod args;
pub mod attendance;
pub mod checkpoints;
pub mod commands;
pub mod control;
pub mod crew;
pub mod display;
pub mod error;
pub mod journal;
pub mod membership;
pub mod metrics;
pub mod pace;
pub mod page;
pub mod record;
pub mod rendezvous;
pub mod server;
pub mod service;
pub mod settings;
pub mod start;
pub mod summary;
pub mod supervise;
pub mod workers;

pub use error::{Error, Result};
