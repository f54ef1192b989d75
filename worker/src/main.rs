//! The `tandem-worker` command: a result becomes an exit code, and nothing else happens here.

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use worker::args::{Args, Verb};
use worker::{eval, export, train};

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let args = Args::parse();
    let done = match (args.verb, args.train) {
        (Some(Verb::Eval(verb)), _) => eval::act(&verb, &mut std::io::stdout()),
        (Some(Verb::Export(arguments)), _) => export::act(&arguments, &mut std::io::stdout()),
        (None, arguments) => train::work(&arguments),
    };
    match done {
        Ok(()) => proto::Exit::Done.into(),
        Err(error) => {
            eprintln!("tandem-worker: {error}");
            error.exit().into()
        }
    }
}
