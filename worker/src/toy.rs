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
    Trainer::new(config, SPECIAL, 1.0, state, group(&Arc::default(), 0, 1)).unwrap()
}

/// Pairs `slots` of a made-up global batch. The pairs differ from step to step; some captions come again.
pub(crate) fn batch(step: u64, slots: Range<u64>, counts: Vec<i64>) -> LocalBatch {
    let rows: Vec<u64> = slots.clone().map(|slot| step * 100 + slot).collect();
    let image = |row: &u64| {
        tch::manual_seed(*row as i64);
        Tensor::randn([3, 16, 16], (Kind::Float, Device::Cpu))
    };
    let length = |row: u64| 4 + (row % 4) as usize;
    let token = |row: u64, i: usize| {
        if i >= length(row) {
            return SPECIAL.pad;
        }
        if i == 0 { SPECIAL.cls } else { 5 + ((row * 31 + i as u64 * 17) % 55) as i64 }
    };
    LocalBatch {
        images: Tensor::stack(&rows.iter().map(image).collect::<Vec<_>>(), 0),
        tokens: rows.iter().flat_map(|&row| (0..TOKENS).map(move |i| token(row, i))).collect(),
        lengths: rows.iter().map(|&row| length(row) as u32).collect(),
        rows: rows.iter().map(|&row| (0, row)).collect(),
        identities: rows.iter().map(|&row| [(row * 7 % 23) as i64 + 1, row as i64 + 1]).collect(),
        first_slot: slots.start,
        counts,
    }
}
