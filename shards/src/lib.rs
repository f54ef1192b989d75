//! The dataset as data: what is where, which pair stands in which slot, and from stored bytes to pixels and tokens.
//!
//! Invariants of absence: no tensor library, no rpc.

mod cache;
mod columns;
pub mod committed;
pub mod error;
pub mod filter;
pub mod identity;
pub mod import;
pub mod inspect;
pub mod keyed;
pub mod ledger;
pub mod loader;
pub mod manifest;
pub mod object;
pub mod order;
pub mod picture;
pub mod reader;
pub mod scan;
pub mod store;
pub mod synth;
pub mod text;
pub mod verify;
pub mod write;

pub use error::{Error, Result};
pub use imaging as image;
