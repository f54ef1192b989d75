//! What is typed to steer a running run.

use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;

/// What can be asked of a running coordinator.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Shows how a run is going, why it waits when it waits, and every worker
    #[command(
        after_help = "Examples:\n  tandem status --run runs/first\n  tandem status --coordinator http://127.0.0.1:7070 --json"
    )]
    Status(Look),
    /// Prints the run's state as it changes, until it is over; exits with the run's own exit code
    Watch(Look),
    /// Lists the workers: who they are, what they do, and when they were heard
    Workers(Look),
    /// Lists what was decided, when, and who asked for it: the run's journal
    #[command(
        after_help = "With --run it is read from the run's output, also when nothing runs any more.\n\nExamples:\n  tandem events --run runs/first\n  tandem events --run s3://bucket/first --json\n  tandem events --coordinator http://127.0.0.1:7070 --follow"
    )]
    Events(Events),
    /// Prints the newest lines of a worker's log, wherever it runs
    #[command(
        after_help = "WORKER is a name or a rank, as `tandem workers` shows them. A worker keeps its newest 1000 lines in memory, and sends them while somebody reads them.\n\nExamples:\n  tandem logs --run runs/first 3\n  tandem logs --run runs/first 3 --follow\n  tandem set --run runs/first log debug   # more of them"
    )]
    Logs(Logs),
    /// Lists the rows of the dataset that could not be used, why, and which row stood in for each
    Quarantine(Look),
    /// Holds a run at its next step boundary: the workers stay, and keep its state in memory
    #[command(
        after_help = "Whatever is lost while it is paused is lost as at any other time: ask for a checkpoint first where that is too much.\n\nExamples:\n  tandem checkpoint now --run runs/first && tandem pause --run runs/first\n  tandem resume --run runs/first"
    )]
    Pause(Ask),
    /// Goes on with a run that was paused
    Resume(Ask),
    /// Leaves a worker out from the next step boundary on, and sends it away
    #[command(
        after_help = "WORKER is a name or a rank, as `tandem workers` shows them. The worker exits with 75; what starts workers should not start this one again.\n\nExample:\n  tandem drain --run runs/first 3"
    )]
    Drain(OneWorker),
    /// Sends a worker away at once, in the middle of its step: for one that hangs
    #[command(
        after_help = "WORKER is a name or a rank, as `tandem workers` shows them. The others do the step again without it.\n\nExample:\n  tandem kick --run runs/first 1-3"
    )]
    Kick(OneWorker),
    /// Changes how many workers take part, until the run ends or is started with another configuration
    #[command(after_help = "Example:\n  tandem scale --run runs/first --workers 8 --min 6 --max 16")]
    Scale(Scale),
    /// Turns a knob of a run that goes on; the journal has who turned it
    #[command(
        after_help = "Knobs:\n  learning_rate_scale  0 to 100: the learning rate is the schedule's times this, on all ranks from the same step on\n  checkpoint_every     steps between checkpoints; 0: none but the last\n  log                  what coordinator and workers log, as RUST_LOG says it; '' as they were started\n\nThey hold until they are turned again, also after a restart, as long as the run file is the same. `tandem status` shows them.\n\nExamples:\n  tandem set --run runs/first learning_rate_scale 0.5\n  tandem set --run runs/first log info,worker=debug"
    )]
    Set(Set),
    /// Traces the next steps on every worker, for Perfetto: operations, phases, and on GPUs kernels
    #[command(
        after_help = "Each worker writes profiles/step-N/gG-rank-R.json.gz in the run's output, of the same steps. Profiled steps are slower.\n\nExample:\n  tandem profile --run runs/first --steps 3"
    )]
    Profile(Profile),
    /// Goes back to an older checkpoint without stopping; later ones are removed
    #[command(
        after_help = "The generation ends at its next step boundary, and the next one begins with that checkpoint. What was learned since is lost; the order of the data is as it was from that step on.\n\nExample:\n  tandem checkpoint list --run runs/first && tandem rollback --run runs/first 2000"
    )]
    Rollback(Rollback),
    /// Ends a run at its next step, with a checkpoint
    Stop(Stop),
}

/// A running coordinator, and how it is talked to.
#[derive(Clone, Debug, clap::Args)]
pub struct Running {
    /// Which one
    #[command(flatten)]
    pub place: Place,
    /// Who asks
    #[command(flatten)]
    pub access: super::Access,
}

/// A running coordinator.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// Its URL
    #[arg(long, value_name = "URL", env = "TANDEM_COORDINATOR")]
    pub coordinator: Option<String>,
    /// The folder of a run on this machine
    #[arg(long, value_name = "FOLDER")]
    pub run: Option<PathBuf>,
}

/// Arguments of the verbs that change nothing.
#[derive(Debug, clap::Args)]
pub struct Look {
    /// The run
    #[command(flatten)]
    pub target: Running,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tandem events`.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// The run; any location of a run's output will do
    #[command(flatten)]
    pub target: Running,
    /// Only those after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub after: u64,
    /// Goes on as they come, until the run is over
    #[arg(long, short)]
    pub follow: bool,
    /// Prints JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of the verbs that change something.
#[derive(Debug, clap::Args)]
pub struct Ask {
    /// The run
    #[command(flatten)]
    pub target: Running,
    /// Refused unless this is the run's generation, as status shows it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub generation: u64,
    /// Returns as soon as the run has heard it, and not when it is done
    #[arg(long)]
    pub no_wait: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tandem drain` and `tandem kick`.
#[derive(Debug, clap::Args)]
pub struct OneWorker {
    /// Its name or its rank
    pub worker: String,
    /// How it is asked
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `tandem scale`.
#[derive(Debug, clap::Args)]
pub struct Scale {
    /// Workers that the run should have: it waits for them a while before it goes on with fewer
    #[arg(long, value_name = "N", required_unless_present_any = ["min", "max"])]
    pub workers: Option<u32>,
    /// Fewest with which it goes on
    #[arg(long, value_name = "N")]
    pub min: Option<u32>,
    /// Most that take part
    #[arg(long, value_name = "N")]
    pub max: Option<u32>,
    /// How it is asked
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `tandem stop`.
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// Loses what was done since the newest checkpoint
    #[arg(long)]
    pub no_checkpoint: bool,
    /// How it is asked
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `tandem logs`.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Its name or its rank
    pub worker: String,
    /// The run
    #[command(flatten)]
    pub target: Running,
    /// Goes on as they come, until the worker has left
    #[arg(long, short)]
    pub follow: bool,
    /// Prints JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// A knob that may be turned while a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Knob {
    /// Factor of the learning rate
    LearningRateScale,
    /// Steps between checkpoints
    CheckpointEvery,
    /// What is logged
    Log,
}

/// Arguments of `tandem set`.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// Which one
    #[arg(value_name = "KEY")]
    pub knob: Knob,
    /// What it is set to
    #[arg(allow_hyphen_values = true)]
    pub value: String,
    /// How it is asked
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `tandem profile`.
#[derive(Debug, clap::Args)]
pub struct Profile {
    /// How many steps
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub steps: u32,
    /// How it is asked
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `tandem rollback`.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The step of a committed checkpoint
    pub step: u64,
    /// How it is asked
    #[command(flatten)]
    pub ask: Ask,
}
