//! `tandem run` and `tandem coordinator`: a run from its start to its verdict, with or without workers on this machine.

use crate::{
    Error, Result,
    args::{Access, Coordinator, Run},
    control::{Control, Snapshot},
    crew::Crew,
    display::Display,
    journal::JournalError,
    membership::Verdict,
    record, server,
    start::{Launch, Lead, Start, URL, start},
    summary,
    workers::Given,
};
use access::{Credentials, Guard};
use proto::{Exit, Generation, RunConfig, checkpoint};
use std::{
    fs::{self, OpenOptions},
    future::pending,
    io::{IsTerminal, Write, stderr},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use telemetry::{Telemetry, Traces};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long workers may take to go once the run is over.
const GRACE: Duration = Duration::from_secs(20);

/// `tandem run`.
pub(super) async fn run(arguments: &Run, out: &mut impl Write) -> Result<()> {
    let mut layers = arguments.layers.clone();
    layers.sets.extend(arguments.workers.map(|workers| format!("run.workers={workers}")));
    let guard = guard(&arguments.access)?;
    let launch = match start(&layers, arguments.resume, guard.is_some()).await? {
        Start::Done(config) => return done(&config, out),
        Start::Ready(launch) => *launch,
    };
    let logs = launch.folder.join("logs");
    let _telemetry = log_to(&logs, arguments.traces.as_deref())?;
    let given =
        Given { credentials: arguments.access.credentials.as_deref(), traces: arguments.traces.as_deref() };
    let crew = Crew::start(&launch, arguments.spare, given, &logs)?;
    eprintln!(
        "run {}: {} workers, coordinator at {}, logs in {}",
        launch.config.run.name,
        launch.config.run.workers,
        launch.url,
        logs.display()
    );
    conduct(launch, guard, Some(crew), out).await
}

/// `tandem coordinator`.
pub(super) async fn coordinator(arguments: &Coordinator, out: &mut impl Write) -> Result<()> {
    let guard = guard(&arguments.access)?;
    let _telemetry = telemetry::start(stderr, stderr().is_terminal(), traces(arguments.traces.as_deref()))
        .map_err(Error::Value)?;
    let launch = match start(&arguments.layers, arguments.resume, guard.is_some()).await? {
        Start::Done(config) => return done(&config, out),
        Start::Ready(launch) => *launch,
    };
    let workers = launch.config.run.workers;
    eprintln!(
        "run {}: start {workers} times: tandem-worker --coordinator {}",
        launch.config.run.name, launch.url
    );
    conduct(launch, guard, None, out).await
}

fn guard(access: &Access) -> Result<Option<Arc<Guard>>> {
    let credentials = access.credentials.clone().map(Credentials::new);
    Ok(credentials.map(Guard::open).transpose()?.map(Arc::new))
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

fn traces(url: Option<&str>) -> Traces<'_> {
    Traces { service: "tandem-coordinator", url }
}

fn log_to(logs: &Path, url: Option<&str>) -> Result<Telemetry> {
    let path = logs.join("coordinator.log");
    let open = || {
        fs::create_dir_all(logs)?;
        OpenOptions::new().create(true).append(true).open(&path)
    };
    let file = open().map_err(|source| Error::Write { path: path.clone(), source })?;
    telemetry::start(Mutex::new(file), false, traces(url)).map_err(Error::Value)
}

/// Serves the run until its verdict, and tells how it ended.
async fn conduct(
    launch: Launch,
    guard: Option<Arc<Guard>>,
    mut crew: Option<Crew>,
    out: &mut impl Write,
) -> Result<()> {
    let begin = Instant::now();
    let Launch { config, folder, lead: Lead { control, journal, resume, notes, .. }, beside, listener, url } =
        launch;
    telemetry::show(&control.look(|membership| membership.settings().log.clone()));
    notes.iter().for_each(|note| tracing::info!("{note}"));
    let (stop, stopped) = oneshot::channel::<()>();
    let (served, audience) = (control.clone(), beside.audience.clone());
    let mut server = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server::serve(listener, served, Some(beside), guard, stopped).await
    });
    let kept = control.clone();
    let mut journal = tokio::spawn(async move { record::keep(&kept, &journal).await });
    let tidied = control.clone();
    let tidied = tokio::spawn(async move { record::tidy(&tidied).await });
    let mut display = Display::new(config.optimizer.steps);
    let followed = tokio::select! {
        followed = follow(&control, &mut crew, &mut display) => followed,
        ended = &mut server => Err(broken(ended)),
        Err(error) = joined(&mut journal) => Err(error),
    };
    display.finish();
    if fs::read_to_string(folder.join(URL)).is_ok_and(|own| own == url) {
        let _ = fs::remove_file(folder.join(URL));
    }
    if let (Err(Error::Journal(JournalError::Fenced { .. })), Some(crew)) = (&followed, crew) {
        // The other coordinator goes on with them.
        crew.release().await;
    }
    let end = followed?;
    if !journal.is_finished() && timeout(GRACE, journal).await.is_err() {
        tracing::warn!("the journal does not take the end of the run: the next start needs --resume");
    }
    let _ = timeout(GRACE, tidied).await;
    audience.see_the_end().await;
    if stop.send(()).is_ok() {
        // What the workers still ask gets its answer before the server goes.
        let _ = timeout(GRACE, server).await;
    }

    let recorder = control.recorder();
    let drawn = summary::draw(&folder, &config, recorder.lines());
    let text = summary::summary(&config, &folder, &end, recorder.lines(), resume, begin.elapsed());
    super::say(out, &text)?;
    match end.verdict {
        Some(Verdict { exit: Exit::Done, .. }) => drawn,
        Some(Verdict { exit, reason, .. }) => Err(Error::Ended { exit, reason, folder }),
        None => Err(Error::Server("the run has no verdict".into())),
    }
}

async fn joined(task: &mut JoinHandle<Result<()>>) -> Result<()> {
    task.await.unwrap_or_else(|lost| Err(Error::Server(lost.to_string())))
}

fn broken(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => Error::Server("it stopped by itself".into()),
        Err(lost) => Error::Server(lost.to_string()),
    }
}

/// Shows the run, feeds it the ends of workers and what the user signals, until it is over and the workers are gone.
async fn follow(control: &Control, crew: &mut Option<Crew>, display: &mut Display) -> Result<Snapshot> {
    let mut signals = Signals::new()?;
    let mut changes = control.watch();
    let mut over = None;
    loop {
        let now = changes.borrow_and_update().clone();
        display.show(&now);
        let here = crew.as_mut().filter(|crew| crew.is_here());
        if now.verdict.is_some() {
            over.get_or_insert_with(Instant::now);
            here.as_ref().inspect(|crew| crew.close());
            if here.is_none() && now.drained {
                return Ok(now);
            }
        }
        tokio::select! {
            changed = changes.changed() => changed.map_err(|_| Error::Server("the run is gone".into()))?,
            () = work(here, control) => {}
            () = signals.next() => {}
            () = patience(over) => {
                let Some(crew) = crew.as_ref().filter(|crew| crew.is_here()) else { return Ok(now) };
                tracing::warn!("the workers did not go within {GRACE:?} and are killed");
                crew.kill();
                over = Some(Instant::now());
            }
        }
        heed(signals.count, control, crew.as_ref(), display);
    }
}

/// What a user or the machine says to this process.
struct Signals {
    kinds: [Signal; 3],
    count: u32,
}

impl Signals {
    fn new() -> Result<Self> {
        let failed = |source| Error::Read { path: "signals".into(), source };
        let listen = |kind| signal(kind).map_err(failed);
        let kinds = [
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            // What Slurm sends ahead of its time limit, if asked to.
            listen(SignalKind::user_defined1())?,
        ];
        Ok(Self { kinds, count: 0 })
    }

    async fn next(&mut self) {
        let [interrupt, terminate, ahead] = &mut self.kinds;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = ahead.recv() => {}
        }
        self.count += 1;
    }
}

/// The first signal asks for a stop with a checkpoint, the second ends everything.
fn heed(signals: u32, control: &Control, crew: Option<&Crew>, display: &Display) {
    if signals == 1 && control.watch().borrow().verdict.is_none() {
        let asked = control.decide(|membership, _| membership.request_stop(Generation(0), true));
        if asked.is_ok_and(|news| news) {
            display.say("stopping with a checkpoint at the next step; a second signal ends at once");
        }
    }
    if signals >= 2 {
        crew.inspect(|crew| crew.kill());
        control.decide(|membership, _| {
            membership.fail(Exit::Lost, "ended by a second signal, without a checkpoint".into());
        });
    }
}

async fn work(crew: Option<&mut Crew>, control: &Control) {
    match crew {
        Some(crew) => crew.work(control).await,
        None => pending().await,
    }
}

async fn patience(over: Option<Instant>) {
    match over {
        Some(since) => sleep(GRACE.saturating_sub(since.elapsed())).await,
        None => pending().await,
    }
}
