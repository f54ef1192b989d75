//! What can go wrong in a worker, and who has to act.

use proto::{Exit, config::ConfigError};
use shards::{committed::CommittedError, picture::PictureError, store::StoreError};

/// A worker's error. [`Error::exit`] tells the launch script who acts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Parameters that don't fit the network, each with what is wrong.
    #[error("the weights do not fit the network:\n  {}", .0.join("\n  "))]
    Keys(Vec<String>),
    /// A loss or gradient that is not finite, or a loss that jumps.
    #[error(
        "step {step}: {what}{}; lower optimizer.learning_rate or set optimizer.clip_norm, and resume, or let optimizer.on_anomaly skip such steps",
        if *before > 0 { format!(", after {before} anomalies in a row (optimizer.anomalies)") } else { String::new() }
    )]
    Anomaly {
        /// The step that was not committed.
        step: proto::GlobalStep,
        /// What is wrong with it.
        what: String,
        /// Anomalies right before it.
        before: u32,
    },
    /// A commit broke off halfway: this rank's state is of no use any more.
    #[error(
        "step {step}: the commit broke off, so this worker's state is lost: {reason}; replace its device or host if it comes back"
    )]
    Torn {
        /// The step that was being committed.
        step: proto::GlobalStep,
        /// What the kernel says.
        reason: String,
    },
    /// This worker has no seat in the generation any more.
    #[error("generation {generation} has ended: {reason}")]
    Unseated {
        /// The one that has ended.
        generation: proto::Generation,
        /// What the coordinator says.
        reason: String,
    },
    /// Ranks did not come together.
    #[error("the ranks did not connect within {seconds} s (cluster.meeting_timeout)")]
    Unmet {
        /// The knob's value.
        seconds: f64,
    },
    /// The run goes on without this worker.
    #[error("this worker goes, and the run goes on: {0}")]
    Dismissed(String),
    /// The run was stopped.
    #[error("the run was stopped at step {0}, as asked")]
    Stopped(proto::GlobalStep),
    /// Something is where an export should go.
    #[error("{0} is there already; remove it, or give another --out")]
    Taken(String),
    /// A choice that a format does not have.
    #[error("--weights teacher is for --format hf; the other formats hold student and teacher")]
    BothAlways,
    /// An export can't be written.
    #[error("{path} can't be written: {reason}")]
    Output {
        /// What was asked for.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Weights can't be written in PyTorch's format.
    #[error(transparent)]
    Pth(#[from] crate::pth::PthError),
    /// A file of weights can't be used.
    #[error("the weights in {file} can't be used: {reason}")]
    Pretrained {
        /// Where it is.
        file: String,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// A file's weights don't fit the model.
    #[error(
        "{count} keys of {file} do not fit the model; if that is meant, say so with model.init_allow = {mend:?}:\n  {all}",
        count = reasons.len(),
        all = reasons.join("\n  ")
    )]
    Unfit {
        /// Where it is.
        file: String,
        /// Every missing, unexpected or misshaped key.
        reasons: Vec<String>,
        /// Patterns that would accept them.
        mend: Vec<String>,
    },
    /// Ranks that should hold the same state don't.
    #[error(
        "step {step}: the ranks' states differ: {differences}; either that rank's device or memory is broken or Tandem has a defect: remove the checkpoints after step {good}, replace that rank's host and resume, and report it if it comes back on another host"
    )]
    Drift {
        /// The step after which they were compared.
        step: proto::GlobalStep,
        /// The last step after which they were the same.
        good: proto::GlobalStep,
        /// Ranks and tensors.
        differences: String,
    },
    /// The group of workers broke, or one of its collectives was refused.
    #[error("the workers' group: {0}")]
    Group(c10d::Error),
    /// A tensor operation failed.
    #[error("tensors: {0}")]
    Tensor(String),
    /// CUDA was asked for.
    #[error("run.device = cuda: {0}")]
    Cuda(#[from] c10d::cuda::CudaError),
    /// The configuration that came can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The dataset or the tokenizer can't be used.
    #[error(transparent)]
    Data(#[from] shards::Error),
    /// The dataset is not the run's.
    #[error(
        "the run's dataset.index has fingerprint {found}, the coordinator says {expected}: is run.output = {output} the same place on all machines?"
    )]
    Fingerprint {
        /// Of the file.
        found: String,
        /// Of the assignment.
        expected: String,
        /// Where the file was looked for.
        output: String,
    },
    /// The output's store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A checkpoint can't be read.
    #[error(transparent)]
    Committed(#[from] CommittedError),
    /// A checkpoint's content can't be understood.
    #[error("the checkpoint of step {step} can't be used: {reason}")]
    Checkpoint {
        /// Its step.
        step: proto::GlobalStep,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// A picture can't be written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// No row could be evaluated.
    #[error("no row of {0} can be used; `tandem data verify` lists why")]
    NothingToEvaluate(String),
    /// The coordinator can't be reached.
    #[error(
        "no coordinator at {url} for {seconds:.0} s: {reason}; is it running, and is this the URL that it printed?"
    )]
    Unreachable {
        /// As given.
        url: String,
        /// How long it was tried.
        seconds: f64,
        /// What the transport says.
        reason: String,
    },
    /// Metrics can't be served.
    #[error("can't serve metrics at {address}: {reason}")]
    Scrape {
        /// As given.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The coordinator does not know this worker, or it may not join.
    #[error("the coordinator refuses: {0}; a worker's credentials are given with --credentials")]
    Denied(String),
    /// Credentials that can't be used.
    #[error(transparent)]
    Access(#[from] access::AccessError),
    /// The coordinator refuses.
    #[error("the coordinator refuses: {0}")]
    Refused(String),
    /// The run is over for this worker.
    #[error("the run is over: {reason}")]
    Over {
        /// Why.
        reason: String,
        /// How it ended.
        exit: Exit,
    },
    /// A local resource that should be there is not.
    #[error("{0}")]
    System(String),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit code that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Keys(_) | Self::Fingerprint { .. } | Self::Committed(_) | Self::Checkpoint { .. } => {
                Exit::Data
            }
            Self::NothingToEvaluate(_) | Self::Pretrained { .. } | Self::Unfit { .. } => Exit::Data,
            Self::Group(error) if error.kind == c10d::Kind::Cuda => Exit::Device,
            Self::Over { exit, .. } => *exit,
            Self::Group(_) | Self::Unseated { .. } | Self::Unmet { .. } => Exit::Lost,
            Self::Stopped(_) | Self::Dismissed(_) => Exit::Stopped,
            Self::Cuda(_) => Exit::Device,
            Self::Config(error) => error.exit(),
            Self::Data(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Taken(_) | Self::BothAlways | Self::Access(_) | Self::Denied(_) | Self::Scrape { .. } => {
                Exit::Usage
            }
            Self::Picture(_) | Self::Output { .. } => Exit::Output,
            Self::Unreachable { .. } | Self::Refused(_) => Exit::Unavailable,
            Self::Pth(_)
            | Self::Anomaly { .. }
            | Self::Torn { .. }
            | Self::Drift { .. }
            | Self::Tensor(_)
            | Self::System(_) => Exit::Internal,
        }
    }
}

impl Error {
    /// Whether only the generation is over: this worker can take a seat in the next.
    pub fn passes(&self) -> bool {
        use c10d::Kind::{Peer, Store, Timeout};
        match self {
            Self::Group(error) => matches!(error.kind, Timeout | Peer | Store),
            Self::Unseated { .. } | Self::Unmet { .. } => true,
            _ => false,
        }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Tensor(error.to_string().lines().next().unwrap_or_default().into())
    }
}

impl From<c10d::Error> for Error {
    fn from(error: c10d::Error) -> Self {
        Self::Group(error)
    }
}
