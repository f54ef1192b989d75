//! What is typed to steer a running run.

use clap::Subcommand;
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
