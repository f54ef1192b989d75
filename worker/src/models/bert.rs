//! The text and fusion encoder: BERT (Devlin et al., 2019), post-norm, whose upper layers attend to the image as ALBEF's do
//! (Li et al., 2021, section 3.1), and its masked-language-model head tied to the word embeddings. Names are those of the
//! published code's `BertForMaskedLM`.

use super::layers::{LayerNorm, Linear, attention, gelu};
use crate::weights::{Init, Scope};
use proto::config::ModelSection;
use tch::{Kind, Tensor};

/// Epsilon of the LayerNorms.
pub(crate) const EPS: f64 = 1e-12;
/// What a padded token's attention score is lowered by, as published.
const MASKED: f64 = -10_000.0;

/// The sizes of a [`Bert`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Entries of the vocabulary.
    pub vocabulary: i64,
    /// Rows of the position table.
    pub positions: i64,
    /// Width of the tokens.
    pub width: i64,
    /// Width of the MLP's hidden layer.
    pub hidden: i64,
    /// Attention heads.
    pub heads: i64,
    /// Layers that see text only.
    pub text_depth: i64,
    /// Layers after them, which attend to the image too.
    pub fusion_depth: i64,
    /// Width of the image tokens.
    pub vision_width: i64,
    /// Standard deviation of fresh weights.
    pub init_std: f64,
}

impl Config {
    /// The text and fusion encoder of a run.
    pub fn new(model: &ModelSection) -> Self {
        Self {
            vocabulary: model.vocabulary.into(),
            positions: model.positions.into(),
            width: model.text_width.into(),
            hidden: model.text_hidden.into(),
            heads: model.text_heads.into(),
            text_depth: model.text_depth.into(),
            fusion_depth: model.fusion_depth.into(),
            vision_width: model.vision_width.into(),
            init_std: model.init_std,
        }
    }
}

/// The text encoder, the fusion encoder and the masked-language-model head.
#[derive(Debug)]
pub struct Bert {
    embeddings: Embeddings,
    text: Vec<Layer>,
    fusion: Vec<Layer>,
    transform: Linear,
    transform_norm: LayerNorm,
    decoder_bias: Tensor,
}

impl Bert {
    /// Takes its parameters from `scope`.
    pub fn new(config: &Config, scope: &Scope<'_>) -> Self {
        let layer =
            |i: i64| Layer::new(config, i >= config.text_depth, &scope.at("bert.encoder.layer").at(i));
        let head = scope.at("cls.predictions");
        Self {
            embeddings: Embeddings::new(config, &scope.at("bert.embeddings")),
            text: (0..config.text_depth).map(layer).collect(),
            fusion: (config.text_depth..config.text_depth + config.fusion_depth).map(layer).collect(),
            transform: Linear::normal(
                &head.at("transform.dense"),
                config.width,
                config.width,
                config.init_std,
            ),
            transform_norm: LayerNorm::new(&head.at("transform.LayerNorm"), config.width, EPS),
            decoder_bias: head.take("bias", &[config.vocabulary], Init::Zeros),
        }
    }

    /// The text layers: ids `[n, t]` and [`padding_mask`] to `[n, t, width]`; token 0 stands for the text.
    pub fn encode(&self, ids: &Tensor, mask: &Tensor, dropout: f64) -> Tensor {
        let embedded = self.embeddings.forward(ids, dropout);
        self.text.iter().fold(embedded, |x, layer| layer.forward(&x, mask, None, Wanted::All, dropout))
    }

    /// Image tokens `[n, p, vision width]` as the fusion layers attend to them.
    pub fn sight(&self, image: &Tensor) -> Sight {
        Sight(
            self.fusion
                .iter()
                .flat_map(|layer| &layer.crossattention)
                .map(|attention| attention.memory(image))
                .collect(),
        )
    }

    /// The fusion layers: text `[n, t, width]` attends to what it sees; gives the [`Wanted`] tokens.
    pub fn fuse(
        &self,
        text: &Tensor,
        mask: &Tensor,
        sight: &Sight,
        wanted: Wanted<'_>,
        dropout: f64,
    ) -> Tensor {
        let last = self.fusion.len().saturating_sub(1);
        let layers = self.fusion.iter().zip(&sight.0).enumerate();
        layers.fold(text.shallow_clone(), |x, (i, (layer, memory))| {
            let wanted = if i == last { wanted } else { Wanted::All };
            layer.forward(&x, mask, Some(memory), wanted, dropout)
        })
    }

    /// The head: hidden states `[m, width]` to scores of the vocabulary `[m, vocabulary]`.
    pub fn predict(&self, hidden: &Tensor) -> Tensor {
        let x = self.transform_norm.forward(&gelu(&self.transform.forward(hidden)));
        x.linear(&self.embeddings.word, Some(&self.decoder_bias))
    }
}

/// Which tokens of the last fusion layer are asked for. What only the others need is not computed.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// All of them: `[n, t, width]`.
    All,
    /// The first of each text: `[n, width]`.
    First,
    /// Those at these indices `[m]` into the `n * t` tokens: `[m, width]`.
    At(&'a Tensor),
}

/// Images as the fusion layers attend to them: their keys and values, made once however many texts look at an image.
#[derive(Debug)]
pub struct Sight(Vec<Memory>);

impl Sight {
    /// The same images; handles, not copies.
    pub fn shallow_clone(&self) -> Self {
        let both =
            |memory: &Memory| Memory { key: memory.key.shallow_clone(), value: memory.value.shallow_clone() };
        Self(self.0.iter().map(both).collect())
    }

    /// These images, then those.
    pub fn and(&self, other: &Self) -> Self {
        let both = |(one, other): (&Memory, &Memory)| Memory {
            key: Tensor::cat(&[&one.key, &other.key], 0),
            value: Tensor::cat(&[&one.value, &other.value], 0),
        };
        Self(self.0.iter().zip(&other.0).map(both).collect())
    }

    /// Those of the images at these indices.
    pub fn select(&self, images: &Tensor) -> Self {
        let select = |memory: &Memory| Memory {
            key: memory.key.index_select(0, images),
            value: memory.value.index_select(0, images),
        };
        Self(self.0.iter().map(select).collect())
    }
}

/// Keys and values of one attention layer, `[n, k, width]` both.
#[derive(Debug)]
struct Memory {
    key: Tensor,
    value: Tensor,
}

/// The additive attention mask of right-padded texts with these lengths: `[n, 1, 1, t]`, 0 at tokens, -10,000 at padding.
pub fn padding_mask(lengths: &Tensor, tokens: i64, kind: Kind) -> Tensor {
    let position = Tensor::arange(tokens, (Kind::Int64, lengths.device()));
    let padded = position.unsqueeze(0).ge_tensor(&lengths.unsqueeze(1));
    (padded.to_kind(kind) * MASKED).unsqueeze(1).unsqueeze(1)
}

#[derive(Debug)]
struct Embeddings {
    word: Tensor,
    position: Tensor,
    token_type: Tensor,
    norm: LayerNorm,
}

impl Embeddings {
    fn new(config: &Config, scope: &Scope<'_>) -> Self {
        let normal = Init::Normal(config.init_std);
        let table = |name: &str, rows| scope.at(name).take("weight", &[rows, config.width], normal);
        Self {
            word: table("word_embeddings", config.vocabulary),
            position: table("position_embeddings", config.positions),
            token_type: table("token_type_embeddings", 2),
            norm: LayerNorm::new(&scope.at("LayerNorm"), config.width, EPS),
        }
    }

    fn forward(&self, ids: &Tensor, dropout: f64) -> Tensor {
        let tokens = ids.size()[1];
        let word = Tensor::embedding(&self.word, ids, -1, false, false);
        let sum = word + self.token_type.narrow(0, 0, 1) + self.position.narrow(0, 0, tokens);
        drop_out(self.norm.forward(&sum), dropout)
    }
}

#[derive(Debug)]
struct Layer {
    attention: Attention,
    crossattention: Option<Attention>,
    intermediate: Linear,
    output: Linear,
    norm: LayerNorm,
}

impl Layer {
    fn new(config: &Config, fuses: bool, scope: &Scope<'_>) -> Self {
        let linear =
            |name: &str, inputs, outputs| Linear::normal(&scope.at(name), inputs, outputs, config.init_std);
        Self {
            attention: Attention::new(config, config.width, &scope.at("attention")),
            crossattention: fuses
                .then(|| Attention::new(config, config.vision_width, &scope.at("crossattention"))),
            intermediate: linear("intermediate.dense", config.width, config.hidden),
            output: linear("output.dense", config.hidden, config.width),
            norm: LayerNorm::new(&scope.at("output.LayerNorm"), config.width, EPS),
        }
    }

    fn forward(
        &self,
        x: &Tensor,
        mask: &Tensor,
        sight: Option<&Memory>,
        wanted: Wanted<'_>,
        dropout: f64,
    ) -> Tensor {
        let query = if let Wanted::First = wanted { x.narrow(1, 0, 1) } else { x.shallow_clone() };
        let mut y = self.attention.forward(&query, &self.attention.memory(x), Some(mask), dropout);
        if let (Some(crossattention), Some(memory)) = (&self.crossattention, sight) {
            y = crossattention.forward(&y, memory, None, dropout);
        }
        let y = match wanted {
            Wanted::All => y,
            Wanted::First => y.select(1, 0),
            Wanted::At(positions) => y.flatten(0, 1).index_select(0, positions),
        };
        let hidden = gelu(&self.intermediate.forward(&y));
        self.norm.forward(&(drop_out(self.output.forward(&hidden), dropout) + &y))
    }
}

#[derive(Debug)]
struct Attention {
    heads: i64,
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    norm: LayerNorm,
}

impl Attention {
    fn new(config: &Config, key_width: i64, scope: &Scope<'_>) -> Self {
        let linear =
            |name: &str, inputs| Linear::normal(&scope.at(name), inputs, config.width, config.init_std);
        Self {
            heads: config.heads,
            query: linear("self.query", config.width),
            key: linear("self.key", key_width),
            value: linear("self.value", key_width),
            dense: linear("output.dense", config.width),
            norm: LayerNorm::new(&scope.at("output.LayerNorm"), config.width, EPS),
        }
    }

    /// What is attended to: `[n, k, key width]`.
    fn memory(&self, source: &Tensor) -> Memory {
        Memory { key: self.key.forward(source), value: self.value.forward(source) }
    }

    fn forward(&self, x: &Tensor, memory: &Memory, mask: Option<&Tensor>, dropout: f64) -> Tensor {
        let query = self.query.forward(x);
        let attended = attention(&query, &memory.key, &memory.value, self.heads, mask, dropout);
        self.norm.forward(&(drop_out(self.dense.forward(&attended), dropout) + x))
    }
}

fn drop_out(x: Tensor, probability: f64) -> Tensor {
    if probability > 0.0 { x.dropout(probability, true) } else { x }
}
