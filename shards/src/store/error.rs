//! What a store refused, on which object, and the mend.

use super::patience::status;
use object_store::Error;
use std::io::ErrorKind;

/// The object store refused.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {reason}")]
pub struct StoreError {
    /// What was tried.
    pub action: &'static str,
    /// On which object, by its URL, and which bytes of it.
    pub path: String,
    /// Why it did not work, and the mend where it is known.
    pub reason: String,
    /// It was a write: the output is at fault.
    pub writing: bool,
    /// What kind of trouble it is.
    pub trouble: Trouble,
}

/// Kinds of trouble with a store, by who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// An answer that stays the same: no such file, no permission, a wrong location.
    Refused,
    /// No answer, or none that is whole, as often as it was asked for: try again when the store is there.
    Unreachable,
    /// The file is another one than was indexed.
    Changed,
    /// A server that does not list its folders.
    Unlisted,
}

impl StoreError {
    /// The program's exit code for it.
    pub fn exit(&self) -> proto::Exit {
        match self.trouble {
            _ if self.writing => proto::Exit::Output,
            Trouble::Unreachable => proto::Exit::Unavailable,
            _ => proto::Exit::Data,
        }
    }
}

/// The innermost cause, which names the real trouble, and the mend for those that operators meet.
pub(super) fn explain(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        if let Some(io) = next.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        {
            return format!("the disk is full ({io}); free space, then start again with --resume");
        }
        cause = next;
    }
    let text = cause.to_string();
    let text = text.trim().trim_end_matches(':');
    match mend(error) {
        Some(mend) => format!("{text}; {mend}"),
        None => text.to_owned(),
    }
}

/// What an operator can do.
fn mend(error: &Error) -> Option<&'static str> {
    let outer = error.to_string();
    if outer.contains("169.254.169.254") || outer.contains("metadata.google.internal") {
        return Some(
            "the environment has no credentials for the store, so this machine's cloud was asked for them: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_KEY",
        );
    }
    if outer.contains("Account must be specified") {
        return Some("set AZURE_STORAGE_ACCOUNT_NAME");
    }
    if outer.contains("redirect without LOCATION") {
        return Some("the bucket is in another region: set AWS_REGION");
    }
    match error {
        Error::NotSupported { .. } if outer.contains("Range request") => Some(
            "the server ignores the Range header and would send whole files: serve them with one that answers 206 (nginx, Apache, Caddy), or copy them to a disk",
        ),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Some("check the credentials in the environment, and what they may do")
        }
        Error::NotFound { .. } if status(error) == Some(404) => Some("it is not there"),
        _ => None,
    }
}
