//! The `tandem` command: a result becomes an exit code, and nothing else happens here.

use clap::Parser;
use coordinator::{args::Args, commands};
use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::act(Args::parse().verb) {
        Ok(()) => proto::Exit::Done.into(),
        Err(error) => {
            eprintln!("tandem: {error}");
            error.exit().into()
        }
    }
}
