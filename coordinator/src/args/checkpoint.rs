//! What is typed after `tandem checkpoint`.

use super::operate::Ask;
use clap::Subcommand;

/// What `tandem checkpoint` can do. All but `now` work on a run's output, whether it is running or not.
#[derive(Debug, Subcommand)]
pub enum Checkpoint {
    /// Asks a running run for a checkpoint at its next step, and waits until it is committed
    #[command(after_help = "Example:\n  tandem checkpoint now --run runs/first")]
    Now(Now),
    /// Lists the checkpoints of a run: step, generation, age, size, parts, and what is damaged or not committed
    #[command(
        after_help = "Examples:\n  tandem checkpoint list --run runs/first\n  tandem checkpoint list --run s3://bucket/first --json"
    )]
    List(List),
    /// Shows a checkpoint: its files, its counters, and which knobs are not at their defaults
    #[command(
        after_help = "Examples:\n  tandem checkpoint show --run runs/first\n  tandem checkpoint show --run runs/first --step 2000 --json"
    )]
    Show(Show),
    /// Reads every byte of a checkpoint and its segment of the ledger; exits with 65 and names what is not as committed
    #[command(
        after_help = "The whole ledger is proven by `tandem data verify-ledger`.\n\nExamples:\n  tandem checkpoint verify --run runs/first\n  tandem checkpoint verify --run s3://bucket/first --all"
    )]
    Verify(Verify),
    /// Makes an older checkpoint the newest by removing those after it: the run goes on from there
    #[command(
        after_help = "Steps after it are done again, with the same pairs. A run that has not ended is refused: stop it first.\n\nExamples:\n  tandem checkpoint rewind --run runs/first --to 2000 --dry-run\n  tandem checkpoint rewind --run s3://bucket/first --to 2000"
    )]
    Rewind(Rewind),
    /// Removes old checkpoints and what was never committed; never the newest, and never the ledger
    #[command(
        after_help = "A running run prunes by itself, as checkpoint.keep and checkpoint.keep_hours say.\n\nExamples:\n  tandem checkpoint prune --run runs/first --keep 2 --dry-run\n  tandem checkpoint prune --run s3://bucket/first --keep 5 --older-than 48"
    )]
    Prune(Prune),
}

/// Arguments of `tandem checkpoint now`.
#[derive(Debug, clap::Args)]
pub struct Now {
    /// How it is asked
    #[command(flatten)]
    pub ask: Ask,
}

/// Arguments of `tandem checkpoint list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// The run's output: a folder or a URL
    #[arg(long, value_name = "LOCATION")]
    pub run: String,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tandem checkpoint show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The run's output: a folder or a URL
    #[arg(long, value_name = "LOCATION")]
    pub run: String,
    /// The checkpoint of this step; without it, the newest
    #[arg(long, value_name = "STEP")]
    pub step: Option<u64>,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tandem checkpoint verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The run's output: a folder or a URL
    #[arg(long, value_name = "LOCATION")]
    pub run: String,
    /// The checkpoint of this step; without it, the newest
    #[arg(long, value_name = "STEP")]
    pub step: Option<u64>,
    /// Every committed checkpoint
    #[arg(long, conflicts_with = "step")]
    pub all: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tandem checkpoint rewind`.
#[derive(Debug, clap::Args)]
pub struct Rewind {
    /// The run's output: a folder or a URL
    #[arg(long, value_name = "LOCATION")]
    pub run: String,
    /// The step whose checkpoint is to be the newest
    #[arg(long, value_name = "STEP")]
    pub to: u64,
    /// Although the run has not ended, as after the loss of all its processes: none of them may be left
    #[arg(long)]
    pub force: bool,
    /// Only says what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tandem checkpoint prune`.
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// The run's output: a folder or a URL
    #[arg(long, value_name = "LOCATION")]
    pub run: String,
    /// How many of the newest committed checkpoints stay; at least 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// Of the others, those stay that are not older than so many hours
    #[arg(long, value_name = "HOURS", default_value_t = 0.0)]
    pub older_than: f64,
    /// Only says what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}
