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
    /// Moments of zero for every parameter. `decay_positions` is the knob of that name.
    pub fn new(student: &Weights, decay_positions: bool) -> Self {
        let mut groups = [true, false].map(|decays| Group { decays, ..Group::default() });
        let mut names = Vec::new();
        for (index, (name, parameter)) in student.iter().enumerate() {
            let group = &mut groups[usize::from(!decays(name, parameter, decay_positions))];
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

/// Whether weight decay applies: to all but biases and one-dimensional tensors, as the published code's parameter groups have it;
/// temperature, class token and position embeddings, which that rule leaves in, only with `positions`.
fn decays(name: &str, parameter: &Tensor, positions: bool) -> bool {
    let position = name == "temp"
        || ["cls_token", "pos_embed", "position_embeddings.weight"].iter().any(|end| name.ends_with(end));
    parameter.dim() != 1 && !name.ends_with(".bias") && (positions || !position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_and_vectors_never_decay_and_positions_when_asked() {
        let of = |shape: &[i64]| Tensor::zeros(shape, tch::kind::FLOAT_CPU);
        let positions = [
            ("temp", vec![]),
            ("visual_encoder.cls_token", vec![1, 1, 2]),
            ("visual_encoder.pos_embed", vec![1, 5, 2]),
        ];
        for (name, shape) in positions {
            assert!(decays(name, &of(&shape), true) && !decays(name, &of(&shape), false), "{name}");
        }
        for decay in [true, false] {
            assert!(!decays("norm.weight", &of(&[3]), decay) && !decays("itm_head.bias", &of(&[2]), decay));
            assert!(decays("text_encoder.bert.embeddings.word_embeddings.weight", &of(&[3, 2]), decay));
        }
    }
}
