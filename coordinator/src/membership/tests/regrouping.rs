//! Losses, and workers that join a run that trains.

use super::*;

#[test]
fn a_worker_that_is_killed_is_left_behind_at_once() {
    let (mut run, ids) = training(spec(2));
    run.it.exited(2, "host-2", Exit::Lost, "was killed (signal 9)", run.now());
    assert_eq!(run.it.state(), State::Regrouping);
    assert!(run.waits(ids[0]), "its collectives have to end");
    let why = run.it.reason();
    assert!(why.contains("rank 1 (process 2 on host-2) was killed (signal 9) without a word"), "{why}");
    assert!(why.contains("waiting for rank 0"), "{why}");
    assert_eq!(run.it.proposal(), None, "the other one is not back yet");
    run.broken(ids[0], 1, 5);
    assert_eq!(run.confirm(), 2);
    assert_eq!((run.seats([ids[0]]), run.it.step()), ([(0, 1)], GlobalStep(5)));
    assert_eq!(run.say(ids[1], 1, 5, Phase::Training), Err(Refusal::Unknown(ids[1])));
}

#[test]
fn a_silent_worker_is_lost_after_its_time() {
    let (mut run, ids) = training(spec(2));
    run.now = 21;
    run.say(ids[0], 1, 4, Phase::Training).unwrap();
    run.it.tick(at(20));
    assert_eq!(run.it.state(), State::Training, "exactly lost_after is not yet too long");
    run.tick(21);
    let why = run.it.reason();
    assert!(why.contains("rank 1 (process 2 on host-2) was not heard for 21.0 s"), "{why}");
    run.broken(ids[0], 1, 4);
    run.confirm();
}

#[test]
fn whom_peers_have_lost_and_whose_stream_is_gone_is_not_waited_for() {
    let (mut run, ids) = training(spec(2));
    run.it.gone(ids[1], 0, run.now());
    assert_eq!(run.it.state(), State::Training, "a stream alone is no loss");
    run.it.gone(ids[1], 7, run.now());
    run.broken(ids[0], 1, 3);
    assert_eq!(run.confirm(), 2);
    assert_eq!(run.seats([ids[0]]), [(0, 1)]);
}

#[test]
fn whose_stream_is_open_is_waited_for() {
    let (mut run, ids) = training(spec(2));
    run.it.gone(ids[1], 0, run.now());
    assert_eq!(run.it.attend(ids[1], run.now()), Ok(1), "it lives, and listens again");
    run.broken(ids[0], 1, 3);
    assert!(run.it.proposal().is_none() && run.waits(ids[1]));
    run.broken(ids[1], 1, 4);
    assert_eq!(run.train(&ids, 4), 2);
    assert_eq!(run.seats(ids), [(0, 2), (1, 2)], "ranks stay");
}

#[test]
fn a_run_that_lost_workers_waits_for_others_during_the_grace() {
    let grace = at(5);
    let (mut run, ids) = training(Spec { grace, ..spec(2) });
    run.it.exited(2, "host-2", Exit::Lost, "was killed", run.now());
    run.broken(ids[0], 1, 3);
    run.tick(4);
    assert_eq!(run.it.proposal(), None);
    assert_eq!(run.it.patience(at(4)), Some(at(1)));
    assert!(run.it.reason().contains("1 of 2 workers are ready"), "{}", run.it.reason());
    let mut other = Run { it: run.it.clone(), now: 4 };
    other.ready(3);
    assert_eq!(other.it.proposal().unwrap().seats.len(), 2, "the replacement came in time");
    run.tick(5);
    assert_eq!(run.it.proposal().unwrap().seats.len(), 1);
}

#[test]
fn a_run_does_not_go_on_with_fewer_than_the_least() {
    let (mut run, ids) = training(Spec { least: WorldSize(2), ..spec(2) });
    run.it.exited(1, "host-1", Exit::Lost, "was killed", run.now());
    run.broken(ids[1], 1, 3);
    run.tick(15);
    assert_eq!(run.it.proposal(), None);
    assert!(run.it.reason().contains("2 are needed (run.min_workers)"), "{}", run.it.reason());
    let third = run.ready(3);
    run.train(&[ids[1], third], 3);
    assert_eq!(run.seats([ids[1], third]), [(0, 2), (1, 2)], "the survivor comes first");
}

#[test]
fn a_newcomer_with_room_is_let_in_at_a_step_boundary() {
    let (mut run, ids) = training(Spec { most: WorldSize(3), ..spec(2) });
    let third = run.join(3, false);
    assert!(!run.told(ids[0]).regroup, "it is warming up");
    let told = run.say(third, 0, 0, Phase::Waiting).unwrap();
    assert!(matches!(told.kind, Some(Kind::Wait(_))) && !told.regroup);
    assert!(run.told(ids[0]).regroup && run.told(ids[1]).regroup);
    assert_eq!(run.it.state(), State::Training);
    run.say(ids[0], 1, 5, Phase::Waiting).unwrap();
    assert_eq!(run.it.state(), State::Regrouping);
    run.say(ids[1], 1, 5, Phase::Waiting).unwrap();
    run.train(&[ids[0], ids[1], third], 5);
    assert_eq!(run.seats([ids[0], ids[1], third]), [(0, 3), (1, 3), (2, 3)]);
    assert!(!run.told(ids[0]).regroup);
    let fourth = run.ready(4);
    assert!(!run.told(ids[0]).regroup && run.waits(fourth), "there is no room");
    let Some(Kind::Wait(v1::Wait { reason })) = run.told(fourth).kind else { panic!() };
    assert!(reason.contains("run.max_workers"), "{reason}");
}

#[test]
fn a_spare_takes_the_place_of_a_lost_worker_and_no_other() {
    let (mut run, ids) = training(Spec { most: WorldSize(4), ..spec(2) });
    let spare = run.join(9, true);
    run.say(spare, 0, 0, Phase::Waiting).unwrap();
    assert!(!run.told(ids[0]).regroup && run.waits(spare));
    run.it.exited(1, "host-1", Exit::Lost, "was killed", run.now());
    run.broken(ids[1], 1, 4);
    run.train(&[ids[1], spare], 4);
    assert_eq!(run.seats([ids[1], spare]), [(0, 2), (1, 2)]);
    let other = run.ready(3);
    assert!(run.told(spare).regroup, "a regular worker adds to them");
    for id in [ids[1], spare] {
        run.say(id, 2, 5, Phase::Waiting).unwrap();
    }
    run.train(&[ids[1], spare, other], 5);
}

#[test]
fn a_seat_that_is_lost_before_the_journal_has_it_ends_the_generation_as_it_begins() {
    let mut run = Run::new(spec(2));
    let ids = [1, 2].map(|pid| run.ready(pid));
    let proposed = run.it.proposal().unwrap().generation;
    run.it.exited(1, "host-1", Exit::Lost, "was killed", run.now());
    assert_eq!(run.it.proposal().unwrap().generation, proposed, "what may be written stays");
    assert_eq!(run.confirm(), 1);
    assert!(run.waits(ids[1]));
    assert!(run.it.reason().contains("begins when"), "{}", run.it.reason());
    assert_eq!(run.confirm(), 2);
    assert_eq!(run.seats([ids[1]]), [(0, 1)]);
}

#[test]
fn when_all_are_lost_newcomers_begin_with_the_newest_checkpoint() {
    let (mut run, ids) = training(spec(2));
    run.it.committed(GlobalStep(4), 0);
    run.say(ids[0], 1, 7, Phase::Training).unwrap();
    for pid in [1, 2] {
        run.it.exited(pid, &format!("host-{pid}"), Exit::Lost, "was killed", run.now());
    }
    assert_eq!((run.it.state(), run.it.step()), (State::Waiting, GlobalStep(4)));
    let newcomer = run.ready(3);
    run.confirm();
    assert_eq!((run.seat(newcomer).resume_step, run.it.step()), (4, GlobalStep(4)));
}

#[test]
fn nobody_begins_anew_while_somebody_who_holds_the_run_is_here() {
    let (mut run, ids) = training(spec(2));
    run.it.exited(1, "host-1", Exit::Lost, "was killed", run.now());
    run.broken(ids[1], 1, 6);
    let mut other = Run { it: run.it.clone(), now: run.now };
    other.it.gone(ids[1], 0, at(0));
    other.it.confirm(Generation(2), at(0));
    other.it.exited(2, "host-2", Exit::Lost, "was killed", at(0));
    assert_eq!(other.it.state(), State::Waiting, "nobody is left");
    // The survivor was refused and joins again: it warms up, but it holds the run.
    let again = run.join(2, false);
    assert!(run.it.confirm(Generation(2), at(0)));
    run.say(again, 1, 6, Phase::Warming).unwrap();
    let newcomer = run.ready(3);
    assert_eq!(run.it.proposal(), None, "{}", run.it.reason());
    assert!(run.waits(newcomer));
    run.say(again, 1, 6, Phase::Waiting).unwrap();
    assert!(run.it.proposal().unwrap().seats.iter().any(|seat| seat.member == again));
}

#[test]
fn a_checkpoint_that_may_have_died_with_its_generation_is_asked_for_again() {
    let (mut run, ids) = training(spec(2));
    for (applied, request) in [(7, 1), (7, 2)] {
        run.say(ids[0], run.it.generation.0, applied, Phase::Training).unwrap();
        for id in ids {
            run.broken(id, run.it.generation.0, applied);
        }
        run.train(&ids, applied);
        assert_eq!((run.told(ids[0]).checkpoint_request, run.seat(ids[0]).checkpoint_request), (request, 0));
    }
    assert!(run.it.committed(GlobalStep(7), 2) && !run.it.committed(GlobalStep(7), 2));
    for id in ids {
        run.broken(id, 3, 7);
    }
    run.train(&ids, 7);
    let seat = run.seat(ids[0]);
    assert_eq!((run.told(ids[0]).checkpoint_request, seat.checkpoint_request, seat.resume_step), (2, 2, 7));
}

#[test]
fn whose_stream_is_gone_while_a_group_forms_or_parts_is_waited_for_a_short_while() {
    let (mut run, ids) = training(spec(2));
    run.now = 1;
    for id in ids {
        run.broken(id, 1, 3);
    }
    run.confirm();
    run.it.gone(ids[1], 0, run.now());
    run.say(ids[0], 2, 3, Phase::Preparing).unwrap();
    run.tick(3);
    assert_eq!(run.it.state(), State::Preparing, "it may listen again");
    run.tick(4);
    assert_eq!(run.it.state(), State::Regrouping, "{}", run.it.reason());

    let (mut run, ids) = training(Spec { most: WorldSize(3), ..spec(2) });
    run.ready(3);
    run.say(ids[0], 1, 5, Phase::Waiting).unwrap();
    run.it.gone(ids[1], 0, run.now());
    run.tick(3);
    assert_eq!(run.it.proposal().unwrap().seats.len(), 2, "it was killed on its way back");
}

#[test]
fn a_coordinator_that_stood_still_takes_nobody_for_lost() {
    let mut run = Run::new(spec(2));
    let (one, two) = (run.ready(1), run.ready(2));
    run.train(&[one, two], 3);
    let generation = run.it.generation();
    // It is stopped for a minute, and hears nobody.
    run.now += 60;
    run.it.slept(at(60));
    run.it.tick(run.now());
    assert!(
        run.it.generation() == generation && run.it.member(one).is_some() && run.it.member(two).is_some()
    );
    // Who is silent from then on is lost as always.
    run.now += 21;
    run.it.tick(run.now());
    assert!(run.it.member(one).is_none() && run.it.member(two).is_none());
}
