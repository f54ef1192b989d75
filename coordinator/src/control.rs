//! The run as the services, the supervisor and the display share it: the decisions of [`Membership`], and what follows
//! from them in the rendezvous, the checkpoints, the metrics and the published [`Snapshot`].

mod clock;
mod commits;
mod logs;
mod profiles;
mod snapshot;
mod status;

pub use clock::Clock;
pub use logs::Reader;
pub use snapshot::Snapshot;
pub use status::phase;

use crate::{
    checkpoints::{CheckpointError, Checkpoints, Prepared},
    journal::{Asked, Trail},
    membership::{Beat, MemberId, Membership, Refusal, State},
    metrics::{self, MetricsError, Recorder},
    pace::Pace,
    rendezvous::Rendezvous,
};
use logs::Taps;
use profiles::Profiles;
use proto::{Exit, Generation, GlobalStep, v1};
use snapshot::Outlook;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::watch,
    task::block_in_place,
    time::Instant,
};

/// What a worker that joins is handed.
#[derive(Clone, Debug)]
pub struct Handout {
    /// The run's name.
    pub run: String,
    /// The whole configuration, TOML.
    pub config: String,
    /// Its hash.
    pub config_hash: String,
    /// Milliseconds between heartbeats.
    pub heartbeat_ms: u32,
    /// Pairs of a global batch.
    pub batch: u32,
    /// How long files that can't be written are tolerated.
    pub patience: Duration,
}

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Who reports is not a member.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A part's report or its commit failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Metrics can't be written.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// Consequences that take longer are not drawn after each event by itself.
const BRIEF: Duration = Duration::from_micros(200);

/// The membership, and what was last told of it.
struct Held {
    membership: Membership,
    /// The number of decisions so far, which orders the directives.
    serial: u64,
    outlook: Outlook,
    /// When consequences may be drawn again that can wait.
    rested: Duration,
}

impl Held {
    fn directive(&self, id: MemberId) -> Result<v1::Directive, Refusal> {
        let directive = self.membership.directive(id, &self.outlook.bulletin)?;
        Ok(v1::Directive { serial: self.serial, ..directive })
    }
}

/// The shared run. Its locks are never held over an await.
pub struct Control {
    started: Instant,
    handout: Handout,
    held: Mutex<Held>,
    pace: Mutex<Pace>,
    clock: Mutex<Clock>,
    /// What each worker's last step took, by phase.
    laps: Mutex<HashMap<MemberId, HashMap<String, f64>>>,
    taps: Mutex<Taps>,
    profiles: Mutex<Profiles>,
    /// Of the newest report. Apart from the recorder, whose lock is held while files are written.
    latest: Mutex<metrics::Latest>,
    rendezvous: Rendezvous,
    checkpoints: Checkpoints,
    /// By generation and step, the newest request that the checkpoint being written answers.
    answers: Mutex<BTreeMap<(Generation, GlobalStep), u64>>,
    /// The newest checkpoint of which all parts are there, until it is committed or given up.
    prepared: Mutex<Option<Prepared>>,
    recorder: Mutex<Recorder>,
    trail: Trail,
    /// What operators have asked for and the journal does not have yet.
    asked: Mutex<VecDeque<Asked>>,
    /// Since when metrics can't be written.
    failing: Mutex<Option<Instant>>,
    published: watch::Sender<Snapshot>,
    /// Counts the decisions on which others have to act.
    turns: watch::Sender<u64>,
}

impl Control {
    /// A run that waits for its workers. The clock of `membership` begins now.
    pub fn new(
        handout: Handout,
        membership: Membership,
        checkpoints: Checkpoints,
        recorder: Recorder,
        trail: Trail,
    ) -> Self {
        let latest = recorder.latest();
        let epoch = membership.epoch();
        let outlook = Outlook::of(&membership);
        let first =
            Snapshot::of(&membership, &outlook, Duration::ZERO, &Pace::default(), handout.batch, &latest);
        Self {
            started: Instant::now(),
            handout,
            // Numbers of a later coordinator are larger, however long this one lives.
            held: Mutex::new(Held { membership, serial: epoch << 40, outlook, rested: Duration::ZERO }),
            pace: Mutex::default(),
            clock: Mutex::default(),
            laps: Mutex::default(),
            taps: Mutex::default(),
            profiles: Mutex::default(),
            latest: Mutex::new(latest),
            rendezvous: Rendezvous::default(),
            checkpoints,
            answers: Mutex::default(),
            prepared: Mutex::default(),
            recorder: Mutex::new(recorder),
            trail,
            asked: Mutex::default(),
            failing: Mutex::default(),
            published: watch::Sender::new(first),
            turns: watch::Sender::new(0),
        }
    }

    /// What a worker that joins is handed.
    pub fn handout(&self) -> &Handout {
        &self.handout
    }

    /// Where the ranks meet.
    pub fn rendezvous(&self) -> &Rendezvous {
        &self.rendezvous
    }

    /// The run as it changes.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.published.subscribe()
    }

    /// Changes whenever something is decided on which others have to act.
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// Looks at the membership.
    pub fn look<T>(&self, at: impl FnOnce(&Membership) -> T) -> T {
        at(&lock(&self.held).membership)
    }

    /// What a member has to do.
    ///
    /// # Errors
    /// A worker that is unknown.
    pub fn directive(&self, id: MemberId) -> Result<v1::Directive, Refusal> {
        let logs_after = self.read_until(id);
        let directive = lock(&self.held).directive(id)?;
        Ok(v1::Directive { logs_after, ..directive })
    }

    /// Takes a worker's heartbeat.
    ///
    /// # Errors
    /// A worker that is unknown or of another generation.
    pub fn heartbeat(&self, beat: Beat) -> Result<v1::Directive, Refusal> {
        let id = beat.member;
        self.turn(true, |membership, now| membership.heartbeat(beat, now))?;
        self.directive(id)
    }

    /// A worker joins, listens, or has ceased to: as [`decide`](Self::decide), but where that takes long for many workers,
    /// consequences are drawn for several such events together.
    pub fn admit<T>(&self, act: impl FnOnce(&mut Membership, Duration) -> T) -> T {
        self.turn(true, act)
    }

    /// Does what an operator asks for, and has it written into the journal, unless it is refused.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn ask<T>(
        &self,
        asked: Asked,
        act: impl FnOnce(&mut Membership, Duration) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let answer = self.decide(|membership, now| {
            let answer = act(membership, now)?;
            tracing::info!("{} asks: {}", asked.by, asked.what);
            lock(&self.asked).push_back(asked);
            Ok(answer)
        })?;
        self.turns.send_modify(|turns| *turns += 1);
        Ok(answer)
    }

    /// The first request that the journal does not have yet.
    pub fn asked(&self) -> Option<Asked> {
        lock(&self.asked).front().cloned()
    }

    /// The journal has it.
    pub fn forget_asked(&self) {
        lock(&self.asked).pop_front();
    }

    /// The run's journal.
    pub fn trail(&self) -> Trail {
        self.trail.clone()
    }

    /// Lets `act` decide with the present time, and does what follows from it.
    pub fn decide<T>(&self, act: impl FnOnce(&mut Membership, Duration) -> T) -> T {
        self.turn(false, act)
    }

    fn turn<T>(&self, may_wait: bool, act: impl FnOnce(&mut Membership, Duration) -> T) -> T {
        let now = self.started.elapsed();
        let held = &mut *lock(&self.held);
        held.serial += 1;
        held.membership.put_off();
        let answer = act(&mut held.membership, now);
        if !may_wait || (held.membership.is_stirred() && now >= held.rested) {
            self.follow(held, now);
        }
        answer
    }

    /// Draws the consequences, and does what follows from them.
    fn follow(&self, held: &mut Held, now: Duration) {
        held.membership.catch_up(now);
        let membership = &held.membership;
        let after = Outlook::of(membership);
        let before = std::mem::replace(&mut held.outlook, after);
        let Outlook { bulletin, acts } = &held.outlook;
        if (before.acts.state, &before.bulletin.reason) != (acts.state, &bulletin.reason) {
            tracing::info!(state = acts.state.word(), "{}", bulletin.reason);
        }
        if before.acts.generation != acts.generation {
            self.rendezvous.open(acts.generation);
        }
        if acts.state.is_final() || !acts.together {
            self.rendezvous.close(&bulletin.reason);
        }
        if before.acts != *acts {
            self.turns.send_modify(|turns| *turns += 1);
        }
        let mut pace = lock(&self.pace);
        if matches!(acts.state, State::Training | State::Stopping) {
            pace.observe(membership.step(), now);
        }
        lock(&self.clock).observe(acts.state, before.acts.departed_until(acts), now);
        let latest = lock(&self.latest);
        let snapshot = Snapshot::of(membership, &held.outlook, now, &pace, self.handout.batch, &latest);
        self.published.send_replace(snapshot);
        let done = self.started.elapsed();
        let took = done.saturating_sub(now);
        // At most a fifth of the time goes into it.
        held.rested = if took > BRIEF { done + took * 4 } else { done };
    }

    /// Writes the metrics of committed steps, and which rows were replaced.
    ///
    /// # Errors
    /// Who is no member of the current generation; files that can't be written, which may be tried again and in the end ends the run.
    pub fn report(
        &self,
        member: MemberId,
        generation: Generation,
        steps: &[v1::StepReport],
        substitutions: &[v1::Substitution],
    ) -> Result<(), ReportError> {
        self.look(|membership| membership.rank_of(member, generation))?;
        *lock(&self.latest) = self.blocking(|recorder| recorder.record(steps, substitutions))?;
        self.decide(|_, _| ());
        Ok(())
    }

    /// A generation begins at the step `from`: what was written of later ones is done again.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn rewind(&self, generation: Generation, from: GlobalStep) -> Result<(), MetricsError> {
        let latest = self.blocking(|recorder| recorder.begin(generation, from))?;
        let again = latest.step < lock(&self.latest).step;
        *lock(&self.latest) = latest;
        if again {
            *lock(&self.pace) = Pace::default();
        }
        Ok(())
    }

    /// Writes files, while other tasks leave this thread. What can't be written is asked for again, and ends the run if that does
    /// not help.
    fn blocking(
        &self,
        act: impl FnOnce(&mut Recorder) -> Result<(), MetricsError>,
    ) -> Result<metrics::Latest, MetricsError> {
        let work = || {
            let mut recorder = lock(&self.recorder);
            act(&mut recorder).map(|()| recorder.latest())
        };
        let done = match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => block_in_place(work),
            // A test has its thread to itself.
            _ => work(),
        };
        let mut failing = lock(&self.failing);
        match &done {
            Ok(_) => *failing = None,
            Err(error) if failing.get_or_insert_with(Instant::now).elapsed() > self.handout.patience => {
                self.decide(|membership, _| membership.fail(Exit::Output, error.to_string()));
            }
            Err(error) => tracing::warn!("the run goes on, and its metrics wait: {error}"),
        }
        done
    }

    /// Looks at the metrics so far.
    pub fn recorder(&self) -> MutexGuard<'_, Recorder> {
        lock(&self.recorder)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
