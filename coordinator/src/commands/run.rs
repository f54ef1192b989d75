//! `tandem run` and `tandem coordinator`: a run from its start to its verdict, with or without workers on this machine.

use crate::{
    Error, Result,
    args::{Coordinator, Run},
    control::Snapshot,
    display::Display,
    membership::Verdict,
    server,
    start::{Launch, Start, URL, start},
    summary,
    workers::Workers,
};
use proto::{Exit, Generation, RunConfig, checkpoint};
use std::{
    fs::{self, OpenOptions},
    future::pending,
    io::{Write, stderr},
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing_subscriber::EnvFilter;

/// How long workers may take to go once the run is over.
const GRACE: Duration = Duration::from_secs(20);

/// `tandem run`.
pub(super) async fn run(arguments: &Run, out: &mut impl Write) -> Result<()> {
    let mut layers = arguments.layers.clone();
    layers.sets.extend(arguments.workers.map(|workers| format!("run.workers={workers}")));
    let launch = match start(&layers, arguments.resume).await? {
        Start::Done(config) => return done(&config, out),
        Start::Ready(launch) => *launch,
    };
    let logs = launch.folder.join("logs");
    log_to(&logs)?;
    let workers = Workers::start(launch.config.run.workers, &launch.url, &logs)?;
    eprintln!(
        "run {}: {} workers, coordinator at {}, logs in {}",
        launch.config.run.name,
        launch.config.run.workers,
        launch.url,
        logs.display()
    );
    conduct(launch, Some(workers), out).await
}

/// `tandem coordinator`.
pub(super) async fn coordinator(arguments: &Coordinator, out: &mut impl Write) -> Result<()> {
    let launch = match start(&arguments.layers, arguments.resume).await? {
        Start::Done(config) => return done(&config, out),
        Start::Ready(launch) => *launch,
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false).init();
    let workers = launch.config.run.workers;
    eprintln!(
        "run {}: start {workers} times: tandem-worker --coordinator {}",
        launch.config.run.name, launch.url
    );
    conduct(launch, None, out).await
}

fn done(config: &RunConfig, out: &mut impl Write) -> Result<()> {
    let (name, steps, output) = (&config.run.name, config.optimizer.steps, &config.run.output);
    super::say(
        out,
        &format!(
            "run {name}: all {steps} steps are done; the checkpoint is in {output}/{}\n",
            checkpoint::FOLDER
        ),
    )
}

fn log_to(logs: &Path) -> Result<()> {
    let path = logs.join("coordinator.log");
    let open = || {
        fs::create_dir_all(logs)?;
        OpenOptions::new().create(true).append(true).open(&path)
    };
    let file = open().map_err(|source| Error::Write { path: path.clone(), source })?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    log.with_writer(Mutex::new(file)).init();
    Ok(())
}

/// Serves the run until its verdict, and tells how it ended.
async fn conduct(launch: Launch, workers: Option<Workers>, out: &mut impl Write) -> Result<()> {
    let begin = Instant::now();
    let Launch { config, folder, control, listener, url: _, resume } = launch;
    let (stop, stopped) = oneshot::channel::<()>();
    let served = control.clone();
    let mut server = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server::serve(listener, served, stopped).await
    });
    let mut display = Display::new(config.optimizer.steps);
    let followed = tokio::select! {
        followed = follow(&control, workers, &mut display) => followed,
        ended = &mut server => Err(broken(ended)),
    };
    display.finish();
    let _ = fs::remove_file(folder.join(URL));
    let end = followed?;
    if stop.send(()).is_ok() {
        // What the workers still ask gets its answer before the server goes.
        let _ = tokio::time::timeout(GRACE, server).await;
    }

    let recorder = control.recorder();
    summary::draw(&folder, &config, recorder.lines())?;
    let text = summary::summary(&config, &folder, &end, recorder.lines(), resume, begin.elapsed());
    super::say(out, &text)?;
    match end.verdict {
        Some(Verdict { exit: Exit::Done, .. }) => Ok(()),
        Some(Verdict { exit, reason }) => Err(Error::Ended { exit, reason, folder }),
        None => Err(Error::Server("the run has no verdict".into())),
    }
}

fn broken(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => Error::Server("it stopped by itself".into()),
        Err(lost) => Error::Server(lost.to_string()),
    }
}

/// Shows the run, feeds it the ends of workers and what the user signals, until it is over and the workers are gone.
async fn follow(
    control: &crate::control::Control,
    mut workers: Option<Workers>,
    display: &mut Display,
) -> Result<Snapshot> {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let failed = |source| Error::Read { path: "signals".into(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut changes = control.watch();
    let (mut signals, mut over) = (0, None);
    loop {
        let now = changes.borrow_and_update().clone();
        display.show(&now);
        if now.verdict.is_some() {
            over.get_or_insert_with(Instant::now);
            if workers.is_none() && now.drained {
                return Ok(now);
            }
        }
        tokio::select! {
            changed = changes.changed() => changed.map_err(|_| Error::Server("the run is gone".into()))?,
            ended = next_end(&mut workers) => match ended {
                Some(ended) => {
                    tracing::info!("worker process {} {}", ended.pid, ended.how);
                    control.decide(|membership, _| membership.exited(ended.pid, &host, ended.exit, &ended.how));
                }
                None => workers = None,
            },
            _ = interrupt.recv() => signals += 1,
            _ = terminate.recv() => signals += 1,
            () = patience(over) => {
                let Some(workers) = &workers else { return Ok(now) };
                tracing::warn!("the workers did not go within {GRACE:?} and are killed");
                workers.kill();
                over = Some(Instant::now());
            }
        }
        heed(signals, control, workers.as_ref(), display)?;
    }
}

/// The first signal asks for a stop with a checkpoint, the second ends everything.
fn heed(
    signals: u32,
    control: &crate::control::Control,
    workers: Option<&Workers>,
    display: &Display,
) -> Result<()> {
    if signals == 1 && control.watch().borrow().verdict.is_none() {
        let asked = control.decide(|membership, _| membership.request_stop(Generation(0), true));
        if asked.is_ok_and(|news| news) {
            display.say("stopping with a checkpoint at the next step; a second signal ends at once");
        }
    }
    if signals >= 2 {
        workers.inspect(|workers| workers.kill());
        control.decide(|membership, _| {
            membership.fail(Exit::Lost, "ended by a second signal, without a checkpoint".into());
        });
    }
    Ok(())
}

async fn next_end(workers: &mut Option<Workers>) -> Option<crate::workers::Ended> {
    match workers {
        Some(workers) => workers.next_end().await,
        None => pending().await,
    }
}

async fn patience(over: Option<Instant>) {
    match over {
        Some(since) => sleep(GRACE.saturating_sub(since.elapsed())).await,
        None => pending().await,
    }
}
