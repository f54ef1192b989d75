//! Workers that speak to a coordinator like real ones, and train nothing.

use proto::v1::{self, directive::Kind, membership_client::MembershipClient};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tonic::transport::{Channel, Endpoint};

/// How often a worker says that it lives.
const EVERY: Duration = Duration::from_secs(1);
/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Workers that find out by themselves that a peer has died; the others are told.
const WITNESSES: usize = 2;

/// Many workers.
pub struct Fleet {
    workers: Vec<(JoinHandle<()>, Arc<Notify>)>,
    shared: Arc<Shared>,
    clock: JoinHandle<()>,
}

/// What the workers have in common.
struct Shared {
    /// Committed steps.
    step: watch::Sender<u64>,
    /// By generation, how many train in it.
    training: watch::Sender<HashMap<u64, usize>>,
    /// What made a worker end.
    failed: watch::Sender<Option<String>>,
    measures: AtomicBool,
    /// Of the answers to heartbeats, in seconds.
    latencies: Mutex<Vec<f64>>,
}

impl Shared {
    fn latencies(&self) -> MutexGuard<'_, Vec<f64>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    /// All join at once, within a runtime; whoever can't says so in [`all_train`](Self::all_train). Every `step` there is one more
    /// committed step.
    pub fn join(url: &str, count: usize, step: Duration) -> Self {
        let shared = Arc::new(Shared {
            step: watch::Sender::new(0),
            training: watch::Sender::default(),
            failed: watch::Sender::new(None),
            measures: AtomicBool::new(false),
            latencies: Mutex::default(),
        });
        let start = |number: usize| {
            let (url, shared, lost) = (url.to_owned(), shared.clone(), Arc::new(Notify::new()));
            let witness = lost.clone();
            let life = async move {
                if let Err(error) = Simulated::live(&url, number, shared.clone(), &lost).await {
                    shared.failed.send_replace(Some(format!("worker {number}: {error}")));
                }
            };
            (tokio::spawn(life), witness)
        };
        let workers = (0..count).map(start).collect();
        let ticking = shared.clone();
        let clock = tokio::spawn(async move {
            let mut steps = interval(step);
            loop {
                steps.tick().await;
                ticking.step.send_modify(|step| *step += 1);
            }
        });
        Self { workers, shared, clock }
    }

    /// Waits until so many train in one generation.
    ///
    /// # Errors
    /// A worker that failed, or a time that is over.
    pub async fn all_train(&mut self, count: usize) -> Result<(), String> {
        let (mut training, mut failed) = (self.shared.training.subscribe(), self.shared.failed.subscribe());
        let together = training.wait_for(|training| training.values().any(|here| *here == count));
        let why = tokio::select! {
            _ = together => None,
            why = failed.wait_for(Option::is_some) => why.ok().and_then(|why| why.clone()),
            () = tokio::time::sleep(PATIENCE) => Some(format!("{count} workers were not together in {PATIENCE:?}")),
        };
        self.shared.training.send_modify(HashMap::clear);
        why.map_or(Ok(()), Err)
    }

    /// Begins or ends to measure; returns what was measured so far.
    pub fn measure(&self, measures: bool) -> Vec<f64> {
        self.shared.measures.store(measures, Ordering::Relaxed);
        std::mem::take(&mut self.shared.latencies())
    }

    /// So many die without a word, and a few of the others notice; how many are left.
    pub fn kill(&mut self, count: usize) -> usize {
        let dead = self.workers.split_off(self.workers.len().saturating_sub(count));
        dead.iter().for_each(|(worker, _)| worker.abort());
        self.workers.iter().take(WITNESSES).for_each(|(_, lost)| lost.notify_one());
        self.workers.len()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.clock.abort();
        self.workers.iter().for_each(|(worker, _)| worker.abort());
    }
}

/// One of them.
struct Simulated {
    client: MembershipClient<Channel>,
    shared: Arc<Shared>,
    beat: v1::HeartbeatRequest,
    rank: u32,
    serial: u64,
}

impl Simulated {
    async fn live(url: &str, number: usize, shared: Arc<Shared>, lost: &Notify) -> Result<(), String> {
        let failed = |what: &'static str| move |error: tonic::Status| format!("{what}: {error}");
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
        let channel = endpoint.connect().await.map_err(|error| format!("connecting: {error:?}"))?;
        let mut client = MembershipClient::new(channel);
        let request = v1::JoinRequest {
            protocol: proto::PROTOCOL_VERSION,
            host: format!("node-{}", number / 8),
            pid: number as u32 + 1,
            ..v1::JoinRequest::default()
        };
        let member = client.join(request).await.map_err(failed("join"))?.into_inner().member;
        let attended = client.attend(v1::AttendRequest { member: member.clone() }).await;
        let mut stream = attended.map_err(failed("attend"))?.into_inner();
        let phase = v1::Phase::Waiting.into();
        // As many numbers as a real worker sends; the last is the straggler.
        let slow = if number % 1000 == 999 { 3.0 } else { 1.0 };
        let seconds = ["data", "encode", "gather", "learn", "vote", "update"]
            .map(|phase| (phase.to_owned(), 0.05 * slow))
            .into();
        let beat = v1::HeartbeatRequest { member, phase, seconds, ..v1::HeartbeatRequest::default() };
        let mut steps = shared.step.subscribe();
        let mut worker = Self { client, shared, beat, rank: u32::MAX, serial: 0 };
        let mut beats = interval(EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = stream.message() => match told.map_err(failed("stream"))? {
                    Some(directive) => worker.obey(directive).await?,
                    None => return Err("the stream has ended".into()),
                },
                _ = beats.tick() => worker.say().await?,
                () = lost.notified() => worker.step_back(true).await?,
                _ = steps.changed(), if worker.rank == 0 => worker.report().await?,
            }
        }
    }

    fn trains(&self) -> bool {
        self.beat.phase() == v1::Phase::Training
    }

    /// Sends a heartbeat, and does what the answer says.
    async fn say(&mut self) -> Result<(), String> {
        loop {
            if self.trains() {
                self.beat.applied_step = *self.shared.step.borrow();
            }
            let start = Instant::now();
            let told = self.client.heartbeat(self.beat.clone()).await;
            let directive = told.map_err(|error| format!("heartbeat: {error}"))?.into_inner();
            if self.shared.measures.load(Ordering::Relaxed) {
                self.shared.latencies().push(start.elapsed().as_secs_f64());
            }
            if !self.take(directive) {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, directive: v1::Directive) -> Result<(), String> {
        if self.take(directive) { self.say().await } else { Ok(()) }
    }

    /// Whether a directive makes another worker of this one, which has to be said at once.
    fn take(&mut self, directive: v1::Directive) -> bool {
        if directive.serial < self.serial {
            return false;
        }
        self.serial = directive.serial;
        match directive.kind {
            Some(Kind::Assignment(seat)) if seat.generation > self.beat.generation => {
                (self.beat.generation, self.rank) = (seat.generation, seat.rank);
                let generation = seat.generation;
                (self.beat.phase, self.beat.broken) = (v1::Phase::Training.into(), false);
                self.beat.settled_generation = generation;
                self.shared.training.send_modify(|training| *training.entry(generation).or_default() += 1);
                true
            }
            Some(Kind::Wait(_)) if self.trains() => self.wait(true),
            _ if directive.regroup && self.trains() => self.wait(false),
            _ => false,
        }
    }

    /// Its collectives have ended, by an error or as agreed.
    fn wait(&mut self, broken: bool) -> bool {
        (self.beat.phase, self.beat.broken, self.rank) = (v1::Phase::Waiting.into(), broken, u32::MAX);
        true
    }

    async fn step_back(&mut self, broken: bool) -> Result<(), String> {
        if self.trains() && self.wait(broken) { self.say().await } else { Ok(()) }
    }

    /// What rank 0 tells of every step.
    async fn report(&mut self) -> Result<(), String> {
        let step = *self.shared.step.borrow();
        let names =
            ["loss", "loss_itc", "loss_mlm", "loss_itm", "learning_rate", "temperature", "gradient_norm"];
        let scalars = names.into_iter().map(|name| (name.to_owned(), 1.0 / step as f64)).collect();
        let report = v1::StepReport { step, seconds: 0.5, data_wait_seconds: 0.0, pairs: 4096, scalars };
        let (member, generation) = (self.beat.member.clone(), self.beat.generation);
        let request =
            v1::ReportRequest { member, generation, steps: vec![report], substitutions: Vec::new() };
        match self.client.report(request).await {
            Ok(_) => Ok(()),
            // Its generation has just ended.
            Err(status) if status.code() == tonic::Code::FailedPrecondition => Ok(()),
            Err(status) => Err(format!("report: {status}")),
        }
    }
}

/// Of measured times, in seconds.
pub struct Percentiles {
    /// How many there are.
    pub count: usize,
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// All are.
    pub max: f64,
}

impl Percentiles {
    /// None of nothing.
    pub fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let at =
            |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len() - 1)).copied();
        let max = *times.last()?;
        Some(Self { count: times.len(), p50: at(0.5)?, p99: at(0.99)?, max })
    }
}
