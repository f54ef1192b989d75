//! The ends of a run.

use super::*;

#[test]
fn the_run_is_done_when_all_left_after_the_last_commit() {
    let (mut run, ids) = training(spec(2));
    run.it.committed(STEPS, 0);
    run.it.leave(ids[1], Ok(()), run.now()).unwrap();
    assert_eq!(run.it.state(), State::Training);
    run.it.leave(ids[0], Ok(()), run.now()).unwrap();
    assert_eq!((run.it.state(), run.it.verdict().unwrap().exit), (State::Finished, Exit::Done));
}

#[test]
fn a_worker_that_is_killed_after_the_last_commit_changes_nothing() {
    let (mut run, ids) = training(spec(2));
    run.it.committed(STEPS, 0);
    run.it.exited(2, "host-2", Exit::Lost, "was killed", run.now());
    assert_eq!(run.it.state(), State::Training);
    run.it.leave(ids[0], Ok(()), run.now()).unwrap();
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Done);
}

#[test]
fn a_worker_that_is_killed_before_the_last_commit_has_it_done_again() {
    let (mut run, ids) = training(spec(2));
    run.say(ids[0], 1, 10, Phase::Finishing).unwrap();
    run.it.exited(2, "host-2", Exit::Lost, "was killed", run.now());
    run.say(ids[0], 1, 10, Phase::Waiting).unwrap();
    run.confirm();
    assert_eq!(run.told(ids[0]).checkpoint_request, 1);
    run.it.committed(STEPS, 1);
    run.it.leave(ids[0], Ok(()), run.now()).unwrap();
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Done);
}

#[test]
fn leaving_without_the_last_checkpoint_is_a_failure() {
    let (mut run, ids) = training(spec(2));
    run.say(ids[0], 1, 10, Phase::Finishing).unwrap();
    run.it.committed(GlobalStep(9), 0);
    for id in ids {
        run.it.leave(id, Ok(()), run.now()).unwrap();
    }
    assert_eq!((run.it.state(), run.it.verdict().unwrap().exit), (State::Failed, Exit::Internal));
}

#[test]
fn a_stop_reaches_everybody_and_ends_as_stopped_after_its_checkpoint() {
    let (mut run, ids) = training(spec(2));
    assert_eq!(run.it.request_stop(Generation(1), true), Ok(true));
    assert_eq!(run.it.request_stop(Generation(0), false), Ok(false));
    for id in ids {
        let told = run.say(id, 1, 5, Phase::Training).unwrap();
        assert_eq!(told.stop, Some(v1::Stop { checkpoint: true }), "the checkpoint that was asked for stays");
        assert!(matches!(told.kind, Some(Kind::Assignment(_))));
    }
    run.it.committed(GlobalStep(5), 0);
    for id in ids {
        run.it.leave(id, Ok(()), run.now()).unwrap();
    }
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Stopped);
}

#[test]
fn a_stop_survives_the_loss_of_a_worker() {
    let (mut run, ids) = training(spec(2));
    run.it.request_stop(Generation(0), true).unwrap();
    run.it.exited(1, "host-1", Exit::Lost, "was killed", run.now());
    assert_eq!(run.it.state(), State::Stopping);
    run.broken(ids[1], 1, 6);
    run.confirm();
    assert!(run.told(ids[1]).stop.is_some());
    run.it.committed(GlobalStep(7), 0);
    run.it.leave(ids[1], Ok(()), run.now()).unwrap();
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Stopped);
}

#[test]
fn who_is_lost_before_the_boundary_of_a_stop_is_missed_although_all_so_far_is_committed() {
    let (mut run, ids) = training(spec(2));
    run.it.committed(GlobalStep(3), 0);
    run.it.request_stop(Generation(0), true).unwrap();
    run.it.exited(1, "host-1", Exit::Lost, "was killed", run.now());
    assert!(run.waits(ids[1]), "it must not wait for the one that is gone");
    run.say(ids[1], 1, 3, Phase::Waiting).unwrap();
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Stopped);
}

#[test]
fn a_stop_ends_at_once_when_there_is_nothing_to_write() {
    let mut run = Run::new(spec(2));
    run.ready(1);
    run.it.request_stop(Generation(0), true).unwrap();
    assert_eq!(run.it.reason(), "stopped before all workers had joined, as asked");

    let (mut run, ids) = training(spec(2));
    run.it.request_stop(Generation(0), false).unwrap();
    for id in ids {
        run.broken(id, 1, 5);
    }
    assert_eq!((run.it.state(), run.it.proposal()), (State::Finished, None));
}

#[test]
fn a_cause_fails_the_run_and_takes_the_place_of_a_loss() {
    let (mut run, ids) = training(spec(2));
    run.it.fail(Exit::Lost, "a worker dies again and again".into());
    run.it.leave(ids[1], Err((Exit::Data, "row 7 can't be decoded".into())), run.now()).unwrap();
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Data);
    run.it.fail(Exit::Output, "later".into());
    assert_eq!(run.it.reason(), "rank 1 (process 2 on host-2) left: row 7 can't be decoded");
    assert!(matches!(run.told(ids[0]).kind, Some(Kind::Abort(_))));
    assert_eq!(run.it.join("h", 5, false, 1, None, at(0)), Err(Refusal::Over(run.it.reason())));
}

#[test]
fn what_ails_a_newcomer_is_its_own_while_others_hold_the_run() {
    let (mut run, ids) = training(spec(2));
    let newcomer = run.join(3, false);
    run.it.leave(newcomer, Err((Exit::Device, "there is no GPU".into())), run.now()).unwrap();
    run.it.exited(3, "host-3", Exit::Device, "ended with exit code 78", run.now());
    run.it.exited(4, "host-4", Exit::Usage, "ended with exit code 2", run.now());
    assert_eq!((run.it.state(), run.it.members().count()), (State::Training, 2));
    run.it.leave(ids[0], Err((Exit::Device, "the GPU is gone".into())), run.now()).unwrap();
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Device);

    let mut run = Run::new(spec(2));
    run.it.exited(9, "host-9", Exit::Device, "ended with exit code 78", at(0));
    assert_eq!(run.it.reason(), "worker process 9 ended with exit code 78 before it joined");
}
