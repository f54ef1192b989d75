//! What a worker gets ready before it has a seat, so that a seat costs the others little: device, dataset, tokenizer, and a state of
//! the run's shape.

use crate::checkpoint;
use crate::device;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::masking::Special;
use crate::pretrained::Start;
use crate::profiling::Profiling;
use crate::report::Outbox;
use crate::session::Session;
use crate::settle::{Begin, Holding};
use crate::state::State;
use crate::vote::Votes;
use proto::{Generation, GlobalStep, RunConfig, v1};
use shards::manifest::{FROZEN, Manifest};
use shards::store::Folder;
use shards::text::Tokenizer;
use std::sync::Arc;
use tch::Device;
use tokio::runtime::Handle;

/// What a worker has for all its seats.
pub(crate) struct Warm {
    pub(crate) config: RunConfig,
    pub(crate) device: Device,
    pub(crate) output: Folder,
    pub(crate) manifest: Arc<Manifest>,
    /// Of the manifest, hex.
    pub(crate) fingerprint: String,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) special: Special,
    pub(crate) steps_per_epoch: f64,
    pub(crate) outbox: Outbox,
    pub(crate) profiling: Profiling,
}

impl Warm {
    /// Opens and builds everything; also a state that is none of the run's yet.
    ///
    /// # Errors
    /// A device that is not there; a dataset or tokenizer that can't be used.
    pub(crate) fn new(session: &Session) -> Result<(Self, Holding)> {
        session.enter(v1::Phase::Warming, GlobalStep(0));
        let (config, runtime) = (session.config().clone(), session.runtime());
        let device = device::choose(config.run.device, session.slot())?;
        let output = Folder::open(&config.run.output)?;
        let manifest = runtime.block_on(frozen(&output, &config))?;
        let tokenizer = runtime.block_on(Tokenizer::open(&config.text.tokenizer))?;
        let special = special(&tokenizer, &config);
        let fingerprint = manifest.fingerprint();
        let holding = Holding {
            state: State::new(&config, device)?,
            staged: None,
            votes: Votes::default(),
            ledger: Ledger::new(&config, &fingerprint, GlobalStep(0), None),
            settled: Generation(0),
            rolls_back: false,
        };
        let steps_per_epoch = manifest.rows() as f64 / f64::from(config.optimizer.batch);
        let outbox = Outbox::start(runtime, session.voice(), &output, &config.checkpoint);
        let warm = Self {
            config,
            device,
            output,
            manifest,
            fingerprint,
            tokenizer,
            special,
            steps_per_epoch,
            outbox,
            profiling: Profiling::default(),
        };
        Ok((warm, holding))
    }

    /// Whether the coordinator means the dataset that was opened.
    ///
    /// # Errors
    /// [`Error::Fingerprint`].
    pub(crate) fn check(&self, fingerprint: &str) -> Result<()> {
        if self.fingerprint == fingerprint {
            return Ok(());
        }
        let (found, expected) = (self.fingerprint.clone(), fingerprint.into());
        Err(Error::Fingerprint { found, expected, output: self.config.run.output.clone() })
    }

    /// How a state is made where no rank holds one that counts.
    pub(crate) fn first<'a>(
        &'a self,
        runtime: &'a Handle,
        (by, resume): (Generation, GlobalStep),
    ) -> First<'a> {
        First { warm: self, runtime, resume, by }
    }
}

/// The state of the newest committed checkpoint, or of a run's first step.
pub(crate) struct First<'a> {
    warm: &'a Warm,
    runtime: &'a Handle,
    /// The checkpoint's step; 0 for none.
    resume: GlobalStep,
    /// The generation that wrote it.
    by: Generation,
}

impl Begin for First<'_> {
    fn committed(&self) -> (Generation, GlobalStep) {
        (self.by, self.resume)
    }

    fn begin(&self, state: &mut State, ledger: &mut Ledger) -> Result<()> {
        let Warm { config, device, output, fingerprint, .. } = self.warm;
        if self.resume.0 == 0 {
            let start = self.runtime.block_on(Start::new(config))?;
            start.report.iter().for_each(|line| tracing::info!("{line}"));
            *state = State::begin(config, start.student, start.teacher, *device);
            *ledger = Ledger::new(config, fingerprint, GlobalStep(0), None);
            return Ok(());
        }
        let checkpoints = output.below(proto::checkpoint::FOLDER);
        let (folder, manifest) = self.runtime.block_on(checkpoint::manifest(&checkpoints, self.resume))?;
        let read = checkpoint::read(&folder, &manifest, |_| true);
        let (tensors, counters) = self.runtime.block_on(read)?;
        state.restore(tensors, counters)?;
        *ledger = Ledger::new(config, fingerprint, self.resume, Some(manifest.ledger));
        tracing::info!("goes on from the checkpoint of step {}", self.resume);
        Ok(())
    }
}

/// The run's dataset as the coordinator froze it.
async fn frozen(output: &Folder, config: &RunConfig) -> Result<Arc<Manifest>> {
    let found = output.get(FROZEN).await?.ok_or_else(|| Error::Fingerprint {
        found: "none".into(),
        expected: "that of the dataset".into(),
        output: config.run.output.clone(),
    })?;
    Ok(Arc::new(Manifest::from_bytes(found, &output.path_of(FROZEN))?))
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
