//! Dropout: the second pass repeats the first's, and the teacher has some where it is asked for.

use super::Trainer;
use super::heads::{Encoded, Inputs};
use super::travel::{Choice, Rows};
use crate::alone;
use crate::batch::{Draws, LocalBatch, Masked};
use crate::models::bert::{Bert, Wanted};
use crate::objective::itc::Features;
use crate::objective::mlm;
use crate::toy::{self, SPECIAL, batch};
use proto::RunConfig;
use std::collections::BTreeMap;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

const PAIRS: i64 = 12;

fn config() -> RunConfig {
    let mut config = toy::config(0.3);
    (config.optimizer.batch, config.data.lanes) = (PAIRS as u32, PAIRS as u32);
    config.optimizer.micro_batch = 5;
    config
}

fn trainer(config: &RunConfig) -> (Trainer, LocalBatch, Draws) {
    let mut trainer = toy::single(config, toy::state(config, Kind::Double));
    // Past the ramp, so that the teacher's soft targets count.
    trainer.state.step = proto::GlobalStep(1);
    let batch = batch(1, 0..PAIRS as u64, vec![PAIRS]);
    let probability = config.objective.mask_probability;
    let draws = batch.draws(config.run.seed, trainer.state.step, probability, SPECIAL, Device::Cpu);
    (trainer, batch, draws)
}

fn gradients(trainer: &Trainer) -> BTreeMap<String, Tensor> {
    trainer.state.student.iter().map(|(name, tensor)| (name.to_owned(), tensor.grad().copy())).collect()
}

/// The gradients of one graph over all micro-batches, in which each is encoded once, with the dropout that the step draws.
fn in_one_graph(trainer: &mut Trainer, batch: &LocalBatch, draws: &Draws, parts: &[Range<i64>]) {
    let inputs = Inputs::new(batch, Device::Cpu, Kind::Double);
    let (mut students, mut teachers) = (Vec::new(), Vec::new());
    for (range, number) in parts.iter().zip(0..) {
        trainer.seed_dropout(number);
        students.push(trainer.encode(&inputs.part(range)).unwrap());
        teachers.push(tch::no_grad(|| trainer.teach(&inputs.part(range))).unwrap());
    }
    let (student, teacher) = (whole(&students), whole(&teachers));
    let global = trainer.gather(batch, &teacher.features).unwrap();
    let itc = trainer.contrast(batch, &student.features, &teacher.features, &global);
    let choice = trainer.choose(batch, &student.features, &teacher.features, &global, &draws.negatives);
    let rows = [batch.len() as f64, batch.len() as f64 + choice.found(), draws.masked.count()];
    let scale = trainer.scale(rows).unwrap();
    let mut total = itc * scale.itc;
    for range in parts {
        let count = range.end - range.start;
        let own = Tensor::arange_start(range.start, range.end, (Kind::Int64, Device::Cpu));
        let part = |all: &Tensor| all.narrow(0, range.start, count);
        let texts = Tensor::cat(&[&own, &part(&choice.text_for_image)], 0);
        let images = Tensor::cat(&[&own, &part(&choice.image_for_text)], 0);
        let sight = trainer.sight(&student.image.index_select(0, &images)).unwrap();
        let behind = Tensor::arange_start(count, 2 * count, (Kind::Int64, Device::Cpu));
        let found = Choice {
            image_for_text: behind.shallow_clone(),
            text_for_image: behind,
            valid: Tensor::cat(&[part(&choice.valid), choice.valid.narrow(0, PAIRS + range.start, count)], 0),
        };
        let lengths = inputs.lengths.index_select(0, &texts);
        let rows = Rows::new(student.text.index_select(0, &texts), &lengths, sight);
        let own = rows.sight.select(&Tensor::arange(count, (Kind::Int64, Device::Cpu)));
        let itm = trainer.matching(&rows, &found).unwrap();
        let masked = draws.masked.part(range, inputs.ids.size()[1]);
        let mlm = trainer.restore_words(&masked, &part(&inputs.mask), &own, &part(&teacher.image)).unwrap();
        total = total + itm * scale.itm + mlm * scale.mlm;
    }
    trainer.state.student.clear_gradients();
    total.backward();
}

fn whole(parts: &[Encoded]) -> Encoded {
    let join = |part: fn(&Encoded) -> &Tensor| Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0);
    Encoded {
        image: join(|part| &part.image),
        text: join(|part| &part.text),
        features: Features {
            image: join(|part| &part.features.image),
            text: join(|part| &part.features.text),
        },
    }
}

/// The largest difference of two sets of gradients, relative to the largest number of its tensor plus 0.1.
fn apart(one: &BTreeMap<String, Tensor>, other: &BTreeMap<String, Tensor>) -> f64 {
    assert!(one.keys().eq(other.keys()));
    let differences = one.iter().map(|(name, gradient)| {
        let size = gradient.abs().max().double_value(&[]) + 0.1;
        (gradient - &other[name]).abs().max().double_value(&[]) / size
    });
    differences.fold(0.0, f64::max)
}

#[test]
fn two_passes_have_the_gradients_of_one_graph_with_the_same_dropout() {
    alone::alone("step::passes::two_passes_have_the_gradients_of_one_graph_with_the_same_dropout", || {
        for teacher_dropout in [false, true] {
            let mut config = config();
            config.objective.teacher_dropout = teacher_dropout;
            let (mut trainer, batch, draws) = trainer(&config);
            trainer.accumulate(&batch, &draws).unwrap();
            let twice = gradients(&trainer);
            in_one_graph(&mut trainer, &batch, &draws, &[0..5, 5..10, 10..12]);
            let difference = apart(&gradients(&trainer), &twice);
            println!("teacher dropout {teacher_dropout}: {difference:.1e}");
            assert!(difference < 1e-12, "gradients differ by {difference:e}");
            // Another dropout is another gradient.
            trainer.config.run.seed += 1;
            trainer.accumulate(&batch, &draws).unwrap();
            assert!(apart(&gradients(&trainer), &twice) > 1e-3, "there is no dropout");
        }
    });
}

#[test]
fn the_teacher_drops_out_where_it_is_asked_for_only() {
    alone::alone("step::passes::the_teacher_drops_out_where_it_is_asked_for_only", || {
        for teacher_dropout in [false, true] {
            let mut config = config();
            config.objective.teacher_dropout = teacher_dropout;
            let (trainer, batch, draws) = trainer(&config);
            let inputs = Inputs::new(&batch, Device::Cpu, Kind::Double);
            let _guard = tch::no_grad_guard();
            trainer.seed_dropout(0);
            let taught = trainer.teach(&inputs).unwrap();
            let (text, feature) = trainer.teacher.text(&inputs.ids, &inputs.mask, 0.0);
            assert_eq!(taught.features.text.equal(&feature), !teacher_dropout);
            assert_eq!(taught.text.equal(&text), !teacher_dropout);
            assert!(taught.image.equal(&trainer.teacher.image(&inputs.images).0), "images are not dropped");
            let sight = trainer.sight(&taught.image).unwrap();
            trainer.seed_dropout(0);
            let words = trainer.restore_words(&draws.masked, &inputs.mask, &sight, &taught.image).unwrap();
            let [with, without] =
                [0.3, 0.0].map(|dropout| words_by_hand(&trainer, &inputs, &draws, &taught.image, dropout));
            assert!(words.equal(if teacher_dropout { &with } else { &without }));
            assert!(!with.equal(&without));
        }
    });
}

/// The loss of masked words where the teacher drops out as told, and the student as ever.
fn words_by_hand(trainer: &Trainer, inputs: &Inputs, draws: &Draws, image: &Tensor, dropout: f64) -> Tensor {
    let Masked { ids, positions, labels } = &draws.masked;
    let scores = |bert: &Bert, dropout: f64| {
        let text = bert.encode(ids, &inputs.mask, dropout);
        bert.predict(&bert.fuse(&text, &inputs.mask, &bert.sight(image), Wanted::At(positions), dropout))
    };
    trainer.seed_dropout(0);
    let teacher = scores(&trainer.teacher.text_encoder, dropout);
    let student = scores(&trainer.student.encoders.text_encoder, 0.3);
    mlm::loss(&student, Some(&teacher), labels, trainer.alpha())
}
