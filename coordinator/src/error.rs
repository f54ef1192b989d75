//! What can go wrong in `tandem`, and the exit code that each means.

use crate::checkpoints::{CheckpointError, StoreError};
use proto::{Exit, GlobalStep, config::ConfigError};
use std::{io, path::PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why `tandem` can't do what was asked. The text names the value, where it comes from, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run file or `--set` is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint can't be read or committed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The store of the run's output refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A local file can't be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A local file can't be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The model's table and the tokenizer differ.
    #[error(
        "model.vocabulary = {model}, but the tokenizer {tokenizer} has {found} entries; set model.vocabulary={found}, or name another text.tokenizer"
    )]
    Vocabulary {
        /// The configured size.
        model: u32,
        /// Where the tokenizer lies.
        tokenizer: String,
        /// Its size.
        found: u32,
    },
    /// The output belongs to an earlier run.
    #[error(
        "{output} has checkpoints (newest: step {newest}); add --resume to go on from there, or choose another run.output"
    )]
    HasCheckpoints {
        /// The run's output.
        output: String,
        /// Its newest committed step.
        newest: GlobalStep,
    },
    /// The data changed since the run began.
    #[error(
        "{output} was trained on another dataset: {difference}; restore data.train, or choose another run.output"
    )]
    DatasetChanged {
        /// The run's output.
        output: String,
        /// What differs, by file.
        difference: String,
    },
    /// Another coordinator took the generation at the same moment.
    #[error("another coordinator has just started on {output}; let one of them run")]
    Contested {
        /// The run's output.
        output: String,
    },
    /// An address that is open to others, without protection.
    #[error(
        "cluster.listen = {address} can be reached from other machines, but connections are not encrypted and nobody is asked who he is; listen on 127.0.0.1 and reach it through a tunnel (`ssh -L`)"
    )]
    Unprotected {
        /// The address.
        address: String,
    },
    /// The port is taken, or the address is none of this machine's.
    #[error("can't listen on cluster.listen = {address}: {source}; choose another port, or 0 for a free one")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server broke off.
    #[error("the coordinator's server ended: {0}")]
    Server(String),
    /// The program that trains is not there.
    #[error("{} is not there: `tandem` starts it from its own folder; build it with `cargo build -p worker`", .0.display())]
    NoWorker(PathBuf),
    /// A process can't be started.
    #[error("starting {}: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No coordinator answers.
    #[error("no coordinator answers at {url}: {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the connection says.
        reason: String,
    },
    /// The coordinator answered no.
    #[error("the coordinator at {url} refuses: {reason}")]
    Refused {
        /// Where it is.
        url: String,
        /// Its words.
        reason: String,
    },
    /// Arguments that don't fit together.
    #[error("{0}")]
    Usage(String),
    /// Data that was looked at is broken.
    #[error("{0}")]
    Broken(String),
}

impl Error {
    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Checkpoint(CheckpointError::Store(error)) | Self::Store(error) if error.writing => {
                Exit::Output
            }
            Self::Checkpoint(CheckpointError::Conflict { .. }) | Self::Write { .. } => Exit::Output,
            Self::Checkpoint(_) | Self::Store(_) | Self::Read { .. } => Exit::Data,
            Self::DatasetChanged { .. } | Self::Broken(_) => Exit::Data,
            Self::Config(_) | Self::Vocabulary { .. } | Self::HasCheckpoints { .. } => Exit::Usage,
            Self::Unprotected { .. } | Self::Refused { .. } | Self::Usage(_) => Exit::Usage,
            Self::Contested { .. } | Self::Listen { .. } | Self::Unreachable { .. } => Exit::Unavailable,
            Self::NoWorker(_) | Self::Spawn { .. } => Exit::Unavailable,
            Self::Server(_) => Exit::Internal,
        }
    }
}
