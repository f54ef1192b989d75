//! Examples of what must happen, then properties over any order of events.

use super::*;
use proptest::prelude::*;
use proto::WorldSize;
use v1::directive::Kind;

const STEPS: GlobalStep = GlobalStep(10);

fn fresh(workers: u32) -> Membership {
    Membership::new(Spec {
        workers: WorldSize(workers),
        lost_after: Duration::from_secs(20),
        steps: STEPS,
        resume: GlobalStep(0),
        generation: Generation(3),
        fingerprint: "f00d".into(),
    })
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn beat(member: MemberId, applied: u64, phase: v1::Phase) -> Beat {
    Beat { member, generation: Generation(3), applied: GlobalStep(applied), phase }
}

/// Two members on two hosts that train.
fn training() -> (Membership, [MemberId; 2]) {
    let mut run = fresh(2);
    let ids = [1, 2].map(|pid| run.join(&format!("host-{pid}"), pid, at(0)).unwrap());
    for id in ids {
        run.heartbeat(beat(id, 0, v1::Phase::Training), at(1)).unwrap();
    }
    (run, ids)
}

fn assignment(directive: v1::Directive) -> v1::Assignment {
    match directive.kind {
        Some(Kind::Assignment(assignment)) => assignment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ranks_follow_the_order_of_joining_and_neighbours_are_counted_by_host() {
    let mut run = fresh(3);
    let ids = ["a", "b", "a"].map(|host| {
        assert_eq!(run.state(), State::Waiting);
        run.join(host, 7, at(0)).unwrap()
    });
    assert_eq!(run.state(), State::Preparing);
    let found: Vec<_> = ids
        .map(|id| {
            let a = assignment(
                run.heartbeat(Beat { generation: Generation(0), ..beat(id, 0, v1::Phase::Waiting) }, at(1))
                    .unwrap(),
            );
            (a.generation, a.rank, a.world_size, a.local_world_size)
        })
        .into();
    assert_eq!(found, [(3, 0, 3, 2), (3, 1, 3, 1), (3, 2, 3, 2)]);
    assert_eq!(run.join("c", 8, at(1)), Err(Refusal::Full(WorldSize(3))));
}

#[test]
fn who_waits_is_told_why() {
    let mut run = fresh(2);
    let id = run.join("a", 1, at(0)).unwrap();
    let told =
        run.heartbeat(Beat { generation: Generation(0), ..beat(id, 0, v1::Phase::Waiting) }, at(1)).unwrap();
    let reason = "waiting for workers: 1 of 2 have joined".to_string();
    assert_eq!(told.kind, Some(Kind::Wait(v1::Wait { reason })));
}

#[test]
fn a_silent_member_ends_the_generation_for_the_others() {
    let (mut run, ids) = training();
    run.heartbeat(beat(ids[0], 4, v1::Phase::Training), at(21)).unwrap();
    run.tick(at(21));
    assert_eq!(run.state(), State::Training, "exactly lost_after is not yet too long");
    run.tick(at(22));
    assert_eq!(run.verdict().unwrap().exit, Exit::Lost);
    assert_eq!(run.reason(), "rank 1 (process 2 on host-2) was not heard for 21.0 s (cluster.lost_after)");
    let told = run.heartbeat(beat(ids[0], 4, v1::Phase::Training), at(22)).unwrap();
    assert!(matches!(told.kind, Some(Kind::Abort(_))));
    assert_eq!(run.heartbeat(beat(ids[1], 4, v1::Phase::Training), at(22)), Err(Refusal::Unknown(ids[1])));
}

#[test]
fn a_silent_member_is_forgotten_while_workers_are_missing() {
    let mut run = fresh(2);
    run.join("a", 1, at(0)).unwrap();
    run.tick(at(30));
    assert_eq!((run.state(), run.members().count()), (State::Waiting, 0));
    run.join("b", 2, at(30)).unwrap();
    run.join("c", 3, at(30)).unwrap();
    assert_eq!(run.state(), State::Preparing);
}

#[test]
fn the_run_is_done_when_all_left_after_the_last_commit() {
    let (mut run, ids) = training();
    run.committed(STEPS);
    run.leave(ids[1], Generation(3), Ok(())).unwrap();
    assert_eq!(run.state(), State::Training);
    run.leave(ids[0], Generation(3), Ok(())).unwrap();
    assert_eq!((run.state(), run.verdict().unwrap().exit), (State::Finished, Exit::Done));
}

#[test]
fn leaving_without_the_last_checkpoint_is_a_failure() {
    let (mut run, ids) = training();
    run.heartbeat(beat(ids[0], 10, v1::Phase::Finishing), at(2)).unwrap();
    run.committed(GlobalStep(9));
    for id in ids {
        run.leave(id, Generation(3), Ok(())).unwrap();
    }
    assert_eq!((run.state(), run.verdict().unwrap().exit), (State::Failed, Exit::Internal));
}

#[test]
fn a_stop_reaches_everybody_and_ends_as_stopped_after_its_checkpoint() {
    let (mut run, ids) = training();
    run.request_stop(Generation(3), true).unwrap();
    run.request_stop(Generation(0), false).unwrap();
    for id in ids {
        let told = run.heartbeat(beat(id, 5, v1::Phase::Training), at(2)).unwrap();
        assert_eq!(told.stop, Some(v1::Stop { checkpoint: true }), "the checkpoint that was asked for stays");
        assert!(matches!(told.kind, Some(Kind::Assignment(_))));
    }
    run.committed(GlobalStep(5));
    for id in ids {
        run.leave(id, Generation(3), Ok(())).unwrap();
    }
    assert_eq!(run.verdict().unwrap().exit, Exit::Stopped);
}

#[test]
fn operators_are_held_to_the_generation_that_they_expect() {
    let (mut run, ids) = training();
    let refused = Refusal::NotExpected { expected: Generation(2), current: Generation(3) };
    assert_eq!(run.request_checkpoint(Generation(2)), Err(refused.clone()));
    assert_eq!(run.request_stop(Generation(2), true), Err(refused));
    assert_eq!(run.request_checkpoint(Generation(3)), Ok(1));
    assert_eq!(run.request_checkpoint(Generation(0)), Ok(2));
    assert_eq!(run.heartbeat(beat(ids[0], 1, v1::Phase::Training), at(2)).unwrap().checkpoint_request, 2);
}

#[test]
fn the_cause_replaces_the_loss_that_it_made_elsewhere() {
    let (mut run, ids) = training();
    run.leave(ids[0], Generation(3), Err((Exit::Lost, "a peer closed its connection".into()))).unwrap();
    assert_eq!(run.verdict().unwrap().exit, Exit::Lost);
    run.leave(ids[1], Generation(3), Err((Exit::Data, "row 7 can't be decoded".into()))).unwrap();
    assert_eq!(run.verdict().unwrap().exit, Exit::Data);
    run.fail(Exit::Output, "later".into());
    assert_eq!(run.reason(), "rank 1 (process 2 on host-2) left: row 7 can't be decoded");
}

#[test]
fn a_process_that_ends_silently_fails_the_run_and_one_that_said_goodbye_does_not() {
    let (mut run, ids) = training();
    run.committed(STEPS);
    run.leave(ids[0], Generation(3), Ok(())).unwrap();
    run.exited(1, "host-1", Exit::Lost, "was killed by signal 9");
    assert_eq!(run.state(), State::Training);
    run.exited(2, "host-2", Exit::Lost, "was killed by signal 9");
    assert_eq!(run.reason(), "rank 1 (process 2 on host-2) was killed by signal 9 without a word");
    let mut run = fresh(1);
    run.exited(99, "host-1", Exit::Device, "exited with code 78");
    assert_eq!(run.verdict().unwrap().exit, Exit::Device);
}

#[derive(Clone, Debug)]
enum Event {
    Join(u8),
    Beat(u8, u64, u64),
    Leave(u8, u64, bool),
    Exited(u8),
    Tick(u8),
    Commit(u64),
    Checkpoint,
    Stop(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..3u8).prop_map(Event::Join),
        4 => (0..4u8, 0..5u64, 0..12u64).prop_map(|(m, g, s)| Event::Beat(m, g, s)),
        2 => (0..4u8, 0..5u64, any::<bool>()).prop_map(|(m, g, f)| Event::Leave(m, g, f)),
        1 => (0..4u8).prop_map(Event::Exited),
        2 => (0..30u8).prop_map(Event::Tick),
        1 => (0..12u64).prop_map(Event::Commit),
        1 => Just(Event::Checkpoint),
        1 => any::<bool>().prop_map(Event::Stop),
    ]
}

fn apply(run: &mut Membership, event: &Event, now: &mut Duration) {
    let id = |number: u8| MemberId { generation: Generation(3), number: u32::from(number) };
    let refused = match *event {
        Event::Join(host) => run.join(&format!("h{host}"), u32::from(host), *now).err(),
        Event::Beat(m, g, s) => {
            let said = Beat { generation: Generation(g), ..beat(id(m), s, v1::Phase::Training) };
            let told = run.heartbeat(said, *now);
            assert!(told.is_err() || g == 0 || g == 3, "a stale generation was accepted");
            told.err()
        }
        Event::Leave(m, g, finished) => run
            .leave(id(m), Generation(g), if finished { Ok(()) } else { Err((Exit::Data, "bad".into())) })
            .err(),
        Event::Exited(pid) => {
            run.exited(u32::from(pid), "h1", Exit::Lost, "ended");
            None
        }
        Event::Tick(seconds) => {
            *now += Duration::from_secs(u64::from(seconds));
            run.tick(*now);
            None
        }
        Event::Commit(step) => {
            let news = step > run.newest_committed().0;
            assert_eq!(run.committed(GlobalStep(step)), news);
            None
        }
        Event::Checkpoint => run.request_checkpoint(Generation(0)).err(),
        Event::Stop(checkpoint) => run.request_stop(Generation(0), checkpoint).err(),
    };
    assert!(refused.is_none_or(|refusal| !refusal.to_string().is_empty()));
}

proptest! {
    #[test]
    fn whatever_happens_the_state_is_consistent(
        workers in 1..4u32,
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let (mut run, mut now) = (fresh(workers), Duration::ZERO);
        for event in &events {
            let before = run.clone();
            apply(&mut run, event, &mut now);
            let ranks: Vec<_> = run.members().filter_map(|(_, m)| m.rank).collect();
            prop_assert!(ranks.is_empty() || ranks == (0..workers).map(Rank).collect::<Vec<_>>());
            prop_assert!(run.state() != State::Waiting || ranks.is_empty());
            prop_assert!(run.members().count() <= workers as usize);
            prop_assert_eq!(run.verdict().is_some(), run.state().is_final());
            prop_assert!(run.step() >= before.step() || before.state() == State::Waiting);
            prop_assert!(run.newest_committed() >= before.newest_committed());
            prop_assert!(!run.reason().is_empty() && !run.reason().contains('\n'));
            if before.state().is_final() {
                prop_assert_eq!(run.state(), before.state(), "an end is final");
            }
            if run.verdict().is_some_and(|v| v.exit == Exit::Done) {
                prop_assert!(run.newest_committed() >= STEPS);
            }
        }
    }
}

#[test]
fn of_several_reasons_the_nearest_to_the_cause_stays() {
    let (mut run, ids) = training();
    let left = |run: &mut Membership, id, exit, reason: &str| {
        run.leave(id, Generation(3), Err((exit, reason.into()))).unwrap();
    };
    left(&mut run, ids[0], Exit::Lost, "a peer closed its connection");
    assert!(run.reason().contains("closed its connection"), "{}", run.reason());
    run.exited(2, "host-2", Exit::Lost, "was killed (signal 9)");
    assert!(run.reason().contains("rank 1") && run.reason().contains("signal 9"), "{}", run.reason());
    run.fail(Exit::Lost, "another loss".into());
    assert!(run.reason().contains("signal 9"), "the first of its kind stays: {}", run.reason());
    run.fail(Exit::Output, "the disk is full".into());
    assert_eq!(run.verdict().unwrap().exit, Exit::Output);
}

#[test]
fn neighbours_on_a_machine_are_numbered() {
    let mut run = fresh(3);
    let ids = ["a", "b", "a"].map(|host| run.join(host, 7, at(0)).unwrap());
    let local =
        ids.map(|id| assignment(run.heartbeat(beat(id, 0, v1::Phase::Preparing), at(1)).unwrap()).local_rank);
    assert_eq!(local, [0, 0, 1]);
}
