//! The input pipeline of one rank: the slots of its lanes, batch by batch, fetched, decoded, augmented and tokenised ahead of the
//! step.
//!
//! One thread walks the lanes. The row groups of a lane's next window are fetched by a runtime of its own while this window is
//! used; a pool of its own decodes; a channel holds `data.prefetch` finished batches. What a batch holds is a function of (dataset,
//! seed, step, lanes), whatever the threads do.

mod decode;
mod images;
mod lane;
#[cfg(test)]
mod tests;

use crate::{
    error::{Error, Result},
    identity::Identity,
    image::check_operations,
    manifest::Manifest,
    order::{Order, OrderSpec, Slot},
    reader::Reader,
    text::Tokenizer,
};
pub use images::Images;

use decode::{Decoder, Text};
use images::Pool;
use lane::{Lane, Window};
use proto::{
    GlobalStep, LaneId,
    config::{AugmentSection, DataSection, StoreSection, TextSection},
};
use rayon::prelude::*;
use std::{
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// Rows that are tried in the place of one that can't be used.
pub(crate) const TRIES: u64 = 16;
/// Rows that may always be replaced, whatever the budget.
const FREE: u64 = 10;

/// What a rank reads.
#[derive(Clone, Debug)]
pub struct LoaderSpec {
    /// The dataset and how it is read.
    pub data: DataSection,
    /// How stores are asked.
    pub store: StoreSection,
    /// Random changes of the images.
    pub augment: AugmentSection,
    /// Captions to tokens.
    pub text: TextSection,
    /// Side of the square images, in pixels.
    pub image_size: u32,
    /// The run's seed.
    pub seed: u64,
    /// Pairs of a global batch.
    pub batch: u32,
    /// The rank's lanes.
    pub lanes: Range<u32>,
    /// The first batch is that of the step after this one.
    pub from: GlobalStep,
    /// Threads that decode.
    pub decode_threads: usize,
}

/// The pairs of one rank in one global step, in slot order.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Committed updates before this batch.
    pub step: GlobalStep,
    /// The global batch's slot of the first pair.
    pub first_slot: u32,
    /// `[n, 3, S, S]`, normalised.
    pub images: Images,
    /// `[n, T]` ids; `T` is the longest caption's length, shorter ones end in `[PAD]`.
    pub tokens: Vec<i64>,
    /// `[n]` tokens of each caption, without padding.
    pub lengths: Vec<u32>,
    /// `[n]` epoch and row of each slot: the keys of its randomness, also where another row stands in.
    pub rows: Vec<(u64, u64)>,
    /// `[n]` what tells equal captions and equal images.
    pub identities: Vec<Identity>,
    /// Rows that others stand in for.
    pub substitutions: Vec<Substitution>,
}

/// A row that can't be used, and the one in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution {
    /// The slot of the global batch.
    pub slot: u32,
    /// The manifest's number of the row that can't be used.
    pub row: u64,
    /// Of the row in its place.
    pub substitute: u64,
    /// Why.
    pub reason: String,
}

/// The pipeline's end that gives batches. Dropping it ends the pipeline.
pub struct Loader {
    batches: Receiver<Result<Batch>>,
}

impl Loader {
    /// Starts the pipeline.
    ///
    /// # Errors
    /// Fewer rows than lanes, an unknown operation of the augmentation, threads that can't be started.
    pub fn start(spec: LoaderSpec, manifest: Arc<Manifest>, tokenizer: Tokenizer) -> Result<Self> {
        check_operations(&spec.augment)?;
        let broken = |e: &dyn std::fmt::Display| Error::Thread(e.to_string());
        let (lanes, window) = (spec.data.lanes, spec.data.window);
        let order = Order::of(&manifest, OrderSpec { seed: spec.seed, lanes, window, batch: spec.batch });
        order.check()?;
        let reader = Arc::new(Reader::new(manifest, &spec.store)?);
        let fetch = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fetch")
            .enable_all()
            .build()
            .map_err(|e| broken(&e))?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(spec.decode_threads.max(1))
            .thread_name(|number| format!("decode-{number}"))
            .build()
            .map_err(|e| broken(&e))?;
        let (sender, batches) = sync_channel(spec.data.prefetch.max(1) as usize);
        let decoder = Decoder { spec: spec.clone(), tokenizer };
        let pipeline = move || {
            Pipeline { reader, fetch, pool, decoder, memory: Pool::default(), replaced: 0, seen: 0 }
                .run(&order, &sender)
        };
        thread::Builder::new().name("loader".into()).spawn(pipeline).map_err(|e| broken(&e))?;
        Ok(Self { batches })
    }

    /// The next batch; waits for it.
    ///
    /// # Errors
    /// What ended the pipeline: a store that refuses, a broken file, too many rows that can't be used.
    pub fn next_batch(&mut self) -> Result<Batch> {
        self.batches.recv().unwrap_or_else(|_| Err(Error::Thread("its thread ended".into())))
    }
}

/// A slot, and the fetched rows among which its own and its substitutes are.
struct Item {
    slot: Slot,
    window: Arc<Window>,
}

struct Pipeline {
    reader: Arc<Reader>,
    fetch: tokio::runtime::Runtime,
    pool: rayon::ThreadPool,
    decoder: Decoder,
    memory: Pool,
    replaced: u64,
    seen: u64,
}

impl Pipeline {
    /// Makes batches until one fails or nobody takes them any more.
    fn run(mut self, order: &Order, out: &SyncSender<Result<Batch>>) {
        let spec = &self.decoder.spec;
        let mut step = spec.from;
        let start = |lane| Lane::start(order, LaneId(lane), step, &self.reader, self.fetch.handle());
        let mut lanes: Vec<Lane<'_>> = spec.lanes.clone().map(start).collect();
        loop {
            let batch = self.batch(order.spec(), step, &mut lanes);
            let last = batch.is_err();
            if out.send(batch).is_err() || last {
                // Fetches under way are of no use to anybody.
                self.fetch.shutdown_background();
                return;
            }
            step = step.next();
        }
    }

    fn batch(&mut self, order: OrderSpec, step: GlobalStep, lanes: &mut [Lane<'_>]) -> Result<Batch> {
        let mut items = Vec::with_capacity(lanes.len() * order.per_lane() as usize);
        for lane in lanes.iter_mut() {
            for _ in 0..order.per_lane() {
                let (slot, window) = lane.take(&self.reader, &self.fetch)?;
                items.push(Item { slot, window });
            }
        }
        let first_slot = self.decoder.spec.lanes.start * order.per_lane() as u32;
        let pixels = self.decoder.pixels();
        let mut images = self.memory.take(items.len() * pixels);
        let decoder = &self.decoder;
        let decode =
            |(item, image): (&Item, &mut [f32])| decoder.pair(&item.slot, item.window.row(&item.slot), image);
        let work = || items.par_iter().zip(images.par_chunks_mut(pixels)).map(decode).collect();
        let decoded: Vec<std::result::Result<Text, String>> = self.pool.install(work);
        self.seen += items.len() as u64;
        let (mut texts, mut substitutions) = (Vec::with_capacity(items.len()), Vec::new());
        let found = items.iter().zip(images.chunks_mut(pixels)).zip(decoded);
        for (slot, ((item, image), decoded)) in (first_slot..).zip(found) {
            texts.push(match decoded {
                Ok(text) => text,
                Err(reason) => {
                    let lane = (item.slot.lane.0 - self.decoder.spec.lanes.start) as usize;
                    let (text, substitution) = self.replace((slot, item), reason, &mut lanes[lane], image)?;
                    substitutions.push(substitution);
                    text
                }
            });
        }
        let (tokens, lengths) = self.decoder.pad(&texts);
        let rows = items.iter().map(|item| (item.slot.epoch, item.slot.row)).collect();
        let identities = texts.iter().map(|text| text.identity).collect();
        Ok(Batch { step, first_slot, images, tokens, lengths, rows, identities, substitutions })
    }

    /// Another row of the window in the place of one that can't be used.
    fn replace(
        &mut self,
        (slot, item): (u32, &Item),
        mut reason: String,
        lane: &mut Lane<'_>,
        image: &mut [f32],
    ) -> Result<(Text, Substitution)> {
        let row = item.slot.row;
        self.replaced += 1;
        let budget = self.decoder.spec.data.substitution_budget;
        if self.replaced > FREE.max((budget * self.seen as f64) as u64) {
            return Err(Error::Budget { replaced: self.replaced, seen: self.seen, budget, row, reason });
        }
        let why = reason.clone();
        for attempt in 1..=TRIES {
            let Some(other) = lane.substitute(&item.slot, attempt) else { break };
            // The slot keeps the keys of its own row, so that one pair in two slots looks different in each.
            match self.decoder.pair(&item.slot, item.window.row(&other), image) {
                Ok(text) => {
                    return Ok((text, Substitution { slot, row, substitute: other.row, reason: why }));
                }
                Err(next) => reason = next,
            }
        }
        Err(Error::Hopeless { row, reason, tries: TRIES })
    }
}
