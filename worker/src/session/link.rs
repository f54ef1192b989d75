//! The connection to the coordinator, wherever it is now.

use super::{AGAIN, CALL, passing};
use crate::error::{Error, Result};
use access::{Dialer, Line};
use serde::Deserialize;
use shards::store::Folder;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::codegen::BoxFuture;
use tonic::transport::Endpoint;

/// The folder below a run's output in which coordinators write their decisions.
const JOURNAL: &str = "journal";

/// How a connection is made: a network of the tests is a simulated one.
#[derive(Clone)]
pub(super) struct Dial(Arc<dyn Fn(Endpoint) -> BoxFuture<Line, tonic::transport::Error> + Send + Sync>);

impl Dial {
    /// By whatever makes one.
    pub(super) fn new(
        make: impl Fn(Endpoint) -> BoxFuture<Line, tonic::transport::Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(make))
    }

    /// Over the network.
    pub(super) fn through(dialer: Dialer) -> Self {
        Self::new(move |endpoint| {
            let dialer = dialer.clone();
            Box::pin(async move { Ok(dialer.line(dialer.dial(endpoint).await?)) })
        })
    }
}

/// A connection that may be replaced when the coordinator has moved.
pub(crate) struct Link {
    current: Mutex<(String, Line)>,
    output: OnceLock<Folder>,
    dial: Dial,
}

/// What a worker reads of the newest entry of the journal.
#[derive(Deserialize)]
struct Entry {
    past: Past,
}

#[derive(Deserialize)]
struct Past {
    by: By,
    ended: Option<Ended>,
}

/// How a run ended, while nobody has opened its journal since.
#[derive(Debug, Deserialize)]
pub(super) struct Ended {
    pub(super) code: u8,
    pub(super) reason: String,
}

#[derive(Deserialize)]
struct By {
    url: String,
}

impl Link {
    /// Connects to the coordinator at `url`, trying for `patience`.
    pub(super) async fn connect(url: &str, patience: Duration, dial: Dial) -> Result<Self> {
        let start = Instant::now();
        let unreachable = |reason: String| Error::Unreachable {
            url: url.into(),
            seconds: start.elapsed().as_secs_f64(),
            reason,
        };
        let endpoint = endpoint(url).map_err(|error| unreachable(error.to_string()))?;
        loop {
            match dial.0(endpoint.clone()).await {
                Ok(line) => {
                    let current = Mutex::new((url.into(), line));
                    return Ok(Self { current, output: OnceLock::new(), dial });
                }
                Err(_) if start.elapsed() < patience => tokio::time::sleep(AGAIN).await,
                Err(error) => return Err(unreachable(innermost(&error))),
            }
        }
    }

    /// The run's output, in whose journal a coordinator that has moved is found.
    pub(super) fn follow(&self, output: Folder) {
        self.output.get_or_init(|| output);
    }

    /// For calls. It connects again by itself.
    pub(super) fn line(&self) -> Line {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Where the coordinator is, as far as this worker knows.
    pub(super) fn url(&self) -> String {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Goes where the journal's newest entry says that the coordinator is, if that is elsewhere and answers within `patience`. Says
    /// how the run ended, if it did.
    pub(super) async fn search(&self, patience: Duration) -> Option<Ended> {
        let Past { by: By { url }, ended } = timeout(CALL, self.newest()).await.ok().flatten()?;
        if ended.is_some() || url == self.url() {
            return ended;
        }
        if let Ok(endpoint) = endpoint(&url)
            && let Ok(Ok(line)) = timeout(patience, (self.dial.0)(endpoint)).await
        {
            tracing::info!("the coordinator is at {url} now");
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = (url, line);
        }
        None
    }

    async fn newest(&self) -> Option<Past> {
        let journal = self.output.get()?.below(JOURNAL);
        let newest = journal.files().await.ok()?.into_iter().max()?;
        let entry: Entry = serde_json::from_slice(&journal.get(&newest).await.ok()??).ok()?;
        Some(entry.past)
    }

    /// Calls until somebody answers, for `patience`.
    pub(super) async fn insist<T, F>(
        &self,
        patience: Duration,
        call: impl Fn() -> F,
    ) -> std::result::Result<T, Status>
    where
        F: Future<Output = std::result::Result<T, Status>>,
    {
        let start = Instant::now();
        loop {
            let answer = timeout(CALL, call()).await;
            match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))) {
                Err(status) if passing(&status) && start.elapsed() < patience => {
                    tokio::time::sleep(AGAIN).await;
                    self.search(CALL).await;
                }
                answer => return answer,
            }
        }
    }
}

fn endpoint(url: &str) -> std::result::Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.connect_timeout(CALL).tcp_nodelay(true);
    Ok(endpoint.http2_keep_alive_interval(CALL).keep_alive_timeout(CALL).keep_alive_while_idle(true))
}

/// The innermost cause, which names the real trouble.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
