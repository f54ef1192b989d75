//! What is typed after `tandem`.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Pretrains vision–language models on many machines.
#[derive(Debug, Parser)]
#[command(
    name = "tandem",
    version,
    after_help = "Exit codes: 0 done, 2 wrong command line or configuration."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What `tandem` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Prints the resolved configuration of a run, each knob with its documentation
    #[command(
        after_help = "Examples:\n  tandem config --set model.preset=albef-tiny --set data.train=/data/pairs --set text.tokenizer=/data/vocab.txt\n  tandem config --config run.toml --set optimizer.batch=1024 > resolved.toml"
    )]
    Config(Layers),
}

/// Where a configuration comes from, the later winning: defaults, the preset, the run file, `--set`.
#[derive(Debug, clap::Args)]
pub struct Layers {
    /// A run file, TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a knob; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}
