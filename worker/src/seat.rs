//! From an assignment to a rank that can train: group, state, lanes. What needs no rank is ready before.

use crate::checkpoint::snapshot;
use crate::device;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::report::Share;
use crate::session::Session;
use crate::settle::{Holding, Settled};
use crate::step::Trainer;
use crate::vote::Ballot;
use crate::warm::Warm;
use c10d::{Group, GroupSpec};
use proto::{Generation, GlobalStep, Rank, RunConfig, WorldSize, v1};
use shards::ledger::Record;
use shards::loader::{Batch, Loader, LoaderSpec};
use shards::order::order_spec;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use telemetry::SPANS;

/// How often a wait for the other ranks looks whether it is still of use.
const LOOK: Duration = Duration::from_millis(10);

/// A rank of one generation.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) generation: Generation,
    pub(crate) rank: Rank,
    pub(crate) world: WorldSize,
    /// This rank's.
    pub(crate) lanes: Range<u32>,
    /// Pairs of every rank, by rank.
    pub(crate) counts: Vec<i64>,
    /// The newest committed checkpoint when the generation began; 0 for none.
    pub(crate) resume: GlobalStep,
    /// Steps between checkpoints when the generation began; 0: none but the last.
    pub(crate) checkpoint_every: u64,
    /// The generation that wrote that checkpoint.
    resume_by: Generation,
    /// Fingerprint of the dataset that the coordinator means.
    dataset: String,
    /// Threads of the tensor kernels.
    threads: usize,
}

impl Seat {
    pub(crate) fn new(assignment: &v1::Assignment, config: &RunConfig) -> Self {
        let rank = assignment.rank as usize;
        let alike = |(ranks, lanes): (&u32, &u32)| std::iter::repeat_n(*lanes, *ranks as usize);
        let lanes = assignment.ranks.iter().zip(&assignment.lanes).flat_map(alike);
        let lanes = lanes.take(assignment.world_size as usize);
        let lanes: Vec<u32> = lanes.collect();
        let first = lanes.iter().take(rank).sum();
        let own = lanes.get(rank).copied().unwrap_or_default();
        let per_lane = i64::from(config.optimizer.batch / config.data.lanes);
        Self {
            generation: Generation(assignment.generation),
            rank: Rank(assignment.rank),
            world: WorldSize(assignment.world_size),
            lanes: first..first + own,
            counts: lanes.iter().map(|lanes| i64::from(*lanes) * per_lane).collect(),
            resume: GlobalStep(assignment.resume_step),
            checkpoint_every: assignment.checkpoint_every,
            resume_by: Generation(assignment.resume_generation),
            dataset: assignment.manifest_fingerprint.clone(),
            threads: device::threads(&config.run, assignment.local_world_size),
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.rank == Rank(0)
    }

    /// Meets the other ranks.
    pub(crate) fn meet(&self, session: &Session, warm: &Warm, interface: Option<&str>) -> Result<Group> {
        let cluster = &warm.config.cluster;
        device::set_threads(self.threads);
        let spec = GroupSpec {
            rank: self.rank.0,
            world_size: self.world.0,
            device: warm.device,
            interface: interface.map_or_else(|| facing(&session.url()), str::to_owned),
            meeting: Duration::from_secs_f64(cluster.meeting_timeout),
            timeout: Duration::from_secs_f64(cluster.collective_timeout),
        };
        let (rank, world, generation) = (self.rank, self.world, self.generation);
        tracing::info!("rank {rank} of {world} in generation {generation}: meeting on {}", spec.interface);
        let group = met(session, spec)?;
        session.guard(group.abort_handle()?);
        // The seat may have been lost before there was anything to end.
        session.seated()?;
        Ok(group)
    }

    /// This rank's pairs of the steps after `from`.
    pub(crate) fn load(&self, warm: &Warm, from: GlobalStep) -> Result<Loader> {
        let Warm { config, manifest, tokenizer, .. } = warm;
        let spec = LoaderSpec {
            data: config.data.clone(),
            store: config.store.clone(),
            augment: config.augment.clone(),
            text: config.text.clone(),
            image_size: config.model.image_size,
            seed: config.run.seed,
            batch: config.optimizer.batch,
            lanes: self.lanes.clone(),
            from,
            decode_threads: match config.data.decode_threads {
                0 => self.threads,
                told => told as usize,
            },
        };
        Ok(Loader::start(spec, manifest.clone(), tokenizer.clone())?)
    }

    /// What this rank brings to the vote about `batch`.
    pub(crate) fn ballot(&self, session: &mut Session, warm: &Warm, batch: &Batch) -> Result<Ballot> {
        let asked = session.wishes()?;
        let record = Record::of(batch, &order_spec(&warm.config));
        let mut ballot = Ballot { record, first_lane: self.lanes.start, ..Ballot::default() };
        // One request is heard at one boundary, by one rank; and one rank writes what all would.
        if self.leads() {
            (ballot.wishes, ballot.safe) = (asked, warm.outbox.safe());
            ballot.heeded = session.heeded();
        }
        Ok(ballot)
    }

    /// This rank's share of a checkpoint of what it holds.
    pub(crate) fn share(
        &self,
        session: &mut Session,
        trainer: &Trainer,
        ledger: &Ledger,
        last: bool,
    ) -> Result<Share> {
        let request = if self.leads() { session.serve() } else { 0 };
        Ok(Share {
            snapshot: snapshot(trainer.state(), self.generation, self.rank, self.world)?,
            generation: self.generation,
            rank: self.rank.0,
            parts: self.world.0,
            ledger: ledger.newest().cloned().filter(|_| self.leads()),
            request,
            last,
        })
    }
}

/// What a rank trains with.
pub(crate) struct Place {
    pub(crate) group: Group,
    pub(crate) loader: Loader,
    /// What the state is that the generation began with.
    pub(crate) settled: Settled,
}

/// Takes a seat: meets the others, makes one state of what all hold, and starts to read.
pub(crate) fn sit(
    session: &Session,
    warm: &Warm,
    seat: &Seat,
    holding: &mut Holding,
    interface: Option<&str>,
) -> Result<Place> {
    warm.check(&seat.dataset)?;
    let Seat { generation, rank, .. } = *seat;
    let _span =
        tracing::trace_span!(target: SPANS, "sit", generation = generation.0 as i64, rank = i64::from(rank.0)).entered();
    let mut group =
        tracing::trace_span!(target: SPANS, "meet").in_scope(|| seat.meet(session, warm, interface))?;
    let first = warm.first(session.runtime(), (seat.resume_by, seat.resume));
    let steps = warm.steps_per_epoch;
    let settled = tracing::trace_span!(target: SPANS, "settle")
        .in_scope(|| holding.settle(&warm.config, steps, generation, &first, &mut group))?;
    let loader = seat.load(warm, holding.state.step)?;
    Ok(Place { group, loader, settled })
}

/// Makes the group on a thread of its own: nothing can end libtorch's connecting to a peer that is gone, so one that lasts too long is
/// left to itself, and ends with its connections when it is done.
fn met(session: &Session, spec: GroupSpec) -> Result<Group> {
    let (start, patience) = (Instant::now(), spec.meeting);
    let (sender, receiver) = channel();
    let store = Arc::new(session.store());
    let make = move || {
        // Nobody waits any more for one that is late.
        let _ = sender.send(Group::new(spec, store));
    };
    let thread = thread::Builder::new().name("meeting".into()).spawn(make);
    thread.map_err(|error| Error::System(format!("starting a thread: {error}")))?;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(group) => return Ok(group?),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::System("the thread that meets the other ranks broke off".into()));
            }
            Err(RecvTimeoutError::Timeout) => session.seated()?,
        }
        if start.elapsed() > patience {
            return Err(Error::Unmet { seconds: patience.as_secs_f64() });
        }
    }
}

/// The address of this machine from which the coordinator is reached; loopback where that can't be told. A UDP socket that is
/// connected sends nothing.
fn facing(url: &str) -> String {
    let authority = url.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let local = |address: SocketAddr| {
        let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(address).ok()?;
        Some(socket.local_addr().ok()?.ip().to_string())
    };
    let mut addresses = authority.to_socket_addrs().into_iter().flatten();
    addresses.find_map(local).unwrap_or_else(|| "127.0.0.1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_on_this_machine_is_faced_from_loopback() {
        assert_eq!(facing("http://127.0.0.1:7070"), "127.0.0.1");
        assert_eq!(facing("http://no such host/"), "127.0.0.1");
    }

    #[test]
    fn ranks_of_different_weight_share_the_whole_batch() {
        let mut config = RunConfig::default();
        (config.optimizer.batch, config.data.lanes) = (24, 8);
        let assignment = |rank| v1::Assignment {
            rank,
            world_size: 3,
            ranks: vec![1, 2],
            lanes: vec![2, 3],
            ..Default::default()
        };
        let seats = [0, 1, 2].map(|rank| Seat::new(&assignment(rank), &config));
        assert!(seats.iter().all(|seat| seat.counts == [6, 9, 9]));
        assert_eq!(seats.map(|seat| seat.lanes), [0..2, 2..5, 5..8]);
    }
}
