//! What a server checks: certificates while hands are shaken, and the token of every request.

use crate::credentials::{Credentials, Files};
use crate::error::AccessError;
use crate::role::{Caller, Need, need};
use crate::token::Tokens;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token, or none that is known.
    #[error("this needs a token that the coordinator knows: `authorization: Bearer TOKEN`")]
    Unknown,
    /// A token of another role.
    #[error("{name} is {role}, and this is for {}", wanted(*need))]
    Role {
        /// Who asks.
        name: String,
        /// What he is.
        role: crate::Role,
        /// What he would have to be.
        need: Need,
    },
}

fn wanted(need: Need) -> &'static str {
    match need {
        Need::Any => "every role",
        Need::View => "viewers and operators",
        Need::Operate => "operators",
        Need::Work => "workers",
    }
}

/// The credentials of a server, as they are now.
pub struct Guard {
    credentials: Credentials,
    held: RwLock<Held>,
}

struct Held {
    files: Files,
    tls: TlsAcceptor,
    tokens: Arc<Tokens>,
}

impl Held {
    fn read(credentials: &Credentials) -> Result<Self, AccessError> {
        let files = credentials.files()?;
        let tls = TlsAcceptor::from(Arc::new(credentials.server(&files)?));
        Ok(Self { files, tls, tokens: Arc::new(Tokens::read(credentials)?) })
    }
}

impl Guard {
    /// Reads the folder.
    ///
    /// # Errors
    /// Files that are missing or hold something else.
    pub fn open(credentials: Credentials) -> Result<Self, AccessError> {
        let held = RwLock::new(Held::read(&credentials)?);
        Ok(Self { credentials, held })
    }

    /// Reads the folder again whenever something in it has changed. What can't be used is said once, and what was there goes on.
    pub async fn keep(&self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = String::new();
        loop {
            looks.tick().await;
            let text = self.reload().err().map(|error| error.to_string()).unwrap_or_default();
            if text != said && !text.is_empty() {
                tracing::warn!("the credentials stay as they were: {text}");
            }
            said = text;
        }
    }

    /// Reads the folder again if something in it has changed.
    ///
    /// # Errors
    /// As [`Self::open`]; then what was there stays.
    pub fn reload(&self) -> Result<(), AccessError> {
        let files = self.credentials.files()?;
        let tokens = Tokens::read(&self.credentials)?;
        let same = {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            held.files == files && *held.tokens == tokens
        };
        if !same {
            let now = Held::read(&self.credentials)?;
            *self.held.write().unwrap_or_else(PoisonError::into_inner) = now;
            tracing::info!("took the changed credentials in {}", self.credentials.folder().display());
        }
        Ok(())
    }

    /// For the next connection.
    pub(crate) fn tls(&self) -> TlsAcceptor {
        self.held.read().unwrap_or_else(PoisonError::into_inner).tls.clone()
    }

    /// Who asks for `path`, by the value of the request's `authorization` header.
    ///
    /// # Errors
    /// [`Refusal`] where the caller is unknown or may not.
    pub fn admit(&self, path: &str, authorization: Option<&[u8]>) -> Result<Caller, Refusal> {
        let tokens = self.held.read().unwrap_or_else(PoisonError::into_inner).tokens.clone();
        let caller = authorization.and_then(|value| tokens.caller(value)).ok_or(Refusal::Unknown)?;
        let need = need(path);
        if caller.role.may(need) {
            return Ok(caller.clone());
        }
        Err(Refusal::Role { name: caller.name.clone(), role: caller.role, need })
    }
}
