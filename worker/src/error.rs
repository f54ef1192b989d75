//! What can go wrong in a worker, and who has to act.

use proto::Exit;

/// A worker's error. [`Error::exit`] tells the launch script who acts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Parameters that don't fit the network, each with what is wrong.
    #[error("the weights do not fit the network:\n  {}", .0.join("\n  "))]
    Keys(Vec<String>),
    /// A loss or gradient that is not finite.
    #[error(
        "step {step}: the {what} is not finite; lower optimizer.learning_rate or set optimizer.clip_norm, and resume"
    )]
    NotFinite {
        /// The step that was not committed.
        step: proto::GlobalStep,
        /// Loss or gradient.
        what: &'static str,
    },
    /// The group of workers broke, or one of its collectives was refused.
    #[error("the workers' group: {0}")]
    Group(c10d::Error),
    /// A tensor operation failed.
    #[error("tensors: {0}")]
    Tensor(String),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit code that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Keys(_) => Exit::Data,
            Self::Group(_) => Exit::Lost,
            Self::NotFinite { .. } | Self::Tensor(_) => Exit::Internal,
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
