//! The recorded steps of the published implementation (tests/golden/albef-tiny; its README tells how they were made).
#![allow(clippy::unwrap_used)]

mod ranks;
mod record;

use c10d::{Group, GroupSpec, MemoryStore};
use proto::config::Semantics;
use record::*;
use std::sync::Arc;
use std::time::Duration;
use tch::{Device, Kind, Tensor};
use worker::masking::{self, TokenDraw};
use worker::models::albef::{Albef, Encoders};
use worker::models::bert::{Wanted, padding_mask};
use worker::objective::itm::{Candidates, draw};
use worker::vote::Ballot;

fn alone() -> Group {
    let spec = GroupSpec {
        rank: 0,
        world_size: 1,
        device: Device::Cpu,
        interface: "127.0.0.1".into(),
        meeting: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
    };
    Group::new(spec, Arc::new(MemoryStore::default())).unwrap()
}

/// Replays a case in both semantics, which agree on one rank, with negatives that are given and with drawn ones.
fn replay(case: &str, alpha: f64, kind: Kind, steps: usize) {
    for semantics in [Semantics::Global, Semantics::Paper] {
        for chosen in [Chosen::Given, Chosen::Drawn] {
            println!("{case}, {semantics:?}, negatives {chosen:?}");
            replay_as(case, alpha, kind, steps, semantics, chosen);
        }
    }
}

fn replay_as(case: &str, alpha: f64, kind: Kind, steps: usize, semantics: Semantics, chosen: Chosen) {
    let recorded = read(case);
    let mut trainer = trainer(kind, &config(alpha, semantics), None, alone());
    for number in 1..=steps {
        let step = below(&recorded, &format!("step{number}/"));
        let batch = batch(&step, number, ALONE);
        let teacher = trainer.state().teacher.copy_where(|_| true);
        let outcome = trainer.step_with(&batch, &draws(&step, &batch, chosen), &Ballot::default()).unwrap();
        for (scalar, name) in [
            ("loss_itc", "loss_ita"),
            ("loss_itm", "loss_itm"),
            ("loss_mlm", "loss_mlm"),
            ("loss", "loss_total"),
        ] {
            let what = format!("{name} of step {number}");
            close(&what, &Tensor::from(outcome.scalars[scalar]), &step[&format!("out/{name}")], bound(kind));
        }
        check_gradients(&trainer.state().student, below(&step, "grad/"), kind);
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
    replay("train3-alpha0.4-f64", 0.4, Kind::Double, 3);
}

#[test]
fn three_steps_match_in_f32() {
    replay("train3-alpha0.4-f32", 0.4, Kind::Float, 3);
}

#[test]
fn without_distillation_a_step_matches() {
    replay("step1-alpha0.0-f64", 0.0, Kind::Double, 1);
    replay("step1-alpha0.0-f32", 0.0, Kind::Float, 1);
}

#[test]
fn a_clamped_temperature_still_receives_its_gradient() {
    let cases = ["clamp-hi-f64", "clamp-lo-f64"];
    for (case, semantics) in
        cases.iter().flat_map(|case| [(case, Semantics::Global), (case, Semantics::Paper)])
    {
        let step = below(&read(case), "step1/");
        let mut trainer = trainer(
            Kind::Double,
            &config(step["in/alpha"].double_value(&[]), semantics),
            Some(&step["in/temp_before"]),
            alone(),
        );
        let batch = batch(&step, 1, ALONE);
        let outcome =
            trainer.step_with(&batch, &draws(&step, &batch, Chosen::Given), &Ballot::default()).unwrap();
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

#[test]
fn negatives_are_drawn_with_the_recorded_weights() {
    for (kind, case, near) in
        [(Kind::Double, "train3-alpha0.4-f64", 1e-9), (Kind::Float, "train3-alpha0.4-f32", 1e-4)]
    {
        for number in 1..=3 {
            let step = below(&read(case), &format!("step{number}/out/"));
            for (queries, keys, weights) in
                [("image_feat", "text_feat_m", "weights_i2t"), ("text_feat", "image_feat_m", "weights_t2i")]
            {
                let weights = &step[weights];
                let n = weights.size()[0];
                let identities = Tensor::arange(2 * n, (Kind::Int64, Device::Cpu)).view([n, 2]);
                let candidates =
                    Candidates { keys: &step[keys], identities: &identities, first: 0, duplicates: false };
                let borders = borders(weights);
                // Just below and just above each border but the last, which is 1.
                for (border, side) in
                    (0..n - 1).flat_map(|border| [(border, 1.0 - near), (border, 1.0 + near)])
                {
                    let uniform = (borders.select(1, border) * side).clamp_max(1.0 - 1e-12);
                    let temp = step["temp_used"].to_kind(kind);
                    let (drawn, found) =
                        draw(&step[queries], &identities, &candidates, &temp, &uniform, 1_000);
                    let passed = borders.le_tensor(&uniform.unsqueeze(1)).sum_dim_intlist(
                        [1i64].as_slice(),
                        false,
                        Kind::Int64,
                    );
                    assert!(found.all().int64_value(&[]) == 1);
                    assert!(drawn.equal(&passed), "{case}, step {number}: {drawn} instead of {passed}");
                }
            }
        }
    }
}
