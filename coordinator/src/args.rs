//! What is typed after `tandem`.

pub mod certs;
pub mod checkpoint;
pub mod operate;

pub use checkpoint::Checkpoint;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Pretrains vision–language models on many machines.
#[derive(Debug, Parser)]
#[command(
    name = "tandem",
    version,
    after_help = "Exit codes: 0 done, 2 wrong command line or configuration, 65 missing or broken data, 69 unavailable, 70 defect, 74 output can't be written, 75 stopped by request after a checkpoint, 76 a worker was lost, 77 another coordinator has taken over (do not start this one again), 78 no such device."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What `tandem` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Trains on this machine: a coordinator and its workers, with one progress display
    #[command(
        after_help = "A worker that is killed is started again, and the others go on meanwhile. Ctrl-C stops with a checkpoint (exit code 75); --resume goes on from it.\n\nExamples:\n  tandem run --config run.toml --workers 2\n  tandem run --config run.toml --workers 2 --resume --set optimizer.steps=20000"
    )]
    Run(Run),
    /// Serves a run whose workers are started elsewhere with `tandem-worker --coordinator URL`
    #[command(
        after_help = "The URL is printed, and written to coordinator.url in the run's folder.\n\nExample:\n  tandem coordinator --config run.toml --set cluster.listen=127.0.0.1:7070"
    )]
    Coordinator(Coordinator),
    /// Makes certificates and tokens
    #[command(subcommand)]
    Certs(certs::Certs),
    /// Steers a running run
    #[command(flatten)]
    Operate(operate::Verb),
    /// Asks a run for a checkpoint; lists, shows, verifies and removes those that are there
    #[command(subcommand)]
    Checkpoint(Checkpoint),
    /// Measures what a checkpoint has learned; see `tandem eval retrieval --help`
    #[command(disable_help_flag = true)]
    Eval {
        /// What `tandem-worker eval` takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Writes a checkpoint's weights for other tools: ALBEF's .pth, safetensors, Hugging Face; see `tandem export --help`
    #[command(disable_help_flag = true)]
    Export {
        /// What `tandem-worker export` takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Prints the resolved configuration of a run, each knob with its documentation
    #[command(
        after_help = "Examples:\n  tandem config --set model.preset=albef-tiny --set data.train=/data/pairs --set text.tokenizer=/data/vocab.txt\n  tandem config --config run.toml --set optimizer.batch=1024 > resolved.toml"
    )]
    Config(Layers),
    /// Prints a script that completes this command in a shell
    #[command(after_help = "Example, for bash:\n  source <(tandem completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Makes, indexes, shows and checks datasets
    #[command(subcommand)]
    Data(Data),
}

/// What `tandem data` can do. Locations are paths or URLs (file, s3, gs, az, http).
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Turns a folder of images and a captions file into parquet, in img2dataset's schema
    #[command(
        after_help = "The captions file is TSV, `file<TAB>caption`, or JSONL (*.jsonl), {\"file\": …, \"caption\": …}; files are relative to --images.\n\nExample:\n  tandem data import --images photos --captions photos/captions.tsv --out data/train"
    )]
    Import(Import),
    /// Draws image–text pairs, such as \"a small red circle left of a large blue square\"
    Synth(Synth),
    /// Reads the footers of a dataset's files into an index, which later starts read instead
    #[command(
        after_help = "Call it again when it was broken off or files have changed: only what is new is read.\n\nExamples:\n  tandem data index s3://bucket/pairs --set 'data.filter=[\"similarity >= 0.3\"]'\n  tandem data index https://host/0.parquet https://host/1.parquet --out pairs.index   # then data.index=pairs.index"
    )]
    Index(Index),
    /// Shows which rank reads which row in a step
    #[command(
        after_help = "Seed, lanes, window and batch are those of the run: give them with --set.\n\nExample:\n  tandem data order --manifest runs/demo/dataset.index --step 1000 --world 4 --set run.seed=1 --set optimizer.batch=128"
    )]
    Order(Order),
    /// Shows schema, row groups and some captions, and draws a contact sheet
    Inspect(Inspect),
    /// Decodes every row and lists what can't be used; exits with 65 if there is any
    Verify(Source),
    /// Proves from a run's ledger that each epoch saw each row once, or names the rows; exits with 65 if there is any
    #[command(
        after_help = "Reads the run's newest committed checkpoint, its dataset.index, and its ledger; no data.\n\nExample:\n  tandem data verify-ledger --run runs/first"
    )]
    VerifyLedger(VerifyLedger),
    /// Trains a WordPiece vocabulary on a dataset's captions
    Tokenizer(Vocabulary),
}

/// Arguments of `tandem data import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// Folder of the images: JPEG, PNG or WebP
    #[arg(long, value_name = "FOLDER")]
    pub images: PathBuf,
    /// The captions file
    #[arg(long, value_name = "FILE")]
    pub captions: PathBuf,
    /// Where the dataset goes
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `tandem data synth`.
#[derive(Debug, clap::Args)]
pub struct Synth {
    /// How many pairs
    #[arg(long, value_name = "N")]
    pub pairs: u64,
    /// Side of the square images, in pixels, 16 to 1024
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=1024))]
    pub size: u32,
    /// JPEG quality, 1 to 100
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,
    /// Other seeds give other pairs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the dataset goes
    #[command(flatten)]
    pub target: Target,
}

/// Where a dataset is written, and how it is cut.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// Where the dataset goes: an empty or new folder
    #[arg(long, value_name = "LOCATION")]
    pub out: String,
    /// Rows of a row group, the unit of fetching and shuffling
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub group_rows: u32,
    /// Row groups of a file
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub file_groups: u32,
}

/// A dataset that is read.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// The dataset
    pub location: String,
    /// Overrides a knob, such as data.caption_column; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Arguments of `tandem data index`.
#[derive(Debug, clap::Args)]
pub struct Index {
    /// Folders, files, globs or URLs of the dataset
    #[arg(required = true)]
    pub locations: Vec<String>,
    /// Overrides a knob, such as data.filter; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Where the index goes; without it, into the folder that is indexed
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,
}

/// Arguments of `tandem data order`.
#[derive(Debug, clap::Args)]
pub struct Order {
    /// A dataset, or the index of one (*.index)
    #[arg(long, value_name = "LOCATION")]
    pub manifest: String,
    /// Committed updates before the step
    #[arg(long, value_name = "STEP")]
    pub step: u64,
    /// Number of workers
    #[arg(long, value_name = "N")]
    pub world: u32,
    /// Overrides a knob, such as run.seed; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Arguments of `tandem data inspect`.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The dataset
    #[command(flatten)]
    pub source: Source,
    /// How many rows are shown
    #[arg(long, default_value_t = 24)]
    pub samples: u32,
    /// Draws them into this PNG
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,
}

/// Arguments of `tandem data verify-ledger`.
#[derive(Debug, clap::Args)]
pub struct VerifyLedger {
    /// The run's output: a folder or a URL
    #[arg(long, value_name = "LOCATION")]
    pub run: String,
    /// How many rows, substitutions and findings are named; all are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub names: usize,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tandem data tokenizer`.
#[derive(Debug, clap::Args)]
pub struct Vocabulary {
    /// The dataset
    #[command(flatten)]
    pub source: Source,
    /// Largest number of entries; model.vocabulary has to be what comes out
    #[arg(long, default_value_t = 30_522)]
    pub size: u32,
    /// The vocab.txt that is written
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Arguments of `tandem run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The configuration
    #[command(flatten)]
    pub layers: Layers,
    /// Workers on this machine; the same as --set run.workers=N
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Who may connect
    #[command(flatten)]
    pub access: Access,
    /// OTLP receiver for gRPC that gets spans of what is done, by the workers as well, such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL", env = "TANDEM_TRACES")]
    pub traces: Option<String>,
    /// More workers that hold the program ready, and take part in the place of one that was lost
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub spare: u32,
    /// Goes on from the newest committed checkpoint, if there is one, and with the workers of a coordinator that was killed
    #[arg(long)]
    pub resume: bool,
}

/// Arguments of `tandem coordinator`.
#[derive(Debug, clap::Args)]
pub struct Coordinator {
    /// The configuration
    #[command(flatten)]
    pub layers: Layers,
    /// Who may connect
    #[command(flatten)]
    pub access: Access,
    /// OTLP receiver for gRPC that gets spans of what is done, such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL", env = "TANDEM_TRACES")]
    pub traces: Option<String>,
    /// Goes on from the newest committed checkpoint, if there is one, and with the workers of a coordinator that was killed
    #[arg(long)]
    pub resume: bool,
}

/// What a process shows to the other side, and asks of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Access {
    /// Folder of this side's credentials: ca.crt, tls.crt, tls.key, and token (a coordinator: tokens); without it neither side is
    /// asked who it is, which works on one machine only
    #[arg(long, value_name = "FOLDER", env = "TANDEM_CREDENTIALS")]
    pub credentials: Option<PathBuf>,
}

/// Where a configuration comes from, the later winning: defaults, the preset, the run file, `--set`.
#[derive(Clone, Debug, clap::Args)]
pub struct Layers {
    /// A run file, TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a knob; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}
