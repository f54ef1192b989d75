//! What can go wrong in `tandem`, and the exit code that each means.

use crate::{checkpoints::CheckpointError, journal::JournalError};
use proto::{Exit, config::ConfigError};
use shards::{committed::CommittedError, picture::PictureError, store::StoreError};
use std::{io, path::PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why `tandem` can't do what was asked. The text names the value, where it comes from, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value on the command line can't be.
    #[error("{0}")]
    Value(String),
    /// The run file or `--set` is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint can't be read or committed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint that was committed can't be read.
    #[error(transparent)]
    Committed(#[from] CommittedError),
    /// The run's journal can't be read, or takes no more.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store of the run's output refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A dataset or tokenizer can't be used.
    #[error(transparent)]
    Data(#[from] shards::Error),
    /// A picture can't be written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A dataset has rows that can't be used.
    #[error(
        "{broken} of {rows} rows can't be used; training would replace them, and end when more than data.substitution_budget are met"
    )]
    Broken {
        /// How many.
        broken: u64,
        /// Of how many.
        rows: u64,
    },
    /// Checkpoints are not what was committed.
    #[error(
        "checkpoints of {run} are damaged: step {steps}; remove their folders to go on from the one before"
    )]
    Damaged {
        /// The run's output.
        run: String,
        /// Their steps.
        steps: String,
    },
    /// A run's ledger does not prove what it should.
    #[error(
        "the ledger of {run} does not prove that each row was committed once: {missing} rows missing, {repeated} repeated, {findings} findings"
    )]
    Unproven {
        /// The run's output.
        run: String,
        /// Rows that had to be committed and are not proven to be.
        missing: u64,
        /// Rows committed more than once.
        repeated: u64,
        /// What else was found.
        findings: u64,
    },
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
    /// The output holds another or an earlier run, and nobody said that this is it.
    #[error(
        "{output} holds a run with a checkpoint of step {step}: go on from it with --resume, or choose another run.output"
    )]
    Exists {
        /// The run's output.
        output: String,
        /// The newest committed step.
        step: proto::GlobalStep,
    },
    /// The output holds a run that another coordinator may still lead, and nobody said that this one takes it over.
    #[error(
        "{output} holds a run that has not ended: its coordinator was last at {url}; take it over with --resume, or choose another run.output"
    )]
    GoingOn {
        /// The run's output.
        output: String,
        /// Of its coordinator.
        url: String,
    },
    /// Something for which no process of the run may be left.
    #[error(
        "{output} holds a run that has not ended: its coordinator was last at {url}; stop it with `tandem stop`, or say --force where no process of it is left"
    )]
    Unended {
        /// The run's output.
        output: String,
        /// Of its coordinator.
        url: String,
    },
    /// A resume with a knob that a run keeps for life.
    #[error(
        "{key} was {was} when the run in {output} began and is {is} now; a run keeps it: give it as it was, or choose another run.output"
    )]
    OtherRun {
        /// The knob.
        key: &'static str,
        /// Its value in the checkpoint.
        was: String,
        /// Its value now.
        is: String,
        /// The run's output.
        output: String,
    },
    /// The model has another number of words than the tokenizer.
    #[error(
        "model.vocabulary = {vocabulary}, but {file} has {entries} entries; set model.vocabulary={entries}"
    )]
    Vocabulary {
        /// The tokenizer.
        file: String,
        /// Its entries.
        entries: u32,
        /// The knob.
        vocabulary: u32,
    },
    /// `tandem-worker` is missing.
    #[error("{} is not there; `cargo build` makes it, and it has to stand beside tandem", path.display())]
    NoWorker {
        /// Where it should be.
        path: PathBuf,
    },
    /// No coordinator answers.
    #[error("no coordinator answers at {url}: {reason}")]
    Unreachable {
        /// As given.
        url: String,
        /// What the transport says.
        reason: String,
    },
    /// No coordinator runs for that folder.
    #[error("no run is going in {}: coordinator.url can't be read ({source})", folder.display())]
    NotRunning {
        /// As given.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The coordinator refuses.
    #[error("the coordinator at {url} refuses: {reason}")]
    Refused {
        /// Of the coordinator.
        url: String,
        /// What it says.
        reason: String,
    },
    /// The run that was watched ended otherwise than with its last step.
    #[error("the run is over: {reason}")]
    Over {
        /// What its coordinator exits with.
        exit: Exit,
        /// How it ended.
        reason: String,
    },
    /// The run ended otherwise than with its last step.
    #[error("{reason} (logs in {})", folder.join("logs").display())]
    Ended {
        /// What it stands for.
        exit: Exit,
        /// How it ended.
        reason: String,
        /// The run's folder.
        folder: PathBuf,
    },
    /// Metrics can't be written.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::MetricsError),
    /// The coordinator does not know who asks, or he may not ask this.
    #[error("the coordinator at {url} refuses: {reason}; other credentials are given with --credentials")]
    Denied {
        /// Where it is.
        url: String,
        /// What it says.
        reason: String,
    },
    /// Credentials that can't be used.
    #[error(transparent)]
    Access(#[from] access::AccessError),
    /// An address that is open to others, without protection.
    #[error(
        "cluster.listen = {address} can be reached from other machines, but connections are not encrypted and nobody is asked who he is: give a folder of credentials with --credentials (`tandem certs init` makes one), or listen on 127.0.0.1"
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
}

impl Error {
    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Checkpoint(CheckpointError::Store(error)) | Self::Store(error) if error.writing => {
                Exit::Output
            }
            Self::Checkpoint(CheckpointError::Conflict { .. }) | Self::Write { .. } => Exit::Output,
            Self::Checkpoint(_) | Self::Committed(_) | Self::Store(_) | Self::Read { .. } => Exit::Data,
            Self::Config(error) => error.exit(),
            Self::Journal(error) => error.exit(),
            Self::Unprotected { .. } | Self::Denied { .. } => Exit::Usage,
            Self::Access(access::AccessError::Write { .. }) => Exit::Output,
            Self::Access(_) => Exit::Usage,
            Self::Listen { .. } => Exit::Unavailable,
            Self::Data(error) => error.exit(),
            Self::Picture(_) | Self::Metrics(_) => Exit::Output,
            Self::Value(_) | Self::Exists { .. } | Self::GoingOn { .. } | Self::Unended { .. } => Exit::Usage,
            Self::OtherRun { .. } | Self::Vocabulary { .. } => Exit::Usage,
            Self::Unreachable { .. } | Self::NotRunning { .. } | Self::Refused { .. } => Exit::Unavailable,
            Self::NoWorker { .. } => Exit::Internal,
            Self::Ended { exit, .. } | Self::Over { exit, .. } => *exit,
            Self::Broken { .. } | Self::Damaged { .. } | Self::Unproven { .. } => Exit::Data,
            Self::Server(_) => Exit::Internal,
        }
    }
}
