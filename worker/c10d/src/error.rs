//! The error of this crate, sorted by who can act on it.

/// What went wrong, as far as a caller must tell errors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A collective did not end within the group's timeout: a peer is stuck, or gone without a sign. Rejoin.
    Timeout,
    /// A peer closed its connection, or the group was aborted. Rejoin.
    Peer,
    /// The store at which the ranks meet failed.
    Store,
    /// Tensors or arguments that do not fit the call: a mistake of the caller.
    Shape,
    /// CUDA is not there, or failed.
    Cuda,
    /// Anything else that libtorch reports.
    Other,
}

/// A failed call: its kind, and libtorch's words with what was called before them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// Who can act on it.
    pub kind: Kind,
    /// What was called and what it said.
    pub text: String,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(crate) fn shape(text: impl Into<String>) -> Self {
        Self::new(Kind::Shape, text)
    }
}

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
