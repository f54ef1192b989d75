//! Ranks that hold different things come out of it with one state, and go on as one that was never disturbed.

use super::*;
use crate::alone;
use crate::batch::LocalBatch;
use crate::step::Trainer;
use crate::toy::{self, SPECIAL, batch};
use crate::vote::Ballot;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tch::{Kind, Tensor};

/// Pairs of a global batch.
const B: u64 = 6;

fn config() -> RunConfig {
    let mut config = toy::config(0.0);
    (config.optimizer.batch, config.data.lanes, config.cluster.compare_every) = (B as u32, B as u32, 0);
    config
}

/// Nobody may begin anew where somebody holds a state.
struct Never;

impl Begin for Never {
    fn committed(&self) -> (Generation, GlobalStep) {
        (Generation(0), GlobalStep(0))
    }

    fn begin(&self, _: &mut State, _: &mut Ledger) -> Result<()> {
        Err(Error::System("there is no checkpoint here".into()))
    }
}

/// The state after `step` steps of a rank that was alone, which is what any checkpoint would hold.
struct Saved {
    tensors: Mutex<BTreeMap<String, Tensor>>,
    counters: Counters,
}

impl Begin for Saved {
    fn committed(&self) -> (Generation, GlobalStep) {
        (Generation(1), self.counters.step)
    }

    fn begin(&self, state: &mut State, ledger: &mut Ledger) -> Result<()> {
        let held = self.tensors.lock().unwrap();
        let tensors = held.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect();
        state.restore(tensors, self.counters)?;
        *ledger = Ledger::new(&config(), "f00d", state.step, None);
        Ok(())
    }
}

fn holding(state: State) -> Holding {
    Holding {
        state,
        staged: None,
        votes: Votes::default(),
        ledger: Ledger::new(&config(), "f00d", GlobalStep(0), None),
        settled: Generation(1),
        rolls_back: false,
    }
}

/// The pairs of the first steps of a rank. Made by the caller of threads: torch's generator is the process's.
fn batches(rank: usize, world: usize) -> Vec<LocalBatch> {
    let counts = toy::counts(B, world as u64);
    let first = counts[..rank].iter().sum::<i64>() as u64;
    let slots = first..first + counts[rank] as u64;
    (0..5).map(|step| batch(step, slots.clone(), counts.clone())).collect()
}

/// What ranks hold after they have trained up to `steps` together.
fn trained(held: Vec<Holding>, steps: usize) -> Vec<Holding> {
    let world = held.len();
    let given = held.into_iter().enumerate().map(|(rank, held)| (held, batches(rank, world)));
    toy::ranks(given.collect(), |group, (held, batches)| {
        let Holding { state, votes, mut ledger, settled, .. } = held;
        let counts = batches[0].counts.clone();
        let mut trainer = Trainer::new(&config(), SPECIAL, 1.0, state, &counts, group).unwrap();
        trainer.remember(votes);
        for batch in &batches[trainer.state().step.index()..steps] {
            let outcome = trainer.step(batch, &Ballot::default()).unwrap();
            ledger.enter(Generation(1), &outcome, trainer.votes());
        }
        trainer.meet().unwrap();
        let (state, staged, votes) = trainer.release();
        Holding { state, staged, votes, ledger, settled, rolls_back: false }
    })
}

fn values(state: &State) -> BTreeMap<String, Vec<f64>> {
    let flat = |tensor: Tensor| Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap();
    state.tensors().into_iter().map(|(name, tensor)| (name, flat(tensor))).collect()
}

fn assert_same(one: &Holding, other: &Holding) {
    assert_eq!(one.state.counters(), other.state.counters());
    assert!(values(&one.state) == values(&other.state), "the states differ");
    assert!(one.ledger == other.ledger && one.settled == other.settled);
}

/// Lets the holdings of some ranks settle in one group.
fn settled(holdings: Vec<Holding>, first: &(impl Begin + Sync)) -> Vec<(Holding, Option<GlobalStep>)> {
    toy::ranks(holdings, |mut group, mut holding| {
        let came = holding.settle(&config(), 1.0, Generation(2), first, &mut group).unwrap();
        group.barrier().unwrap();
        (holding, came.applied.map(|outcome| outcome.step))
    })
}

fn states(count: usize, kind: Kind) -> Vec<Holding> {
    (0..count).map(|_| holding(toy::state(&config(), kind))).collect()
}

#[test]
fn a_newcomer_receives_everything_and_all_go_on_as_one() {
    alone::alone("settle::tests::a_newcomer_receives_everything_and_all_go_on_as_one", || {
        let two = trained(states(2, Kind::Float), 3);
        let mut three = two;
        three.insert(1, Holding { settled: Generation(0), ..states(1, Kind::Float).remove(0) });
        // What the newcomer held before is of no account.
        let _ = tch::no_grad(|| three[1].state.temperature().fill_(0.3));
        let three: Vec<Holding> = settled(three, &Never).into_iter().map(|(held, _)| held).collect();
        assert!(three[1].state.step == GlobalStep(3) && three[1].settled == Generation(2));
        three.iter().for_each(|held| assert_same(held, &three[0]));
        let three = trained(three, 5);
        three.iter().for_each(|held| assert_same(held, &three[0]));
        let alone = trained(states(1, Kind::Float), 5);
        let (one, three) = (values(&alone[0].state), values(&three[0].state));
        for (name, other) in &three {
            let far = one[name].iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 2e-3, "{name} is {far} from a run that was not disturbed");
        }
    });
}

/// Two ranks whose third step was applied by one and staged by the other, as after a vote that ended on one rank only.
fn torn() -> Vec<Holding> {
    let before = trained(states(2, Kind::Float), 2).into_iter().enumerate();
    let given = before.map(|(rank, held)| (held, batches(rank, 2).swap_remove(2)));
    toy::ranks(given.collect(), |group, (held, batch)| {
        let rank = group.rank();
        let Holding { state, mut ledger, settled, .. } = held;
        let mut trainer = Trainer::new(&config(), SPECIAL, 1.0, state, &batch.counts, group).unwrap();
        let draws = trainer.draws(&batch);
        let (staged, votes) = trainer.stage(&batch, &draws, &Ballot::default()).unwrap();
        trainer.meet().unwrap();
        let (mut state, _, _) = trainer.release();
        if rank == 1 {
            let (staged, votes) = (Some(staged), Votes::default());
            return Holding { state, staged, votes, ledger, settled, rolls_back: false };
        }
        let outcome = commit(&config(), 1.0, &mut state, &staged, &votes).unwrap();
        ledger.enter(Generation(1), &outcome, &votes);
        Holding { state, staged: None, votes, ledger, settled, rolls_back: false }
    })
}

#[test]
fn who_is_one_behind_applies_its_staged_gradients_bit_for_bit() {
    alone::alone("settle::tests::who_is_one_behind_applies_its_staged_gradients_bit_for_bit", || {
        let whole = trained(states(2, Kind::Float), 3);
        let both = settled(torn(), &Never);
        assert_eq!([both[0].1, both[1].1], [None, Some(GlobalStep(3))], "rank 1 alone had to apply it");
        for (held, _) in &both {
            assert!(values(&held.state) == values(&whole[0].state), "it is not what the vote meant");
            assert!(held.ledger == whole[0].ledger && held.staged.is_none());
        }
    });
}

#[test]
fn a_step_that_nobody_applied_is_done_again() {
    alone::alone("settle::tests::a_step_that_nobody_applied_is_done_again", || {
        let whole = trained(states(1, Kind::Float), 3);
        let left = torn().remove(1);
        assert!(left.staged.is_some());
        let alone = settled(vec![left], &Never);
        assert!(
            alone[0].1.is_none() && alone[0].0.state.step == GlobalStep(2) && alone[0].0.staged.is_none()
        );
        let held = alone.into_iter().map(|(held, _)| held).collect();
        let again = trained(held, 3);
        assert_eq!(again[0].state.step, whole[0].state.step);
        let (one, other) = (values(&whole[0].state), values(&again[0].state));
        for (name, other) in &other {
            let far = one[name].iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 2e-3, "{name} is {far} from a run that was not disturbed");
        }
    });
}

#[test]
fn a_verdict_to_roll_back_takes_up_the_checkpoint_and_goes_on_after_the_step() {
    alone::alone(
        "settle::tests::a_verdict_to_roll_back_takes_up_the_checkpoint_and_goes_on_after_the_step",
        || {
            let saved = trained(states(1, Kind::Float), 1);
            let first =
                Saved { tensors: Mutex::new(saved[0].state.tensors()), counters: saved[0].state.counters() };
            let mut both = torn();
            both[0].rolls_back = true;
            let both = settled(both, &first);
            for (held, applied) in &both {
                assert!(applied.is_none() && held.state.step == GlobalStep(3));
                assert!(values(&held.state) == values(&saved[0].state), "it is the checkpoint's state");
                assert!(held.ledger == both[0].0.ledger && !held.rolls_back);
            }
        },
    );
}

#[test]
fn a_state_that_is_older_than_the_checkpoint_gives_way_and_who_takes_another_is_told() {
    alone::alone(
        "settle::tests::a_state_that_is_older_than_the_checkpoint_gives_way_and_who_takes_another_is_told",
        || {
            let settle = |holdings: Vec<Holding>, first: &Saved| {
                toy::ranks(holdings, |mut group, mut holding| {
                    let came = holding.settle(&config(), 1.0, Generation(2), first, &mut group).unwrap();
                    group.barrier().unwrap();
                    (holding, came.foreign)
                })
            };
            let at = |step: usize| {
                let saved = trained(states(1, Kind::Float), step);
                Saved { tensors: Mutex::new(saved[0].state.tensors()), counters: saved[0].state.counters() }
            };
            // A newcomer beside one that holds step 2: of that step, or of one before, a checkpoint changes nothing.
            for (committed, step, foreign) in
                [(2, 2, [false, true]), (1, 2, [false, true]), (3, 3, [true; 2])]
            {
                let mut both = trained(states(1, Kind::Float), 2);
                both.push(Holding { settled: Generation(0), ..states(1, Kind::Float).remove(0) });
                let both = settle(both, &at(committed));
                assert!(both.iter().all(|(held, _)| held.state.step == GlobalStep(step)), "{committed}");
                assert_eq!(both.iter().map(|(_, foreign)| *foreign).collect::<Vec<_>>(), foreign);
            }
        },
    );
}
