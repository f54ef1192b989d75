//! From an assignment to a worker that can train: device, data, state, group.

use crate::checkpoint;
use crate::device;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::masking::Special;
use crate::pretrained::Start;
use crate::report::Outbox;
use crate::session::Session;
use crate::state::State;
use crate::step::Trainer;
use c10d::{Group, GroupSpec};
use proto::checkpoint::Part;
use proto::{Generation, GlobalStep, Rank, RunConfig, WorldSize, v1};
use shards::loader::{Loader, LoaderSpec};
use shards::manifest::{FROZEN, Manifest};
use shards::order::lanes_of;
use shards::store::Folder;
use shards::text::Tokenizer;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tch::Device;
use tokio::runtime::Handle;

/// One worker of one generation, ready to train.
pub(crate) struct Worker {
    pub(crate) config: RunConfig,
    pub(crate) rank: Rank,
    pub(crate) world: WorldSize,
    /// Pairs of every rank, by rank.
    pub(crate) counts: Vec<i64>,
    pub(crate) loader: Loader,
    pub(crate) trainer: Trainer,
    pub(crate) outbox: Outbox,
    pub(crate) ledger: Ledger,
}

/// Waits for the assignment and makes what it takes.
pub(crate) fn prepare(session: &mut Session, url: &str, interface: Option<&str>) -> Result<Worker> {
    let assignment = session.assignment()?;
    let config = session.config().clone();
    let (rank, world) = (Rank(assignment.rank), WorldSize(assignment.world_size));
    let resume = GlobalStep(assignment.resume_step);
    session.enter(v1::Phase::Preparing, resume);
    tracing::info!("rank {rank} of {world} in generation {}", assignment.generation);

    let device = device::choose(config.run.device, assignment.local_rank)?;
    let threads = device::threads(&config.run, assignment.local_world_size);
    device::set_threads(threads);
    let runtime = session.runtime().clone();
    let output = Folder::open(&config.run.output)?;
    let manifest = runtime.block_on(frozen(&output, &config, &assignment.manifest_fingerprint))?;
    let tokenizer = runtime.block_on(Tokenizer::open(&config.text.tokenizer))?;
    let special = special(&tokenizer, &config);

    let (state, newest) = state(&runtime, &config, &output, resume, device)?;
    let lanes = lanes_of(rank, world, config.data.lanes);
    let steps_per_epoch = manifest.rows() as f64 / f64::from(config.optimizer.batch);
    let loader = Loader::start(loader_spec(&config, lanes, resume, threads), manifest, tokenizer)?;
    let spec = GroupSpec {
        rank: rank.0,
        world_size: world.0,
        device,
        interface: interface.map_or_else(|| facing(url), str::to_owned),
        timeout: Duration::from_secs_f64(config.cluster.collective_timeout),
    };
    tracing::info!("meeting the other ranks on {}, with {threads} thread(s) on {device:?}", spec.interface);
    let group = Group::new(spec, Arc::new(session.store()))?;
    session.guard(group.abort_handle()?);
    let trainer = Trainer::new(&config, special, steps_per_epoch, state, group)?;
    let outbox = Outbox::start(&runtime, session.voice(), &output, (rank, world), newest);
    let (dataset, generation) = (&assignment.manifest_fingerprint, Generation(assignment.generation));
    let ledger = Ledger::new(&config, rank, dataset, generation, resume);
    let counts = counts(&config, world);
    Ok(Worker { config, rank, world, counts, loader, trainer, outbox, ledger })
}

/// The run's dataset as the coordinator froze it.
async fn frozen(output: &Folder, config: &RunConfig, fingerprint: &str) -> Result<Arc<Manifest>> {
    let name = output.path_of(FROZEN);
    let found = output.get(FROZEN).await?.unwrap_or_default();
    let manifest = Manifest::from_bytes(found, &name)?;
    let found = manifest.fingerprint();
    if found != fingerprint {
        let (expected, output) = (fingerprint.into(), config.run.output.clone());
        return Err(Error::Fingerprint { found, expected, output });
    }
    Ok(Arc::new(manifest))
}

/// The state before the first step, or that of a committed checkpoint, with the newest segment of its ledger.
fn state(
    runtime: &Handle,
    config: &RunConfig,
    output: &Folder,
    resume: GlobalStep,
    device: Device,
) -> Result<(State, Option<Part>)> {
    if resume.0 == 0 {
        let start = runtime.block_on(Start::new(config))?;
        start.report.iter().for_each(|line| tracing::info!("{line}"));
        return Ok((State::begin(config, start.student, start.teacher, device), None));
    }
    let mut state = State::new(config, device)?;
    let (folder, manifest) =
        runtime.block_on(checkpoint::manifest(&output.below(proto::checkpoint::FOLDER), resume))?;
    let (tensors, counters) = runtime.block_on(checkpoint::read(&folder, &manifest, |_| true))?;
    state.restore(tensors, counters)?;
    tracing::info!("went on from the checkpoint of step {resume}");
    Ok((state, Some(manifest.ledger)))
}

fn special(tokenizer: &Tokenizer, config: &RunConfig) -> Special {
    let special = tokenizer.special();
    Special {
        pad: special.pad,
        cls: special.cls,
        separator: (!config.objective.mask_separator).then_some(special.sep),
        mask: special.mask,
        vocabulary: tokenizer.vocabulary().into(),
    }
}

fn loader_spec(
    config: &RunConfig,
    lanes: std::ops::Range<u32>,
    from: GlobalStep,
    threads: usize,
) -> LoaderSpec {
    LoaderSpec {
        data: config.data.clone(),
        store: config.store.clone(),
        augment: config.augment.clone(),
        text: config.text.clone(),
        image_size: config.model.image_size,
        seed: config.run.seed,
        batch: config.optimizer.batch,
        lanes,
        from,
        decode_threads: match config.data.decode_threads {
            0 => threads,
            told => told as usize,
        },
    }
}

/// Pairs of every rank, by rank.
fn counts(config: &RunConfig, world: WorldSize) -> Vec<i64> {
    let per_lane = i64::from(config.optimizer.batch / config.data.lanes);
    let lanes = |rank| lanes_of(Rank(rank), world, config.data.lanes).len() as i64;
    (0..world.0).map(|rank| lanes(rank) * per_lane).collect()
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
    fn uneven_worlds_share_the_whole_batch() {
        let mut config = RunConfig::default();
        (config.optimizer.batch, config.data.lanes) = (24, 8);
        assert_eq!(counts(&config, WorldSize(3)), [6, 9, 9]);
        assert_eq!(counts(&config, WorldSize(1)), [24]);
    }
}
