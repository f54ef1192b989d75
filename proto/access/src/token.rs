//! Tokens: one side sends its own with every request, the other knows the hashes of those that it takes.

use crate::credentials::{Credentials, TOKEN, TOKENS};
use crate::error::AccessError;
use crate::role::{Caller, Role};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// How long a token that was read is used before the file is looked at again.
const FRESH: Duration = Duration::from_secs(5);
/// How a token is announced.
const SCHEME: &str = "Bearer ";

/// The tokens that a server takes, by their SHA-256: who reads the file can't send one of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    known: HashMap<[u8; 32], Caller>,
}

impl Tokens {
    /// Those of the folder's `tokens`.
    pub(crate) fn read(credentials: &Credentials) -> Result<Self, AccessError> {
        let bytes = credentials.read(TOKENS)?;
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|(line, reason)| AccessError::Tokens {
            path: credentials.path(TOKENS),
            line,
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut known = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [role, name, hash] = words[..] else { return Err((number, "it has not three words")) };
            let role: Role = role.parse().map_err(|reason| (number, reason))?;
            let hash = from_hex(hash).ok_or((number, "the third word is not 64 hexadecimal digits"))?;
            known.insert(hash, Caller { role, name: name.into() });
        }
        Ok(Self { known })
    }

    /// Whose token the value of an `authorization` header holds.
    pub(crate) fn caller(&self, authorization: &[u8]) -> Option<&Caller> {
        let (scheme, token) = authorization.split_at_checked(SCHEME.len())?;
        // The look-up is by hash: its time says nothing about a token.
        scheme.eq_ignore_ascii_case(SCHEME.as_bytes()).then(|| self.known.get(&hash(token)))?
    }
}

/// SHA-256 of a token.
pub(crate) fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

/// When the token was read, and the header that shows it.
type Read = (Instant, MetadataValue<Ascii>);

/// Gives every request the folder's token.
#[derive(Clone)]
pub struct Bearer {
    credentials: Option<Credentials>,
    held: Arc<Mutex<Option<Read>>>,
}

impl Bearer {
    pub(crate) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, held: Arc::default() }
    }

    fn value(&self, credentials: &Credentials) -> Result<MetadataValue<Ascii>, AccessError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((read, value)) if read.elapsed() < FRESH => Ok(value.clone()),
            _ => {
                let value = authorization(credentials)?;
                *held = Some((Instant::now(), value.clone()));
                Ok(value)
            }
        }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(credentials) = &self.credentials {
            let value =
                self.value(credentials).map_err(|error| Status::unauthenticated(error.to_string()))?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// The value of the `authorization` header that shows the folder's token.
///
/// # Errors
/// A `token` that is missing or can't be sent.
pub fn authorization(credentials: &Credentials) -> Result<MetadataValue<Ascii>, AccessError> {
    let none = || AccessError::Token { path: credentials.path(TOKEN) };
    let token = String::from_utf8(credentials.read(TOKEN)?).map_err(|_| none())?;
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(none());
    }
    format!("{SCHEME}{token}").parse().map_err(|_| none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash() {
        let hex: String = hash(b"secret").iter().map(|byte| format!("{byte:02x}")).collect();
        let tokens = Tokens::parse(&format!("# who may what\n\nviewer board {hex}\n")).unwrap();
        assert_eq!(tokens.caller(b"Bearer secret").unwrap().name, "board");
        assert_eq!(tokens.caller(b"bearer secret").unwrap().role, Role::Viewer);
        for other in [
            &b"Bearer secre"[..],
            b"Bearer ",
            b"secret",
            b"Basic secret",
            b"",
            b"Bearer  secret",
            hex.as_bytes(),
        ] {
            assert!(tokens.caller(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_line_that_can_not_be_understood_is_named() {
        let hex = "0".repeat(64);
        for (text, line) in [
            (format!("viewer a {hex}\nking b {hex}"), 2),
            ("worker a".into(), 1),
            (format!("worker a {}", &hex[1..]), 1),
            (format!("worker a {hex}0"), 1),
            (format!("worker a {}x", &hex[1..]), 1),
        ] {
            assert_eq!(Tokens::parse(&text).err().map(|(line, _)| line), Some(line), "{text}");
        }
    }
}
