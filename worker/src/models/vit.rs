//! The image encoder: a vision transformer (Dosovitskiy et al., 2021, section 3.1) as timm's `VisionTransformer` names it,
//! pre-norm, with a class token and learned positions, and a LayerNorm at the end.

use super::layers::{LayerNorm, Linear, attention, gelu, sizes};
use crate::weights::{Init, Scope};
use proto::config::ModelSection;
use tch::Tensor;

/// Epsilon of the LayerNorms.
pub(crate) const EPS: f64 = 1e-6;

/// The sizes of a [`Vit`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Patches from top to bottom and from left to right.
    pub grid: (i64, i64),
    /// Side of a patch, in pixels.
    pub patch_size: i64,
    /// Width of the tokens.
    pub width: i64,
    /// Width of the MLP's hidden layer.
    pub hidden: i64,
    /// Number of blocks.
    pub depth: i64,
    /// Attention heads.
    pub heads: i64,
    /// Standard deviation of fresh weights.
    pub init_std: f64,
}

impl Config {
    /// The image encoder of a run.
    pub fn new(model: &ModelSection) -> Self {
        let side = i64::from(model.image_size / model.patch_size.max(1));
        Self {
            grid: (side, side),
            patch_size: model.patch_size.into(),
            width: model.vision_width.into(),
            hidden: model.vision_hidden.into(),
            depth: model.vision_depth.into(),
            heads: model.vision_heads.into(),
            init_std: model.init_std,
        }
    }
}

/// The image encoder.
#[derive(Debug)]
pub struct Vit {
    patch_size: i64,
    proj_weight: Tensor,
    proj_bias: Tensor,
    cls_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Vit {
    /// Takes its parameters from `scope`.
    pub fn new(config: &Config, scope: &Scope<'_>) -> Self {
        let (width, patch) = (config.width, config.patch_size);
        let patches = config.grid.0 * config.grid.1;
        let bound = Init::Uniform(1.0 / ((3 * patch * patch) as f64).sqrt());
        let proj = scope.at("patch_embed.proj");
        Self {
            patch_size: patch,
            proj_weight: proj.take("weight", &[width, 3, patch, patch], bound),
            proj_bias: proj.take("bias", &[width], bound),
            cls_token: scope.take("cls_token", &[1, 1, width], Init::Normal(config.init_std)),
            pos_embed: scope.take("pos_embed", &[1, patches + 1, width], Init::Normal(config.init_std)),
            blocks: (0..config.depth).map(|i| Block::new(config, &scope.at("blocks").at(i))).collect(),
            norm: LayerNorm::new(&scope.at("norm"), width, EPS),
        }
    }

    /// Normalised pixels `[n, 3, size, size]` to `[n, 1 + patches, width]`; token 0 is the class token.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        let n = images.size()[0];
        let patches = images
            .conv2d(&self.proj_weight, Some(&self.proj_bias), self.patch_size, 0, 1, 1)
            .flatten(2, 3)
            .transpose(1, 2);
        let cls = self.cls_token.expand([n, -1, -1], false).to_kind(patches.kind());
        let mut x = Tensor::cat(&[cls, patches], 1) + &self.pos_embed;
        for block in &self.blocks {
            x = block.forward(&x);
        }
        self.norm.forward(&x)
    }
}

#[derive(Debug)]
struct Block {
    heads: i64,
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(config: &Config, scope: &Scope<'_>) -> Self {
        let (width, std) = (config.width, config.init_std);
        let linear = |name: &str, inputs, outputs| Linear::normal(&scope.at(name), inputs, outputs, std);
        Self {
            heads: config.heads,
            norm1: LayerNorm::new(&scope.at("norm1"), width, EPS),
            qkv: linear("attn.qkv", width, 3 * width),
            proj: linear("attn.proj", width, width),
            norm2: LayerNorm::new(&scope.at("norm2"), width, EPS),
            fc1: linear("mlp.fc1", width, config.hidden),
            fc2: linear("mlp.fc2", config.hidden, width),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (_, _, width) = sizes(x);
        let qkv = self.qkv.forward(&self.norm1.forward(x));
        let part = |i| qkv.narrow(2, i * width, width);
        let attended = attention(&part(0), &part(1), &part(2), self.heads, None, 0.0);
        let x = x + self.proj.forward(&attended);
        let hidden = gelu(&self.fc1.forward(&self.norm2.forward(&x)));
        x + self.fc2.forward(&hidden)
    }
}
