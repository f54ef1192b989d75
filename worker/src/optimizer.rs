//! AdamW with the published decay groups.

use crate::error::Result;
use crate::weights::Weights;
use c10d::optim::{self, AdamW};
use proto::config::OptimizerSection;
use std::collections::BTreeMap;
use tch::Tensor;

/// AdamW (Loshchilov & Hutter, 2019, algorithm 2) over the student's parameters, in place.
#[derive(Debug)]
pub struct Optimizer {
    names: Vec<String>,
    groups: [Group; 2],
    step: u64,
}

/// Parameters with one weight decay.
#[derive(Debug, Default)]
struct Group {
    decays: bool,
    members: Vec<usize>,
    parameters: Vec<Tensor>,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
}

impl Optimizer {
    /// Moments of zero for every parameter.
    pub fn new(student: &Weights) -> Self {
        let mut groups = [true, false].map(|decays| Group { decays, ..Group::default() });
        let mut names = Vec::new();
        for (index, (name, parameter)) in student.iter().enumerate() {
            let group = &mut groups[usize::from(!decays(name, parameter))];
            group.members.push(index);
            group.parameters.push(parameter.shallow_clone());
            group.first.push(parameter.detach().zeros_like());
            group.second.push(parameter.detach().zeros_like());
            names.push(name.to_owned());
        }
        Self { names, groups, step: 0 }
    }

    /// The number of updates so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// One update with the parameters' gradients, scaled by `factor` on the way (1 unless the gradient is clipped).
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn update(&mut self, section: &OptimizerSection, learning_rate: f64, factor: f64) -> Result<()> {
        self.step += 1;
        for group in &self.groups {
            let gradients: Vec<Tensor> = group.parameters.iter().map(Tensor::grad).collect();
            if factor != 1.0 {
                optim::scale(&gradients, factor)?;
            }
            let constants = AdamW {
                lr: learning_rate,
                beta1: section.beta1,
                beta2: section.beta2,
                weight_decay: if group.decays { section.weight_decay } else { 0.0 },
                eps: section.epsilon,
            };
            optim::fused_adamw(
                &group.parameters,
                &gradients,
                &group.first,
                &group.second,
                self.step,
                &constants,
            )?;
        }
        Ok(())
    }

    /// The moments by parameter name: `first/<name>` and `second/<name>`, handles to the live tensors.
    pub fn moments(&self) -> BTreeMap<String, Tensor> {
        let named = self.groups.iter().flat_map(|group| {
            let both = group.members.iter().zip(group.first.iter().zip(&group.second));
            both.flat_map(|(index, (first, second))| {
                let name = &self.names[*index];
                [
                    (format!("first/{name}"), first.shallow_clone()),
                    (format!("second/{name}"), second.shallow_clone()),
                ]
            })
        });
        named.collect()
    }

    /// Goes on after `step` updates, whose [`moments`](Self::moments) have been copied in.
    pub fn set_step(&mut self, step: u64) {
        self.step = step;
    }
}

/// Whether weight decay applies: to all but biases and one-dimensional tensors, so also to the temperature, position tables
/// and class token, as the published code's parameter groups have it.
fn decays(name: &str, parameter: &Tensor) -> bool {
    parameter.dim() != 1 && !name.ends_with(".bias")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_and_vectors_do_not_decay_but_the_temperature_does() {
        let of = |shape: &[i64]| Tensor::zeros(shape, tch::kind::FLOAT_CPU);
        assert!(decays("temp", &of(&[])) && decays("visual_encoder.cls_token", &of(&[1, 1, 2])));
        assert!(!decays("norm.weight", &of(&[3])) && !decays("itm_head.bias", &of(&[2])));
    }
}
