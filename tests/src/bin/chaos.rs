//! Strikes a run of real processes and holds its result against that of an undisturbed one; `scripts/chaos.sh` starts it.

use clap::{Args, Parser, Subcommand};
use e2e::chaos::{Fault, Options, Outcome, Why, chaos, relay, tails};
use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

/// Strikes a run and judges what comes of it.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Chaos {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    trial: Trial,
}

#[derive(Subcommand)]
enum Verb {
    /// Passes bytes on between two addresses; part of a trial with namespaces
    #[command(hide = true)]
    Relay { from: String, to: String },
}

#[derive(Args)]
struct Trial {
    /// Minutes during which faults strike
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Most faults
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    strikes: usize,
    /// The plan is a function of it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Workers that the run wants; there is a spare, and at times one more
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Only these faults: kill-worker, kill-coordinator, kill-both, kill-workers, kill-all, stop-briefly, stop-long, stop-coordinator, drain, join, and with root cut-coordinator, cut-peers, cut-all, delay, disk-full, disk-stalls
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Vec<Fault>,
    /// Keeps the folder of the run also when everything holds
    #[arg(long)]
    keep: bool,
    /// Writes the report there as JSON, too
    #[arg(long)]
    json: Option<PathBuf>,
}

fn fault(name: &str) -> Result<Fault, String> {
    let named = Fault::ALL.into_iter().find(|fault| fault.name() == name);
    named.ok_or_else(|| format!("no such fault; there are {}", Fault::ALL.map(Fault::name).join(", ")))
}

fn main() -> ExitCode {
    let chaos = Chaos::parse();
    let done = match chaos.verb {
        Some(Verb::Relay { from, to }) => {
            relay(&from, &to).map(|()| true).map_err(|error| Why::new("relaying", &error))
        }
        None => undergo(chaos.trial),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("chaos: {why}");
            ExitCode::FAILURE
        }
    }
}

fn undergo(trial: Trial) -> Outcome<bool> {
    let relay = std::env::current_exe().map_err(|error| Why::new("finding this program", &error))?;
    let options = Options {
        seed: trial.seed,
        time: Duration::from_secs_f64(trial.minutes * 60.0),
        strikes: trial.strikes,
        workers: trial.workers,
        faults: if trial.faults.is_empty() { Fault::ALL.to_vec() } else { trial.faults },
        relay,
        keep: trial.keep,
    };
    let report = chaos(&options)?;
    println!("{}", report.text());
    if let Some(path) = trial.json {
        fs::write(&path, format!("{:#}\n", report.json()))
            .map_err(|error| Why::new("writing the report", &error))?;
    }
    if !report.holds() {
        eprintln!("{}", tails(&report.folder, 20));
    }
    Ok(report.holds())
}
