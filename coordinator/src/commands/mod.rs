//! The verbs of `tandem`, one per file.

mod config;
mod data;

use crate::{Error, Result, args::Verb};

/// Does what was asked for.
///
/// # Errors
/// Those of the verb.
pub fn act(verb: Verb) -> Result<()> {
    match verb {
        Verb::Config(layers) => config::print(&layers, &mut std::io::stdout()),
        Verb::Data(verb) => runtime()?.block_on(data::act(verb, &mut std::io::stdout())),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|e| Error::Server(e.to_string()))
}
