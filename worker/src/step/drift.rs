//! A flipped bit is found and named on every rank, whatever it is in.

use super::Trainer;
use crate::alone;
use crate::batch::LocalBatch;
use crate::error::Error;
use crate::fingerprint;
use crate::toy::{self, SPECIAL, batch};
use crate::vote::Ballot;
use proto::{Exit, GlobalStep};
use tch::{Kind, Tensor};

/// Where rank 1 loses a bit, and how it is called then.
const BROKEN: [&str; 6] = [
    "student/text_encoder.bert.encoder.layer.1.crossattention.self.value.weight",
    "teacher/visual_encoder.patch_embed.proj.weight",
    "optimizer/first/text_proj.weight",
    "optimizer/second/vision_proj.bias",
    "queue/text",
    "counters",
];

/// Flips the lowest bit of a number of the tensor, or of a counter.
fn break_it(trainer: &mut Trainer, what: &str) {
    if what == "counters" {
        let (pointer, filled) = trainer.state.queue.counters();
        return trainer.state.queue.set_counters(pointer ^ 1, filled);
    }
    let tensor = trainer.state().tensors().remove(what).unwrap();
    let mut values: Vec<f32> = tensor.flatten(0, -1).try_into().unwrap();
    let place = values.len() / 2;
    values[place] = f32::from_bits(values[place].to_bits() ^ 1);
    tensor.shallow_clone().copy_(&Tensor::from_slice(&values).view_as(&tensor));
}

#[test]
fn a_flipped_bit_of_any_kind_is_found_and_named_on_every_rank() {
    alone::alone("step::drift::a_flipped_bit_of_any_kind_is_found_and_named_on_every_rank", || {
        for what in BROKEN {
            assert_told(
                what,
                1,
                after_a_step(|trainer, _| {
                    if trainer.group.rank() == 1 {
                        break_it(trainer, what);
                    }
                    fingerprint::compare(&trainer.state, GlobalStep(0), &mut trainer.group).unwrap_err()
                }),
            );
        }
    });
}

#[test]
fn a_step_compares_as_often_as_it_is_told() {
    alone::alone("step::drift::a_step_compares_as_often_as_it_is_told", || {
        let what = BROKEN[1];
        assert_told(
            what,
            2,
            after_a_step(|trainer, batch| {
                if trainer.group.rank() == 1 {
                    break_it(trainer, what);
                }
                trainer.step(&batch, &Ballot::default()).unwrap();
                trainer.compare().unwrap_err()
            }),
        );
    });
}

/// All ranks are told that rank 1 differs in `what`, and what to do.
fn assert_told(what: &str, step: u64, errors: Vec<Error>) {
    assert_eq!(errors.len(), 3);
    for error in errors {
        assert_eq!(error.exit(), Exit::Internal, "{error}");
        let told = error.to_string();
        let named = format!("step {step}: the ranks' states differ: rank 1 has another {what} than most;");
        assert!(told.starts_with(&named), "{told}");
        assert!(told.contains("remove the checkpoints after step 0"), "{told}");
    }
}

/// What three ranks say that compare every second step, where `act` goes on from their first.
fn after_a_step(act: impl Fn(&mut Trainer, LocalBatch) -> Error + Sync) -> Vec<Error> {
    let mut config = toy::config(0.0);
    (config.optimizer.batch, config.data.lanes, config.cluster.compare_every) = (12, 12, 2);
    let given = (0..3).map(|rank| {
        let [first, second] = [0, 1].map(|step| batch(step, rank * 4..(rank + 1) * 4, vec![4; 3]));
        (toy::state(&config, Kind::Float), first, second)
    });
    toy::ranks(given.collect(), |group, (state, first, second)| {
        let mut trainer = Trainer::new(&config, SPECIAL, 1.0, state, &[4; 3], group).unwrap();
        trainer.step(&first, &Ballot::default()).unwrap();
        act(&mut trainer, second)
    })
}
