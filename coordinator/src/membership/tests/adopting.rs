//! A coordinator that comes after another one.

use super::*;

fn past() -> Past {
    let seat = |number: u32| Seat {
        member: MemberId { epoch: 1, number },
        host: format!("host-{number}"),
        pid: number,
        weight: 1,
        spare: false,
        slot: 0,
    };
    let seats = vec![seat(1), seat(2)];
    Past {
        epoch: 2,
        generation: Generation(5),
        seats,
        committed: GlobalStep(4),
        committed_by: Generation(5),
        answered: 3,
        ..Past::default()
    }
}

fn adopt() -> (Run, [MemberId; 2]) {
    let it = Membership::new(spec(2), past(), at(0));
    (Run { it, now: 0 }, [1, 2].map(|number| MemberId { epoch: 1, number }))
}

#[test]
fn a_generation_that_is_all_heard_goes_on_undisturbed() {
    let (mut run, ids) = adopt();
    assert_eq!(run.it.state(), State::Waiting);
    assert!(run.it.reason().contains("not heard yet"), "{}", run.it.reason());
    run.say(ids[0], 5, 6, Phase::Training).unwrap();
    run.tick(15);
    run.say(ids[1], 5, 6, Phase::Training).unwrap();
    assert_eq!((run.it.state(), run.it.generation()), (State::Training, Generation(5)));
    assert_eq!(run.seats(ids), [(0, 2), (1, 2)]);
    assert_eq!(run.told(ids[0]).checkpoint_request, 3, "no checkpoint is due");
    let newcomer = run.join(3, true);
    assert_eq!(newcomer, MemberId { epoch: 2, number: 1 });
}

#[test]
fn a_checkpoint_that_may_have_died_with_the_coordinator_is_asked_for_again() {
    let (mut run, ids) = adopt();
    for id in ids {
        run.say(id, 5, 9, Phase::Training).unwrap();
    }
    let asked = run.told(ids[0]).checkpoint_request;
    assert!(asked > 1 << 32, "above all that the earlier coordinator may have asked for: {asked}");
}

#[test]
fn who_died_with_the_coordinator_is_not_waited_for_once_its_peers_miss_it() {
    let (mut run, ids) = adopt();
    run.now = 1;
    run.broken(ids[0], 5, 6);
    run.tick(2);
    assert_eq!(run.it.members().count(), 2, "it may not have found the coordinator yet");
    run.tick(3);
    assert_eq!(run.it.members().map(|(id, _)| id).collect::<Vec<_>>(), [ids[0]]);
    assert_eq!(run.it.proposal().map(|next| next.seats.len()), Some(1));
}

#[test]
fn a_generation_of_which_a_member_is_lost_goes_on_with_the_others() {
    let (mut run, ids) = adopt();
    run.now = 10;
    run.say(ids[0], 5, 6, Phase::Training).unwrap();
    run.tick(21);
    assert_eq!(run.it.state(), State::Regrouping);
    assert!(run.it.reason().contains("rank 1 (process 2 on host-2) was not heard"), "{}", run.it.reason());
    run.broken(ids[0], 5, 6);
    assert_eq!(run.train(&ids[..1], 6), 6);
}

#[test]
fn a_generation_that_ended_meanwhile_forms_again() {
    let (mut run, ids) = adopt();
    run.broken(ids[1], 5, 7);
    run.broken(ids[0], 5, 6);
    assert_eq!(run.train(&ids, 7), 6);
}

#[test]
fn a_run_of_which_nobody_is_left_begins_like_a_first_one() {
    let (mut run, _) = adopt();
    let newcomer = run.ready(8);
    run.it.exited(1, "host-1", Exit::Lost, "is gone", run.now());
    run.it.exited(2, "host-2", Exit::Lost, "is gone", run.now());
    assert_eq!((run.it.proposal(), run.it.state()), (None, State::Waiting), "it waits for all workers");
    let other = run.ready(9);
    assert_eq!(run.train(&[newcomer, other], 4), 6);
    assert_eq!(run.seat(other).resume_step, 4);
}

#[test]
fn a_worker_that_finished_meanwhile_is_not_missed() {
    let (mut run, ids) = adopt();
    run.it.committed(STEPS, 3);
    for id in ids {
        run.it.leave(id, Ok(()), run.now()).unwrap();
    }
    assert_eq!(run.it.verdict().unwrap().exit, Exit::Done);
}

#[test]
fn what_was_asked_of_a_generation_is_still_asked_of_it_and_not_of_others() {
    let drained = vec![MemberId { epoch: 1, number: 1 }];
    let asked = Past { drained, stop: Some(true), ..past() };
    let mut run = Run { it: Membership::new(spec(2), asked, at(0)), now: 0 };
    let ids = [1, 2].map(|number| MemberId { epoch: 1, number });
    for id in ids {
        let told = run.say(id, 5, 6, Phase::Training).unwrap();
        assert_eq!(told.stop, Some(v1::Stop { checkpoint: true }));
    }
    assert!(run.it.members().all(|(id, member)| member.draining == (id == ids[0])));

    let asked = Past { stop: Some(true), ..past() };
    let mut run = Run { it: Membership::new(spec(2), asked, at(0)), now: 0 };
    run.tick(21);
    assert_eq!(
        (run.it.stop(), run.it.state()),
        (None, State::Waiting),
        "nobody is left of whom it was asked"
    );
}

#[test]
fn those_who_hold_the_run_do_not_wait_for_others_although_they_are_heard_late() {
    let (mut run, _) = adopt();
    run.tick(21);
    assert_eq!(run.it.state(), State::Waiting);
    let one = run.join(1, false);
    run.say(one, 5, 6, Phase::Waiting).unwrap();
    assert_eq!(run.confirm(), 6);
    assert_eq!(run.seats([one]), [(0, 1)]);
}
