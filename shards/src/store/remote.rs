//! A store with patience: what fails on the way is tried again, a bounded number of requests is open, and ranges of a file come whole
//! or not at all, from the local cache where they are in it.

use super::{
    error::{StoreError, Trouble},
    open::{Kind, Opened},
    patience::{Fault, Patience},
};
use crate::cache::Cache;
use object_store::{Attribute, Error, GetOptions, ObjectMeta, ObjectStore, path::Path};
use proto::config::StoreSection;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// A store as this crate asks it.
#[derive(Debug)]
pub struct Remote {
    pub(super) once: Arc<dyn ObjectStore>,
    pub(super) steady: Arc<dyn ObjectStore>,
    pub(super) kind: Kind,
    /// What precedes paths in messages and tells stores apart.
    pub(super) root: String,
    patience: Patience,
    retries: u32,
    /// Ranges at most this far apart are fetched together.
    pub(super) gap: u64,
    /// Requests at once.
    pub(super) requests: usize,
    gate: Arc<Semaphore>,
    pub(super) cache: Option<Arc<Cache>>,
}

/// What is asked for, for messages.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) action: &'static str,
    pub(super) path: String,
    pub(super) writing: bool,
}

/// The process's semaphore of so many requests: all stores opened with the same number share it.
fn gate(requests: usize) -> Arc<Semaphore> {
    static GATES: Mutex<Option<HashMap<usize, Weak<Semaphore>>>> = Mutex::new(None);
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    let gates = gates.get_or_insert_default();
    if let Some(gate) = gates.get(&requests).and_then(Weak::upgrade) {
        return gate;
    }
    let gate = Arc::new(Semaphore::new(requests));
    gates.insert(requests, Arc::downgrade(&gate));
    gate
}

impl Remote {
    pub(super) fn new(opened: Opened, spec: &StoreSection) -> Self {
        let requests = spec.requests.max(1) as usize;
        let cached = opened.kind != Kind::Local && !spec.cache.is_empty();
        Self {
            once: opened.once,
            steady: opened.steady,
            kind: opened.kind,
            root: opened.root,
            patience: Patience::new(spec),
            retries: spec.retries,
            gap: u64::from(spec.gap_kib) << 10,
            requests,
            gate: gate(requests),
            cache: if cached { Cache::shared(&spec.cache, spec.cache_gib) } else { None },
        }
    }

    /// The name of an object in messages.
    pub(super) fn name(&self, path: &Path) -> String {
        format!("{}{path}", self.root)
    }

    pub(super) fn ask(&self, action: &'static str, path: &Path) -> Ask {
        Ask { action, path: self.name(path), writing: false }
    }

    /// Makes a request until it is answered, as often and as long as the knobs say. A try gets its number, from 0, and may take `more`
    /// than the timeout.
    pub(super) async fn request<T, F>(
        &self,
        ask: &Ask,
        more: Duration,
        attempt: impl Fn(u32) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        if self.kind == Kind::Local {
            return attempt(0).await.map_err(|fault| refused(ask, &fault));
        }
        let limit = self.patience.timeout.saturating_add(more);
        let mut begun = None;
        let mut tries = 0;
        loop {
            let permit = self.gate.acquire().await;
            // What is waited for at the gate is our own doing.
            let begun = *begun.get_or_insert_with(Instant::now);
            let tried = tokio::time::timeout(limit, attempt(tries)).await;
            drop(permit);
            let fault = match tried {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Late(limit),
            };
            if !fault.passes() {
                return Err(refused(ask, &fault));
            }
            tries += 1;
            let Some(pause) = self.patience.pause(tries, begun.elapsed(), chance()) else {
                return Err(exhausted(ask, &fault, tries, begun.elapsed()));
            };
            let (Ask { action, path, .. }, reason) = (ask, fault.reason());
            tracing::warn!("{action} {path} failed ({reason}), try {tries}; again in {pause:.1?}");
            tokio::time::sleep(pause).await;
        }
    }

    /// Makes one operation of many requests, which the store's client tries again by itself.
    pub(super) async fn operation<T>(
        &self,
        ask: &Ask,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        let _permit = self.gate.acquire().await;
        let fault = match work.await {
            Ok(value) => return Ok(value),
            Err(error) => Fault::Store(error),
        };
        if self.kind == Kind::Local || !fault.passes() {
            return Err(refused(ask, &fault));
        }
        let reason = format!("{}, also after {} more tries; {UNREACHABLE}", fault.reason(), self.retries);
        Err(ask.error(reason, Trouble::Unreachable))
    }

    /// What the store says of an object, and whether a web server shows it as a page; none when there is none.
    pub(super) async fn look(&self, path: &Path) -> Result<Option<(ObjectMeta, bool)>, StoreError> {
        let ask = self.ask("looking at", path);
        let head = || GetOptions::new().with_head(true);
        let first = || GetOptions::new().with_range(Some(0..1));
        self.request(&ask, Duration::ZERO, |_| async move {
            let mut found = self.once.get_opts(path, head()).await.map_err(Fault::from);
            // A URL that is signed for GET only, or a server without HEAD: one byte of the file tells the same.
            if self.kind == Kind::Web && found.as_ref().is_err_and(|fault| !fault.passes() && !fault.absent())
            {
                found = self.once.get_opts(path, first()).await.map_err(Fault::from);
            }
            match found {
                Ok(found) => {
                    let kind = found.attributes.get(&Attribute::ContentType);
                    let page = kind.is_some_and(|kind| kind.starts_with("text/html"));
                    Ok(Some((found.meta, page && self.kind == Kind::Web)))
                }
                Err(fault) if fault.absent() => Ok(None),
                Err(fault) => Err(fault),
            }
        })
        .await
    }
}

const UNREACHABLE: &str = "the store or the way to it is at fault: try again when it answers, or raise store.retries, store.retry_seconds or store.timeout";

impl Ask {
    pub(super) fn error(&self, reason: String, trouble: Trouble) -> StoreError {
        StoreError { action: self.action, path: self.path.clone(), reason, writing: self.writing, trouble }
    }
}

fn refused(ask: &Ask, fault: &Fault) -> StoreError {
    let changed = matches!(fault, Fault::Changed(_));
    let trouble = if changed { Trouble::Changed } else { Trouble::Refused };
    ask.error(fault.reason().into_owned(), trouble)
}

fn exhausted(ask: &Ask, fault: &Fault, tries: u32, elapsed: Duration) -> StoreError {
    let tries = if tries == 1 { "1 try".into() } else { format!("{tries} tries") };
    let reason = format!(
        "{tries} in {:.1} s failed, the last one with: {}; {UNREACHABLE}",
        elapsed.as_secs_f64(),
        fault.reason()
    );
    ask.error(reason, Trouble::Unreachable)
}

/// A number from 0 to 1. Only pauses depend on it, so it need not be the same again.
fn chance() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
