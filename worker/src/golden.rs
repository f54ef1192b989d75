//! The recorded steps of the published implementation (tests/golden/albef-tiny; its README tells how they were made).

use crate::batch::{Draws, LocalBatch, Masked, NegativeDraws};
use crate::masking::{self, Special, TokenDraw};
use crate::models::albef::{Albef, Encoders};
use crate::models::bert::{Wanted, padding_mask};
use crate::objective::itm::Negatives;
use crate::queue::Queue;
use crate::state::State;
use crate::step::Trainer;
use crate::vote::Wishes;
use crate::weights::Weights;
use c10d::{Group, GroupSpec, MemoryStore};
use proto::RunConfig;
use proto::config::{ModelSection, QueueStart, Schedule, Semantics, follow};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

const SPECIAL: Special = Special { pad: 0, cls: 101, separator: None, mask: 103, vocabulary: 200 };

type Tensors = BTreeMap<String, Tensor>;

/// Tolerances of a dtype: relative, absolute (README, "Tolerances").
#[derive(Clone, Copy)]
struct Bound(f64, f64);

fn bound(kind: Kind) -> Bound {
    if kind == Kind::Double { Bound(1e-9, 1e-10) } else { Bound(1e-4, 2e-5) }
}

fn read(file: &str) -> Tensors {
    let path = format!("{}/../tests/golden/albef-tiny/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// The tensors below `prefix`, without it.
fn below(all: &Tensors, prefix: &str) -> Tensors {
    let strip = |(name, tensor): (&String, &Tensor)| {
        Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()))
    };
    all.iter().filter_map(strip).collect()
}

fn model() -> ModelSection {
    ModelSection {
        preset: "golden".into(),
        image_size: 32,
        patch_size: 8,
        vision_width: 32,
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
    }
}

fn config(alpha: f64, semantics: Semantics) -> RunConfig {
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
fn split(published: &Tensors, kind: Kind) -> (Weights, Weights) {
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
fn initial(kind: Kind, temp: Option<&Tensor>) -> State {
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

fn trainer(kind: Kind, config: &RunConfig, temp: Option<&Tensor>) -> Trainer {
    let spec = GroupSpec {
        rank: 0,
        world_size: 1,
        device: Device::Cpu,
        interface: "127.0.0.1".into(),
        timeout: Duration::from_secs(60),
    };
    let group = Group::new(spec, Arc::new(MemoryStore::default())).unwrap();
    let mut state = initial(kind, temp);
    state.step = proto::GlobalStep(1); // past the ramp of one step: alpha is whole
    Trainer::new(config, SPECIAL, 1.0, state, group).unwrap()
}

/// The recorded pairs; no pair of another `number` is the same as one of these.
fn batch(step: &Tensors, number: usize) -> LocalBatch {
    let lengths: Vec<i64> =
        step["in/attention_mask"].sum_dim_intlist([1i64].as_slice(), false, Kind::Int64).try_into().unwrap();
    LocalBatch {
        images: step["in/image"].shallow_clone(),
        tokens: step["in/input_ids"].flatten(0, 1).try_into().unwrap(),
        rows: vec![(0, 0); lengths.len()],
        identities: (1..=lengths.len() as i64).map(|pair| [pair + 100 * number as i64; 2]).collect(),
        first_slot: 0,
        counts: vec![lengths.len() as i64],
        lengths: lengths.into_iter().map(|length| length as u32).collect(),
    }
}

fn draws(step: &Tensors, batch: &LocalBatch) -> Draws {
    let longest = i64::from(*batch.lengths.iter().max().unwrap());
    let cut = |name: &str| step[name].narrow(1, 0, longest).contiguous();
    Draws {
        masked: Masked::new(cut("draw/mlm_input_ids"), cut("draw/mlm_labels"), Device::Cpu),
        negatives: NegativeDraws::Given(Negatives {
            image_for_text: step["draw/neg_image_for_text"].shallow_clone(),
            text_for_image: step["draw/neg_text_for_image"].shallow_clone(),
        }),
    }
}

/// Panics with the name and the largest excess if `actual` is not within the bound.
fn close(name: &str, actual: &Tensor, expected: &Tensor, Bound(relative, absolute): Bound) {
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
fn close_after(name: &str, actual: &Tensor, expected: &Tensor, kind: Kind, steps: usize) {
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

fn check_gradients(student: &Weights, expected: &Tensors, kind: Kind) {
    let gradients = below(expected, "grad/");
    assert_eq!(gradients.len(), student.iter().count());
    for (name, gradient) in gradients {
        // In f32 they agree relative to their tensor's largest entry (README, "Tolerances"), down to rounding noise.
        let largest = gradient.abs().max().double_value(&[]);
        let bound = if kind == Kind::Double { bound(kind) } else { Bound(1e-4, (1e-5 * largest).max(1e-7)) };
        close(&format!("gradient of {name}"), &student.get(&name).unwrap().grad(), &gradient, bound);
    }
}

fn replay(case: &str, alpha: f64, kind: Kind, steps: usize, semantics: Semantics) {
    let recorded = read(case);
    let mut trainer = trainer(kind, &config(alpha, semantics), None);
    for number in 1..=steps {
        let step = below(&recorded, &format!("step{number}/"));
        let batch = batch(&step, number);
        let teacher = trainer.state().teacher.copy_where(|_| true);
        let outcome = trainer.step_with(&batch, &draws(&step, &batch), Wishes::default()).unwrap();
        for (scalar, name) in [
            ("loss_itc", "loss_ita"),
            ("loss_itm", "loss_itm"),
            ("loss_mlm", "loss_mlm"),
            ("loss", "loss_total"),
        ] {
            let what = format!("{name} of step {number}");
            close(&what, &Tensor::from(outcome.scalars[scalar]), &step[&format!("out/{name}")], bound(kind));
        }
        check_gradients(&trainer.state().student, &step, kind);
        let published = below(&step, "after/");
        if published.is_empty() {
            continue;
        }
        let (student, expected_teacher) = split(&published, kind);
        for (name, expected) in student.iter() {
            let found = trainer.state().student.get(name).unwrap();
            close_after(name, found, expected, kind, number);
        }
        for (name, expected) in expected_teacher.iter() {
            let found = teacher.get(name).unwrap();
            close_after(&format!("the teacher's {name}"), found, expected, kind, number);
        }
        let [(_, image), (_, text), _] = trainer.state().queue.rings();
        close("image queue", &image, &published["image_queue"].tr(), bound(kind));
        close("text queue", &text, &published["text_queue"].tr(), bound(kind));
        assert_eq!(trainer.state().queue.counters(), (published["queue_ptr"].int64_value(&[0]), 16));
    }
}

#[test]
fn three_steps_match_in_f64() {
    replay("train3-alpha0.4-f64", 0.4, Kind::Double, 3, Semantics::Global);
}

#[test]
fn three_steps_match_in_f32() {
    replay("train3-alpha0.4-f32", 0.4, Kind::Float, 3, Semantics::Global);
}

#[test]
fn without_distillation_a_step_matches() {
    replay("step1-alpha0.0-f64", 0.0, Kind::Double, 1, Semantics::Global);
    replay("step1-alpha0.0-f32", 0.0, Kind::Float, 1, Semantics::Global);
}

#[test]
fn on_one_rank_paper_and_global_semantics_agree() {
    replay("train3-alpha0.4-f64", 0.4, Kind::Double, 3, Semantics::Paper);
}

#[test]
fn a_clamped_temperature_still_receives_its_gradient() {
    for case in ["clamp-hi-f64", "clamp-lo-f64"] {
        let step = below(&read(case), "step1/");
        let mut trainer = trainer(
            Kind::Double,
            &config(step["in/alpha"].double_value(&[]), Semantics::Global),
            Some(&step["in/temp_before"]),
        );
        let batch = batch(&step, 1);
        let outcome = trainer.step_with(&batch, &draws(&step, &batch), Wishes::default()).unwrap();
        close(
            "temperature",
            &Tensor::from(outcome.scalars["temperature"]),
            &step["out/temp_used"],
            bound(Kind::Double),
        );
        close(
            "loss_ita",
            &Tensor::from(outcome.scalars["loss_itc"]),
            &step["out/loss_ita"],
            bound(Kind::Double),
        );
        let temp = trainer.state().student.get("temp").unwrap();
        close("gradient", &temp.grad(), &step["grad/temp"], bound(Kind::Double));
        close("temperature after", temp, &step["after/temp"].clamp(0.001, 0.5), bound(Kind::Double));
    }
}

#[test]
fn every_encoder_matches() {
    for (kind, case) in [(Kind::Double, "train3-alpha0.4-f64"), (Kind::Float, "train3-alpha0.4-f32")] {
        let step = below(&read(case), "step1/");
        let state = initial(kind, None);
        let student = Albef::over(&model(), &state.student).unwrap();
        let teacher = Encoders::teacher(&model(), &state.teacher).unwrap();
        let (images, ids) = (&step["in/image"], &step["in/input_ids"]);
        let lengths = step["in/attention_mask"].sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
        let mask = padding_mask(&lengths, 8, kind);
        for (encoders, suffix) in [(&student.encoders, ""), (&teacher, "_m")] {
            let (image, image_feature) = encoders.image(images);
            let (text, text_feature) = encoders.text(ids, &mask, 0.0);
            for (name, tensor) in [
                ("image_embeds", image),
                ("image_feat", image_feature),
                ("text_embeds", text),
                ("text_feat", text_feature),
            ] {
                close(
                    &format!("{name}{suffix}"),
                    &tensor,
                    &step[&format!("out/{name}{suffix}")],
                    bound(kind),
                );
            }
        }
        let (image, text) = (&step["out/image_embeds"], &step["out/text_embeds"]);
        let bert = &student.encoders.text_encoder;
        let fused = bert.fuse(text, &mask, &bert.sight(image), Wanted::All, 0.0);
        close("itm_fusion_pos", &fused, &step["out/itm_fusion_pos"], bound(kind));
        let both = Tensor::cat(&[&fused, &step["out/itm_fusion_neg"]], 0).select(1, 0);
        close("itm_logits", &student.itm_logits(&both), &step["out/itm_logits"], bound(kind));
        let positives = student.match_pairs(text, &lengths, image);
        close("itm_logits of the pairs", &positives, &step["out/itm_logits"].narrow(0, 0, 4), bound(kind));
        let masked = &step["draw/mlm_input_ids"];
        for (encoders, image, name) in [
            (&student.encoders, image, "mlm_logits"),
            (&teacher, &step["out/image_embeds_m"], "mlm_logits_m"),
        ] {
            let bert = &encoders.text_encoder;
            let text = bert.encode(masked, &mask, 0.0);
            let fused = bert.fuse(&text, &mask, &bert.sight(image), Wanted::All, 0.0);
            close(name, &bert.predict(&fused), &step[&format!("out/{name}")], bound(kind));
        }
    }
}

#[test]
fn masks_follow_from_the_recorded_draws() {
    let recorded = read("train3-alpha0.4-f64");
    for number in 1..=3 {
        let step = below(&recorded, &format!("step{number}/"));
        let flat = |name: &str| Vec::<i64>::try_from(step[name].to_kind(Kind::Int64).flatten(0, 1)).unwrap();
        let [select, replace, randomise] =
            ["mask", "replace", "random"].map(|name| flat(&format!("draw/{name}_bernoulli_raw")));
        let words = flat("draw/random_words_raw");
        let uniform = |drawn: i64| 1.0 - drawn as f64;
        let draws = (0..words.len()).map(|i| TokenDraw {
            select: uniform(select[i]),
            replace: uniform(replace[i]),
            randomise: uniform(randomise[i]),
            word: words[i],
        });
        let (masked, labels) = masking::mask(&flat("in/input_ids"), 0.4, SPECIAL, draws);
        assert_eq!((masked, labels), (flat("draw/mlm_input_ids"), flat("draw/mlm_labels")), "step {number}");
    }
}
