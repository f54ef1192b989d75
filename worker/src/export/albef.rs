//! The state dict of the published ALBEF (models/model_pretrain.py): student, teacher as `*_m`, queues and pointer, and what its
//! BERT keeps twice.

use super::Subject;
use crate::error::{Error, Result};
use crate::pretrained::names::{Layout, WORD_BIAS, WORDS};
use crate::weights::Weights;
use tch::{Kind, Tensor};

/// All entries by name, in the order of the names.
pub(super) fn state_dict(subject: &Subject) -> Result<Vec<(String, Tensor)>> {
    let mut all = Vec::new();
    for (layout, weights) in [(Layout::Albef, &subject.student), (Layout::AlbefTeacher, &subject.teacher)] {
        let mut add = |name: &str, tensor: &Tensor| {
            all.extend(layout.theirs(name).into_iter().map(|theirs| (theirs, tensor.shallow_clone())));
        };
        weights.iter().for_each(|(name, tensor)| add(name, tensor));
        for (copy, original) in [("decoder.weight", WORDS), ("decoder.bias", WORD_BIAS)] {
            add(&format!("text_encoder.cls.predictions.{copy}"), required(weights, original)?);
        }
        let positions = i64::from(subject.config.model.positions);
        let positions = Tensor::arange(positions, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0);
        add("text_encoder.bert.embeddings.position_ids", &positions);
    }
    let counters = subject.counters;
    for side in ["image", "text"] {
        let ring =
            subject.queue.get(side).ok_or_else(|| Error::Keys(vec![format!("queue/{side} is missing")]))?;
        all.push((format!("{side}_queue"), ring.tr().contiguous()));
        let capacity = ring.size().first().copied().unwrap_or(0);
        if side == "image" && counters.queue_filled < capacity {
            tracing::warn!(
                "the queue holds {} of {capacity} pairs; the other columns are zero",
                counters.queue_filled
            );
        }
    }
    all.push(("queue_ptr".into(), Tensor::from_slice(&[counters.queue_pointer])));
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

fn required<'a>(weights: &'a Weights, name: &str) -> Result<&'a Tensor> {
    weights.get(name).ok_or_else(|| Error::Keys(vec![format!("{name} is missing")]))
}
