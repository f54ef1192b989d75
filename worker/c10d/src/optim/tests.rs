//! The kernels against the formulas.

use tch::{Device, Kind as Dtype, Tensor};

use super::*;
use crate::Kind;

const F32: (Dtype, Device) = (Dtype::Float, Device::Cpu);

fn wave(count: i64, frequency: f64) -> Tensor {
    (Tensor::arange(count, F32) * frequency + 0.3).sin()
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Dtype::Double)).unwrap()
}

/// Algorithm 2 of the paper in f64, with PyTorch's order: decay first.
#[test]
fn adamw_follows_the_paper() {
    let adamw = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.98, weight_decay: 0.05, eps: 1e-8 };
    let parameters = [wave(7, 1.1), wave(33, 0.7)];
    let moments = || [7, 33].map(|count| Tensor::zeros([count], F32));
    let (firsts, seconds) = (moments(), moments());
    let mut expected: Vec<Vec<(f64, f64, f64)>> =
        parameters.iter().map(|tensor| floats(tensor).into_iter().map(|p| (p, 0.0, 0.0)).collect()).collect();
    for step in 1..=5u32 {
        let grads = [wave(7, f64::from(step)), wave(33, 0.9 * f64::from(step))];
        fused_adamw(&parameters, &grads, &firsts, &seconds, u64::from(step), &adamw).unwrap();
        for (state, grads) in expected.iter_mut().zip(&grads) {
            for ((p, m, v), g) in state.iter_mut().zip(floats(grads)) {
                *p -= adamw.lr * adamw.weight_decay * *p;
                *m = adamw.beta1 * *m + (1.0 - adamw.beta1) * g;
                *v = adamw.beta2 * *v + (1.0 - adamw.beta2) * g * g;
                let first = *m / (1.0 - adamw.beta1.powi(step as i32));
                let second = *v / (1.0 - adamw.beta2.powi(step as i32));
                *p -= adamw.lr * first / (second.sqrt() + adamw.eps);
            }
        }
    }
    for (tensor, state) in parameters.iter().zip(&expected) {
        for (value, (p, _, _)) in floats(tensor).into_iter().zip(state) {
            assert!((value - p).abs() < 2e-6, "{value} for {p}");
        }
    }
}

/// The kernels work in place on leaves that require gradients, and record nothing.
#[test]
fn leaves_are_changed_outside_of_the_graph() {
    let leaf = wave(4, 1.0).set_requires_grad(true);
    let before = floats(&leaf.detach());
    scale(&[leaf.shallow_clone()], 2.0).unwrap();
    let doubled: Vec<f64> = before.iter().map(|value| value * 2.0).collect();
    assert_eq!(floats(&leaf.detach()), doubled);
    assert!(leaf.is_leaf());
}

#[test]
fn lerp_moves_by_the_weight() {
    let (targets, sources) = ([wave(5, 1.0), wave(3, 2.0)], [wave(5, 3.0), wave(3, 4.0)]);
    let expected: Vec<f64> = targets
        .iter()
        .zip(&sources)
        .flat_map(|(t, s)| {
            floats(t).into_iter().zip(floats(s)).map(|(t, s)| t + 0.005 * (s - t)).collect::<Vec<_>>()
        })
        .collect();
    lerp(&targets, &sources, 0.005).unwrap();
    let moved: Vec<f64> = targets.iter().flat_map(floats).collect();
    for (value, expected) in moved.iter().zip(&expected) {
        assert!((value - expected).abs() < 1e-7, "{value} for {expected}");
    }
    lerp(&targets, &targets, 0.5).unwrap();
    assert_eq!(targets.iter().flat_map(floats).collect::<Vec<_>>(), moved);
}

#[test]
fn the_norm_is_that_of_all_elements_together() {
    let tensors = [wave(100_003, 0.1), wave(17, 0.2).reshape([17, 1]), wave(6, 0.3).to_kind(Dtype::BFloat16)];
    let squares: f64 =
        tensors.iter().flat_map(|tensor| floats(&tensor.reshape([-1]))).map(|value| value * value).sum();
    let norm = global_norm(&tensors).unwrap();
    assert_eq!(norm.kind(), Dtype::Double);
    assert!((norm.double_value(&[]) - squares.sqrt()).abs() < 1e-9 * squares.sqrt());
    assert!(
        global_norm(&[wave(3, 1.0), Tensor::from_slice(&[f32::NAN])]).unwrap().double_value(&[]).is_nan()
    );
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    let one = [wave(3, 1.0)];
    assert_eq!(lerp(&one, &[], 0.5).unwrap_err().kind, Kind::Shape);
    assert_eq!(global_norm(&[]).unwrap_err().kind, Kind::Shape);
    let adamw = AdamW { lr: 1.0, beta1: 0.9, beta2: 0.9, weight_decay: 0.0, eps: 1e-8 };
    assert_eq!(fused_adamw(&one, &one, &one, &[], 1, &adamw).unwrap_err().kind, Kind::Shape);
    scale(&[], 2.0).unwrap();
    lerp(&[], &[], 2.0).unwrap();
}
