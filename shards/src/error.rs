//! What can be wrong with a tokenizer or the place that holds it, and the exit code that each means.

use crate::store::StoreError;
use proto::Exit;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why data can't be read or written. The text names the value, the file or the knob, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tokenizer that can't be used.
    #[error("the tokenizer {file} can't be used: {reason}")]
    Tokenizer {
        /// The file.
        file: String,
        /// Why, and the mend.
        reason: String,
    },
    /// A wrong value of a knob or an argument.
    #[error("{name} = {value} can't be used: {reason}")]
    Value {
        /// The knob or argument.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why, and the mend.
        reason: String,
    },
}

impl Error {
    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(error) => error.exit(),
            Self::Value { .. } => Exit::Usage,
            Self::Tokenizer { .. } => Exit::Data,
        }
    }
}
