//! Whatever happens in whatever order, some things hold; and when the faults stop, the run goes on.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Join {
        pid: u32,
        spare: bool,
    },
    /// By the member's place in the order of joining, a generation at most so much older than the newest.
    Beat {
        member: usize,
        back: u64,
        applied: u64,
        phase: u8,
        broken: bool,
    },
    Leave {
        member: usize,
        end: u8,
    },
    Exited {
        pid: u32,
        end: u8,
    },
    Attend(usize),
    Gone(usize),
    Drain(usize),
    Tick(u64),
    Commit(u64),
    Confirm,
    Checkpoint,
    Stop(bool),
    Pause,
    Resume,
    Kick(usize),
    /// To so many of those that the run may have.
    Scale(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let member = 0..4usize;
    prop_oneof![
        4 => (1..5u32, any::<bool>()).prop_map(|(pid, spare)| Event::Join { pid, spare }),
        12 => (member.clone(), 0..2u64, 0..12u64, 1..6u8, prop::bool::weighted(0.2))
            .prop_map(|(member, back, applied, phase, broken)| Event::Beat { member, back, applied, phase, broken }),
        1 => (member.clone(), 0..4u8).prop_map(|(member, end)| Event::Leave { member, end }),
        2 => (1..5u32, 0..2u8).prop_map(|(pid, end)| Event::Exited { pid, end }),
        2 => member.clone().prop_map(Event::Attend),
        2 => member.clone().prop_map(Event::Gone),
        1 => member.clone().prop_map(Event::Drain),
        1 => member.prop_map(Event::Kick),
        1 => Just(Event::Pause),
        1 => Just(Event::Resume),
        1 => (0..4u32).prop_map(Event::Scale),
        3 => (0..12u64).prop_map(Event::Tick),
        1 => (0..12u64).prop_map(Event::Commit),
        6 => Just(Event::Confirm),
        1 => Just(Event::Checkpoint),
        1 => prop::bool::weighted(0.5).prop_map(Event::Stop),
    ]
}

impl Run {
    fn nth(&self, place: usize) -> MemberId {
        let ids: Vec<MemberId> = self.it.members().map(|(id, _)| id).collect();
        ids.get(place % ids.len().max(1)).copied().unwrap_or(MemberId { epoch: 9, number: 9 })
    }

    fn meet(&mut self, event: &Event) {
        let exit = |end: u8| if end == 0 { Exit::Data } else { Exit::Lost };
        let now = self.now();
        let refused = match *event {
            Event::Join { pid, spare } => self.it.join("h", pid, spare, pid, None, now).err(),
            Event::Beat { member, back, applied, phase, broken } => {
                let member = self.nth(member);
                let generation = Generation(self.it.generation().0.saturating_sub(back));
                let phase = Phase::try_from(i32::from(phase)).unwrap();
                let beat = Beat {
                    member,
                    generation,
                    applied: GlobalStep(applied),
                    phase,
                    broken,
                    settled: Generation(generation.0 * u64::from(back > 0)),
                };
                self.it.heartbeat(beat, now).err()
            }
            Event::Leave { member, end } => {
                let end = if end > 1 { Ok(()) } else { Err((exit(end), "bad".into())) };
                self.it.leave(self.nth(member), end, now).err()
            }
            Event::Exited { pid, end } => {
                self.it.exited(pid, "h", exit(end), "ended", now);
                None
            }
            Event::Attend(member) => self.it.attend(self.nth(member), now).err(),
            Event::Gone(member) => {
                for serial in 0..3 {
                    self.it.gone(self.nth(member), serial, now);
                }
                None
            }
            Event::Drain(member) => self.it.drain(self.nth(member), now).err(),
            Event::Tick(seconds) => {
                self.tick(self.now + seconds);
                None
            }
            Event::Commit(step) => {
                let news = step > self.it.newest_committed().0;
                assert_eq!(self.it.committed(GlobalStep(step), 0), news);
                None
            }
            Event::Confirm => {
                let proposed = self.it.proposal().map(|proposal| proposal.generation);
                assert!(proposed.is_none_or(|generation| self.it.confirm(generation, now)));
                None
            }
            Event::Pause => self.it.pause(Generation(0), "bob", now).err(),
            Event::Resume => self.it.resume(Generation(0), now).err(),
            Event::Kick(member) => self.it.kick(Generation(0), self.nth(member), "bob", now).err(),
            Event::Scale(workers) => {
                let (least, most) = (self.it.spec().least.0, self.it.spec().most.0);
                let workers = least + workers % (most - least + 1);
                self.it.scale(Generation(0), [Some(workers), None, None], now).err()
            }
            Event::Checkpoint => self.it.request_checkpoint(Generation(0)).err(),
            Event::Stop(checkpoint) => self.it.request_stop(Generation(0), checkpoint).err(),
        };
        assert!(refused.is_none_or(|refusal| !refusal.to_string().is_empty()));
    }

    /// What holds at any time.
    fn check(&self) {
        let (it, spec) = (&self.it, self.it.spec());
        for seats in it.proposal().map(|p| &p.seats).into_iter().chain([&it.seats]) {
            assert!(seats.len() <= spec.most.index());
            let distinct: BTreeSet<_> = seats.iter().map(|seat| seat.member).collect();
            assert_eq!(distinct.len(), seats.len(), "a member has one seat");
        }
        if let Some(proposal) = it.proposal() {
            assert!(proposal.seats.len() >= spec.least.index());
            assert_eq!(proposal.generation, it.generation().next());
        }
        let told: Vec<_> =
            it.members().filter_map(|(id, _)| it.directive(id, &it.bulletin()).unwrap().kind).collect();
        for kind in &told {
            let Kind::Assignment(seat) = kind else { continue };
            assert_eq!((seat.generation, seat.world_size as usize), (it.generation().0, it.seats.len()));
            assert_eq!(
                seat.ranks.iter().zip(&seat.lanes).map(|(ranks, lanes)| ranks * lanes).sum::<u32>(),
                spec.lanes
            );
            assert!(seat.rank < seat.world_size && seat.local_rank < seat.local_world_size);
            assert!(it.verdict().is_none());
        }
        assert_eq!(it.verdict().is_some(), it.state().is_final());
        assert!(!it.reason().is_empty() && !it.reason().contains('\n'));
        if it.verdict().is_some_and(|verdict| verdict.exit == Exit::Done) {
            assert!(it.newest_committed() >= STEPS);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_state_is_consistent(
        (least, wanted, most) in (1..3u32, 0..2u32, 0..2u32).prop_map(|(l, w, m)| (l, l + w, l + w + m)),
        grace in 0..9u64,
        adopted in any::<bool>(),
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let (least, most) = (WorldSize(least), WorldSize(most));
        let spec = Spec { least, most, grace: at(grace), ..spec(wanted) };
        let seat = Seat { member: MemberId { epoch: 1, number: 7 }, host: "h".into(), pid: 4, weight: 2, spare: false, slot: 0 };
        let seats = if adopted { vec![seat] } else { Vec::new() };
        let past = Past { epoch: 2, generation: Generation(5), seats, ..Past::default() };
        let mut run = Run { it: Membership::new(spec, past, at(0)), now: 0 };
        for event in &events {
            let before = run.it.clone();
            run.meet(event);
            run.check();
            prop_assert!(run.it.generation() >= before.generation(), "generations only grow");
            prop_assert!(run.it.newest_committed() >= before.newest_committed());
            prop_assert!(run.it.request >= before.request && run.it.answered() >= before.answered());
            if before.state().is_final() {
                prop_assert_eq!(run.it.state(), before.state(), "an end is final");
            }
            if let Some(proposed) = before.proposal().filter(|_| run.it.generation() == before.generation()) {
                // The journal may have it. With which step it begins is told later.
                let stays = |it: &Proposal| (it.generation, &it.seats) == (proposed.generation, &proposed.seats);
                prop_assert!(run.it.verdict().is_some() || run.it.proposal().is_some_and(stays));
            }
        }
    }

    /// Where many come at once, consequences are drawn for several events together.
    #[test]
    fn consequences_may_be_put_off(
        least in 1..3u32,
        grace in 0..9u64,
        events in proptest::collection::vec((event(), prop::bool::weighted(0.3)), 0..80),
    ) {
        let mut run = Run::new(Spec { least: WorldSize(least), grace: at(grace), ..spec(2) });
        for (event, drawn) in &events {
            run.it.put_off();
            run.meet(event);
            if *drawn {
                run.it.catch_up(run.now());
                prop_assert!(!run.it.is_stirred());
            }
            run.check();
        }
        run.it.catch_up(run.now());
        let _ = run.it.resume(Generation(0), run.now());
        let _ = run.it.scale(Generation(0), [Some(2), None, None], run.now());
        run.recover();
    }

    /// Workers that do as they are told, after any faults: the run ends, or all that should be at work are.
    #[test]
    fn when_the_faults_stop_the_run_goes_on(
        least in 1..3u32,
        grace in 0..9u64,
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let spec = Spec { least: WorldSize(least), grace: at(grace), ..spec(2) };
        let mut run = Run::new(spec);
        for event in &events {
            run.meet(event);
        }
        let _ = run.it.resume(Generation(0), run.now());
        let _ = run.it.scale(Generation(0), [Some(2), None, None], run.now());
        run.recover();
    }
}

impl Run {
    /// Old members fall silent, and new ones do as they are told.
    fn recover(&mut self) {
        let done = |run: &Self, id| run.it.members().all(|(other, _)| other != id);
        self.now += 100;
        let mut workers: Vec<(MemberId, u64)> = Vec::new();
        for round in 0..40 {
            self.tick(self.now + 1);
            if self.it.proposal().is_some() {
                self.confirm();
            }
            if self.it.verdict().is_some() {
                return;
            }
            workers.retain(|(id, _)| !done(self, *id));
            if workers.len() < 2 {
                let pid = 100 + round;
                workers.push((self.join(pid, false), 0));
            }
            for (id, seat) in &mut workers {
                let id = *id;
                let directive = self.told(id);
                let phase = match &directive.kind {
                    Some(Kind::Assignment(assignment)) => {
                        *seat = assignment.generation;
                        Phase::Training
                    }
                    _ => Phase::Waiting,
                };
                if phase == Phase::Training && directive.stop.is_some() {
                    self.it.committed(self.it.step(), 0);
                    self.it.leave(id, Ok(()), self.now()).unwrap();
                } else {
                    let phase = if directive.regroup { Phase::Waiting } else { phase };
                    let _ = self.say(id, *seat, self.it.step().0, phase);
                }
            }
        }
        assert_eq!(self.it.state(), State::Training, "{}", self.it.reason());
        assert_eq!(self.it.world(), WorldSize(2));
    }
}
