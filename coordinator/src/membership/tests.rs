//! Examples of what must happen, by topic, then properties over any order of events.

mod adopting;
mod draining;
mod ending;
mod operating;
mod properties;
mod regrouping;

use super::*;
use crate::settings::Settings;
use v1::{Phase, directive::Kind};

const STEPS: GlobalStep = GlobalStep(10);

/// A membership with a clock in seconds, and the words that its workers would use.
struct Run {
    it: Membership,
    now: u64,
}

fn spec(wanted: u32) -> Spec {
    Spec {
        wanted: WorldSize(wanted),
        least: WorldSize(1),
        most: WorldSize(wanted),
        lanes: 8,
        grace: Duration::ZERO,
        lost_after: Duration::from_secs(20),
        steps: STEPS,
        settings: Settings { checkpoint_every: 4, ..Settings::default() },
        fingerprint: "f00d".into(),
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn first() -> Past {
    Past { epoch: 1, ..Past::default() }
}

impl Run {
    fn new(spec: Spec) -> Self {
        Self { it: Membership::new(spec, first(), at(0)), now: 0 }
    }

    fn now(&self) -> Duration {
        at(self.now)
    }

    /// Joins as process `pid` of a host of its own, and attends.
    fn join(&mut self, pid: u32, spare: bool) -> MemberId {
        let id = self.it.join(&format!("host-{pid}"), pid, spare, 1, None, self.now()).unwrap();
        self.it.attend(id, self.now()).unwrap();
        id
    }

    /// Joins and is ready.
    fn ready(&mut self, pid: u32) -> MemberId {
        let id = self.join(pid, false);
        self.say(id, 0, 0, Phase::Waiting).unwrap();
        id
    }

    fn say(
        &mut self,
        member: MemberId,
        generation: u64,
        applied: u64,
        phase: Phase,
    ) -> Result<v1::Directive, Refusal> {
        let (generation, applied) = (Generation(generation), GlobalStep(applied));
        self.it.heartbeat(
            Beat { member, generation, applied, phase, broken: false, settled: generation },
            at(self.now),
        )?;
        self.it.directive(member, &self.it.bulletin())
    }

    /// Says that its collectives have failed.
    fn broken(&mut self, member: MemberId, generation: u64, applied: u64) -> v1::Directive {
        let (generation, applied) = (Generation(generation), GlobalStep(applied));
        let beat =
            Beat { member, generation, applied, phase: Phase::Waiting, broken: true, settled: generation };
        self.it.heartbeat(beat, at(self.now)).unwrap();
        self.told(member)
    }

    /// The journal takes what is proposed.
    fn confirm(&mut self) -> u64 {
        let generation = self.it.proposal().expect("nothing is proposed").generation;
        assert!(self.it.confirm(generation, self.now()));
        generation.0
    }

    /// All of a new generation train.
    fn train(&mut self, members: &[MemberId], applied: u64) -> u64 {
        let generation = self.confirm();
        for id in members {
            self.say(*id, generation, applied, Phase::Training).unwrap();
        }
        assert_eq!(self.it.state(), State::Training, "{}", self.it.reason());
        generation
    }

    fn tick(&mut self, now: u64) {
        self.now = now;
        self.it.tick(at(now));
    }

    fn told(&self, id: MemberId) -> v1::Directive {
        self.it.directive(id, &self.it.bulletin()).unwrap()
    }

    fn waits(&self, id: MemberId) -> bool {
        matches!(self.told(id).kind, Some(Kind::Wait(_)))
    }

    fn seat(&self, id: MemberId) -> v1::Assignment {
        match self.told(id).kind {
            Some(Kind::Assignment(assignment)) => assignment,
            other => panic!("{other:?}"),
        }
    }

    fn is_dismissed(&self, id: MemberId) -> bool {
        matches!(self.told(id).kind, Some(Kind::Dismiss(_)))
    }

    /// Ranks and worlds of these members.
    fn seats<const N: usize>(&self, ids: [MemberId; N]) -> [(u32, u32); N] {
        ids.map(|id| {
            let seat = self.seat(id);
            (seat.rank, seat.world_size)
        })
    }
}

/// Two members on two hosts that train at step 3 in generation 1.
fn training(spec: Spec) -> (Run, [MemberId; 2]) {
    let mut run = Run::new(spec);
    let ids = [1, 2].map(|pid| run.ready(pid));
    run.train(&ids, 3);
    (run, ids)
}

#[test]
fn a_generation_waits_for_all_workers_to_be_ready_and_for_the_journal() {
    let mut run = Run::new(spec(2));
    let first = run.ready(1);
    let second = run.join(2, false);
    run.tick(15);
    assert_eq!(run.it.proposal(), None, "the second one is still warming up");
    assert_eq!(run.it.reason(), "waiting for workers: 1 of 2 are ready (run.workers)");
    assert!(run.waits(first));
    run.say(second, 0, 0, Phase::Waiting).unwrap();
    let generations: Vec<_> = run.it.proposal().unwrap().seats.iter().map(|seat| seat.member).collect();
    assert_eq!(generations, [first, second]);
    assert!(run.waits(first) && run.waits(second), "the journal does not have it yet");
    assert_eq!(run.confirm(), 1);
    assert_eq!(run.seats([first, second]), [(0, 2), (1, 2)]);
    assert_eq!(run.it.state(), State::Preparing);
}

#[test]
fn neighbours_are_numbered_and_lanes_follow_the_weights() {
    let mut run = Run::new(spec(3));
    let ids = [("a", 1), ("b", 2), ("a", 1)].map(|(host, weight)| {
        let id = run.it.join(host, run.it.joined, false, weight, None, at(0)).unwrap();
        run.say(id, 0, 0, Phase::Waiting).unwrap();
        id
    });
    run.confirm();
    let local = ids.map(|id| (run.seat(id).local_rank, run.seat(id).local_world_size));
    assert_eq!(local, [(0, 2), (0, 1), (1, 2)]);
    assert_eq!((run.seat(ids[0]).ranks, run.seat(ids[0]).lanes), (vec![1; 3], vec![2, 4, 2]));
    let slots = ids.map(|id| run.it.member(id).unwrap().slot);
    assert_eq!(slots, [0, 0, 1]);
    assert_eq!(run.seat(ids[0]).manifest_fingerprint, "f00d");
    // Again the last one, as if by a coordinator that has not heard of the others; then a newcomer.
    run.it.leave(ids[0], Ok(()), at(0)).unwrap();
    let [again, other] = [(9, Some(1)), (10, None)].map(|(pid, slot)| {
        let id = run.it.join("a", pid, false, 1, slot, at(0)).unwrap();
        run.it.member(id).unwrap().slot
    });
    assert_eq!((again, other), (1, 0), "a device stays whose it is");
}

#[test]
fn a_silent_worker_is_forgotten_while_others_are_missing() {
    let mut run = Run::new(spec(2));
    run.ready(1);
    run.tick(30);
    assert_eq!((run.it.state(), run.it.members().count()), (State::Waiting, 0));
    let ids = [2, 3].map(|pid| run.ready(pid));
    run.train(&ids, 0);
}

#[test]
fn messages_of_another_generation_or_worker_are_refused() {
    let (mut run, ids) = training(spec(2));
    let stale = |found| Err(Refusal::Stale { found: Generation(found), current: Generation(1) });
    assert_eq!(run.say(ids[0], 2, 3, Phase::Training), stale(2), "there is none yet");
    assert_eq!(run.say(ids[0], 0, 3, Phase::Waiting), stale(0), "it was overtaken");
    let nobody = MemberId { epoch: 1, number: 9 };
    assert_eq!(run.say(nobody, 1, 3, Phase::Training), Err(Refusal::Unknown(nobody)));
    assert_eq!(run.it.rank_of(ids[1], Generation(1)), Ok(Rank(1)));
    assert_eq!(
        run.it.rank_of(ids[1], Generation(0)),
        Err(Refusal::Stale { found: Generation(0), current: Generation(1) })
    );
    assert_eq!(run.it.rank_of(nobody, Generation(1)), Err(Refusal::Unknown(nobody)));
}

#[test]
fn operators_are_held_to_the_generation_that_they_expect() {
    let (mut run, ids) = training(spec(2));
    let refused = Refusal::NotExpected { expected: Generation(2), current: Generation(1) };
    assert_eq!(run.it.request_checkpoint(Generation(2)), Err(refused.clone()));
    assert_eq!(run.it.request_stop(Generation(2), true), Err(refused));
    assert_eq!(run.it.request_checkpoint(Generation(1)), Ok(1));
    assert_eq!(run.it.request_checkpoint(Generation(0)), Ok(2));
    assert_eq!(run.told(ids[0]).checkpoint_request, 2);
}

#[test]
fn names_of_workers_are_read_as_they_are_written() {
    let id = MemberId { epoch: 7, number: 12 };
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in ["", "7", "7-", "-1", "7-x", "7-1-2"] {
        assert!(bad.parse::<MemberId>().is_err(), "{bad}");
    }
}
