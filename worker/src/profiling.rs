//! Traces of the steps that operators ask for. All ranks begin at the same step, as the vote says, and each writes its own file.

use crate::seat::Seat;
use crate::session::Session;
use crate::step::Outcome;
use c10d::Profile;
use flate2::{Compression, write::GzEncoder};
use proto::GlobalStep;
use shards::store::Folder;
use std::fs;
use std::io::{self, Write};
use tch::Device;

/// The folder below a run's output.
const FOLDER: &str = "profiles";

/// The newest request that was heeded, and the trace that is being recorded.
#[derive(Debug, Default)]
pub(crate) struct Profiling {
    served: u64,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    profile: Profile,
    /// The first step of the trace.
    first: GlobalStep,
    /// Steps that are still to come.
    left: u32,
}

impl Profiling {
    /// A step is committed: a trace ends with it, or begins after it.
    pub(crate) fn boundary(
        &mut self,
        outcome: &Outcome,
        device: Device,
        seat: &Seat,
        session: &Session,
        output: &Folder,
    ) {
        if let Some(running) = &mut self.running {
            running.left -= 1;
            if running.left == 0 {
                self.end(seat, session, output);
            }
            return;
        }
        let (request, steps) = outcome.verdict.heeded.profile;
        if request <= self.served || steps == 0 {
            return;
        }
        self.served = request;
        match Profile::start(device) {
            Ok(profile) => {
                self.running = Some(Running { profile, first: outcome.step.next(), left: steps });
                tracing::info!("profiling {steps} steps after step {}", outcome.step);
            }
            Err(error) => session.profiling()(request, error.to_string()),
        }
    }

    /// The generation has ended, and others are waiting for this worker: what is recorded is forgotten.
    pub(crate) fn cut_off(&mut self, seat: &Seat, session: &Session) {
        if let Some(Running { left, .. }) = self.running.take() {
            let fault = format!("generation {} ended {left} steps too early", seat.generation);
            session.profiling()(self.served, fault);
        }
    }

    fn end(&mut self, seat: &Seat, session: &Session, output: &Folder) {
        let Some(Running { profile, first, .. }) = self.running.take() else { return };
        let (request, tell) = (self.served, session.profiling());
        let name = format!("g{:09}-rank-{:05}.json.gz", seat.generation.0, seat.rank.0);
        let folder = output.below(FOLDER).step(first);
        let recorded = record(profile);
        session.runtime().spawn(async move {
            let done = match recorded {
                Ok(recorded) => store(&folder, &name, recorded).await,
                Err(error) => Err(error),
            };
            match &done {
                Ok(()) => tracing::info!("the profile is in {}", folder.path_of(&name)),
                Err(error) => tracing::warn!("the profile is lost: {error}"),
            }
            tell(request, done.err().unwrap_or_default());
        });
    }
}

/// The trace, in a file that goes with its handle. The profiler ends on the thread that began it.
fn record(profile: Profile) -> Result<fs::File, String> {
    // A folder that nobody else may look into; the file, once open, needs none any more.
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("trace.json");
    profile.write(&path).map_err(|error| error.to_string())?;
    fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))
}

async fn store(folder: &Folder, name: &str, recorded: fs::File) -> Result<(), String> {
    let packed =
        tokio::task::spawn_blocking(move || pack(recorded)).await.map_err(|error| error.to_string())?;
    folder.put(name, packed.map_err(|error| error.to_string())?).await.map_err(|error| error.to_string())
}

fn pack(mut recorded: fs::File) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    io::copy(&mut recorded, &mut packed)?;
    packed.flush()?;
    packed.finish()
}
