//! What holds of the state over whole steps: a resume continues it bit by bit, and a failed step leaves it alone.

use super::State;
use crate::alone;
use crate::batch::LocalBatch;
use crate::step::Trainer;
use crate::toy::{batch, config, single};
use crate::vote::{Ballot, Heeded};
use proto::config::{OnAnomaly, Precision};
use shards::ledger::Outcome as Recorded;
use std::collections::BTreeMap;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

fn whole(step: u64) -> LocalBatch {
    batch(step, 0..5, vec![5])
}

fn snapshot(state: &State) -> BTreeMap<String, Tensor> {
    state.tensors().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect()
}

fn assert_same(one: &BTreeMap<String, Tensor>, other: &BTreeMap<String, Tensor>) {
    assert!(one.keys().eq(other.keys()));
    for (name, tensor) in one {
        assert!(tensor.equal(&other[name]), "{name} differs");
    }
}

#[test]
fn a_resumed_run_is_bit_identical() {
    alone::alone("state::tests::a_resumed_run_is_bit_identical", resume);
}

fn resume() {
    let config = config(0.1);
    let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
    let train = |trainer: &mut Trainer, steps: Range<u64>| {
        steps.for_each(|step| drop(trainer.step(&whole(step), &Ballot::default()).unwrap()));
    };
    train(&mut trainer, 0..3);
    let (tensors, counters) = (snapshot(trainer.state()), trainer.state().counters());
    train(&mut trainer, 3..5);

    let mut other = config.clone();
    other.run.seed += 1;
    let mut state = State::new(&other, Device::Cpu).unwrap();
    state.restore(tensors, counters).unwrap();
    let mut resumed = single(&config, state);
    train(&mut resumed, 3..5);
    assert_eq!(resumed.state().counters(), trainer.state().counters());
    assert_same(&snapshot(resumed.state()), &snapshot(trainer.state()));
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_and_can_be_redone() {
    let config = config(0.0);
    let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
    trainer.step(&whole(0), &Ballot::default()).unwrap();
    let (before, counters) = (snapshot(trainer.state()), trainer.state().counters());
    let mut broken = whole(1);
    broken.images *= f64::NAN;
    let error = trainer.step(&broken, &Ballot::default()).unwrap_err();
    assert!(error.to_string().starts_with("step 2: the loss is not finite"), "{error}");
    assert_same(&before, &snapshot(trainer.state()));
    assert_eq!(counters, trainer.state().counters());
    assert!(trainer.step(&whole(1), &Ballot::default()).unwrap().scalars["loss"].is_finite());
}

#[test]
fn an_anomaly_may_be_skipped_and_stops_the_run_when_it_does_not_end() {
    let mut config = config(0.0);
    (config.optimizer.on_anomaly, config.optimizer.anomalies) = (OnAnomaly::Skip, 2);
    let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
    trainer.step(&whole(0), &Ballot::default()).unwrap();
    let before = snapshot(trainer.state());
    let broken = |step| {
        let mut batch = whole(step);
        batch.images *= f64::NAN;
        batch
    };
    for step in 1..3 {
        let outcome = trainer.step(&broken(step), &Ballot::default()).unwrap();
        assert_eq!((outcome.step.0, outcome.recorded()), (step + 1, Recorded::Skipped));
        assert!(outcome.anomaly.is_some_and(|what| what.contains("not finite")));
        assert_same(&before, &snapshot(trainer.state()));
    }
    let error = trainer.step(&broken(3), &Ballot::default()).unwrap_err().to_string();
    assert!(error.starts_with("step 4: the loss is not finite, after 2 anomalies in a row"), "{error}");
    // The pairs of skipped steps are not trained on later, and the next good step is applied.
    let outcome = trainer.step(&whole(3), &Ballot::default()).unwrap();
    assert_eq!((outcome.step.0, outcome.recorded()), (4, Recorded::Applied));
    assert_eq!((trainer.state().course.anomalies, trainer.state().counters().optimizer_step), (0, 2));
}

#[test]
fn a_state_of_another_shape_is_refused_whole() {
    let config = config(0.0);
    let mut state = State::new(&config, Device::Cpu).unwrap();
    let before = snapshot(&state);
    let mut tensors: BTreeMap<String, Tensor> =
        before.iter().map(|(name, tensor)| (name.clone(), tensor + 1.0)).collect();
    tensors.remove("queue/text");
    let error = state.restore(tensors, state.counters()).unwrap_err();
    assert!(error.to_string().contains("queue/text is missing"), "{error}");
    assert_same(&before, &snapshot(&state));
}

#[test]
fn bf16_stays_close_to_f32() {
    alone::alone("state::tests::bf16_stays_close_to_f32", compare_precisions);
}

fn compare_precisions() {
    let loss = |precision| {
        let mut config = config(0.0);
        config.optimizer.precision = precision;
        let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
        let outcome = trainer.step(&whole(0), &Ballot::default()).unwrap();
        assert!(trainer.state().student.tensors().iter().all(|tensor| tensor.kind() == Kind::Float));
        outcome.scalars["loss"]
    };
    let (f32, bf16) = (loss(Precision::F32), loss(Precision::Bf16));
    assert!(f32 != bf16 && (f32 - bf16).abs() < 0.05 * f32, "{f32} and {bf16}");
}

#[test]
fn the_learning_rate_is_that_of_the_schedule_times_what_was_voted() {
    let config = config(0.0);
    let step = |scale| {
        let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
        let before = snapshot(trainer.state());
        let heeded = Heeded { learning_rate_scale: scale, ..Heeded::default() };
        let outcome = trainer.step(&whole(0), &Ballot { heeded, ..Ballot::default() }).unwrap();
        let moved = &trainer.state().tensors()["student/temp"] - &before["student/temp"];
        (outcome.scalars["learning_rate"], moved.double_value(&[]))
    };
    let (whole, quarter, none) = (step(1.0), step(0.25), step(0.0));
    assert!(whole.0 > 0.0 && (quarter.0 - whole.0 / 4.0).abs() < 1e-12, "{whole:?} {quarter:?}");
    assert!(whole.1 != 0.0 && (quarter.1 - whole.1 / 4.0).abs() < 1e-6, "{whole:?} {quarter:?}");
    assert_eq!(none, (0.0, 0.0));
}

#[test]
fn a_teacher_begins_where_its_student_is_and_stays_behind() {
    let config = config(0.0);
    let mut trainer = single(&config, State::new(&config, Device::Cpu).unwrap());
    assert_eq!(trainer.state().teacher_drift(), 0.0);
    let outcomes = [0, 1, 2].map(|step| trainer.step(&whole(step), &Ballot::default()).unwrap());
    assert!((0.0..0.1).contains(&trainer.state().teacher_drift()) && trainer.state().teacher_drift() > 0.0);
    // By hand.
    let tensors = trainer.state().tensors();
    let (mut apart, mut size) = (0.0, 0.0);
    for (name, teacher) in tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix("teacher/")?, t))) {
        let student = &tensors[&format!("student/{name}")];
        apart += (teacher - student).square().sum(Kind::Double).double_value(&[]);
        size += student.square().sum(Kind::Double).double_value(&[]);
    }
    let expected = f64::sqrt(apart / size);
    assert!((trainer.state().teacher_drift() - expected).abs() < 1e-6 * expected, "{expected}");
    let ages = outcomes.map(|outcome| outcome.scalars["queue_age"]);
    assert_eq!(ages, [0.0, 1.0, 2.0], "what was in the queue when the step began");
}
