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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretrained::Start;
    use crate::state::Counters;
    use proto::config::ModelSection;
    use proto::{GlobalStep, RunConfig};
    use std::collections::BTreeMap;

    /// The published state dict goes in, and out again: the same 268 names, shapes, kinds and values.
    #[test]
    fn the_published_state_dict_comes_out_as_it_went_in() {
        let path = e2e::root().join("tests/golden/albef-tiny/init.safetensors");
        let published: BTreeMap<String, Tensor> =
            Tensor::read_safetensors(&path).unwrap().into_iter().collect();
        let model = ModelSection {
            image_size: 32,
            patch_size: 8,
            vision_width: 32,
            vision_hidden: 128,
            vision_depth: 2,
            vision_heads: 2,
            text_width: 32,
            text_depth: 2,
            fusion_depth: 2,
            text_heads: 2,
            text_hidden: 64,
            vocabulary: 200,
            positions: 32,
            embed_width: 16,
            init: path.display().to_string(),
            ..ModelSection::default()
        };
        let config = RunConfig { model, ..RunConfig::default() };
        let start = tokio::runtime::Runtime::new().unwrap().block_on(Start::new(&config)).unwrap();
        let pointer = published["queue_ptr"].int64_value(&[0]);
        let step = GlobalStep(3);
        let ring = |side: &str| (side.to_owned(), published[&format!("{side}_queue")].tr());
        let subject = Subject {
            config,
            counters: Counters {
                step,
                optimizer_step: 3,
                queue_pointer: pointer,
                queue_filled: 16,
                loss_average: 0,
                loss_updates: 0,
                anomalies: 0,
            },
            student: start.student,
            teacher: start.teacher,
            queue: ["image", "text"].map(ring).into(),
        };
        let exported = state_dict(&subject).unwrap();
        assert_eq!((exported.len(), pointer), (268, 12));
        let names: Vec<&String> = exported.iter().map(|(name, _)| name).collect();
        assert_eq!(names, published.keys().collect::<Vec<_>>());
        for (name, tensor) in &exported {
            let theirs = &published[name];
            assert_eq!((tensor.size(), tensor.kind()), (theirs.size(), theirs.kind()), "{name}");
            assert!(tensor.equal(theirs), "{name} is another");
        }
    }
}
