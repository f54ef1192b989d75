//! A worker's standing with the coordinator: it joins, a task of its own listens and sends heartbeats, and what these bring is what
//! the loop acts on at its next step boundary. A coordinator that is gone is waited for, and looked for in the run's journal; one that
//! does not know this worker is joined anew, in the same process.

mod heart;
mod link;
#[cfg(test)]
mod simulation;
mod voice;

pub(crate) use voice::Told;
pub use voice::Voice;

use crate::args::Train;
use crate::error::{Error, Result};
use crate::laps::Laps;
use crate::store::RendezvousStore;
use crate::vote::{Heeded, Wishes};
use access::{Credentials, Dialer};
use c10d::AbortHandle;
use heart::{End, Heart, Orders, Standing};
use link::{Dial, Link};
use proto::settle::Held;
use proto::v1::{self, membership_client::MembershipClient};
use proto::{Exit, Generation, GlobalStep, PROTOCOL_VERSION, RunConfig};
use shards::store::Folder;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tonic::{Code, Status};

/// How long any one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How often something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// A worker that has joined. Dropping it ends the heartbeats.
pub struct Session {
    runtime: Handle,
    link: Arc<Link>,
    request: v1::JoinRequest,
    config: RunConfig,
    standing: Arc<Standing>,
    orders: watch::Receiver<Orders>,
    heart: JoinHandle<()>,
    /// The newest request for a checkpoint that was answered, or is being.
    served: u64,
}

impl Session {
    /// Joins the run that the arguments name.
    ///
    /// # Errors
    /// A coordinator that can't be reached, that refuses, or whose configuration did not arrive whole.
    pub async fn join(arguments: &Train) -> Result<Self> {
        let url = arguments.coordinator.as_deref().unwrap_or_default();
        let patience = Duration::try_from_secs_f64(arguments.connect_timeout).unwrap_or(Duration::MAX);
        let dialer = Dialer::new(arguments.credentials.clone().map(Credentials::new))?;
        let link = Link::connect(url, patience, Dial::through(dialer));
        let request = v1::JoinRequest {
            protocol: PROTOCOL_VERSION,
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid: std::process::id(),
            spare: arguments.spare,
            weight: arguments.weight,
            slot: None,
        };
        let session = Self::join_over(link.await?, request, patience).await?;
        session.link.follow(Folder::open(&session.config.run.output)?);
        Ok(session)
    }

    /// Joins over a link.
    async fn join_over(link: Link, request: v1::JoinRequest, patience: Duration) -> Result<Self> {
        let link = Arc::new(link);
        let joined = enrol(&link, &request, patience).await?;
        let config = RunConfig::from_wire(&joined.config, &joined.config_hash)?;
        let standing = Arc::new(Standing::default());
        let (orders, heart) = start(&link, &standing, &joined, &config);
        tracing::info!("joined run {} as worker {}", joined.run, joined.member);
        Ok(Self {
            runtime: Handle::current(),
            link,
            request: v1::JoinRequest { slot: Some(joined.slot), ..request },
            config,
            standing,
            orders,
            heart,
            served: 0,
        })
    }

    /// Joins again, after a coordinator that does not know this worker: what it holds is still worth as much.
    async fn rejoin(&mut self) -> Result<()> {
        self.heart.abort();
        // Who refuses may be a coordinator that another one has succeeded, and that does not know it yet.
        self.link.search(CALL).await;
        sleep(AGAIN).await;
        let patience = Duration::from_secs_f64(self.config.cluster.orphan_after);
        let joined = enrol(&self.link, &self.request, patience).await?;
        let config = RunConfig::from_wire(&joined.config, &joined.config_hash)?;
        if config.hash() != self.config.hash() {
            let reason =
                format!("the coordinator serves run {} with another configuration now", config.run.name);
            return Err(Error::Over { reason, exit: Exit::Lost });
        }
        (self.orders, self.heart) = start(&self.link, &self.standing, &joined, &config);
        tracing::info!("joined again, as worker {}", joined.member);
        Ok(())
    }

    /// The run's configuration.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// This worker's number among those of its machine, for life.
    pub fn slot(&self) -> u32 {
        self.request.slot()
    }

    /// Where async work of this worker runs.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The URL of the coordinator.
    pub fn url(&self) -> String {
        self.link.url()
    }

    /// What the next heartbeats say; the first goes at once.
    pub fn enter(&self, phase: v1::Phase, applied: GlobalStep) {
        self.standing.say(|told| {
            (told.phase, told.applied_step) = (phase.into(), applied.0);
            if phase == v1::Phase::Training {
                told.settled_generation = told.generation;
            }
        });
    }

    /// Where the time of its last step went.
    pub fn took(&self, laps: &Laps) {
        let seconds = laps.seconds().iter().map(|(phase, seconds)| (phase.name().into(), *seconds)).collect();
        self.standing.say(|told| told.seconds = seconds);
    }

    /// To say what has become of a request for a profile: nothing, or why there is none.
    pub(crate) fn profiling(&self) -> impl Fn(u64, String) + Send + 'static {
        let standing = self.standing.clone();
        move |request, fault| {
            standing.say(|told| {
                // An upload of an earlier one may come last.
                if request > told.profiled {
                    (told.profiled, told.profile_fault) = (request, fault);
                }
            });
        }
    }

    /// What the heartbeats say, for others to read.
    pub fn telling(&self) -> impl Fn() -> v1::HeartbeatRequest + Send + Sync + 'static {
        let standing = self.standing.clone();
        move || standing.now()
    }

    /// Has no seat (any more): `broken` if the last one's collectives failed.
    pub fn wait(&self, held: Held, broken: bool) {
        self.standing.say(|told| {
            told.phase = v1::Phase::Waiting.into();
            told.applied_step = held.applied.0;
            told.staged_step = if held.staged { held.applied.next().0 } else { 0 };
            (told.settled_generation, told.broken) = (held.settled.0, broken);
        });
    }

    /// Waits for a seat in a generation after the last, and enters it.
    ///
    /// # Errors
    /// A run that ends, or goes on without this worker.
    pub async fn assignment(&mut self) -> Result<v1::Assignment> {
        let last = self.standing.generation();
        loop {
            let seat = |orders: &Orders| orders.seat.clone().filter(|seat| seat.generation > last);
            let ready = |orders: &Orders| orders.end.is_some() || seat(orders).is_some();
            let orders = self.orders.wait_for(ready).await.map(|orders| orders.clone());
            let orders = orders.map_err(|_| Error::System("the heartbeats ended".into()))?;
            match (&orders.end, seat(&orders)) {
                (Some(End::Refused(reason)), _) => {
                    tracing::warn!("{reason}");
                    self.rejoin().await?;
                }
                (Some(end), _) => return Err(end.error()),
                (None, Some(seat)) => {
                    self.served = seat.checkpoint_request;
                    self.standing.say(|told| {
                        (told.generation, told.broken) = (seat.generation, false);
                        told.phase = v1::Phase::Preparing.into();
                    });
                    return Ok(seat);
                }
                (None, None) => {}
            }
        }
    }

    /// The group whose collectives end when this worker loses its seat.
    pub fn guard(&self, group: AbortHandle) {
        *self.standing.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
    }

    /// Whether this worker still has its seat.
    ///
    /// # Errors
    /// [`Error::Unseated`], or the end of the run.
    pub fn seated(&self) -> Result<()> {
        self.orders.borrow().seated(self.standing.generation())
    }

    /// What the coordinator asks for at the next boundary.
    ///
    /// # Errors
    /// As [`seated`](Self::seated).
    pub fn wishes(&mut self) -> Result<Wishes> {
        let orders = self.orders.borrow_and_update();
        orders.seated(self.standing.generation())?;
        let asked = orders.checkpoint_request > self.served;
        let at_stop = orders.stop.is_some_and(|stop| stop.checkpoint);
        Ok(Wishes { checkpoint: asked || at_stop, stop: orders.stop.is_some(), regroup: orders.regroup })
    }

    /// What operators have set by now.
    pub fn heeded(&self) -> Heeded {
        let orders = self.orders.borrow();
        let v1::Settings { learning_rate_scale, checkpoint_every, .. } = orders.settings;
        let profile = orders.profile.map(|asked| (asked.request, asked.steps)).unwrap_or_default();
        Heeded { learning_rate_scale, checkpoint_every, profile }
    }

    /// The newest request for a checkpoint, which the one that is begun now answers.
    pub fn serve(&mut self) -> u64 {
        self.served = self.orders.borrow().checkpoint_request;
        self.served
    }

    /// Where the ranks of the generation meet.
    pub fn store(&self) -> RendezvousStore {
        let generation = Generation(self.standing.generation());
        RendezvousStore::new(self.runtime.clone(), self.link.line(), generation)
    }

    /// For what this worker reports.
    pub fn voice(&self) -> Voice {
        let patience = Duration::from_secs_f64(self.config.cluster.orphan_after);
        Voice::new(self.link.clone(), self.standing.clone(), patience)
    }

    /// Asks to be left out of the next generation once this process is told to go.
    pub fn drain_on_signal(&self) {
        let (link, standing) = (self.link.clone(), self.standing.clone());
        self.runtime.spawn(async move {
            if signalled().await.is_err() {
                return;
            }
            tracing::info!(
                "told to go: leaving at the next step boundary; a second signal ends this process"
            );
            let call = || {
                let mut client = MembershipClient::new(link.line());
                let request = v1::DrainRequest { member: standing.member() };
                async move { client.drain(request).await }
            };
            if let Err(status) = link.insist(CALL, call).await {
                tracing::warn!("the coordinator does not let this worker go: {}", status.message());
            }
            if signalled().await.is_ok() {
                std::process::exit(Exit::Lost.code().into());
            }
        });
    }

    /// Says goodbye, with the reason if there is one, and ends the heartbeats.
    pub async fn leave(self, end: &Result<()>) {
        self.heart.abort();
        let finished = matches!(end, Ok(()) | Err(Error::Stopped(_)));
        let (exit_code, reason) = match end {
            Err(error) if !finished => (error.exit().code().into(), error.to_string()),
            _ => (0, String::new()),
        };
        let (member, generation) = (self.standing.member(), self.standing.generation());
        let request = v1::LeaveRequest { member, generation, finished, exit_code, reason };
        let mut client = MembershipClient::new(self.link.line());
        let mut request = tonic::Request::new(request);
        request.set_timeout(CALL);
        if let Err(status) = client.leave(request).await {
            tracing::info!("the coordinator did not hear that this worker goes: {}", status.message());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

/// Joins, as soon as a coordinator answers: a tunnel in between takes a connection also while there is none.
async fn enrol(link: &Arc<Link>, request: &v1::JoinRequest, patience: Duration) -> Result<v1::JoinReply> {
    let call = || {
        let (link, request) = (link.clone(), request.clone());
        async move { ask(&link, &request).await }
    };
    link.insist(patience, call).await.map_err(refused)
}

async fn ask(link: &Link, request: &v1::JoinRequest) -> std::result::Result<v1::JoinReply, Status> {
    let mut request = tonic::Request::new(request.clone());
    request.set_timeout(CALL);
    MembershipClient::new(link.line()).join(request).await.map(tonic::Response::into_inner)
}

fn start(
    link: &Arc<Link>,
    standing: &Arc<Standing>,
    joined: &v1::JoinReply,
    config: &RunConfig,
) -> (watch::Receiver<Orders>, JoinHandle<()>) {
    let (publish, orders) = watch::channel(Orders::default());
    standing.joined(&joined.member);
    let every = Duration::from_millis(joined.heartbeat_ms.max(10).into());
    let orphan_after = Duration::from_secs_f64(config.cluster.orphan_after);
    let heart = Heart::new(link.clone(), standing.clone(), publish, every, orphan_after);
    (orders, tokio::spawn(heart.beat()))
}

/// Whether a call may succeed when it is tried again.
fn passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

fn refused(status: Status) -> Error {
    match status.code() {
        _ if passing(&status) => {
            Error::Over { reason: format!("the coordinator is gone: {}", status.message()), exit: Exit::Lost }
        }
        Code::Unauthenticated | Code::PermissionDenied => Error::Denied(status.message().into()),
        _ => Error::Refused(status.message().into()),
    }
}

async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut warned = signal(SignalKind::user_defined1())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = warned.recv() => {}
    }
    Ok(())
}
