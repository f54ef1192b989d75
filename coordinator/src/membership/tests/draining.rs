//! Workers that are told to go.

use super::*;

#[test]
fn who_is_told_to_go_leaves_at_a_step_boundary_when_others_stay() {
    let (mut run, ids) = training(spec(2));
    run.it.drain(ids[0], run.now()).unwrap();
    assert!(run.told(ids[0]).regroup && run.told(ids[1]).regroup);
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    assert!(run.waits(ids[0]), "it holds the run until the others have it");
    run.confirm();
    assert!(run.is_dismissed(ids[0]));
    assert_eq!(run.seats([ids[1]]), [(0, 1)]);
    run.it.leave(ids[0], Ok(()), run.now()).unwrap();
    assert_eq!((run.it.state(), run.it.members().count()), (State::Preparing, 1));
}

#[test]
fn a_spare_that_is_told_to_go_goes_at_once() {
    let (mut run, ids) = training(spec(2));
    let spare = run.join(3, true);
    run.say(spare, 0, 0, Phase::Waiting).unwrap();
    run.it.drain(spare, run.now()).unwrap();
    assert!(run.is_dismissed(spare) && !run.told(ids[0]).regroup);
}

#[test]
fn when_too_few_stay_the_run_stops_with_a_checkpoint() {
    let (mut run, ids) = training(Spec { least: WorldSize(2), ..spec(2) });
    run.it.drain(ids[1], run.now()).unwrap();
    assert_eq!(run.told(ids[1]).stop, Some(v1::Stop { checkpoint: true }));
    assert!(!run.told(ids[1]).regroup, "they stop together");

    let (mut run, ids) = training(spec(2));
    run.it.drain(ids[0], run.now()).unwrap();
    assert_eq!(run.it.stop(), None);
    run.it.drain(ids[1], run.now()).unwrap();
    assert_eq!(run.it.stop(), Some(v1::Stop { checkpoint: true }));
}

#[test]
fn a_drain_whose_heirs_are_lost_stops_with_a_checkpoint() {
    let (mut run, ids) = training(spec(2));
    let spare = run.join(3, true);
    run.say(spare, 0, 0, Phase::Waiting).unwrap();
    run.it.drain(ids[0], run.now()).unwrap();
    run.it.exited(2, "host-2", Exit::Lost, "was killed", run.now());
    run.broken(ids[0], 1, 6);
    assert_eq!(run.it.stop(), Some(v1::Stop { checkpoint: true }), "the spare holds nothing");
    run.confirm();
    assert_eq!(run.seats([ids[0], spare]), [(0, 2), (1, 2)], "and who holds the run writes it down");
}
