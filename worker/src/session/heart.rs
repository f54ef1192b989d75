//! The task that sends a worker's heartbeats, and publishes what they bring back.

use super::passing;
use c10d::AbortHandle;
use proto::v1::{self, directive::Kind, membership_client::MembershipClient};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tonic::transport::Channel;

/// What the coordinator wants, by its newest answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    pub(super) assignment: Option<v1::Assignment>,
    pub(super) checkpoint_request: u64,
    pub(super) stop: Option<v1::Stop>,
    /// Why this worker has no part in the run any more.
    pub(super) over: Option<String>,
}

/// What a heartbeat says.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) generation: AtomicU64,
    pub(super) applied: AtomicU64,
    pub(super) phase: AtomicI32,
    /// Ends the collectives when the run is over, so that nobody waits for peers that are gone.
    pub(super) group: Mutex<Option<AbortHandle>>,
}

/// The task that sends heartbeats.
pub(super) struct Heart {
    pub(super) client: MembershipClient<Channel>,
    pub(super) member: String,
    pub(super) standing: Arc<Standing>,
    pub(super) publish: watch::Sender<Orders>,
    pub(super) every: Duration,
    pub(super) lost_after: Duration,
}

impl Heart {
    /// Beats until the run is over for this worker.
    pub(super) async fn beat(mut self) {
        let mut beats = tokio::time::interval(self.every);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            beats.tick().await;
            let over = match self.client.heartbeat(self.request()).await {
                Ok(directive) => {
                    heard = Instant::now();
                    self.obey(directive.into_inner())
                }
                Err(status) if passing(&status) && heard.elapsed() < self.lost_after => None,
                Err(status) if passing(&status) => {
                    let silence = heard.elapsed().as_secs_f64();
                    Some(format!("the coordinator was not heard for {silence:.0} s: {}", status.message()))
                }
                Err(status) => Some(status.message().into()),
            };
            if let Some(reason) = over {
                return self.end(reason);
            }
        }
    }

    fn request(&self) -> v1::HeartbeatRequest {
        v1::HeartbeatRequest {
            member: self.member.clone(),
            generation: self.standing.generation.load(Ordering::Relaxed),
            applied_step: self.standing.applied.load(Ordering::Relaxed),
            phase: self.standing.phase.load(Ordering::Relaxed),
        }
    }

    /// Publishes what a directive says; why the run is over, if it is.
    fn obey(&self, directive: v1::Directive) -> Option<String> {
        let v1::Directive { kind, checkpoint_request, stop } = directive;
        let assignment = match kind {
            Some(Kind::Abort(abort)) => return Some(abort.reason),
            Some(Kind::Assignment(assignment)) => Some(assignment),
            Some(Kind::Wait(_)) | None => None,
        };
        self.publish.send_replace(Orders { assignment, checkpoint_request, stop, over: None });
        None
    }

    fn end(&self, reason: String) {
        self.publish.send_modify(|orders| orders.over = Some(reason));
        let group = self.standing.group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = group.as_ref().map(AbortHandle::abort) {
            tracing::warn!("the collectives can't be ended: {error}");
        }
    }
}
