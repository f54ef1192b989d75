//! The verbs of `tandem`, one per file.

mod config;

use crate::{Result, args::Verb};

/// Does what was asked for.
///
/// # Errors
/// Those of the verb.
pub fn act(verb: Verb) -> Result<()> {
    match verb {
        Verb::Config(layers) => config::print(&layers, &mut std::io::stdout()),
    }
}
