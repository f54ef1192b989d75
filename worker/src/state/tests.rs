//! What holds of the state over whole steps: a resume continues it bit by bit, a failed step leaves it alone, and how pairs are
//! split over ranks does not show in it.

use super::State;
use crate::alone;
use crate::batch::{Draws, LocalBatch, NegativeDraws};
use crate::masking::Special;
use crate::objective::itm::Negatives;
use crate::step::Trainer;
use crate::vote::Wishes;
use c10d::{Group, GroupSpec, MemoryStore};
use proto::RunConfig;
use proto::config::{ModelSection, Precision};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

const SPECIAL: Special = Special { pad: 0, cls: 2, mask: 4, vocabulary: 60 };
const TOKENS: usize = 7;

fn config(dropout: f64) -> RunConfig {
    let model = ModelSection {
        preset: "test".into(),
        image_size: 16,
        patch_size: 8,
        vision_width: 16,
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
    };
    let mut config = RunConfig { model, ..RunConfig::default() };
    config.objective.queue = 12;
    config.objective.alpha_ramp = 1;
    config.objective.mask_probability = 0.4;
    config.optimizer.clip_norm = 1.0;
    config
}

fn group(store: &Arc<MemoryStore>, rank: u32, world_size: u32) -> Group {
    let spec = GroupSpec {
        rank,
        world_size,
        device: Device::Cpu,
        interface: "127.0.0.1".into(),
        timeout: Duration::from_secs(60),
    };
    Group::new(spec, store.clone()).unwrap()
}

fn single(config: &RunConfig, state: State) -> Trainer {
    Trainer::new(config, SPECIAL, 1.0, state, group(&Arc::default(), 0, 1)).unwrap()
}

/// Pairs `slots` of a made-up global batch; the pairs differ from step to step.
fn batch(step: u64, slots: Range<u64>, counts: Vec<i64>) -> LocalBatch {
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
        first_slot: slots.start,
        counts,
    }
}

fn whole(step: u64) -> LocalBatch {
    batch(step, 0..5, vec![5])
}

fn snapshot(state: &State) -> BTreeMap<String, Tensor> {
    state.tensors().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect()
}

fn assert_same(one: &BTreeMap<String, Tensor>, other: &BTreeMap<String, Tensor>) {
    assert!(one.keys().eq(other.keys()));
    for (name, tensor) in one {
        assert!(tensor.equal(&other[name]), "{name} differs");
    }
}

#[test]
fn a_resumed_run_is_bit_identical() {
    alone::alone("state::tests::a_resumed_run_is_bit_identical", resume);
}

fn resume() {
    let config = config(0.1);
    let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
    let train = |trainer: &mut Trainer, steps: Range<u64>| {
        steps.for_each(|step| drop(trainer.step(&whole(step), Wishes::default()).unwrap()));
    };
    train(&mut trainer, 0..3);
    let (tensors, counters) = (snapshot(trainer.state()), trainer.state().counters());
    train(&mut trainer, 3..5);

    let mut other = config.clone();
    other.run.seed += 1;
    let mut state = State::new(&other, Device::Cpu).unwrap();
    state.restore(tensors, counters).unwrap();
    let mut resumed = single(&config, state);
    train(&mut resumed, 3..5);
    assert_eq!(resumed.state().counters(), trainer.state().counters());
    assert_same(&snapshot(resumed.state()), &snapshot(trainer.state()));
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_and_can_be_redone() {
    let config = config(0.0);
    let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
    trainer.step(&whole(0), Wishes::default()).unwrap();
    let (before, counters) = (snapshot(trainer.state()), trainer.state().counters());
    let mut broken = whole(1);
    broken.images *= f64::NAN;
    let error = trainer.step(&broken, Wishes::default()).unwrap_err();
    assert!(error.to_string().starts_with("step 2: the loss is not finite"), "{error}");
    assert_same(&before, &snapshot(trainer.state()));
    assert_eq!(counters, trainer.state().counters());
    assert!(trainer.step(&whole(1), Wishes::default()).unwrap().scalars["loss"].is_finite());
}

#[test]
fn a_state_of_another_shape_is_refused_whole() {
    let config = config(0.0);
    let mut state = State::new(&config, Device::Cpu).unwrap();
    let before = snapshot(&state);
    let mut tensors: BTreeMap<String, Tensor> =
        before.iter().map(|(name, tensor)| (name.clone(), tensor + 1.0)).collect();
    tensors.remove("queue/text");
    let error = state.restore(tensors, state.counters()).unwrap_err();
    assert!(error.to_string().contains("queue/text is missing"), "{error}");
    assert_same(&before, &snapshot(&state));
}

/// Negatives within parts of the batch that no rank boundary cuts: of {0, 1} and {2, 3, 4} the next one.
fn negatives(slots: Range<i64>) -> NegativeDraws {
    let next = |slot: i64| [1, 0, 3, 4, 2][slot as usize] - slots.start;
    let next: Vec<i64> = slots.clone().map(next).collect();
    let indices = || Tensor::from_slice(&next);
    NegativeDraws::Given(Negatives { image_for_text: indices(), text_for_image: indices() })
}

/// A rank's steps, from a state and batches that were made where nobody else draws.
fn train_part(config: &RunConfig, group: Group, state: State, batches: Vec<LocalBatch>) -> Vec<f64> {
    let mut trainer = Trainer::new(config, SPECIAL, 1.0, state, group).unwrap();
    let steps = batches.into_iter().zip(0..).map(|(batch, step)| {
        let masked = batch.draws(7, proto::GlobalStep(step), 0.4, SPECIAL, Device::Cpu).masked;
        let slots = batch.first_slot as i64..(batch.first_slot as i64 + batch.len() as i64);
        let draws = Draws { masked, negatives: negatives(slots) };
        let outcome = trainer.step_with(&batch, &draws, Wishes::default()).unwrap();
        ["loss_itc", "loss_itm", "loss_mlm", "gradient_norm"].map(|name| outcome.scalars[name])
    });
    let mut told: Vec<f64> = steps.flatten().collect();
    let sums = trainer.state().tensors().into_values();
    told.extend(sums.map(|tensor| tensor.to_kind(Kind::Double).norm().double_value(&[])));
    told
}

#[test]
fn two_ranks_with_unequal_shares_equal_one() {
    alone::alone("state::tests::two_ranks_with_unequal_shares_equal_one", split_over_ranks);
}

fn split_over_ranks() {
    let config = &config(0.0);
    let make = |slots: Range<u64>, counts: Vec<i64>| {
        let batches = (0..3).map(|step| batch(step, slots.clone(), counts.clone())).collect();
        (State::new(config, Device::Cpu).unwrap(), batches)
    };
    let (state, batches) = make(0..5, vec![5]);
    let one = train_part(config, group(&Arc::default(), 0, 1), state, batches);
    let store = &Arc::<MemoryStore>::default();
    let parts = [make(0..2, vec![2, 3]), make(2..5, vec![2, 3])];
    let two: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..)
            .zip(parts)
            .map(|(rank, (state, batches))| {
                scope.spawn(move || train_part(config, group(store, rank, 2), state, batches))
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    assert_eq!(two[0][..12], two[1][..12]);
    for (index, (one, two)) in one.iter().zip(&two[0]).enumerate() {
        assert!((one - two).abs() <= 2e-3 * one.abs().max(1e-3), "number {index}: {one} and {two}");
    }
}

#[test]
fn bf16_stays_close_to_f32() {
    alone::alone("state::tests::bf16_stays_close_to_f32", compare_precisions);
}

fn compare_precisions() {
    let loss = |precision| {
        let mut config = config(0.0);
        config.optimizer.precision = precision;
        let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
        let outcome = trainer.step(&whole(0), Wishes::default()).unwrap();
        assert!(trainer.state().student.tensors().iter().all(|tensor| tensor.kind() == Kind::Float));
        outcome.scalars["loss"]
    };
    let (f32, bf16) = (loss(Precision::F32), loss(Precision::Bf16));
    assert!(f32 != bf16 && (f32 - bf16).abs() < 0.05 * f32, "{f32} and {bf16}");
}
