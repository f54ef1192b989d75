//! What operators ask for.

use super::*;
use crate::settings::Turn;

const ANY: Generation = Generation(0);

#[test]
fn a_pause_ends_the_generation_and_a_resume_begins_the_next_with_all() {
    let (mut run, ids) = training(spec(2));
    run.it.pause(ANY, "bob", run.now()).unwrap();
    assert!(run.told(ids[0]).regroup && run.it.reason().contains("as bob asked"), "{}", run.it.reason());
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    run.tick(1_000);
    assert_eq!((run.it.state(), run.it.proposal()), (State::Paused, None), "{}", run.it.reason());
    assert_eq!(run.it.members().count(), 0, "who falls silent is lost as ever");

    let (mut run, ids) = training(spec(2));
    run.it.pause(ANY, "bob", run.now()).unwrap();
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    run.it.resume(ANY, run.now()).unwrap();
    assert_eq!(run.train(&ids, 5), 2);
}

#[test]
fn what_was_lost_in_a_pause_is_waited_for_after_it() {
    let (mut run, ids) = training(Spec { grace: at(10), lost_after: at(1_000), ..spec(2) });
    run.it.pause(ANY, "bob", run.now()).unwrap();
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    run.it.exited(2, "host-2", Exit::Lost, "was killed", run.now());
    run.tick(100);
    run.it.resume(ANY, run.now()).unwrap();
    assert_eq!((run.it.proposal(), run.it.patience(run.now())), (None, Some(at(10))));
    run.tick(110);
    run.confirm();
    assert_eq!(run.seats([ids[0]]), [(0, 1)]);
}

#[test]
fn a_stop_is_heeded_in_a_pause_and_a_pause_is_refused_in_a_stop() {
    let (mut run, ids) = training(spec(2));
    run.it.pause(ANY, "bob", run.now()).unwrap();
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    run.it.request_stop(ANY, true).unwrap();
    run.tick(run.now + 1);
    run.confirm();
    assert_eq!(run.told(ids[0]).stop, Some(v1::Stop { checkpoint: true }), "they write it down first");
    assert!(matches!(run.it.pause(ANY, "eve", run.now()), Err(Refusal::Impossible(_))));
}

#[test]
fn who_takes_over_a_paused_run_leaves_it_paused() {
    let past = Past { epoch: 2, paused: Some("bob".into()), ..Past::default() };
    let mut run = Run { it: Membership::new(spec(1), past, at(0)), now: 0 };
    run.ready(1);
    assert_eq!((run.it.state(), run.it.proposal()), (State::Paused, None));
    assert!(run.it.reason().contains("as bob asked") && run.it.reason().contains("1 worker ready"));
    run.it.resume(ANY, run.now()).unwrap();
    run.confirm();
}

#[test]
fn more_take_part_when_the_run_is_scaled_up_and_fewer_when_it_is_scaled_down() {
    let (mut run, ids) = training(spec(2));
    let third = run.ready(3);
    assert!(!run.told(ids[0]).regroup, "there is no place for it");
    let scaled = run.it.scale(ANY, [Some(3), None, Some(3)], run.now()).unwrap();
    assert_eq!([scaled.least, scaled.wanted, scaled.most].map(|n| n.0), [1, 3, 3]);
    assert!(run.told(ids[0]).regroup);
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    let all = [ids[0], ids[1], third];
    run.train(&all, 5);
    run.it.scale(ANY, [Some(2), None, Some(2)], run.now()).unwrap();
    assert!(run.told(third).regroup);
    for id in all {
        run.say(id, 2, 6, Phase::Waiting).unwrap();
    }
    run.train(&ids, 6);
    assert!(run.waits(third), "it is held ready");
    for wrong in [[None, Some(0), None], [Some(9), None, None], [None, None, Some(1)]] {
        assert!(matches!(run.it.scale(ANY, wrong, run.now()), Err(Refusal::Impossible(_))), "{wrong:?}");
    }
    assert!(matches!(run.it.scale(Generation(1), [None; 3], run.now()), Err(Refusal::NotExpected { .. })));
}

#[test]
fn who_is_kicked_is_told_to_go_whenever_it_asks() {
    let (mut run, ids) = training(spec(2));
    let second = run.it.find("1").unwrap();
    assert_eq!((second, run.it.find(&ids[0].to_string())), (ids[1], Ok(ids[0])));
    run.it.kick(ANY, second, "bob", run.now()).unwrap();
    assert!(run.it.reason().contains("was kicked by bob"), "{}", run.it.reason());
    assert!(run.is_dismissed(second) && run.say(second, 1, 5, Phase::Training).is_ok());
    assert_eq!(run.it.find("1"), Err(Refusal::Nobody("1".into())));
    run.broken(ids[0], 1, 5);
    run.confirm();
    assert_eq!(run.seats([ids[0]]), [(0, 1)]);
    assert_eq!(run.ready(2).number, 3, "its process may come back under another name");
}

#[test]
fn a_rollback_ends_the_generation_and_the_next_begins_with_the_older_checkpoint() {
    let (mut run, ids) = training(spec(2));
    run.it.committed(GlobalStep(4), 0);
    run.it.roll_back(ANY, GlobalStep(2), run.now()).unwrap();
    assert!(
        run.told(ids[0]).regroup && run.it.reason().starts_with("going back to step 2"),
        "{}",
        run.it.reason()
    );
    assert_eq!(run.it.rolls_back(), None, "a generation goes on");
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    // No generation begins before the journal has it and the later checkpoints are gone.
    assert_eq!((run.it.proposal(), run.it.step()), (None, GlobalStep(5)));
    let (step, by) = run.it.rolls_back().unwrap();
    assert_eq!((step, by), (GlobalStep(2), Generation(2)));
    run.it.decide_rollback(step, by);
    assert_eq!(run.it.proposal(), None);
    run.it.end_rollback(run.now());
    assert!(run.it.going_back().is_none() && run.it.told_rollback().unwrap().done);
    assert_eq!((run.it.newest_committed(), run.it.step()), (GlobalStep(2), GlobalStep(2)));
    assert_eq!(
        run.it.proposal().map(|next| (next.generation, next.step)),
        Some((Generation(3), GlobalStep(2)))
    );
    run.confirm();
    let Some(Kind::Assignment(seat)) = run.told(ids[0]).kind else { panic!("{:?}", run.told(ids[0])) };
    assert_eq!((seat.resume_step, seat.resume_generation), (2, 2));
    // What they came with does not count until they say that it is the generation's.
    let beat = Beat {
        member: ids[0],
        generation: Generation(3),
        applied: GlobalStep(5),
        phase: Phase::Preparing,
        broken: false,
        settled: Generation(1),
    };
    run.it.heartbeat(beat, run.now()).unwrap();
    assert_eq!(run.it.step(), GlobalStep(2));
}

#[test]
fn a_rollback_waits_in_a_pause_and_is_withdrawn_by_a_stop() {
    let (mut run, ids) = training(spec(2));
    run.it.committed(GlobalStep(4), 0);
    run.it.roll_back(ANY, GlobalStep(2), run.now()).unwrap();
    run.it.request_stop(ANY, true).unwrap();
    assert!(run.it.told_rollback().unwrap().fault.contains("asked to stop"));
    let refused = run.it.roll_back(ANY, GlobalStep(2), run.now());
    assert!(matches!(refused, Err(Refusal::Impossible(_))), "{refused:?}");

    let (mut run, _) = training(spec(2));
    run.it.committed(GlobalStep(4), 0);
    run.it.pause(ANY, "bob", run.now()).unwrap();
    for id in ids {
        run.say(id, 1, 5, Phase::Waiting).unwrap();
    }
    run.it.roll_back(ANY, GlobalStep(4), run.now()).unwrap();
    let (step, by) = run.it.rolls_back().unwrap();
    run.it.decide_rollback(step, by);
    run.it.end_rollback(run.now());
    assert_eq!((run.it.state(), run.it.proposal()), (State::Paused, None));
    run.it.resume(ANY, run.now()).unwrap();
    assert_eq!(run.it.proposal().map(|next| next.step), Some(GlobalStep(4)), "not what they hold");
}

#[test]
fn a_profile_is_told_until_all_have_done_with_it() {
    let (mut run, ids) = training(spec(2));
    for wrong in [0, 101] {
        assert!(matches!(run.it.request_profile(ANY, wrong), Err(Refusal::Invalid(_))));
    }
    let request = run.it.request_profile(ANY, 3).unwrap();
    assert_eq!(run.told(ids[1]).profile, Some(v1::Profile { request, steps: 3 }));
    run.it.profiled(request - 1);
    assert!(run.told(ids[1]).profile.is_some(), "that was another one");
    run.it.profiled(request);
    assert_eq!(run.told(ids[1]).profile, None, "who comes later has no part in it");
    assert_eq!(run.it.request_profile(ANY, 1).unwrap(), request + 1);
}

#[test]
fn a_generation_begins_with_the_settings_of_that_moment_and_all_are_told_of_later_ones() {
    let (mut run, ids) = training(spec(2));
    let turn = Turn { checkpoint_every: Some(9), learning_rate_scale: Some(0.5), ..Turn::default() };
    run.it.set(ANY, &turn).unwrap();
    let told = run.told(ids[0]);
    let settings = told.settings.unwrap();
    assert_eq!((settings.checkpoint_every, settings.learning_rate_scale), (9, 0.5));
    let Some(Kind::Assignment(seat)) = told.kind else { panic!("{:?}", told.kind) };
    assert_eq!(seat.checkpoint_every, 4, "as it was when it began");
    assert!(matches!(run.it.set(ANY, &Turn::default()), Err(Refusal::Invalid(_))));
    assert!(matches!(run.it.set(Generation(7), &turn), Err(Refusal::NotExpected { .. })));
}
