//! What can be wrong with credentials.

use std::{io, path::PathBuf};
use tokio_rustls::rustls;

/// What can be wrong with credentials.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file of the folder can't be read.
    #[error("can't read the credentials {}: {source}; `tandem certs init` makes such folders", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the folder can't be written.
    #[error("can't write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the folder is not what its name says.
    #[error("{} holds no {what} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// Certificate and key don't go together, or the CA is none.
    #[error("the certificates in {} can't be used: {source}", folder.display())]
    Tls {
        /// The folder.
        folder: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The CA's certificates can't be used to check others.
    #[error("the CA in {} can't be used: {reason}", folder.display())]
    Ca {
        /// The folder.
        folder: PathBuf,
        /// What rustls says.
        reason: String,
    },
    /// A line of `tokens` that can't be understood.
    #[error("{} line {line}: {reason}; a line is `ROLE NAME SHA256-OF-THE-TOKEN`, ROLE one of viewer, operator, worker", path.display())]
    Tokens {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A token that can't be sent.
    #[error("{} holds no token: one line of visible ASCII characters", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{} is there already: choose another folder, or remove it first", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// Certificates can't be made.
    #[error("can't make a certificate for {name:?}: {source}")]
    Issue {
        /// For whom.
        name: String,
        /// What rcgen says.
        source: rcgen::Error,
    },
}
