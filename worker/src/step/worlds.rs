//! How many workers share a batch, and in how many passes, does not show in what is learned.

use super::Trainer;
use super::heads::Inputs;
use crate::alone;
use crate::batch::LocalBatch;
use crate::error::Error;
use crate::state::State;
use crate::toy::{self, SPECIAL, batch, group};
use crate::vote::Wishes;
use c10d::MemoryStore;
use proto::RunConfig;
use proto::config::{Duplicates, QueueStart};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const B: u64 = 12;
const STEPS: u64 = 50;

/// What a rank knows at the end, and on the way.
#[derive(Debug)]
struct Told {
    /// Losses and gradient norm of every step.
    scalars: Vec<f64>,
    /// Every gradient of steps 1, 25 and 50, then the whole state.
    tensors: BTreeMap<String, Tensor>,
}

fn config() -> RunConfig {
    let mut config = toy::config(0.0);
    (config.optimizer.batch, config.data.lanes) = (B as u32, B as u32);
    (config.optimizer.warmup, config.optimizer.learning_rate) = (5, 1e-3);
    config.optimizer.steps = STEPS;
    config
}

/// Pairs of each rank: as even as lanes of one pair allow.
fn counts(world: u64) -> Vec<i64> {
    (0..world).map(|rank| ((rank + 1) * B / world - rank * B / world) as i64).collect()
}

fn train(mut trainer: Trainer, batches: Vec<LocalBatch>) -> Told {
    let mut told = Told { scalars: Vec::new(), tensors: BTreeMap::new() };
    for batch in batches {
        let outcome = trainer.step(&batch, Wishes::default()).unwrap();
        told.scalars
            .extend(["loss_itc", "loss_itm", "loss_mlm", "gradient_norm"].map(|name| outcome.scalars[name]));
        if [1, STEPS / 2, STEPS].contains(&outcome.step.0) {
            let gradients = trainer.state().student.iter();
            told.tensors.extend(
                gradients.map(|(name, t)| (format!("gradient/{}/{name}", outcome.step), t.grad().copy())),
            );
        }
    }
    told.tensors.extend(trainer.state().tensors().into_iter().map(|(name, tensor)| (name, tensor.copy())));
    trainer.meet().unwrap();
    told
}

/// What rank 0 of `world` ranks learns in [`STEPS`] steps. States and batches are made here: torch's generator is the process's.
fn learn(config: &RunConfig, world: u64, kind: Kind) -> Told {
    let store = &Arc::<MemoryStore>::default();
    let counts = counts(world);
    let parts: Vec<(State, Vec<LocalBatch>)> = (0..world)
        .map(|rank| {
            let slots = rank * B / world..(rank + 1) * B / world;
            let batches = (0..STEPS).map(|step| batch(step, slots.clone(), counts.clone())).collect();
            (toy::state(config, kind), batches)
        })
        .collect();
    std::thread::scope(|scope| {
        let start = |(rank, (state, batches))| {
            scope.spawn(move || {
                let group = group(store, rank, world as u32);
                train(Trainer::new(config, SPECIAL, 1.0, state, group).unwrap(), batches)
            })
        };
        let ranks: Vec<_> = (0..).zip(parts).map(start).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).next().unwrap()
    })
}

/// The largest difference, relative to the largest number of its tensor plus 0.1, and where it is. Attention key biases have a gradient of
/// zero in theory, which Adam's normalisation turns into noise in f32: they are left out there.
fn worst(one: &Told, other: &Told, kind: Kind) -> (f64, String) {
    let scalars = one
        .scalars
        .iter()
        .zip(&other.scalars)
        .map(|(a, b)| ((a - b).abs() / (b.abs() + 0.1), "a loss".to_owned()));
    let noise = |name: &str| {
        kind == Kind::Float && (name.ends_with("self.key.bias") || name.ends_with("attn.qkv.bias"))
    };
    let tensors = one.tensors.iter().filter(|(name, _)| !noise(name)).map(|(name, a)| {
        let (a, b) = (a.to_kind(Kind::Double), other.tensors[name].to_kind(Kind::Double));
        let size = b.abs().max().double_value(&[]) + 0.1;
        ((a - b).abs().max().double_value(&[]) / size, name.clone())
    });
    scalars.chain(tensors).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn assert_alike(what: &str, one: &Told, other: &Told, kind: Kind, bound: f64) {
    let (difference, name) = worst(one, other, kind);
    println!("{what}: {difference:.1e} ({name})");
    assert!(difference <= bound, "{what}: {name} differs by {difference:e}");
}

/// The bounds that docs/numerics.md states.
fn bounds() -> [(Kind, f64); 2] {
    [(Kind::Double, 1e-9), (Kind::Float, 1e-5)]
}

#[test]
fn any_number_of_workers_learns_the_same() {
    alone::alone("step::worlds::any_number_of_workers_learns_the_same", || {
        for (kind, bound) in bounds() {
            let one = learn(&config(), 1, kind);
            for world in [2, 3, 4, 7] {
                let several = learn(&config(), world, kind);
                assert_alike(&format!("{world} workers in {kind:?}"), &several, &one, kind, bound);
            }
        }
    });
}

#[test]
fn micro_batches_learn_the_same() {
    alone::alone("step::worlds::micro_batches_learn_the_same", || {
        for (kind, bound) in bounds() {
            let one = learn(&config(), 1, kind);
            for (world, micro_batch) in [(1, 5), (3, 1)] {
                let mut config = config();
                config.optimizer.micro_batch = micro_batch;
                let what = format!("{world} workers, {micro_batch} pairs at once, in {kind:?}");
                assert_alike(&what, &learn(&config, world, kind), &one, kind, bound);
            }
        }
    });
}

#[test]
fn tiles_and_other_duplicates_learn_the_same_on_any_number_of_workers() {
    alone::alone("step::worlds::tiles_and_other_duplicates_learn_the_same_on_any_number_of_workers", || {
        let mut config = config();
        config.objective.duplicates = Duplicates::Positives;
        config.objective.queue_start = QueueStart::Random;
        let one = learn(&config, 1, Kind::Double);
        config.objective.tile = 5;
        assert_alike("tiles", &learn(&config, 3, Kind::Double), &one, Kind::Double, 1e-9);
        config.objective.duplicates = Duplicates::Negatives;
        assert!(
            worst(&learn(&config, 1, Kind::Double), &one, Kind::Double).0 > 1e-3,
            "duplicates make no difference"
        );
    });
}

#[test]
fn both_passes_drop_out_the_same() {
    alone::alone("step::worlds::both_passes_drop_out_the_same", || {
        let mut config = config();
        config.model.dropout = 0.3;
        config.optimizer.micro_batch = 5;
        let trainer = toy::single(&config, toy::state(&config, Kind::Double));
        let inputs = Inputs::new(&batch(0, 0..B, vec![B as i64]), Device::Cpu, Kind::Double);
        let parts = [0..5, 5..10, 10..12];
        let (first, _) = tch::no_grad(|| trainer.encode_parts(&inputs, &parts)).unwrap();
        for (range, number) in parts.iter().zip(0..) {
            let expected = first.text.narrow(0, range.start, range.end - range.start);
            trainer.seed_dropout(number);
            let second = trainer.encode(&inputs.part(range)).unwrap();
            assert!(second.text.equal(&expected), "part {number}");
            let another = trainer.encode(&inputs.part(range)).unwrap();
            assert!(!another.text.equal(&expected), "there is no dropout");
        }
    });
}

#[test]
fn a_flipped_bit_is_found_and_named_on_every_rank() {
    alone::alone("step::worlds::a_flipped_bit_is_found_and_named_on_every_rank", || {
        let mut config = config();
        config.cluster.compare_every = 2;
        let name = "text_encoder.bert.encoder.layer.1.crossattention.self.value.weight";
        let store = &Arc::<MemoryStore>::default();
        let config = &config;
        let parts: Vec<_> = (0..3u64)
            .map(|rank| {
                let batches =
                    (0..2).map(|step| batch(step, rank * 4..(rank + 1) * 4, vec![4; 3])).collect::<Vec<_>>();
                (rank as u32, toy::state(config, Kind::Float), batches)
            })
            .collect();
        let errors: Vec<String> = std::thread::scope(|scope| {
            let start = |(rank, state, batches): (u32, State, Vec<LocalBatch>)| {
                scope.spawn(move || {
                    let group = group(store, rank, 3);
                    let mut trainer = Trainer::new(config, SPECIAL, 1.0, state, group).unwrap();
                    trainer.step(&batches[0], Wishes::default()).unwrap();
                    if rank == 1 {
                        let tensor = trainer.state().teacher.get(name).unwrap();
                        let mut values: Vec<f32> = tensor.flatten(0, 1).try_into().unwrap();
                        values[5] = f32::from_bits(values[5].to_bits() ^ 1);
                        tensor.shallow_clone().copy_(&Tensor::from_slice(&values).view_as(tensor));
                    }
                    let error = trainer.step(&batches[1], Wishes::default()).unwrap_err();
                    assert!(matches!(error, Error::Drift { .. }), "{error}");
                    error.to_string()
                })
            };
            let ranks: Vec<_> = parts.into_iter().map(start).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        });
        for error in errors {
            assert!(
                error.contains(&format!(
                    "step 2: the ranks' states differ: rank 1 has another teacher/{name}"
                )),
                "{error}"
            );
        }
    });
}
