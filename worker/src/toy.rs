//! A network, batches and groups that are small enough for tests of whole steps.

use crate::batch::LocalBatch;
use crate::masking::Special;
use crate::models::albef::{Albef, averaged};
use crate::queue::Queue;
use crate::state::State;
use crate::step::Trainer;
use crate::weights::Weights;
use c10d::{Group, GroupSpec, MemoryStore};
use proto::RunConfig;
use proto::config::ModelSection;
use shards::identity::Identity;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

pub(crate) const SPECIAL: Special = Special { pad: 0, cls: 2, separator: Some(3), mask: 4, vocabulary: 60 };
const TOKENS: usize = 7;

pub(crate) fn config(dropout: f64) -> RunConfig {
    let model = ModelSection {
        preset: "test".into(),
        image_size: 16,
        patch_size: 8,
        vision_width: 16,
        vision_hidden: 64,
        vision_depth: 1,
        vision_heads: 2,
        text_width: 16,
        text_depth: 1,
        fusion_depth: 2,
        text_heads: 2,
        text_hidden: 32,
        vocabulary: 60,
        positions: 8,
        embed_width: 8,
        dropout,
        init_std: 0.2,
        ..ModelSection::default()
    };
    let mut config = RunConfig { model, ..RunConfig::default() };
    config.objective.queue = 17;
    config.objective.alpha_ramp = 1;
    config.objective.mask_probability = 0.4;
    config.optimizer.clip_norm = 1.0;
    config.cluster.compare_every = 10;
    config
}

pub(crate) fn group(store: &Arc<MemoryStore>, rank: u32, world_size: u32) -> Group {
    let spec = GroupSpec {
        rank,
        world_size,
        device: Device::Cpu,
        interface: "127.0.0.1".into(),
        meeting: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
    };
    Group::new(spec, store.clone()).unwrap()
}

/// A fresh state whose floats are of that kind.
pub(crate) fn state(config: &RunConfig, kind: Kind) -> State {
    let fresh = Albef::fresh(&config.model, &config.objective, config.run.seed).unwrap();
    let student = Weights::new(fresh.iter().map(|(name, t)| (name.to_owned(), t.to_kind(kind))).collect());
    let (objective, seed) = (&config.objective, config.run.seed);
    let embed = config.model.embed_width.into();
    let queue = Queue::new(objective.queue.into(), embed, objective.queue_start, seed, kind);
    let teacher = student.copy_where(averaged);
    State::from_parts(student, teacher, queue, config.optimizer.decay_positions, Device::Cpu)
}

pub(crate) fn single(config: &RunConfig, state: State) -> Trainer {
    Trainer::new(config, SPECIAL, 1.0, state, &[config.optimizer.batch.into()], group(&Arc::default(), 0, 1))
        .unwrap()
}

/// At every fifth step, slot 0 shares its caption with the odd slots and its image with the even ones, so that it has no negative.
pub(crate) fn lonely(step: u64) -> bool {
    step % 5 == 3
}

/// Caption and image of a slot. The pairs differ from step to step, some captions come again, and of one global batch of 12 pairs some
/// share a caption (slots 2 and 7) or an image (1 and 8, 3 and 4), on one rank or on two.
pub(crate) fn identity(step: u64, slot: u64) -> Identity {
    let row = |slot: u64| step * 100 + slot;
    let (caption, image) = match slot {
        0 => (0, 0),
        _ if lonely(step) => (if slot % 2 == 1 { 0 } else { slot }, if slot % 2 == 1 { slot } else { 0 }),
        7 => (2, 7),
        8 => (8, 1),
        4 => (4, 3),
        slot => (slot, slot),
    };
    [(row(caption) * 7 % 23) as i64 + 1, row(image) as i64 + 1]
}

/// Pairs `slots` of a made-up global batch. What has the same identity looks or reads the same.
pub(crate) fn batch(step: u64, slots: Range<u64>, counts: Vec<i64>) -> LocalBatch {
    let identities: Vec<Identity> = slots.clone().map(|slot| identity(step, slot)).collect();
    let image = |[_, image]: &Identity| {
        tch::manual_seed(*image);
        Tensor::randn([3, 16, 16], (Kind::Float, Device::Cpu))
    };
    let length = |caption: i64| 4 + (caption % 4) as usize;
    let token = |caption: i64, i: usize| {
        if i >= length(caption) {
            return SPECIAL.pad;
        }
        if i == 0 { SPECIAL.cls } else { 5 + (caption * 31 + i as i64 * 17) % 55 }
    };
    LocalBatch {
        images: Tensor::stack(&identities.iter().map(image).collect::<Vec<_>>(), 0),
        tokens: identities
            .iter()
            .flat_map(|&[caption, _]| (0..TOKENS).map(move |i| token(caption, i)))
            .collect(),
        lengths: identities.iter().map(|&[caption, _]| length(caption) as u32).collect(),
        rows: slots.clone().map(|slot| (0, step * 100 + slot)).collect(),
        identities,
        first_slot: slots.start,
        counts,
    }
}

/// Pairs of each of `world` ranks that share `pairs`: as even as lanes of one pair allow.
pub(crate) fn counts(pairs: u64, world: u64) -> Vec<i64> {
    (0..world).map(|rank| ((rank + 1) * pairs / world - rank * pairs / world) as i64).collect()
}

/// What each of so many ranks does, in a thread of its own: their answers, by rank. States and batches are made by the caller: torch's
/// generator is the process's.
pub(crate) fn ranks<Given: Send, Answer: Send>(
    given: Vec<Given>,
    act: impl Fn(Group, Given) -> Answer + Sync,
) -> Vec<Answer> {
    let store = &Arc::<MemoryStore>::default();
    let (world, act) = (given.len() as u32, &act);
    std::thread::scope(|scope| {
        let start = |(rank, given)| scope.spawn(move || act(group(store, rank, world), given));
        let ranks: Vec<_> = (0..).zip(given).map(start).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}
