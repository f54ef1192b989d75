//! Named tensors: the parameters of a network under their published names.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Parameters by their published name, in the order of the names.
#[derive(Debug, Default)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// Takes the tensors as they are.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Self {
        Self(tensors)
    }

    /// The tensors by name.
    pub fn into_map(self) -> BTreeMap<String, Tensor> {
        self.0
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Names and tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensors, by name; clones of the handles, not of the data.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.0.values().map(Tensor::shallow_clone).collect()
    }

    /// Copies of the tensors whose name passes, without gradient.
    pub fn copy_where(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(name, _)| keep(name));
        Self(kept.map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect())
    }

    /// The same tensors on a device.
    pub fn to_device(&self, device: Device) -> Self {
        Self(self.0.iter().map(|(name, tensor)| (name.clone(), tensor.to_device(device))).collect())
    }

    /// Marks every tensor as trained.
    pub fn trained(self) -> Self {
        Self(self.0.into_iter().map(|(name, tensor)| (name, tensor.set_requires_grad(true))).collect())
    }

    /// Takes the gradients away.
    pub fn clear_gradients(&self) {
        self.0.values().for_each(|tensor| tensor.shallow_clone().zero_grad());
    }

    /// Copies the values of `other` into these tensors, which stay where they are.
    ///
    /// # Errors
    /// [`Error::Keys`] with every missing, unexpected or misshaped name.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        let shape = |t: &Tensor| format!("{:?}", t.size());
        let mut wrong: Vec<String> = Vec::new();
        for (name, tensor) in &self.0 {
            match other.0.get(name) {
                None => wrong.push(format!("{name} is missing")),
                Some(o) if o.size() != tensor.size() => {
                    wrong.push(format!("{name} has shape {} instead of {}", shape(o), shape(tensor)));
                }
                Some(_) => {}
            }
        }
        wrong.extend(
            other.0.keys().filter(|name| !self.0.contains_key(*name)).map(|n| format!("{n} is unexpected")),
        );
        if !wrong.is_empty() {
            return Err(Error::Keys(wrong));
        }
        let _guard = tch::no_grad_guard();
        for (name, tensor) in &self.0 {
            if let Some(source) = other.0.get(name) {
                tensor.shallow_clone().copy_(source);
            }
        }
        Ok(())
    }
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// A constant.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform between minus and plus this bound; PyTorch's default for layers with `fan_in` inputs has `1 / sqrt(fan_in)`.
    Uniform(f64),
}

impl Init {
    fn fill(self, name: &str, shape: &[i64], seed: u64, kind: Kind) -> Tensor {
        let mut digest = Sha256::new();
        digest.update(seed.to_le_bytes());
        digest.update(name.as_bytes());
        let bytes = digest.finalize();
        let key = bytes.iter().take(8).fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        tch::manual_seed((key >> 1) as i64);
        let f32s = (Kind::Float, Device::Cpu);
        let drawn = match self {
            Self::Zeros => Tensor::zeros(shape, f32s),
            Self::Ones => Tensor::ones(shape, f32s),
            Self::Constant(value) => Tensor::full(shape, value, f32s),
            Self::Normal(std) => Tensor::randn(shape, f32s) * std,
            Self::Uniform(bound) => Tensor::rand(shape, f32s) * (2.0 * bound) - bound,
        };
        drawn.to_kind(kind)
    }
}

/// Where a network under construction takes its parameters from: fresh draws keyed by name, or a given set.
#[derive(Debug)]
pub struct Source<'a> {
    given: Option<&'a Weights>,
    seed: u64,
    kind: Kind,
    taken: RefCell<BTreeMap<String, Tensor>>,
    wrong: RefCell<Vec<String>>,
}

impl<'a> Source<'a> {
    /// Draws every parameter; which values depends on the seed and the parameter's name only.
    pub fn random(seed: u64, kind: Kind) -> Self {
        Self { given: None, seed, kind, taken: RefCell::default(), wrong: RefCell::default() }
    }

    /// Takes every parameter from `weights` and shares its memory.
    pub fn given(weights: &'a Weights) -> Self {
        Self { given: Some(weights), ..Self::random(0, Kind::Float) }
    }

    /// The names below `name`.
    pub fn at(&self, name: &str) -> Scope<'_> {
        Scope { source: self, prefix: name.into() }
    }

    /// The top level of the names.
    pub fn root(&self) -> Scope<'_> {
        self.at("")
    }

    /// All parameters that were taken.
    ///
    /// # Errors
    /// [`Error::Keys`] with every name that was missing or misshaped in the given set.
    pub fn finish(self) -> Result<Weights> {
        let wrong = self.wrong.into_inner();
        if wrong.is_empty() { Ok(Weights(self.taken.into_inner())) } else { Err(Error::Keys(wrong)) }
    }

    fn take(&self, name: String, shape: &[i64], init: Init) -> Tensor {
        let tensor = match self.given {
            None => init.fill(&name, shape, self.seed, self.kind),
            Some(weights) => match weights.get(&name) {
                Some(tensor) if tensor.size() == shape => tensor.shallow_clone(),
                found => {
                    self.wrong.borrow_mut().push(match found {
                        Some(t) => format!("{name} has shape {:?} instead of {shape:?}", t.size()),
                        None => format!("{name} is missing"),
                    });
                    Tensor::zeros(shape, (self.kind, Device::Cpu))
                }
            },
        };
        self.taken.borrow_mut().insert(name, tensor.shallow_clone());
        tensor
    }
}

/// A prefix of parameter names, such as `visual_encoder.blocks.0`.
#[derive(Debug)]
pub struct Scope<'a> {
    source: &'a Source<'a>,
    prefix: String,
}

impl Scope<'_> {
    /// The names below `name`, below this one.
    pub fn at(&self, name: impl std::fmt::Display) -> Scope<'_> {
        Scope { source: self.source, prefix: self.name(name) }
    }

    /// The parameter `name` with that shape; `init` is how it starts when it is drawn.
    pub fn take(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.source.take(self.name(name), shape, init)
    }

    fn name(&self, name: impl std::fmt::Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_name_only() {
        crate::alone::alone("weights::tests::draws_depend_on_seed_and_name_only", || {
            let draw = |seed, name: &str| Init::Normal(1.0).fill(name, &[5], seed, Kind::Float);
            assert!(draw(1, "a").equal(&draw(1, "a")));
            assert!(!draw(1, "a").equal(&draw(2, "a")));
            assert!(!draw(1, "a").equal(&draw(1, "b")));
        });
    }

    #[test]
    fn every_wrong_name_is_listed() {
        let of = |pairs: &[(&str, i64)]| {
            Weights::new(
                pairs
                    .iter()
                    .map(|(n, s)| (n.to_string(), Tensor::zeros([*s], tch::kind::FLOAT_CPU)))
                    .collect(),
            )
        };
        let error = of(&[("a", 1), ("b", 2)]).copy_from(&of(&[("b", 3), ("c", 1)])).unwrap_err().to_string();
        for part in ["a is missing", "b has shape [3] instead of [2]", "c is unexpected"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
