//! Hugging Face's folders: `text`, a BertModel of the text layers with its tokenizer, and `vision`, a ViTModel with its image
//! processor.

use super::{File, Subject, encode};
use crate::args::Which;
use crate::error::Result;
use crate::models::{bert, vit};
use crate::pretrained::names::Layout;
use proto::RunConfig;
use serde_json::{Value, json};
use shards::text::Tokenizer;
use tch::Tensor;

/// The files of both folders.
pub(super) fn folders(subject: &Subject, which: Which, tokenizer: &Tokenizer) -> Result<Vec<File>> {
    let config = &subject.config;
    let depth = i64::from(config.model.text_depth);
    let text = tensors(subject, which, &Layout::HfBert(""), |name| {
        name.starts_with("text_encoder.bert.") && layer(name).is_none_or(|layer| layer < depth)
    });
    let vision = tensors(subject, which, &Layout::HfVit(""), |name| name.starts_with("visual_encoder."));
    let pretty = |value: Value| format!("{value:#}\n").into_bytes();
    Ok(vec![
        ("text/config.json".into(), pretty(text_config(config))),
        ("text/model.safetensors".into(), encode(&text)?),
        ("text/tokenizer.json".into(), tokenizer.to_json()?.into_bytes()),
        ("text/tokenizer_config.json".into(), pretty(tokenizer_config(config))),
        ("vision/config.json".into(), pretty(vision_config(config))),
        ("vision/model.safetensors".into(), encode(&vision)?),
        ("vision/preprocessor_config.json".into(), pretty(processor_config(config))),
    ])
}

/// The parameters that `keep` passes, by their names in `layout`.
fn tensors(
    subject: &Subject,
    which: Which,
    layout: &Layout,
    keep: impl Fn(&str) -> bool,
) -> Vec<(String, Tensor)> {
    let weights = match which {
        Which::Student => &subject.student,
        Which::Teacher => &subject.teacher,
    };
    let kept = weights.iter().filter(|(name, _)| keep(name));
    kept.flat_map(|(name, tensor)| {
        let theirs = layout.theirs(name);
        let parts = tensor.chunk(theirs.len().max(1) as i64, 0);
        // A single part keeps its shape, also that of a scalar.
        theirs.into_iter().zip(parts)
    })
    .collect()
}

/// The layer that a parameter belongs to.
fn layer(name: &str) -> Option<i64> {
    name.split_once("encoder.layer.")?.1.split('.').next()?.parse().ok()
}

fn text_config(config: &RunConfig) -> Value {
    let model = &config.model;
    json!({
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": model.vocabulary,
        "hidden_size": model.text_width,
        "num_hidden_layers": model.text_depth,
        "num_attention_heads": model.text_heads,
        "intermediate_size": model.text_hidden,
        "hidden_act": "gelu",
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.dropout,
        "max_position_embeddings": model.positions,
        "type_vocab_size": 2,
        "initializer_range": model.init_std,
        "layer_norm_eps": bert::EPS,
        "pad_token_id": 0,
        "dtype": "float32",
    })
}

fn tokenizer_config(config: &RunConfig) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.text.max_tokens,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    })
}

fn vision_config(config: &RunConfig) -> Value {
    let model = &config.model;
    json!({
        "architectures": ["ViTModel"],
        "model_type": "vit",
        "image_size": model.image_size,
        "patch_size": model.patch_size,
        "num_channels": 3,
        "hidden_size": model.vision_width,
        "num_hidden_layers": model.vision_depth,
        "num_attention_heads": model.vision_heads,
        "intermediate_size": model.vision_hidden,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": true,
        "initializer_range": model.init_std,
        "layer_norm_eps": vit::EPS,
        "dtype": "float32",
    })
}

/// As the evaluation's view of an image: squeezed to a square, bicubic.
fn processor_config(config: &RunConfig) -> Value {
    let side = config.model.image_size;
    json!({
        "image_processor_type": "ViTImageProcessor",
        "do_resize": true,
        "size": { "height": side, "width": side },
        "resample": 3,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": config.augment.mean,
        "image_std": config.augment.std,
    })
}
