//! The verbs of `tandem`, one per file.

mod certs;
mod checkpoint;
mod config;
mod data;
mod eval;
mod operate;
mod run;

use crate::{
    Error, Result,
    args::{Args, Verb},
};
use clap::CommandFactory;
use std::io::Write;

/// Does what was asked for.
///
/// # Errors
/// Those of the verb.
pub fn act(verb: Verb) -> Result<()> {
    let out = &mut std::io::stdout();
    match verb {
        Verb::Run(arguments) => runtime()?.block_on(run::run(&arguments, out)),
        Verb::Coordinator(arguments) => runtime()?.block_on(run::coordinator(&arguments, out)),
        Verb::Operate(verb) => runtime()?.block_on(operate::act(verb, out)),
        Verb::Certs(verb) => certs::act(&verb, out),
        Verb::Checkpoint(verb) => runtime()?.block_on(checkpoint::act(verb, out)),
        Verb::Eval { arguments } => eval::hand_over("eval", &arguments),
        Verb::Export { arguments } => eval::hand_over("export", &arguments),
        Verb::Config(layers) => config::print(&layers, out),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "tandem", &mut script);
            say(out, &String::from_utf8_lossy(&script))
        }
        Verb::Data(verb) => runtime()?.block_on(data::act(verb, out)),
    }
}

fn say(out: &mut impl Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes()).map_err(|source| Error::Write { path: "standard output".into(), source })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|e| Error::Server(e.to_string()))
}
