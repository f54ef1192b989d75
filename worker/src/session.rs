//! A worker's standing with the coordinator: it joins, a task sends heartbeats, and what they bring back is what the loop acts
//! on at its next step boundary.

mod heart;

use crate::error::{Error, Result};
use crate::store::RendezvousStore;
use crate::vote::Wishes;
use c10d::AbortHandle;
use heart::{Heart, Orders, Standing};
use proto::v1::{self, membership_client::MembershipClient, operator_client::OperatorClient};
use proto::{Generation, GlobalStep, PROTOCOL_VERSION, RunConfig};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// How long any one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How often a coordinator that does not answer is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// A worker that has joined. Dropping it ends the heartbeats.
pub struct Session {
    runtime: Handle,
    channel: Channel,
    member: String,
    config: RunConfig,
    standing: Arc<Standing>,
    orders: watch::Receiver<Orders>,
    checkpoints_served: u64,
    heartbeats: tokio::task::JoinHandle<()>,
}

impl Session {
    /// Joins the run at `url`, trying for `patience` to reach its coordinator.
    ///
    /// # Errors
    /// A coordinator that can't be reached, that refuses, or whose configuration did not arrive whole.
    pub fn join(runtime: &Handle, url: &str, patience: Duration) -> Result<Self> {
        let channel = runtime.block_on(connect(url, patience))?;
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let request = v1::JoinRequest { protocol: PROTOCOL_VERSION, host, pid: std::process::id() };
        let mut client = MembershipClient::new(channel.clone());
        let joined = runtime.block_on(client.join(request)).map_err(refused)?.into_inner();
        let config = RunConfig::from_wire(&joined.config, &joined.config_hash)?;
        let (publish, orders) = watch::channel(Orders::default());
        let standing = Arc::new(Standing::default());
        let heart = Heart {
            client,
            member: joined.member.clone(),
            standing: standing.clone(),
            publish,
            every: Duration::from_millis(joined.heartbeat_ms.max(10).into()),
            lost_after: Duration::from_secs_f64(config.cluster.lost_after),
        };
        let session = Self {
            runtime: runtime.clone(),
            channel,
            member: joined.member,
            config,
            standing,
            orders,
            checkpoints_served: 0,
            heartbeats: runtime.spawn(heart.beat()),
        };
        session.enter(v1::Phase::Waiting, GlobalStep(0));
        tracing::info!("joined run {} as worker {}", joined.run, session.member);
        Ok(session)
    }

    /// The run's configuration.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Where async work of this worker runs.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits until the generation has started, and enters it.
    ///
    /// # Errors
    /// A run that ends before.
    pub fn assignment(&mut self) -> Result<v1::Assignment> {
        let ready = |orders: &Orders| orders.assignment.is_some() || orders.over.is_some();
        let orders = self.runtime.block_on(self.orders.wait_for(ready)).map(|orders| orders.clone());
        let orders = orders.map_err(|_| Error::Over("the heartbeats ended".into()))?;
        match (orders.over, orders.assignment) {
            (None, Some(assignment)) => {
                self.standing.generation.store(assignment.generation, Ordering::Relaxed);
                self.checkpoints_served = orders.checkpoint_request;
                Ok(assignment)
            }
            (over, _) => Err(Error::Over(over.unwrap_or_default())),
        }
    }

    /// What the next heartbeats say.
    pub fn enter(&self, phase: v1::Phase, applied: GlobalStep) {
        self.standing.applied.store(applied.0, Ordering::Relaxed);
        self.standing.phase.store(phase.into(), Ordering::Relaxed);
    }

    /// The group whose collectives end when the run is over.
    pub fn guard(&self, group: AbortHandle) {
        *self.standing.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
    }

    /// What the coordinator asks for at the next boundary.
    ///
    /// # Errors
    /// The run is over.
    pub fn wishes(&mut self) -> Result<Wishes> {
        let orders = self.orders.borrow_and_update().clone();
        if let Some(reason) = orders.over {
            return Err(Error::Over(reason));
        }
        let asked = orders.checkpoint_request > self.checkpoints_served;
        self.checkpoints_served = orders.checkpoint_request;
        let at_stop = orders.stop.is_some_and(|stop| stop.checkpoint);
        Ok(Wishes { checkpoint: asked || at_stop, stop: orders.stop.is_some() })
    }

    /// Where the ranks of the generation meet.
    pub fn store(&self) -> RendezvousStore {
        let generation = Generation(self.standing.generation.load(Ordering::Relaxed));
        RendezvousStore::new(self.runtime.clone(), self.channel.clone(), generation)
    }

    /// For what this worker reports.
    pub fn voice(&self) -> Voice {
        Voice {
            client: MembershipClient::new(self.channel.clone()),
            member: self.member.clone(),
            generation: self.standing.generation.load(Ordering::Relaxed),
            patience: Duration::from_secs_f64(self.config.cluster.lost_after),
        }
    }

    /// Asks for the end of the run with a checkpoint, as an operator would: this worker was told to go.
    pub fn stop_on_signal(&self) {
        let (channel, member) = (self.channel.clone(), self.member.clone());
        self.runtime.spawn(async move {
            if signalled().await.is_err() {
                return;
            }
            tracing::info!("told to go: asking for the end of the run with a checkpoint; a second signal ends this process");
            let request = v1::StopRequest {
                request_id: format!("signal to worker {member}"),
                expected_generation: 0,
                checkpoint: true,
            };
            if let Err(status) = OperatorClient::new(channel).stop(request).await {
                tracing::warn!("the coordinator does not stop the run: {}", status.message());
            }
            if signalled().await.is_ok() {
                std::process::exit(proto::Exit::Lost.code().into());
            }
        });
    }

    /// Says goodbye, with the reason if there is one, and ends the heartbeats.
    pub fn leave(self, end: &Result<()>) {
        self.heartbeats.abort();
        let (exit_code, reason) = match end {
            Ok(()) => (0, String::new()),
            Err(error) => (error.exit().code().into(), error.to_string()),
        };
        let request = v1::LeaveRequest {
            member: self.member.clone(),
            generation: self.standing.generation.load(Ordering::Relaxed),
            finished: end.is_ok(),
            exit_code,
            reason,
        };
        let mut client = MembershipClient::new(self.channel.clone());
        if let Err(status) = self.runtime.block_on(client.leave(request)) {
            tracing::info!("the coordinator did not hear that this worker goes: {}", status.message());
        }
    }
}

/// Reports what this worker did. Calls are tried again while the coordinator does not answer.
#[derive(Clone)]
pub struct Voice {
    client: MembershipClient<Channel>,
    member: String,
    generation: u64,
    patience: Duration,
}

impl Voice {
    /// Metrics of committed steps, and rows that were replaced.
    ///
    /// # Errors
    /// A coordinator that refuses or is gone.
    pub async fn report(
        &self,
        steps: Vec<v1::StepReport>,
        substitutions: Vec<v1::Substitution>,
    ) -> Result<()> {
        let (member, generation) = (self.member.clone(), self.generation);
        let request = v1::ReportRequest { member, generation, steps, substitutions };
        let call = || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.report(request).await }
        };
        self.insist(call).await.map(drop)
    }

    /// A part of a checkpoint that lies in the store.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub async fn report_part(&self, part: v1::ReportPartRequest) -> Result<()> {
        let request =
            v1::ReportPartRequest { member: self.member.clone(), generation: self.generation, ..part };
        let call = || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.report_part(request).await }
        };
        self.insist(call).await.map(drop)
    }

    async fn insist<T, F>(&self, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, Status>>,
    {
        let start = Instant::now();
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(status) if passing(&status) && start.elapsed() < self.patience => {
                    tokio::time::sleep(AGAIN).await
                }
                Err(status) => return Err(refused(status)),
            }
        }
    }
}

async fn connect(url: &str, patience: Duration) -> Result<Channel> {
    let start = Instant::now();
    let unreachable = |reason: String| Error::Unreachable {
        url: url.into(),
        seconds: start.elapsed().as_secs_f64(),
        reason,
    };
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|e| unreachable(e.to_string()))?;
    let endpoint = endpoint.connect_timeout(CALL).tcp_nodelay(true).http2_keep_alive_interval(CALL);
    loop {
        match endpoint.connect().await {
            Ok(channel) => return Ok(channel),
            Err(_) if start.elapsed() < patience => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(unreachable(innermost(&error))),
        }
    }
}

/// The innermost cause, which names the real trouble.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// Whether a call may succeed when it is tried again.
fn passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

fn refused(status: Status) -> Error {
    match status.code() {
        _ if passing(&status) => Error::Over(format!("the coordinator is gone: {}", status.message())),
        _ => Error::Refused(status.message().into()),
    }
}

async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
