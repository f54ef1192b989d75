//! What the members of a new generation do with the states that they hold, before its first step: a pure function that every
//! rank computes from the same table.

use crate::{Generation, GlobalStep, Rank};

/// What one member holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// The newest generation in which its state was settled with the others'; 0: it holds none.
    pub settled: Generation,
    /// Committed updates.
    pub applied: GlobalStep,
    /// Whether its gradients of the next step are complete and the vote about them did not end here.
    pub staged: bool,
    /// Whether the last vote was for going on from the newest checkpoint's state.
    pub rolls_back: bool,
}

/// What one member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Keeps its state, and forgets gradients that nobody has applied: the step is done again.
    Keep,
    /// Applies its staged gradients by the leader's verdict.
    Apply,
    /// Takes the leader's state.
    Receive,
}

/// What all do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nobody holds a state that counts: all take that of the newest checkpoint, or begin.
    Begin,
    /// All take the newest checkpoint's state, but go on after this step, with the leader's ledger.
    RollBack {
        /// The lowest rank that has seen that verdict.
        leader: Rank,
        /// The step that was voted on.
        step: GlobalStep,
    },
    /// The leader's state becomes everybody's.
    Settle {
        /// The lowest rank with the newest state.
        leader: Rank,
        /// Its committed updates.
        step: GlobalStep,
        /// By rank.
        deeds: Vec<Deed>,
    },
}

/// Decides by what each rank holds, in the order of the ranks.
///
/// States of the newest settled generation count; what others hold may be of a branch that was given up. Among them the highest
/// applied step wins: its vote has ended, so every member of that generation had staged it. If nobody applied a staged step, it is
/// done again with the same slots. The newest `committed` checkpoint, given by the generation that wrote it and its step, counts like a
/// state: what is older is of somebody who was away for long, while all who went on are gone.
pub fn settle(held: &[Held], committed: (Generation, GlobalStep)) -> Plan {
    let newest = held.iter().map(|held| (held.settled, held.applied)).max().unwrap_or_default();
    let leader = (0..).zip(held).find(|(_, held)| (held.settled, held.applied) == newest);
    let (Some((leader, _)), (Generation(1..), step)) = (leader, newest) else { return Plan::Begin };
    if newest < committed {
        return Plan::Begin;
    }
    if held.get(leader as usize).is_some_and(|held| held.rolls_back) {
        return Plan::RollBack { leader: Rank(leader), step };
    }
    let deed = |held: &Held| match (held.settled == newest.0, held.staged) {
        (true, _) if held.applied == step => Deed::Keep,
        (true, true) if held.applied.next() == step => Deed::Apply,
        _ => Deed::Receive,
    };
    Plan::Settle { leader: Rank(leader), step, deeds: held.iter().map(deed).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is committed.
    const NONE: (Generation, GlobalStep) = (Generation(0), GlobalStep(0));

    fn held(settled: u64, applied: u64, staged: bool) -> Held {
        Held { settled: Generation(settled), applied: GlobalStep(applied), staged, rolls_back: false }
    }

    fn settled(all: &[Held]) -> (u32, u64, Vec<Deed>) {
        match settle(all, NONE) {
            Plan::Settle { leader, step, deeds } => (leader.0, step.0, deeds),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_state_all_begin() {
        for committed in [NONE, (Generation(1), GlobalStep(5))] {
            assert_eq!(settle(&[], committed), Plan::Begin);
            assert_eq!(settle(&[held(0, 0, false); 3], committed), Plan::Begin);
        }
    }

    #[test]
    fn what_is_older_than_the_newest_checkpoint_does_not_count() {
        let all = [held(0, 0, false), held(3, 7, true)];
        for (generation, step, begins) in [(3, 8, true), (4, 1, true), (3, 7, false), (2, 8, false)] {
            let plan = settle(&all, (Generation(generation), GlobalStep(step)));
            assert_eq!(plan == Plan::Begin, begins, "{generation}, {step}: {plan:?}");
        }
    }

    #[test]
    fn who_is_one_behind_applies_and_who_is_new_receives() {
        use Deed::{Apply, Keep, Receive};
        let all = [held(3, 7, true), held(3, 8, false), held(0, 0, false), held(3, 8, false)];
        assert_eq!(settled(&all), (1, 8, vec![Apply, Keep, Receive, Keep]));
    }

    #[test]
    fn a_step_that_nobody_applied_is_done_again() {
        assert_eq!(settled(&[held(3, 7, true), held(3, 7, true)]), (0, 7, vec![Deed::Keep; 2]));
    }

    #[test]
    fn a_verdict_to_roll_back_binds_who_has_not_heard_it() {
        let told = Held { rolls_back: true, ..held(3, 8, false) };
        let all = [held(3, 7, true), told, held(2, 9, false)];
        assert_eq!(
            settle(&all, (Generation(3), GlobalStep(4))),
            Plan::RollBack { leader: Rank(1), step: GlobalStep(8) }
        );
        assert!(matches!(settle(&[told, held(4, 7, false)], NONE), Plan::Settle { leader: Rank(1), .. }));
    }

    #[test]
    fn a_state_of_a_branch_that_was_given_up_does_not_win() {
        use Deed::{Keep, Receive};
        // Rank 0 applied step 8 alone, was cut off, and comes back after the others did step 8 again.
        assert_eq!(settled(&[held(3, 9, false), held(4, 8, true)]), (1, 8, vec![Receive, Keep]));
        assert_eq!(settled(&[held(3, 7, true), held(4, 8, false)]), (1, 8, vec![Receive, Keep]));
    }
}
