//! From a run file to a run that can start: everything that can be found wrong is found here, before a worker holds a device.

mod kept;

use crate::{
    Error, Result,
    args::Layers,
    checkpoints::{self, Checkpoints, Identity, retention},
    control::{Control, Handout},
    journal::{self, Committed, End, Event, Journal, Opening},
    membership::{Membership, Past, Seat, Spec},
    metrics::Recorder,
    page::Beside,
    server,
    settings::Settings,
};
use proto::{Exit, Generation, GlobalStep, RunConfig, WorldSize, checkpoint, config};
use shards::{
    committed,
    image::check_operations,
    manifest::Manifest,
    order::{Order, order_spec},
    reader::Reader,
    store::{Folder, absolute, local_path},
    text::Tokenizer,
};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// The file with the URL of a run's coordinator, while it runs.
pub const URL: &str = "coordinator.url";

/// A run that waits for its workers.
pub struct Launch {
    /// With its places made absolute.
    pub config: RunConfig,
    /// The folder of this machine that gets metrics, logs and pictures.
    pub folder: PathBuf,
    /// The run.
    pub lead: Lead,
    /// What its page shows beside it.
    pub beside: Beside,
    /// Where the coordinator will serve.
    pub listener: TcpListener,
    /// The URL that workers are given.
    pub url: String,
}

/// A run as the one coordinator has it that may decide.
pub struct Lead {
    /// The run.
    pub control: Arc<Control>,
    /// Its decisions.
    pub journal: Journal,
    /// The step that it goes on from; 0 when it is fresh.
    pub resume: GlobalStep,
    /// Workers of an earlier coordinator that may still be at work.
    pub adopted: Vec<Seat>,
    /// What is other than before, for the log.
    pub notes: Vec<String>,
}

/// What came of it.
pub enum Start {
    /// Workers may come.
    Ready(Box<Launch>),
    /// The last step is in a committed checkpoint.
    Done(Box<RunConfig>),
}

/// Checks a run and prepares it. With `guarded` its URL is an encrypted one, and others may reach it.
///
/// # Errors
/// Whatever is wrong with configuration, dataset, tokenizer, output, or port.
pub async fn start(layers: &Layers, resume: bool, guarded: bool) -> Result<Start> {
    let config = settle(resolve(layers)?)?;
    let output = Folder::open(&config.run.output)?;
    let found = committed::newest(&output.below(checkpoint::FOLDER)).await?;
    let before = Journal::look(&output).await?.unwrap_or_default();
    if !resume {
        check_unused(&config, found.as_ref(), &before)?;
    }
    let manifest = check_data(&config).await?;
    let fingerprint = manifest.fingerprint();
    let from = found.as_ref().map_or(GlobalStep(0), |found| found.step);
    if from.0 == 0 {
        check_weights(&config).await?;
    }
    kept::check_same_run(found.as_ref(), &config)?;
    let begun = from.0 > 0 || is_going_on(&before);
    kept::freeze(&output, &manifest, &config, begun).await?;
    kept::freeze_tokenizer(&output, &config, begun).await?;
    if from.0 >= config.optimizer.steps && before.ended.is_some() && !before.rewound {
        return Ok(Start::Done(Box::new(config)));
    }

    let beside = Beside {
        rows: Reader::new(manifest, &config.store)?,
        output: output.clone(),
        audience: Arc::default(),
    };
    let listener = server::listen(&config.cluster.listen, guarded).await?;
    let address = listener
        .local_addr()
        .map_err(|source| Error::Listen { address: config.cluster.listen.clone(), source })?;
    let scheme = if guarded { "https" } else { "http" };
    let url = format!("{scheme}://{}", reached_at(&config.cluster.advertise, address));
    let scratch = scratch(&config);
    let Some(lead) = lead(&output, &config, fingerprint, (&url, &scratch), resume).await? else {
        return Ok(Start::Done(Box::new(config)));
    };
    Ok(Start::Ready(Box::new(Launch { config, folder: scratch, lead, beside, listener, url })))
}

/// Where others reach a coordinator that listens on `address`.
fn reached_at(advertise: &str, address: SocketAddr) -> String {
    let host = match address.ip() {
        _ if !advertise.is_empty() => advertise.to_owned(),
        ip if ip.is_unspecified() => gethostname::gethostname().to_string_lossy().into_owned(),
        _ => return address.to_string(),
    };
    let authority: Option<axum::http::uri::Authority> = host.parse().ok();
    match authority {
        Some(whole) if whole.port().is_some() => host,
        _ => format!("{host}:{}", address.port()),
    }
}

/// Takes the lead of a run: opens its journal, and goes on from what is there. None where its last step is committed.
///
/// # Errors
/// Those of the journal and of the checkpoints, and a `folder` that can't be written.
pub async fn lead(
    output: &Folder,
    config: &RunConfig,
    fingerprint: String,
    (url, folder): (&str, &Path),
    resume: bool,
) -> Result<Option<Lead>> {
    let (journal, before) =
        Journal::open(output, Opening::here(&config.run.name, url, config.hash())).await?;
    let checkpoints = output.below(checkpoint::FOLDER);
    // Whoever had the journal open may have committed one meanwhile, and commits none from now on.
    if let Some(decided) = before.committed.filter(|_| resume) {
        checkpoints::complete(&checkpoints, (decided.generation, decided.step)).await?;
        if before.rewound {
            retention::remove_after(&checkpoints, decided.step).await?;
        }
    }
    let found = committed::newest(&checkpoints).await?;
    if !resume {
        check_unused(config, found.as_ref(), &before)?;
    }
    let mut notes = kept::check_same_run(found.as_ref(), config)?;
    let from = found.as_ref().map_or(GlobalStep(0), |found| found.step);
    if from.0 >= config.optimizer.steps {
        let reason = format!("all {} steps are done", config.optimizer.steps);
        journal.append(Event::Ended(End::new(Exit::Done, reason))).await?;
        return Ok(None);
    }
    if before.committed.is_some_and(|decided| decided.step > from) {
        // A person has removed what came after, and what is committed from now on has to be news.
        let newest =
            |found: &checkpoint::Manifest| Committed { step: from, generation: found.generation, request: 0 };
        journal.append(Event::Rewound(found.as_ref().map(newest))).await?;
    }
    let spec = as_asked(spec(config, fingerprint.clone()), &before, config, &mut notes);
    let past = adopt(before, journal.epoch(), found.as_ref(), config);
    // A generation that goes on does no step again.
    let again = past.seats.is_empty().then_some(from);
    let recorder = open_folder(folder, config, past.generation.next(), again, url)?;
    let identity = Identity { run: config.run.name.clone(), config: config.to_toml(), dataset: fingerprint };
    let adopted = past.seats.clone();
    let control = Control::new(
        handout(config),
        Membership::new(spec, past, Duration::ZERO),
        Checkpoints::new(output, identity, &config.checkpoint),
        recorder,
        journal.trail(),
    );
    Ok(Some(Lead { control: Arc::new(control), journal, resume: from, adopted, notes }))
}

/// Whether a run has workers, as far as its journal knows.
fn is_going_on(past: &journal::Past) -> bool {
    past.ended.is_none() && !past.seats.is_empty()
}

/// Only a resume goes on from what is there, and takes it from a coordinator that may still run.
fn check_unused(
    config: &RunConfig,
    found: Option<&checkpoint::Manifest>,
    before: &journal::Past,
) -> Result<()> {
    let output = config.run.output.clone();
    match found {
        Some(found) => Err(Error::Exists { output, step: found.step }),
        None if is_going_on(before) => Err(Error::GoingOn { output, url: before.by.url.clone() }),
        None => Ok(()),
    }
}

/// What the membership begins with. Workers of an earlier coordinator are taken over if they have the same configuration.
fn adopt(
    before: journal::Past,
    epoch: u64,
    found: Option<&checkpoint::Manifest>,
    config: &RunConfig,
) -> Past {
    let (step, wrote) = found.map(|found| (found.step, found.generation)).unwrap_or_default();
    // A run that was rolled back to it has a newer number for it.
    let decided = before.committed.filter(|decided| decided.step == step);
    let generation = decided.map_or(wrote, |decided| decided.generation.max(wrote));
    let answered = before.committed.map_or(0, |committed| committed.request);
    let past = Past {
        epoch,
        generation: before.generation.max(generation),
        committed: step,
        committed_by: generation,
        answered,
        paused: before.paused.clone().filter(|_| before.ended.is_none()),
        ..Past::default()
    };
    if !is_going_on(&before) || before.by.config != config.hash() || before.generation < generation {
        return past;
    }
    let mut seats = before.seats;
    seats.sort_by_key(|seat| seat.rank);
    let seat = |seat: journal::Seat| {
        let journal::Seat { member, host, pid, weight, spare, slot, .. } = seat;
        Some(Seat { member: member.parse().ok()?, host, pid, weight, spare, slot })
    };
    let drained = before.drained.iter().filter_map(|name| name.parse().ok()).collect();
    // All or none: a rank is a place among them.
    let seats = seats.into_iter().map(seat).collect::<Option<Vec<Seat>>>().unwrap_or_default();
    Past { seats, drained, stop: before.stopping, ..past }
}

/// Resolves the configuration's layers.
///
/// # Errors
/// A run file that can't be read, and every fault of the configuration.
pub fn resolve(layers: &Layers) -> Result<RunConfig> {
    let (origin, file) = match &layers.config {
        None => ("defaults".into(), String::new()),
        Some(path) => {
            let read = |source| Error::Read { path: path.clone(), source };
            (path.display().to_string(), fs::read_to_string(path).map_err(read)?)
        }
    };
    Ok(config::resolve(&origin, &file, &layers.sets)?)
}

/// Workers start elsewhere: places are made absolute before anybody else sees them.
fn settle(mut config: RunConfig) -> Result<RunConfig> {
    let RunConfig { data, store, text, run, model, .. } = &mut config;
    let given = [&mut model.init, &mut model.init_image, &mut model.init_text, &mut store.cache]
        .into_iter()
        .filter(|place| !place.is_empty());
    let sources = data.source.iter_mut().flat_map(|source| source.location.all_mut());
    let index = Some(&mut data.index).filter(|index| !index.is_empty());
    let named = [&mut text.tokenizer, &mut run.output].into_iter().chain(given).chain(index);
    let train = data.train.all_mut().iter_mut().filter(|place| !place.is_empty());
    for place in named.chain(train).chain(sources) {
        *place = absolute(place)?;
    }
    Ok(config)
}

/// The folder of this machine for what is no checkpoint: the output, or one named after the run where that is elsewhere.
fn scratch(config: &RunConfig) -> PathBuf {
    local_path(&config.run.output).unwrap_or_else(|| PathBuf::from("runs").join(&config.run.name))
}

async fn check_data(config: &RunConfig) -> Result<Arc<Manifest>> {
    check_operations(&config.augment).map_err(shards::Error::from)?;
    let entries = Tokenizer::open(&config.text.tokenizer).await?.vocabulary();
    if entries != config.model.vocabulary {
        let (file, vocabulary) = (config.text.tokenizer.clone(), config.model.vocabulary);
        return Err(Error::Vocabulary { file, entries, vocabulary });
    }
    let manifest = Arc::new(Manifest::open(&config.data, &config.store).await?);
    Reader::new(manifest.clone(), &config.store)?.check_images().await?;
    Order::of(&manifest, order_spec(config)).check()?;
    Ok(manifest)
}

/// The files that a fresh run takes weights from are there; what is in them is for the workers, who can read it.
async fn check_weights(config: &RunConfig) -> Result<()> {
    let model = &config.model;
    let given = [
        ("model.init", &model.init),
        ("model.init_image", &model.init_image),
        ("model.init_text", &model.init_text),
    ];
    for (key, place) in given.into_iter().filter(|(_, place)| !place.is_empty()) {
        let folder = Folder::open(place)?;
        let mut there = false;
        for name in ["", "model.safetensors", "pytorch_model.bin"] {
            there = there || folder.size(name).await.ok().flatten().is_some();
        }
        if !there {
            let reason = "there is no file, and no folder with model.safetensors or pytorch_model.bin".into();
            return Err(shards::Error::Value { name: key, value: place.clone(), reason }.into());
        }
    }
    Ok(())
}

fn open_folder(
    folder: &Path,
    config: &RunConfig,
    generation: Generation,
    resume: Option<GlobalStep>,
    url: &str,
) -> Result<Recorder> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })
    };
    fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.into(), source })?;
    write("config.toml", &config::annotated(config))?;
    write(URL, url)?;
    Ok(Recorder::open(folder.into(), generation, resume)?)
}

fn handout(config: &RunConfig) -> Handout {
    Handout {
        run: config.run.name.clone(),
        config: config.to_toml(),
        config_hash: config.hash(),
        heartbeat_ms: config.cluster.heartbeat_ms,
        batch: config.optimizer.batch,
        patience: Duration::from_secs_f64(config.store.retry_seconds),
    }
}

fn spec(config: &RunConfig, fingerprint: String) -> Spec {
    Spec {
        wanted: WorldSize(config.run.workers),
        least: WorldSize(config.min_workers()),
        most: WorldSize(config.max_workers()),
        lanes: config.data.lanes,
        grace: Duration::from_secs_f64(config.cluster.grace),
        lost_after: Duration::from_secs_f64(config.cluster.lost_after),
        steps: GlobalStep(config.optimizer.steps),
        settings: Settings::of(config),
        fingerprint,
    }
}

/// With what operators have asked an earlier coordinator for, as long as the configuration is the same: their settings also hold
/// after the run's end, the number of workers does not.
fn as_asked(mut spec: Spec, before: &journal::Past, config: &RunConfig, notes: &mut Vec<String>) -> Spec {
    let same = before.by.config == config.hash();
    if let Some(scale) = before.scale.filter(|_| same && before.ended.is_none()) {
        (spec.wanted, spec.least) = (WorldSize(scale.workers), WorldSize(scale.min_workers));
        spec.most = WorldSize(scale.max_workers);
    }
    match &before.settings {
        Some(settings) if same => {
            notes.push(format!("as operators have set it: {settings}"));
            spec.settings = settings.clone();
        }
        Some(settings) => notes.push(format!("the run file has changed, so it is no longer set: {settings}")),
        None => {}
    }
    spec
}

#[cfg(test)]
mod tests;
