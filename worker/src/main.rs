//! The `tandem-worker` command: a result becomes an exit code, and nothing else happens here.

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use telemetry::Traces;
use worker::args::{Args, Verb};
use worker::{eval, export, train};

fn main() -> ExitCode {
    let args = Args::parse();
    let traces = Traces { service: "tandem-worker", url: args.train.traces.as_deref() };
    let _telemetry = match telemetry::start(std::io::stderr, std::io::stderr().is_terminal(), traces) {
        Ok(telemetry) => telemetry,
        Err(wrong) => {
            eprintln!("tandem-worker: {wrong}");
            return proto::Exit::Usage.into();
        }
    };
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
