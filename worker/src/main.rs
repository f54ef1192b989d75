//! The `tandem-worker` command: a result becomes an exit code, and nothing else happens here.

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use worker::args::{Args, Verb};
use worker::{eval, export, train};

fn main() -> ExitCode {
    telemetry::start(std::io::stderr, std::io::stderr().is_terminal());
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
