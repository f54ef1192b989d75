//! What was recorded, as the trainer takes it, and how closely it has to be met.

use c10d::Group;
use proto::config::{ModelSection, QueueStart, Schedule, Semantics, follow};
use proto::{GlobalStep, RunConfig};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};
use worker::batch::{Draws, LocalBatch, Masked, NegativeDraws};
use worker::masking::Special;
use worker::objective::itm::Negatives;
use worker::queue::Queue;
use worker::state::State;
use worker::step::Trainer;
use worker::weights::Weights;

pub(crate) const SPECIAL: Special = Special { pad: 0, cls: 101, separator: None, mask: 103, vocabulary: 200 };

pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// Tolerances of a dtype: relative, absolute (README, "Tolerances").
#[derive(Clone, Copy)]
pub(crate) struct Bound(f64, f64);

pub(crate) fn bound(kind: Kind) -> Bound {
    if kind == Kind::Double { Bound(1e-9, 1e-10) } else { Bound(1e-4, 2e-5) }
}

pub(crate) fn read(file: &str) -> Tensors {
    let path = e2e::root().join(format!("tests/golden/albef-tiny/{file}.safetensors"));
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// The tensors below `prefix`, without it.
pub(crate) fn below(all: &Tensors, prefix: &str) -> Tensors {
    let strip = |(name, tensor): (&String, &Tensor)| {
        Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()))
    };
    all.iter().filter_map(strip).collect()
}

pub(crate) fn model() -> ModelSection {
    ModelSection {
        preset: "golden".into(),
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
        dropout: 0.0,
        init_std: 0.02,
        ..ModelSection::default()
    }
}

pub(crate) fn config(alpha: f64, semantics: Semantics) -> RunConfig {
    let mut config = RunConfig { model: model(), ..RunConfig::default() };
    follow(semantics, &mut config);
    // On one rank these are what is left of the difference.
    config.optimizer.decay_positions = true;
    config.optimizer.schedule = Schedule::Step;
    config.objective.alpha = alpha;
    config.objective.alpha_ramp = 1;
    config.optimizer.learning_rate = 1e-4;
    config.optimizer.min_learning_rate = 1e-4;
    config.optimizer.warmup = 0;
    config
}

/// Student and teacher of `init` or `after`: a published state dict without its tied names.
pub(crate) fn split(published: &Tensors, kind: Kind) -> (Weights, Weights) {
    let (mut student, mut teacher) = (BTreeMap::new(), BTreeMap::new());
    for (name, tensor) in published {
        let tied = name.contains("predictions.decoder");
        if tied || name.contains("queue") || name.ends_with("position_ids") {
            continue;
        }
        let (head, rest) = name.split_once('.').unwrap_or((name, ""));
        match head.strip_suffix("_m") {
            Some(head) => teacher.insert(format!("{head}.{rest}"), tensor.to_kind(kind)),
            None => student.insert(name.clone(), tensor.to_kind(kind)),
        };
    }
    (Weights::new(student), Weights::new(teacher))
}

/// The state of `init` as [`State`] holds it: teacher averaged once more, temperature clamped, as the recorded step begins with.
pub(crate) fn initial(kind: Kind, temp: Option<&Tensor>) -> State {
    let init = read("init");
    let (student, teacher) = split(&init, kind);
    for (name, average) in teacher.iter() {
        let _ = average.shallow_clone().lerp_(student.get(name).unwrap(), 0.005);
    }
    if let Some(temp) = temp {
        student.get("temp").unwrap().shallow_clone().copy_(&temp.clamp(0.001, 0.5));
    }
    let mut queue = Queue::new(16, 16, QueueStart::Empty, 0, kind);
    let [(_, mut image), (_, mut text), _] = queue.rings();
    image.copy_(&init["image_queue"].tr());
    text.copy_(&init["text_queue"].tr());
    queue.set_counters(12, 16);
    State::from_parts(student, teacher, queue, true, Device::Cpu)
}

/// Trains from the recorded start with the ranks of `group`.
pub(crate) fn trainer(kind: Kind, config: &RunConfig, temp: Option<&Tensor>, group: Group) -> Trainer {
    let mut state = initial(kind, temp);
    state.step = GlobalStep(1); // past the ramp of one step: alpha is whole
    Trainer::new(config, SPECIAL, 1.0, state, &[], group).unwrap()
}

/// What is recorded of one rank among others.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    pub(crate) rank: u32,
    pub(crate) ranks: u32,
}

pub(crate) const ALONE: Share = Share { rank: 0, ranks: 1 };

/// The recorded pairs; no pair of another `number` is the same as one of these.
pub(crate) fn batch(step: &Tensors, number: usize, share: Share) -> LocalBatch {
    let lengths: Vec<i64> =
        step["in/attention_mask"].sum_dim_intlist([1i64].as_slice(), false, Kind::Int64).try_into().unwrap();
    let count = lengths.len() as i64;
    let first = i64::from(share.rank) * count;
    LocalBatch {
        images: step["in/image"].shallow_clone(),
        tokens: step["in/input_ids"].flatten(0, 1).try_into().unwrap(),
        rows: vec![(0, 0); lengths.len()],
        identities: (first..first + count).map(|slot| [1 + slot + 100 * number as i64; 2]).collect(),
        first_slot: first as u64,
        counts: vec![count; share.ranks as usize],
        lengths: lengths.into_iter().map(|length| length as u32).collect(),
    }
}

/// How a replayed step gets its negatives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chosen {
    /// They are given.
    Given,
    /// They are drawn, at numbers at which the recorded weights give them.
    Drawn,
}

pub(crate) fn draws(step: &Tensors, batch: &LocalBatch, chosen: Chosen) -> Draws {
    let longest = i64::from(*batch.lengths.iter().max().unwrap());
    let cut = |name: &str| step[name].narrow(1, 0, longest).contiguous();
    let [image_for_text, text_for_image] =
        ["neg_image_for_text", "neg_text_for_image"].map(|name| &step[&format!("draw/{name}")]);
    let first = batch.first_slot as i64;
    let negatives = match chosen {
        Chosen::Given => NegativeDraws::Given(Negatives {
            image_for_text: image_for_text + first,
            text_for_image: text_for_image + first,
        }),
        Chosen::Drawn => NegativeDraws::Uniform {
            image_for_text: middle(&step["out/weights_t2i"], image_for_text),
            text_for_image: middle(&step["out/weights_i2t"], text_for_image),
        },
    };
    let masked = Masked::new(cut("draw/mlm_input_ids"), cut("draw/mlm_labels"), Device::Cpu);
    Draws { masked, negatives }
}

/// The borders between the candidates of each row, from 0 to 1.
pub(crate) fn borders(weights: &Tensor) -> Tensor {
    let cumulated = weights.to_kind(Kind::Double).cumsum(1, Kind::Double);
    &cumulated / cumulated.narrow(1, cumulated.size()[1] - 1, 1)
}

/// The middle of what belongs to the chosen candidate of each row.
fn middle(weights: &Tensor, chosen: &Tensor) -> Tensor {
    let (borders, chosen) = (borders(weights), chosen.unsqueeze(1));
    let below = Tensor::cat(&[&borders.narrow(1, 0, 1).zeros_like(), &borders], 1);
    let sides = borders.gather(1, &chosen, false) + below.gather(1, &chosen, false);
    (sides / 2.0).squeeze_dim(1)
}

/// Panics with the name and the largest excess if `actual` is not within the bound.
pub(crate) fn close(name: &str, actual: &Tensor, expected: &Tensor, Bound(relative, absolute): Bound) {
    let actual = actual.detach().to_kind(Kind::Double);
    let expected = expected.to_kind(Kind::Double);
    assert_eq!(actual.size(), expected.size(), "{name}");
    let excess = ((&actual - &expected).abs() - expected.abs() * relative).max().double_value(&[]);
    assert!(
        excess <= absolute,
        "{name} differs by {excess:e} beyond rtol {relative:e}; allowed {absolute:e}"
    );
}

/// Compares a parameter after `steps` updates. Attention key biases have a gradient of zero in theory; in f32 it is rounding
/// noise, which AdamW turns into steps of up to the learning rate of 1e-4, here and in the recording.
pub(crate) fn close_after(name: &str, actual: &Tensor, expected: &Tensor, kind: Kind, steps: usize) {
    let what = format!("{name} after step {steps}");
    let noise = Bound(0.0, 2e-4 * steps as f64);
    if kind == Kind::Double {
        close(&what, actual, expected, bound(kind));
    } else if name.ends_with("self.key.bias") {
        close(&what, actual, expected, noise);
    } else if name.ends_with("attn.qkv.bias") {
        let bounds = [bound(kind), noise, bound(kind)];
        let thirds = actual.chunk(3, 0).into_iter().zip(expected.chunk(3, 0));
        thirds.zip(bounds).for_each(|((actual, expected), bound)| close(&what, &actual, &expected, bound));
    } else {
        close(&what, actual, expected, bound(kind));
    }
}

/// Compares the gradients of all parameters.
pub(crate) fn check_gradients(student: &Weights, gradients: Tensors, kind: Kind) {
    assert_eq!(gradients.len(), student.iter().count());
    for (name, gradient) in gradients {
        // In f32 they agree relative to their tensor's largest entry (README, "Tolerances"), down to rounding noise.
        let largest = gradient.abs().max().double_value(&[]);
        let bound = if kind == Kind::Double { bound(kind) } else { Bound(1e-4, (1e-5 * largest).max(1e-7)) };
        close(&format!("gradient of {name}"), &student.get(&name).unwrap().grad(), &gradient, bound);
    }
}
