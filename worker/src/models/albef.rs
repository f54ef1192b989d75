//! ALBEF (Li et al., 2021, "Align before Fuse", figure 1): image encoder, text encoder, fusion encoder, projections, matching
//! head and temperature, with the parameter names of the published checkpoints.

use super::bert::{self, Bert, Wanted};
use super::layers::{Linear, normalise};
use super::vit::{self, Vit};
use crate::error::Result;
use crate::weights::{Init, Scope, Source, Weights};
use proto::config::{ModelSection, ObjectiveSection};
use tch::{Kind, Tensor};

/// What the teacher averages: the names below these prefixes. The matching head and the temperature have no teacher.
const AVERAGED: [&str; 4] = ["visual_encoder.", "vision_proj.", "text_encoder.", "text_proj."];

/// The encoders and projections that student and teacher both have.
#[derive(Debug)]
pub struct Encoders {
    /// Image encoder.
    pub visual_encoder: Vit,
    /// Text encoder, fusion encoder and masked-language-model head.
    pub text_encoder: Bert,
    vision_proj: Linear,
    text_proj: Linear,
}

impl Encoders {
    fn new(model: &ModelSection, scope: &Scope<'_>) -> Self {
        let embed = model.embed_width.into();
        Self {
            visual_encoder: Vit::new(&vit::Config::new(model), &scope.at("visual_encoder")),
            text_encoder: Bert::new(&bert::Config::new(model), &scope.at("text_encoder")),
            vision_proj: Linear::uniform(&scope.at("vision_proj"), model.vision_width.into(), embed),
            text_proj: Linear::uniform(&scope.at("text_proj"), model.text_width.into(), embed),
        }
    }

    /// The teacher over its weights.
    ///
    /// # Errors
    /// Names that are missing or misshaped.
    pub fn teacher(model: &ModelSection, weights: &Weights) -> Result<Self> {
        let source = Source::given(weights);
        let encoders = Self::new(model, &source.root());
        source.finish()?;
        Ok(encoders)
    }

    /// Pixels `[n, 3, size, size]` to image tokens `[n, p, width]` and unit features `[n, embed]`.
    pub fn image(&self, images: &Tensor) -> (Tensor, Tensor) {
        let tokens = self.visual_encoder.forward(images);
        let feature = normalise(&self.vision_proj.forward(&tokens.select(1, 0)));
        (tokens, feature)
    }

    /// Ids `[n, t]` with their padding mask to text tokens `[n, t, width]` and unit features `[n, embed]`.
    pub fn text(&self, ids: &Tensor, mask: &Tensor, dropout: f64) -> (Tensor, Tensor) {
        let tokens = self.text_encoder.encode(ids, mask, dropout);
        let feature = normalise(&self.text_proj.forward(&tokens.select(1, 0)));
        (tokens, feature)
    }
}

/// The student: everything that is trained.
#[derive(Debug)]
pub struct Albef {
    /// Encoders and projections.
    pub encoders: Encoders,
    itm_head: Linear,
    /// The temperature of the contrastive similarities, a scalar.
    pub temp: Tensor,
}

impl Albef {
    /// A network over `weights`, whose memory it shares.
    ///
    /// # Errors
    /// Names that are missing or misshaped.
    pub fn over(model: &ModelSection, weights: &Weights) -> Result<Self> {
        let source = Source::given(weights);
        let network = Self::new(model, 0.07, &source.root());
        source.finish()?;
        Ok(network)
    }

    /// Fresh weights, which depend on the seed and each parameter's name only.
    ///
    /// # Errors
    /// None in practice: fresh draws are never missing.
    pub fn fresh(model: &ModelSection, objective: &ObjectiveSection, seed: u64) -> Result<Weights> {
        let source = Source::random(seed, Kind::Float);
        Self::new(model, objective.temperature, &source.root());
        source.finish()
    }

    fn new(model: &ModelSection, temperature: f64, scope: &Scope<'_>) -> Self {
        Self {
            encoders: Encoders::new(model, scope),
            itm_head: Linear::uniform(&scope.at("itm_head"), model.text_width.into(), 2),
            temp: scope.take("temp", &[], Init::Constant(temperature)),
        }
    }

    /// Does a text belong to an image? The first fused token of each pair, `[n, width]`, to scores `[n, 2]`: no, yes.
    pub fn itm_logits(&self, fused: &Tensor) -> Tensor {
        self.itm_head.forward(fused)
    }

    /// For evaluation: pixels `[n, 3, size, size]` to image tokens `[n, p, vision width]` and unit features `[n, embed]`. No
    /// gradient, no dropout.
    pub fn encode_image(&self, images: &Tensor) -> (Tensor, Tensor) {
        tch::no_grad(|| self.encoders.image(images))
    }

    /// For evaluation: right-padded ids `[n, t]` with their `lengths` `[n]` to text tokens `[n, t, width]` and unit features
    /// `[n, embed]`. No gradient, no dropout.
    pub fn encode_text(&self, ids: &Tensor, lengths: &Tensor) -> (Tensor, Tensor) {
        tch::no_grad(|| self.encoders.text(ids, &self.padding(ids, lengths), 0.0))
    }

    /// For evaluation: the matching head's scores `[n, 2]`: no, yes, of n pairs of text tokens and image tokens as
    /// [`encode_text`](Self::encode_text) and [`encode_image`](Self::encode_image) give them. No gradient, no dropout.
    pub fn match_pairs(&self, text: &Tensor, lengths: &Tensor, image: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let bert = &self.encoders.text_encoder;
            let mask = self.padding(text, lengths);
            self.itm_logits(&bert.fuse(text, &mask, &bert.sight(image), Wanted::First, 0.0))
        })
    }

    fn padding(&self, text: &Tensor, lengths: &Tensor) -> Tensor {
        bert::padding_mask(lengths, text.size().get(1).copied().unwrap_or(0), self.temp.kind())
    }
}

/// Whether the teacher averages the parameter of that name.
pub fn averaged(name: &str) -> bool {
    AVERAGED.iter().any(|prefix| name.starts_with(prefix))
}
