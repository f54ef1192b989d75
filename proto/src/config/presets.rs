//! Named sets of defaults: the sizes of `model.preset`, and what `objective.semantics` stands for.

use super::RunConfig;
use super::sections::{Duplicates, ModelSection, QueueStart, Reach, Schedule, Semantics};

/// Steps of the published warm-up: `warmup_epochs: 20` of `Pretrain.yaml`, each a stair of 100 steps in `Pretrain.py`.
const PUBLISHED_WARMUP: u64 = 2_000;

/// The names of the presets, smallest last.
pub const PRESETS: [&str; 3] = ["albef-base", "albef-small", "albef-tiny"];

/// The sizes of a preset, or none for an unknown name.
///
/// `albef-base` has the sizes published for ALBEF pre-training (Li et al., 2021, section 3.1 and 3.5): ViT-B/16 at
/// 256 pixels and BERT-base split 6/6.
pub fn preset(name: &str) -> Option<ModelSection> {
    let base = ModelSection { preset: name.into(), ..ModelSection::default() };
    match name {
        "albef-base" => Some(base),
        "albef-small" => Some(ModelSection {
            image_size: 128,
            patch_size: 16,
            vision_width: 384,
            vision_hidden: 1536,
            vision_depth: 6,
            vision_heads: 6,
            text_width: 384,
            text_depth: 3,
            fusion_depth: 3,
            text_heads: 6,
            text_hidden: 1536,
            positions: 64,
            ..base
        }),
        "albef-tiny" => Some(ModelSection {
            image_size: 40,
            patch_size: 8,
            vision_width: 128,
            vision_hidden: 512,
            vision_depth: 4,
            vision_heads: 4,
            text_width: 128,
            text_depth: 2,
            fusion_depth: 1,
            text_heads: 4,
            text_hidden: 512,
            vocabulary: 4_000,
            positions: 32,
            embed_width: 128,
            dropout: 0.0,
            init_std: 0.06,
            ..base
        }),
        _ => None,
    }
}

/// Sets the knobs that `semantics` stands for. `global` is the default of each; `paper` is what the published code does
/// (Li et al., 2021, <https://github.com/salesforce/ALBEF>), each named in docs/numerics.md.
pub fn follow(semantics: Semantics, config: &mut RunConfig) {
    let RunConfig { objective, optimizer, .. } = config;
    objective.semantics = semantics;
    if semantics == Semantics::Paper {
        objective.keys = Reach::Local;
        objective.negatives = Reach::Local;
        objective.means = Reach::Local;
        objective.duplicates = Duplicates::Negatives;
        objective.draw_duplicates = true;
        objective.teacher_dropout = true;
        objective.mask_separator = true;
        objective.queue_start = QueueStart::Random;
        optimizer.schedule = Schedule::Epoch;
        optimizer.warmup = PUBLISHED_WARMUP;
        optimizer.decay_positions = true;
    }
}
