//! The reducer against one process that has the whole batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::{Device, Kind as Dtype, Tensor};

use super::Reducer;
use crate::group::tests::{spec, with_ranks};
use crate::{AbortHandle, Group, Kind, MemoryStore, optim};

const F32: (Dtype, Device) = (Dtype::Float, Device::Cpu);
const LONG: Duration = Duration::from_secs(60);
/// Rows of each rank.
const ROWS: i64 = 6;
/// Small, so that the parameters fill several buckets.
const BUCKET: usize = 20_000;

/// Values that look random, from a seed, alike on every thread.
fn noise(shape: &[i64], seed: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    ((Tensor::arange(count, F32) * 12.9898 + seed).sin() * 43.758).sin().reshape(shape)
}

/// A perceptron of four layers.
fn parameters() -> Vec<Tensor> {
    let sizes = [(32, 64), (64, 64), (64, 64), (64, 4)];
    let layer = |(seed, (fan_in, fan_out)): (usize, (i64, i64))| {
        let weight = noise(&[fan_in, fan_out], seed as f64) * 0.2;
        [weight, Tensor::zeros([fan_out], F32)].map(|tensor| tensor.set_requires_grad(true))
    };
    sizes.into_iter().enumerate().flat_map(layer).collect()
}

fn loss(parameters: &[Tensor], rows: &Tensor, targets: &Tensor) -> Tensor {
    let layer = |hidden: Tensor, layer: &[Tensor]| (hidden.matmul(&layer[0]) + &layer[1]).tanh();
    let output = parameters.chunks(2).fold(rows.shallow_clone(), layer);
    output.mse_loss(targets, tch::Reduction::Mean)
}

fn batch(rows: i64) -> (Tensor, Tensor) {
    (noise(&[rows, 32], 0.5), noise(&[rows, 4], 0.25))
}

fn sgd(parameters: &[Tensor]) {
    let _no_grad = tch::no_grad_guard();
    for parameter in parameters {
        let _ = parameter.shallow_clone().g_sub_(&(parameter.grad() * 0.5));
    }
}

/// The gradients of each of `steps` steps of one process over the whole batch.
fn reference(rows: i64, steps: usize) -> Vec<Vec<Tensor>> {
    let parameters = parameters();
    let (inputs, targets) = batch(rows);
    let step = |_| {
        optim_zero(&parameters);
        loss(&parameters, &inputs, &targets).backward();
        let grads: Vec<_> = parameters.iter().map(|parameter| parameter.grad().copy()).collect();
        sgd(&parameters);
        grads
    };
    (0..steps).map(step).collect()
}

fn optim_zero(parameters: &[Tensor]) {
    for parameter in parameters.iter().filter(|parameter| parameter.grad().defined()) {
        let _ = parameter.grad().zero_();
    }
}

fn largest_difference(left: &[Tensor], right: &[Tensor]) -> f64 {
    let difference = |(left, right): (&Tensor, &Tensor)| (left - right).abs().max().double_value(&[]);
    left.iter().zip(right).map(difference).fold(0.0, f64::max)
}

/// Trains each rank on its rows; the gradients of each step, by rank.
fn reduced(world_size: u32, steps: usize) -> Vec<Vec<Vec<Tensor>>> {
    with_ranks(world_size, LONG, |group| {
        let parameters = parameters();
        let (inputs, targets) = batch(ROWS * i64::from(world_size));
        let local = |tensor: &Tensor| tensor.narrow(0, ROWS * i64::from(group.rank()), ROWS);
        let mut reducer = Reducer::new(&group, &parameters, BUCKET).unwrap();
        let grads = (0..steps).map(|_| {
            reducer.zero_grad().unwrap();
            reducer.prepare().unwrap();
            reducer.backward(&loss(&parameters, &local(&inputs), &local(&targets))).unwrap();
            let grads: Vec<_> = parameters.iter().map(|parameter| parameter.grad().copy()).collect();
            sgd(&parameters);
            grads
        });
        let grads = grads.collect();
        assert!(reducer.buckets().unwrap() > 1);
        grads
    })
}

#[test]
fn the_mean_over_ranks_is_the_gradient_of_the_whole_batch() {
    for world_size in [1, 2, 3] {
        let expected = reference(ROWS * i64::from(world_size), 4);
        let ranks = reduced(world_size, 4);
        for (step, expected) in expected.iter().enumerate() {
            let scale = expected.iter().map(|grad| grad.abs().max().double_value(&[])).fold(0.0, f64::max);
            for rank in &ranks {
                let difference = largest_difference(&rank[step], expected);
                assert!(difference < 2e-6 * scale.max(0.1), "{world_size} ranks, step {step}: {difference}");
                assert_eq!(largest_difference(&rank[step], &ranks[0][step]), 0.0);
            }
        }
    }
}

#[test]
fn one_rank_is_exactly_no_reduction() {
    let (expected, ranks) = (reference(ROWS, 3), reduced(1, 3));
    for (grads, expected) in ranks[0].iter().zip(&expected) {
        assert_eq!(largest_difference(grads, expected), 0.0);
    }
}

/// Each way to clear gradients between steps, and a step that was given up after `prepare`.
#[test]
fn gradients_are_cleared_or_accumulate_and_a_step_may_be_given_up() {
    let group = Group::new(spec(0, 1, LONG), Arc::new(MemoryStore::new())).unwrap();
    let parameters = parameters();
    let (inputs, targets) = batch(ROWS);
    let expected = &reference(ROWS, 1)[0];
    let doubled: Vec<_> = expected.iter().map(|grad| grad * 2.0).collect();
    let mut reducer = Reducer::new(&group, &parameters, BUCKET).unwrap();
    let mut grads = |clear: &dyn Fn(&mut Reducer)| {
        clear(&mut reducer);
        reducer.prepare().unwrap();
        reducer.prepare().unwrap();
        reducer.backward(&loss(&parameters, &inputs, &targets)).unwrap();
        parameters.iter().map(|parameter| parameter.grad().copy()).collect::<Vec<_>>()
    };
    assert_eq!(largest_difference(&grads(&|_| {}), expected), 0.0);
    assert_eq!(largest_difference(&grads(&|reducer| reducer.zero_grad().unwrap()), expected), 0.0);
    assert_eq!(largest_difference(&grads(&|_| optim_zero(&parameters)), expected), 0.0);
    assert_eq!(largest_difference(&grads(&|_| optim::scale(&[], 0.0).unwrap()), &doubled), 0.0);
}

#[test]
fn a_dropped_reducer_leaves_backward_as_it_was() {
    let group = Group::new(spec(0, 1, LONG), Arc::new(MemoryStore::new())).unwrap();
    let parameters = parameters();
    let (inputs, targets) = batch(ROWS);
    drop(Reducer::new(&group, &parameters, BUCKET).unwrap());
    drop(group);
    loss(&parameters, &inputs, &targets).backward();
    let grads: Vec<_> = parameters.iter().map(Tensor::grad).collect();
    assert_eq!(largest_difference(&grads, &reference(ROWS, 1)[0]), 0.0);
}

#[test]
fn a_parameter_without_gradient_is_named_at_the_next_step() {
    let group = Group::new(spec(0, 1, LONG), Arc::new(MemoryStore::new())).unwrap();
    let mut all = parameters();
    let (inputs, targets) = batch(ROWS);
    all.push(Tensor::ones([3], F32).set_requires_grad(true));
    let mut reducer = Reducer::new(&group, &all, BUCKET).unwrap();
    reducer.prepare().unwrap();
    reducer.backward(&loss(&all[..8], &inputs, &targets)).unwrap();
    let error = reducer.prepare().unwrap_err();
    assert_eq!(error.kind, Kind::Other);
    assert!(error.text.contains('8'), "{error}");
}

#[test]
fn ranks_with_other_shapes_are_refused() {
    let errors = with_ranks(2, LONG, |group| {
        let size = 3 + i64::from(group.rank());
        let parameters = [Tensor::ones([size], F32).set_requires_grad(true)];
        Reducer::new(&group, &parameters, BUCKET).map(drop)
    });
    assert!(errors.iter().any(Result::is_err), "{errors:?}");
}

/// A rank that leaves, or an abort, in the middle of backward ends it; the survivors' weights are as before.
#[test]
fn backward_fails_when_a_peer_is_lost() {
    let handles: std::sync::Mutex<Vec<AbortHandle>> = Default::default();
    // The group's own barrier would end at one rank while another could still be aborted in it.
    let all_ready = std::sync::Barrier::new(3);
    let started = Instant::now();
    with_ranks(3, LONG, |group| {
        let before = parameters();
        let parameters = parameters();
        let (inputs, targets) = batch(ROWS);
        let mut reducer = Reducer::new(&group, &parameters, BUCKET).unwrap();
        handles.lock().unwrap().push(group.abort_handle().unwrap());
        all_ready.wait();
        if group.rank() == 2 {
            for handle in handles.lock().unwrap().iter() {
                handle.abort().unwrap();
            }
            return;
        }
        let step = |reducer: &mut Reducer| {
            reducer.zero_grad()?;
            reducer.prepare()?;
            reducer.backward(&loss(&parameters, &inputs, &targets))
        };
        let mut result = Ok(());
        while result.is_ok() {
            result = step(&mut reducer);
        }
        let error = result.unwrap_err();
        assert_eq!(error.kind, Kind::Peer, "{error}");
        drop((reducer, group));
        assert_eq!(largest_difference(&parameters, &before), 0.0);
    });
    assert!(started.elapsed() < LONG / 2);
}
