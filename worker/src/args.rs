//! What is typed after `tandem-worker`.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Trains as one of a run's workers, or evaluates what was trained.
#[derive(Debug, Parser)]
#[command(
    name = "tandem-worker",
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Everything about the run comes from the coordinator. A worker takes what libtorch's CUDA libraries offer only when the run asks for cuda.\n\nExample:\n  tandem-worker --coordinator http://127.0.0.1:7070\n\nExit codes: 0 done, 2 wrong command line or configuration, 65 missing or broken data or checkpoint, 69 coordinator unreachable, 70 defect, 74 output can't be written, 75 stopped by request, 76 a peer or the coordinator was lost, 78 no such device."
)]
pub struct Args {
    /// What to do instead of training.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// How to train.
    #[command(flatten)]
    pub train: Train,
}

/// Arguments of training.
#[derive(Debug, Default, clap::Args)]
pub struct Train {
    /// URL of the coordinator; it prints it at its start, and writes it to coordinator.url in the run's folder
    #[arg(long, value_name = "URL", env = "TANDEM_COORDINATOR", required = true)]
    pub coordinator: Option<String>,
    /// Folder of this worker's credentials: ca.crt, tls.crt, tls.key and token; a coordinator with an https URL asks for them
    #[arg(long, value_name = "FOLDER", env = "TANDEM_CREDENTIALS")]
    pub credentials: Option<PathBuf>,
    /// Address of this machine that carries the collectives; by default the one from which it reaches the coordinator
    #[arg(long, value_name = "ADDRESS", env = "TANDEM_INTERFACE")]
    pub interface: Option<String>,
    /// Address of this machine at which Prometheus finds this worker's metrics, such as 127.0.0.1:9400; the coordinator's /metrics has
    /// those of all workers
    #[arg(long, value_name = "ADDRESS:PORT", env = "TANDEM_METRICS")]
    pub metrics: Option<String>,
    /// OTLP receiver for gRPC that gets spans of this worker's steps, such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL", env = "TANDEM_TRACES")]
    pub traces: Option<String>,
    /// Seconds that are spent on reaching the coordinator
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, env = "TANDEM_CONNECT_TIMEOUT")]
    pub connect_timeout: f64,
    /// Takes part only in the place of a worker that is lost: until then it waits with data opened and model built
    #[arg(long, env = "TANDEM_SPARE")]
    pub spare: bool,
    /// This worker's share of the pairs, relative to the other workers' weights
    #[arg(long, value_name = "N", default_value_t = 1, env = "TANDEM_WEIGHT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub weight: u32,
}

/// What else `tandem-worker` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Measures what a checkpoint has learned
    #[command(subcommand)]
    Eval(Eval),
    /// Writes a checkpoint's weights for other tools
    #[command(
        after_help = "Formats:\n  albef        one .pth: the published ALBEF's state dict below `model`, student, teacher (*_m), queues and pointer; torch.load takes it with weights_only=True\n  safetensors  the same names in one safetensors file\n  hf           a folder with `text`, a BertModel of the text layers with its tokenizer, and `vision`, a ViTModel with its image processor\n\nA run begins with such weights by model.init (albef, safetensors), model.init_image and model.init_text (hf).\n\nExamples:\n  tandem export --checkpoint runs/demo --format albef --out demo.pth\n  tandem export --checkpoint runs/demo --format hf --weights teacher --out demo-hf"
    )]
    Export(Export),
}

/// Arguments of `export`; `tandem export` hands over to it.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// A run's output (its newest checkpoint is taken) or one of its checkpoints/step-* folders
    #[arg(long, value_name = "LOCATION")]
    pub checkpoint: String,
    /// How to write it
    #[arg(long)]
    pub format: Format,
    /// The file or folder to write; nothing may be there yet
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Whose weights the hf folders hold; the other formats hold both
    #[arg(long, default_value = "student")]
    pub weights: Which,
}

/// What weights are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The published ALBEF's `.pth`
    Albef,
    /// The same names in a safetensors file
    Safetensors,
    /// Hugging Face's folders
    Hf,
}

/// Whose weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The trained network's
    Student,
    /// The moving average's
    Teacher,
}

/// What `tandem-worker eval` can do; `tandem eval` hands over to it.
#[derive(Debug, Subcommand)]
pub enum Eval {
    /// Recall at 1, 5 and 10 of images by text and of texts by image
    #[command(
        after_help = "Every row of the dataset is a query both ways among all rows; rows with the same caption are matches of each other.\n\nExample:\n  tandem eval retrieval --checkpoint runs/demo --data data/held-out --grid grid.png"
    )]
    Retrieval(Retrieval),
    /// The same of each new checkpoint of a run that goes on, until its last step
    #[command(
        after_help = "Writes evaluations/step-N.json into the run's output, and step-N.png where that is a folder of this machine; the coordinator's page shows them. It takes nothing from the run but what it shares with it: start it on a machine or device of its own, or with `nice`. What was evaluated before is not evaluated again.\n\nExample:\n  nice tandem eval follow --run runs/demo --data data/held-out --every 1000"
    )]
    Follow(Follow),
}

/// Arguments of `eval follow`.
#[derive(Debug, clap::Args)]
pub struct Follow {
    /// The run's output
    #[arg(long, value_name = "LOCATION")]
    pub run: String,
    /// The dataset
    #[arg(long, value_name = "LOCATION")]
    pub data: String,
    /// Steps between two evaluations, at least; 0 takes every checkpoint that there is time for
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    pub every: u64,
    /// Candidates of each query that the matching head ranks anew; 0 leaves it out
    #[arg(long, value_name = "K", default_value_t = 128)]
    pub rerank: usize,
    /// Pairs that are encoded at once
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Overrides a knob of the checkpoint's configuration, such as data.caption_column; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Arguments of `eval retrieval`.
#[derive(Debug, clap::Args)]
pub struct Retrieval {
    /// A run's output (its newest checkpoint is taken) or one of its checkpoints/step-* folders
    #[arg(long, value_name = "LOCATION")]
    pub checkpoint: String,
    /// The dataset
    #[arg(long, value_name = "LOCATION")]
    pub data: String,
    /// Candidates of each query that the matching head ranks anew; 0 leaves it out
    #[arg(long, value_name = "K", default_value_t = 128)]
    pub rerank: usize,
    /// Pairs that are encoded at once
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Draws queries with their best five answers into this PNG, right ones framed, by the scoring that finds more
    #[arg(long, value_name = "FILE")]
    pub grid: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
    /// Overrides a knob of the checkpoint's configuration, such as data.caption_column; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}
