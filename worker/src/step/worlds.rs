//! How many workers share a batch, and in how many passes, does not show in what is learned.

use super::Trainer;
use super::choices::{Drawn, drawn};
use crate::alone;
use crate::batch::LocalBatch;
use crate::toy::{self, SPECIAL, batch, counts};
use crate::vote::Ballot;
use proto::RunConfig;
use proto::config::{Duplicates, QueueStart};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

const B: u64 = 12;
const STEPS: u64 = 50;

/// What ranks know at the end, and on the way.
#[derive(Debug)]
struct Told {
    /// Losses and gradient norm of every step, as rank 0 knows them.
    scalars: Vec<f64>,
    /// Every gradient of steps 1, 25 and 50, then the whole state, of rank 0.
    tensors: BTreeMap<String, Tensor>,
    /// Masks and negatives of every step's pairs, of all ranks.
    drawn: BTreeMap<(u64, u64), Drawn>,
}

fn config() -> RunConfig {
    let mut config = toy::config(0.0);
    (config.optimizer.batch, config.data.lanes) = (B as u32, B as u32);
    (config.optimizer.warmup, config.optimizer.learning_rate) = (5, 1e-3);
    config.optimizer.steps = STEPS;
    config
}

fn train(mut trainer: Trainer, batches: Vec<LocalBatch>) -> Told {
    let mut told = Told { scalars: Vec::new(), tensors: BTreeMap::new(), drawn: BTreeMap::new() };
    for batch in batches {
        told.drawn.extend(drawn(&mut trainer, &batch));
        let outcome = trainer.step(&batch, &Ballot::default()).unwrap();
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

/// What `world` ranks learn in [`STEPS`] steps.
fn learn(config: &RunConfig, world: u64, kind: Kind) -> Told {
    let counts = counts(B, world);
    let given = |rank| {
        let slots = rank * B / world..(rank + 1) * B / world;
        let batches: Vec<_> = (0..STEPS).map(|step| batch(step, slots.clone(), counts.clone())).collect();
        (toy::state(config, kind), batches)
    };
    let all = toy::ranks((0..world).map(given).collect(), |group, (state, batches)| {
        train(Trainer::new(config, SPECIAL, 1.0, state, &counts, group).unwrap(), batches)
    });
    all.into_iter()
        .reduce(|mut first, other| {
            first.drawn.extend(other.drawn);
            first
        })
        .unwrap()
}

/// Attention key biases have a gradient of zero in theory; what there is is rounding, which Adam's normalisation turns into steps. The part
/// of a tensor that is none of theirs.
fn meant(name: &str, tensor: &Tensor) -> Option<Tensor> {
    if name.ends_with("self.key.bias") {
        return None;
    }
    if name.ends_with("attn.qkv.bias") {
        let thirds = tensor.chunk(3, 0);
        return Some(Tensor::cat(&[&thirds[0], &thirds[2]], 0));
    }
    Some(tensor.shallow_clone())
}

/// What is compared with what: moments are small, and have a scale of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Losses, gradients, weights, queue: relative to the largest number of each plus 0.1.
    Values,
    /// Relative to the largest number of each.
    Moments,
}

/// The largest difference and where it is. Key biases are left out where they are noise: in f32, and in their moments.
fn worst(one: &Told, other: &Told, kind: Kind, of: Of) -> (f64, String) {
    let scalars = one
        .scalars
        .iter()
        .zip(&other.scalars)
        .filter(|_| of == Of::Values)
        .map(|(a, b)| ((a - b).abs() / (b.abs() + 0.1), "a loss".to_owned()));
    let here = |name: &str| name.starts_with("optimizer/") == (of == Of::Moments);
    let tensors = one.tensors.iter().filter(|(name, _)| here(name)).filter_map(|(name, a)| {
        let part = |tensor: &Tensor| {
            let tensor = tensor.to_kind(Kind::Double);
            if kind == Kind::Float || of == Of::Moments { meant(name, &tensor) } else { Some(tensor) }
        };
        let (a, b) = (part(a)?, part(&other.tensors[name])?);
        let largest = b.abs().max().double_value(&[]);
        let size = if of == Of::Values { largest + 0.1 } else { largest };
        // Zero over zero is no difference.
        let difference = (a - b).abs().max().double_value(&[]);
        Some((if difference == 0.0 { 0.0 } else { difference / size }, name.clone()))
    });
    scalars.chain(tensors).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// The bounds that docs/numerics.md states: of values, and of moments.
fn bounds(kind: Kind) -> [(Of, f64); 2] {
    match kind {
        Kind::Double => [(Of::Values, 1e-9), (Of::Moments, 1e-9)],
        _ => [(Of::Values, 1e-5), (Of::Moments, 1e-4)],
    }
}

fn assert_alike(what: &str, one: &Told, other: &Told, kind: Kind) {
    for (of, bound) in bounds(kind) {
        let (difference, name) = worst(one, other, kind, of);
        println!("{what}, {of:?}: {difference:.1e} ({name})");
        assert!(difference <= bound, "{what}: {name} differs by {difference:e}");
    }
    // In f32 a similarity's last bits may tip a choice.
    if kind == Kind::Double {
        assert_eq!(one.drawn.len() as u64, STEPS * B, "{what}");
        for (pair, drawn) in &one.drawn {
            assert_eq!(drawn, &other.drawn[pair], "{what}: step and slot {pair:?}");
        }
    }
}

#[test]
fn any_number_of_workers_learns_the_same() {
    alone::alone("step::worlds::any_number_of_workers_learns_the_same", || {
        for kind in [Kind::Double, Kind::Float] {
            let one = learn(&config(), 1, kind);
            for world in [2, 3, 4, 7] {
                let several = learn(&config(), world, kind);
                assert_alike(&format!("{world} workers in {kind:?}"), &several, &one, kind);
            }
        }
    });
}

#[test]
fn micro_batches_learn_the_same() {
    alone::alone("step::worlds::micro_batches_learn_the_same", || {
        for kind in [Kind::Double, Kind::Float] {
            let one = learn(&config(), 1, kind);
            for (world, micro_batch) in [(1, 5), (2, 4), (3, 1), (4, 2), (7, 1)] {
                let mut config = config();
                config.optimizer.micro_batch = micro_batch;
                let what = format!("{world} workers, {micro_batch} pairs at once, in {kind:?}");
                assert_alike(&what, &learn(&config, world, kind), &one, kind);
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
        assert_alike("tiles", &learn(&config, 3, Kind::Double), &one, Kind::Double);
        config.objective.duplicates = Duplicates::Negatives;
        assert!(
            worst(&learn(&config, 1, Kind::Double), &one, Kind::Double, Of::Values).0 > 1e-3,
            "duplicates make no difference"
        );
    });
}
