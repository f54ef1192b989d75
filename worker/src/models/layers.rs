//! Layers that more than one network uses.

use crate::weights::{Init, Scope};
use tch::{Kind, Tensor};

/// `y = x Wᵀ + b`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Weight `[outputs, inputs]`, normal with standard deviation `std`; bias zero.
    pub fn normal(scope: &Scope<'_>, inputs: i64, outputs: i64, std: f64) -> Self {
        Self {
            weight: scope.take("weight", &[outputs, inputs], Init::Normal(std)),
            bias: scope.take("bias", &[outputs], Init::Zeros),
        }
    }

    /// Weight `[outputs, inputs]` and bias as PyTorch's `nn.Linear` starts them.
    pub fn uniform(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Self {
        let bound = Init::Uniform(1.0 / (inputs as f64).sqrt());
        Self {
            weight: scope.take("weight", &[outputs, inputs], bound),
            bias: scope.take("bias", &[outputs], bound),
        }
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// Layer normalisation over the last dimension, in the dtype of its weights also under autocast.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Weight one, bias zero, both `[width]`.
    pub fn new(scope: &Scope<'_>, width: i64, eps: f64) -> Self {
        Self {
            weight: scope.take("weight", &[width], Init::Ones),
            bias: scope.take("bias", &[width], Init::Zeros),
            eps,
        }
    }

    /// Same shape out as in.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let width = self.weight.size();
        x.to_kind(self.weight.kind()).layer_norm(width, Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

/// Multi-head scaled dot-product attention (Vaswani et al., 2017, section 3.2).
///
/// `query` is `[n, q, width]`, `key` and `value` `[n, k, width]`, the additive `mask` broadcasts to `[n, heads, q, k]`;
/// gives `[n, q, width]`. `dropout` is the probability on the attention weights, 0 outside training.
pub fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: i64,
    mask: Option<&Tensor>,
    dropout: f64,
) -> Tensor {
    let (n, q, width) = sizes(query);
    let split = |x: &Tensor| x.view([n, -1, heads, width / heads]).transpose(1, 2);
    let mask = mask.map(|m| m.to_kind(query.kind()));
    Tensor::scaled_dot_product_attention(
        &split(query),
        &split(key),
        &split(value),
        mask,
        dropout,
        false,
        None,
        false,
    )
    .transpose(1, 2)
    .reshape([n, q, width])
}

/// The three dimensions of `[n, tokens, width]`.
pub fn sizes(x: &Tensor) -> (i64, i64, i64) {
    match x.size()[..] {
        [n, tokens, width] => (n, tokens, width),
        _ => (0, 0, 0),
    }
}

/// The exact (erf) GELU.
pub fn gelu(x: &Tensor) -> Tensor {
    x.gelu("none")
}

/// Rows of unit L2 norm, in f32 or wider; `[n, width]`. PyTorch's `F.normalize`.
pub fn normalise(x: &Tensor) -> Tensor {
    let x = if x.kind() == Kind::BFloat16 { x.to_kind(Kind::Float) } else { x.shallow_clone() };
    let norm = x.norm_scalaropt_dim(2.0, [-1i64], true).clamp_min(1e-12);
    &x / norm
}
