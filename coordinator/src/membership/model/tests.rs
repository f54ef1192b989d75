//! The bounds that are searched, and the defects that have to be found.

use super::{Fault::*, search::search, *};

/// How many states a search may have before it is given up; more than any of these has.
const LIMIT: usize = 50_000_000;

/// So many workers, steps, and steps between checkpoints, and these faults.
fn rules(workers: u32, steps: u64, every: u64, faults: &[Fault]) -> Rules {
    let mut kinds = [0; FAULTS];
    faults.iter().for_each(|fault| kinds[*fault as usize] += 1);
    let (most, faults) = (workers, faults.len() as u8);
    let (grace, defect, memory) = (false, None, Memory::default());
    Rules { workers, most, steps, every, grace, faults, kinds, defect, memory }
}

/// All states within these bounds hold what is promised.
fn hold(all: &[(u32, u64, u64, &[Fault])]) {
    for (workers, steps, every, faults) in all {
        let rules = rules(*workers, *steps, *every, faults);
        let begin = std::time::Instant::now();
        let found = search(&rules, LIMIT);
        let seconds = begin.elapsed().as_secs_f64();
        let bound = format!("{workers} workers, {steps} steps, a checkpoint every {every}, {faults:?}");
        println!("{bound}: {} states, {} deep, {seconds:.1} s", found.states, found.depth);
        if let Some(story) = found.broken {
            panic!("{bound}: {}", story.tell(&rules));
        }
        assert!(found.whole, "{bound}: more than {LIMIT} states");
    }
}

#[test]
fn two_workers_with_a_fault_among_workers() {
    hold(&[(2, 2, 1, &[]), (2, 2, 1, &[Sever]), (2, 2, 0, &[Kill]), (2, 1, 0, &[Stop])]);
}

#[test]
fn two_workers_with_a_fault_of_the_network() {
    hold(&[(2, 2, 1, &[Message]), (2, 2, 0, &[Cut]), (2, 1, 0, &[Message, Message])]);
}

#[test]
fn two_workers_with_a_fault_of_the_coordinator() {
    hold(&[
        (2, 2, 1, &[KillCoordinator]),
        (2, 2, 1, &[KillCoordinator, KillCoordinator]),
        (2, 1, 0, &[Rival]),
    ]);
}

#[test]
fn two_workers_with_something_that_is_asked_of_them() {
    hold(&[
        (2, 2, 1, &[Spoil]),
        (2, 2, 1, &[Halt]),
        (2, 2, 0, &[Drain]),
        (2, 2, 1, &[Halt, KillCoordinator]),
    ]);
}

#[test]
fn two_workers_that_are_rolled_back() {
    hold(&[
        (2, 3, 1, &[RollBack]),
        (2, 2, 1, &[RollBack, RollBack]),
        (1, 3, 1, &[RollBack, KillCoordinator]),
    ]);
}

#[test]
fn one_worker_with_two_faults() {
    let kinds = [Kill, Stop, Cut, KillCoordinator, Rival, Message, Spoil, Halt, Drain, RollBack];
    for (place, one) in kinds.iter().enumerate() {
        kinds[..=place].iter().for_each(|other| hold(&[(1, 2, 1, &[*one, *other])]));
    }
}

#[test]
fn three_workers_with_one_fault() {
    for one in [KillCoordinator, Message, Spoil, Halt] {
        hold(&[(3, 1, 0, &[one])]);
    }
}

/// A defect, the bound within which it has to be found, and what then does not hold.
type Planted = (Defect, (u32, u64, u64, &'static [Fault]), &'static str);

const PLANTED: [Planted; 16] = [
    (Defect::TheLowestStepWins, (2, 1, 0, &[Sever]), "though a rank of it held step 1"),
    (
        Defect::BranchesAreNotToldApart,
        (2, 2, 0, &[Stop]),
        "the ranks of generation 3 go on from different states",
    ),
    (Defect::WhoIsBehindKeeps, (2, 1, 0, &[Sever]), "the ranks of generation 2 go on from different states"),
    (Defect::TheLedgerStays, (2, 1, 0, &[Sever]), "the ranks of generation 2 go on from different states"),
    (Defect::HalfAStateCounts, (2, 1, 0, &[Cut, Sever]), "half a state counts"),
    (Defect::CommitBeforeTheVote, (2, 1, 0, &[Spoil]), "an update that the votes are against"),
    (Defect::ANumberAgain, (2, 1, 0, &[KillCoordinator]), "generation 1 follows generation 1"),
    (Defect::BegunBeforeTheJournal, (2, 1, 0, &[KillCoordinator]), "generation 1 has the members"),
    (Defect::NoFence, (2, 1, 0, &[Rival]), "generation 1 follows generation 1"),
    (Defect::MarkedBeforeTheJournal, (1, 2, 1, &[Kill]), "the checkpoint of"),
    (Defect::LooksBeforeItOpens, (1, 2, 1, &[Rival]), "the run fails"),
    (Defect::TheLastPartIsReportedOnce, (2, 1, 0, &[KillCoordinator]), "the run fails"),
    (Defect::TheLastPartIsReportedOnce, (2, 1, 0, &[Cut]), "the run fails"),
    (Defect::ARollbackHasNoNumber, (1, 3, 1, &[RollBack]), "after a rollback"),
    (Defect::ARollbackIsLeftHalfDone, (1, 3, 1, &[RollBack, KillCoordinator]), "after a rollback"),
    (Defect::SilenceIsNoLoss, (2, 1, 0, &[Kill]), "the run does not end"),
];

#[test]
fn planted_defects_are_found() {
    for (defect, (workers, steps, every, faults), what) in PLANTED {
        let rules = Rules { defect: Some(defect), ..rules(workers, steps, every, faults) };
        let found = search(&rules, 500_000);
        let story =
            found.broken.unwrap_or_else(|| panic!("{defect:?} is not found in {} states", found.states));
        println!("{defect:?}: {} states, {} events: {}", found.states, story.events.len(), story.what);
        let told = story.tell(&rules);
        assert!(told.contains(what), "{defect:?}: {told}");
        assert!(
            told.contains("FAULT") && told.contains("\n  1. ") && story.events.len() < 60,
            "{defect:?}: {told}"
        );
    }
}

/// Minutes, and gigabytes: `cargo test --release -p coordinator model -- --ignored --nocapture`.
#[test]
#[ignore = "long"]
fn two_workers_with_two_faults() {
    let kinds = [Sever, KillCoordinator, Message, Spoil, Halt, Drain, Cut, Kill, Stop, Rival];
    for (place, one) in kinds.iter().enumerate() {
        kinds[..=place].iter().for_each(|other| hold(&[(2, 1, 0, &[*other, *one])]));
    }
}

/// As long. With a rival there are more states than fit into memory.
#[test]
#[ignore = "long"]
fn three_workers_with_a_fault_of_any_other_kind() {
    for one in [KillCoordinator, Message, Spoil, Halt, Drain, Sever, Cut, Kill, Stop] {
        hold(&[(3, 1, 0, &[one])]);
    }
}

/// As long.
#[test]
#[ignore = "long"]
fn two_workers_that_keep_checkpoints() {
    for one in [Cut, Kill, Stop, Rival] {
        hold(&[(2, 2, 1, &[one])]);
    }
    for one in [Sever, Kill, Spoil, RollBack] {
        hold(&[(2, 2, 1, &[one, KillCoordinator])]);
    }
    for one in [Cut, Kill, Stop, Message] {
        hold(&[(2, 2, 1, &[one, RollBack])]);
    }
}
