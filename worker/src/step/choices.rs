//! Which negatives a step chooses, and which count.

use super::Trainer;
use super::heads::Inputs;
use super::travel::{Batch, Choice};
use crate::alone;
use crate::batch::{Draws, LocalBatch};
use crate::models::albef::Albef;
use crate::toy::{self, SPECIAL, batch, counts, identity, lonely};
use crate::vote::Ballot;
use proto::RunConfig;
use proto::config::{Semantics, follow};
use shards::identity::Identity;
use std::collections::BTreeMap;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

const B: u64 = 12;

/// What is drawn for a pair in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Its masked ids, and what is to be predicted where.
    masked: (Vec<i64>, Vec<(i64, i64)>),
    /// Slots of its negatives, where it has any.
    image: Option<i64>,
    text: Option<i64>,
}

/// What the next step of `trainer` will see: its draws, the gathered batch and the negatives. A collective.
fn ahead(trainer: &mut Trainer, batch: &LocalBatch) -> (Draws, Batch, Choice) {
    let probability = trainer.config.objective.mask_probability;
    let (seed, step) = (trainer.config.run.seed, trainer.state.step);
    let draws = batch.draws(seed, step, probability, SPECIAL, Device::Cpu);
    let inputs = Inputs::new(batch, Device::Cpu, trainer.student.temp.kind());
    let _guard = tch::no_grad_guard();
    let student = trainer.encode(&inputs).unwrap();
    let teacher = trainer.teach(&inputs).unwrap();
    let global = trainer.gather(batch, &teacher.features).unwrap();
    let choice = trainer.choose(batch, &student.features, &teacher.features, &global, &draws.negatives);
    (draws, global, choice)
}

/// By step and slot, what the next step of `trainer` draws for its own pairs.
pub(super) fn drawn(trainer: &mut Trainer, batch: &LocalBatch) -> BTreeMap<(u64, u64), Drawn> {
    let (draws, _, choice) = ahead(trainer, batch);
    let numbers = |tensor: &Tensor| Vec::<i64>::try_from(tensor.to_kind(Kind::Int64)).unwrap();
    let width = draws.masked.ids.size()[1];
    let [ids, positions, labels] =
        [&draws.masked.ids.flatten(0, 1), &draws.masked.positions, &draws.masked.labels].map(numbers);
    let [image, text, valid] = [&choice.image_for_text, &choice.text_for_image, &choice.valid].map(numbers);
    let pair = |row: usize| {
        let first = row as i64 * width;
        let own = first..first + i64::from(batch.lengths[row]);
        let predicted = positions.iter().zip(&labels).filter(|(position, _)| own.contains(position));
        let drawn = Drawn {
            masked: (
                ids[own.start as usize..own.end as usize].to_vec(),
                predicted.map(|(position, label)| (position - first, *label)).collect(),
            ),
            image: (valid[row] == 1).then(|| image[row]),
            text: (valid[batch.len() + row] == 1).then(|| text[row]),
        };
        ((trainer.state.step.0, batch.first_slot + row as u64), drawn)
    };
    (0..batch.len()).map(pair).collect()
}

fn config() -> RunConfig {
    let mut config = toy::config(0.0);
    (config.optimizer.batch, config.data.lanes) = (B as u32, B as u32);
    (config.optimizer.warmup, config.optimizer.learning_rate) = (5, 1e-3);
    config
}

/// What all ranks that share `counts` do in `steps` steps.
fn over_ranks<Answer: Send>(
    config: &RunConfig,
    counts: &[i64],
    steps: Range<u64>,
    act: impl Fn(&mut Trainer, &LocalBatch) -> Answer + Sync,
) -> Vec<Answer> {
    let starts = counts.iter().scan(0, |sum, count| {
        *sum += *count as u64;
        Some(*sum - *count as u64..*sum)
    });
    let given = starts.map(|slots: Range<u64>| {
        let batches: Vec<_> = steps.clone().map(|step| batch(step, slots.clone(), counts.to_vec())).collect();
        (toy::state(config, Kind::Double), batches)
    });
    let all = toy::ranks(given.collect(), |group, (state, batches)| {
        let mut trainer = Trainer::new(config, SPECIAL, 1.0, state, counts, group).unwrap();
        let answers: Vec<Answer> = batches
            .iter()
            .map(|batch| {
                let answer = act(&mut trainer, batch);
                trainer.step(batch, &Ballot::default()).unwrap();
                answer
            })
            .collect();
        trainer.meet().unwrap();
        answers
    });
    all.into_iter().flatten().collect()
}

fn alike(one: Identity, other: Identity) -> bool {
    one[0] == other[0] || one[1] == other[1]
}

#[test]
fn a_pair_never_meets_itself_or_its_like_and_one_that_has_no_other_meets_none() {
    alone::alone(
        "step::choices::a_pair_never_meets_itself_or_its_like_and_one_that_has_no_other_meets_none",
        || {
            let parts = over_ranks(&config(), &counts(B, 3), 0..10, drawn);
            let all: BTreeMap<_, _> = parts.into_iter().flatten().collect();
            assert_eq!(all.len() as u64, 10 * B);
            let (mut barred, mut lone, mut across) = (0, 0, 0);
            for ((step, slot), drawn) in all {
                let own = identity(step, slot);
                let others: Vec<u64> =
                    (0..B).filter(|other| *other != slot && !alike(own, identity(step, *other))).collect();
                barred += usize::from(others.len() < B as usize - 1);
                lone += usize::from(others.is_empty());
                assert_eq!(others.is_empty(), lonely(step) && slot == 0, "{step} {slot}");
                for chosen in [drawn.image, drawn.text] {
                    match chosen {
                        Some(chosen) => {
                            assert!(others.contains(&(chosen as u64)), "step {step}: {slot} met {chosen}");
                            across += usize::from(chosen as u64 / 4 != slot / 4);
                        }
                        None => assert!(others.is_empty(), "step {step}: {slot} met none"),
                    }
                }
            }
            // There was something to bar, in the same ranks and in others, and there were choices of other ranks' pairs.
            assert!(barred >= 60 && lone == 2 && across > 60, "{barred} {lone} {across}");
        },
    );
}

/// The matching loss of a step, by hand: from pairs that are encoded and matched one by one.
fn matching_by_hand(trainer: &mut Trainer, batch: &LocalBatch) -> (f64, f64) {
    let (_, _, choice) = ahead(trainer, batch);
    let network: &Albef = &trainer.student;
    let inputs = Inputs::new(batch, Device::Cpu, Kind::Double);
    let (images, _) = network.encode_image(&inputs.images);
    let (texts, _) = network.encode_text(&inputs.ids, &inputs.lengths);
    let loss = |text: i64, image: i64, matches: i64| {
        let row = |all: &Tensor, at: i64| all.narrow(0, at, 1);
        let scores =
            network.match_pairs(&row(&texts, text), &row(&inputs.lengths, text), &row(&images, image));
        -scores.log_softmax(-1, Kind::Double).double_value(&[0, matches])
    };
    let n = batch.len() as i64;
    let mut losses: Vec<f64> = (0..n).map(|own| loss(own, own, 1)).collect();
    for own in 0..n {
        if choice.valid.int64_value(&[own]) == 1 {
            losses.push(loss(own, choice.image_for_text.int64_value(&[own]), 0));
        }
        if choice.valid.int64_value(&[n + own]) == 1 {
            losses.push(loss(choice.text_for_image.int64_value(&[own]), own, 0));
        }
    }
    (losses.len() as f64, losses.iter().sum::<f64>() / losses.len() as f64)
}

#[test]
fn a_negative_that_is_none_counts_in_no_mean() {
    alone::alone("step::choices::a_negative_that_is_none_counts_in_no_mean", || {
        let config = config();
        let mut trainer = toy::single(&config, toy::state(&config, Kind::Double));
        for step in 0..5 {
            let batch = batch(step, 0..B, counts(B, 1));
            let (rows, expected) = matching_by_hand(&mut trainer, &batch);
            assert_eq!(rows, if lonely(step) { 34.0 } else { 36.0 });
            let found = trainer.step(&batch, &Ballot::default()).unwrap().scalars["loss_itm"];
            assert!((found - expected).abs() < 1e-12, "step {step}: {found} instead of {expected}");
        }
    });
}

#[test]
fn in_paper_semantics_negatives_are_drawn_at_home_and_nothing_travels() {
    alone::alone("step::choices::in_paper_semantics_negatives_are_drawn_at_home_and_nothing_travels", || {
        let mut config = config();
        follow(Semantics::Paper, &mut config);
        let act = |trainer: &mut Trainer, batch: &LocalBatch| {
            let (_, global, choice) = ahead(trainer, batch);
            let inputs = Inputs::new(batch, Device::Cpu, Kind::Double);
            let own = tch::no_grad(|| trainer.encode(&inputs)).unwrap();
            let fetched = trainer.fetch(batch, &own.image, &own.text, &global, &choice).unwrap();
            assert!(fetched.image.is_none() && fetched.text.is_none(), "something travels");
            // Where the rows now are: at the slots that were chosen, seen from the own first one.
            for (slots, rows) in [
                (&choice.image_for_text, &fetched.choice.image_for_text),
                (&choice.text_for_image, &fetched.choice.text_for_image),
            ] {
                assert!((rows + batch.first_slot as i64).equal(slots), "{rows} of {slots}");
            }
            drawn(trainer, batch)
        };
        let parts = over_ranks(&config, &[5, 7], 0..10, act);
        let all: BTreeMap<_, _> = parts.into_iter().flatten().collect();
        assert_eq!(all.len() as u64, 10 * B);
        let mut likes = 0;
        for ((step, slot), drawn) in all {
            for chosen in [drawn.image.unwrap() as u64, drawn.text.unwrap() as u64] {
                assert!(chosen != slot && (chosen < 5) == (slot < 5), "step {step}: {slot} met {chosen}");
                likes += usize::from(alike(identity(step, slot), identity(step, chosen)));
            }
        }
        assert!(likes > 10, "the published code draws pairs that are alike: {likes}");
    });
}
