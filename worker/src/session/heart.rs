//! The task that listens to the coordinator and sends heartbeats, and publishes what they bring.

use super::link::{Ended, Link};
use super::{AGAIN, CALL, passing};
use crate::error::{Error, Result};
use c10d::AbortHandle;
use proto::v1::{self, directive::Kind, membership_client::MembershipClient};
use proto::{Exit, Generation};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::{Response, Status, Streaming};

/// Silence after which the coordinator is looked for elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// Bytes of log lines that go with a heartbeat.
const LINES: usize = 512 << 10;

/// What the coordinator wants, by its newest answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    pub(super) seat: Option<v1::Assignment>,
    /// Why there is no seat.
    pub(super) reason: String,
    pub(super) checkpoint_request: u64,
    pub(super) stop: Option<v1::Stop>,
    pub(super) regroup: bool,
    /// As operators have set them.
    pub(super) settings: v1::Settings,
    /// The newest request for one.
    pub(super) profile: Option<v1::Profile>,
    /// Why this worker has no part in the run any more.
    pub(super) end: Option<End>,
}

/// An end of this worker's membership.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The run is over.
    Over { reason: String, exit: Exit },
    /// The run goes on.
    Dismissed(String),
    /// The coordinator does not know this worker: it may join again.
    Refused(String),
}

impl End {
    /// The run is over, as its journal says.
    fn of(Ended { code, reason }: Ended) -> Self {
        Self::Over { reason, exit: Exit::from_code(code.into()).unwrap_or(Exit::Lost) }
    }

    pub(super) fn error(&self) -> Error {
        match self.clone() {
            Self::Over { reason, exit } => Error::Over { reason, exit },
            Self::Dismissed(reason) => Error::Dismissed(reason),
            Self::Refused(reason) => Error::Refused(reason),
        }
    }
}

impl Orders {
    /// Whether the worker has a seat in `generation`.
    pub(super) fn seated(&self, generation: u64) -> Result<()> {
        let unseated =
            |reason: &str| Error::Unseated { generation: Generation(generation), reason: reason.into() };
        match (&self.end, &self.seat) {
            (Some(End::Refused(reason)), _) => Err(unseated(reason)),
            (Some(end), _) => Err(end.error()),
            (None, Some(seat)) if seat.generation == generation => Ok(()),
            (None, _) => Err(unseated(&self.reason)),
        }
    }
}

/// What a heartbeat says, and what follows for the collectives.
#[derive(Default)]
pub(super) struct Standing {
    told: Mutex<v1::HeartbeatRequest>,
    changed: Notify,
    /// Ends the collectives when the seat is lost, so that nobody waits for peers that are gone.
    pub(super) group: Mutex<Option<AbortHandle>>,
}

impl Standing {
    fn told(&self) -> MutexGuard<'_, v1::HeartbeatRequest> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said at this moment.
    pub(super) fn now(&self) -> v1::HeartbeatRequest {
        self.told().clone()
    }

    /// A new name; the generations of the one before are over.
    pub(super) fn joined(&self, member: &str) {
        self.told().member = member.into();
    }

    /// Changes what is said, and says it at once where the coordinator waits for it.
    pub(super) fn say(&self, change: impl FnOnce(&mut v1::HeartbeatRequest)) {
        let mut told = self.told();
        let before = (told.phase, told.generation, told.broken);
        change(&mut told);
        if before != (told.phase, told.generation, told.broken) {
            self.changed.notify_one();
        }
    }

    /// The worker's name and generation, while it trains in one.
    pub(super) fn training(&self) -> Option<(String, u64)> {
        let told = self.told();
        let trains = matches!(told.phase(), v1::Phase::Training | v1::Phase::Finishing);
        trains.then(|| (told.member.clone(), told.generation))
    }

    pub(super) fn member(&self) -> String {
        self.told().member.clone()
    }

    pub(super) fn generation(&self) -> u64 {
        self.told().generation
    }
}

/// The task.
pub(super) struct Heart {
    link: Arc<Link>,
    standing: Arc<Standing>,
    publish: watch::Sender<Orders>,
    every: Duration,
    orphan_after: Duration,
    /// Of the newest directive: answers to calls and the stream may overtake each other.
    serial: u64,
    /// What is logged, as far as operators say.
    log: String,
    /// Somebody reads the log, and has it up to this line.
    read: Option<u64>,
}

impl Heart {
    pub(super) fn new(
        link: Arc<Link>,
        standing: Arc<Standing>,
        publish: watch::Sender<Orders>,
        every: Duration,
        orphan_after: Duration,
    ) -> Self {
        Self { link, standing, publish, every, orphan_after, serial: 0, log: String::new(), read: None }
    }

    /// Beats until this worker has no part in the run any more.
    pub(super) async fn beat(mut self) {
        let mut beats = interval(self.every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut searched) = (Instant::now(), Instant::now());
        let mut stream = None;
        loop {
            let told = tokio::select! {
                biased;
                told = next(&mut stream) => match told {
                    // A stream that breaks says nothing yet: the next call does.
                    Err(_) => { stream = None; continue }
                    told => told,
                },
                () = self.standing.changed.notified() => self.call().await,
                _ = beats.tick() => {
                    if stream.is_none() {
                        stream = self.attend().await;
                    }
                    self.call().await
                }
            };
            let end = match told {
                Ok(directive) => {
                    heard = Instant::now();
                    self.obey(directive)
                }
                Err(status) if passing(&status) && heard.elapsed() < self.orphan_after => {
                    let mut ended = None;
                    if heard.elapsed() > ELSEWHERE && searched.elapsed() > ELSEWHERE {
                        ended = self.link.search(self.patience()).await;
                        searched = Instant::now();
                    }
                    tokio::time::sleep(AGAIN.min(self.every)).await;
                    ended.map(End::of)
                }
                Err(status) if passing(&status) => {
                    let silence = heard.elapsed().as_secs_f64();
                    let reason =
                        format!("the coordinator was not heard for {silence:.0} s: {}", status.message());
                    Some(End::Over { reason, exit: Exit::Lost })
                }
                Err(status) => Some(End::Refused(status.message().into())),
            };
            if let Some(end) = end {
                self.publish.send_modify(|orders| orders.end = Some(end));
                return self.abort();
            }
        }
    }

    async fn attend(&self) -> Option<Streaming<v1::Directive>> {
        let mut client = MembershipClient::new(self.link.line());
        let attended = client.attend(v1::AttendRequest { member: self.standing.member() });
        timeout(self.patience(), attended).await.ok()?.ok().map(Response::into_inner)
    }

    /// How long a coordinator may take to answer before it is looked for elsewhere: its machine may be gone without a word.
    fn patience(&self) -> Duration {
        (self.every * 4).clamp(ELSEWHERE, CALL)
    }

    async fn call(&self) -> std::result::Result<v1::Directive, Status> {
        let mut client = MembershipClient::new(self.link.line());
        let mut told = self.standing.now();
        told.lines_after = self.read;
        if let Some(read) = self.read {
            (told.lines, told.newest_line) = telemetry::lines(read, LINES);
        }
        // Measured here: the time in which a connection is made is none of the call's.
        let answer = timeout(self.patience(), client.heartbeat(told)).await;
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))).map(Response::into_inner)
    }

    /// Publishes what a directive says; why this worker has no part in the run any more, if so.
    fn obey(&mut self, directive: v1::Directive) -> Option<End> {
        let v1::Directive { kind, checkpoint_request, stop, regroup, serial, settings, logs_after, profile } =
            directive;
        if serial < self.serial {
            return None;
        }
        self.serial = serial;
        let settings = settings.unwrap_or_default();
        self.heed(&settings.log, logs_after);
        let (seat, reason) = match kind {
            Some(Kind::Abort(v1::Abort { reason, exit_code })) => {
                let exit = i32::try_from(exit_code).ok().and_then(Exit::from_code).unwrap_or(Exit::Lost);
                return Some(End::Over { reason, exit });
            }
            Some(Kind::Dismiss(dismiss)) => return Some(End::Dismissed(dismiss.reason)),
            Some(Kind::Assignment(assignment)) => (Some(assignment), String::new()),
            Some(Kind::Wait(wait)) => (None, wait.reason),
            None => (None, String::new()),
        };
        let generation = self.standing.generation();
        let lost = seat.as_ref().is_none_or(|seat| seat.generation != generation);
        let orders = Orders { seat, reason, checkpoint_request, stop, regroup, settings, profile, end: None };
        self.publish.send_replace(orders);
        if lost {
            self.abort();
        }
        None
    }

    /// What operators want of the log.
    fn heed(&mut self, filter: &str, read: Option<u64>) {
        if self.log != filter {
            self.log = filter.into();
            telemetry::show(filter);
        }
        if self.read.is_none() && read.is_some() {
            self.standing.changed.notify_one();
        }
        self.read = read;
    }

    /// Ends the collectives of the seat that was lost.
    fn abort(&self) {
        let group = self.standing.group.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = group.as_ref().map(AbortHandle::abort) {
            tracing::warn!("the collectives can't be ended: {error}");
        }
    }
}

/// The next directive of the stream, if there is one.
async fn next(stream: &mut Option<Streaming<v1::Directive>>) -> std::result::Result<v1::Directive, Status> {
    match stream {
        None => pending().await,
        Some(open) => {
            let told = open.message().await?;
            told.ok_or_else(|| Status::unavailable("the coordinator has ended the stream"))
        }
    }
}
