//! Bounds that are searched.

use super::{search::search, *};

fn rules(faults: u8, kinds: &[(Fault, u8)]) -> Rules {
    let mut all = [0; FAULTS];
    kinds.iter().for_each(|(kind, times)| all[*kind as usize] = *times);
    Rules { workers: 2, most: 2, steps: 2, every: 1, grace: false, faults, kinds: all, defect: None, memory: Memory::default() }
}

fn holds(rules: &Rules, limit: usize, end: bool) {
    let start = std::time::Instant::now();
    let found = search(rules, limit, end);
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{} states, depth {}, cut off {}, {seconds:.1} s: {:?} {:?}", found.states, found.depth, found.cut_off, rules.faults, rules.kinds);
    if let Some(story) = found.broken {
        panic!("{}", story.tell(rules));
    }
}

#[test]
fn one_kind() {
    for kind in [Fault::Sever, Fault::KillCoordinator, Fault::Message, Fault::Spoil, Fault::Halt, Fault::Drain, Fault::Kill, Fault::Cut, Fault::Stop, Fault::Rival] {
        let every = u64::from(!matches!(kind, Fault::Kill|Fault::Stop | Fault::Rival | Fault::Cut));
        eprint!("{kind:?}: ");
        holds(&Rules { every, ..rules(1, &[(kind, 1)])}, 3_000_000, true);
    }
}

#[test]
fn without_faults() {
    holds(&rules(0, &[]), 1_000_000, true);
}

#[allow(unused)]
macro_rules! all { ($($name:ident $all:literal $($kind:ident)*;)*) => { $(
#[test]
fn $name() {
    let mut kinds = Vec::new();
    for kind in [$(Fault::$kind),*] {
        match kinds.iter_mut().find(|(k, _)| *k == kind) { Some((_, n)) => *n += 1, None => kinds.push((kind, 1)) }
    }
    holds(&rules($all, &kinds), 3_000_000, true);
} )* } }


#[test]
fn defects() {
    use Defect::*;
    use Fault::*;
    let all: [(Defect, u32, u64, u64, &[(Fault, u8)]); 15] = [
        (TheLowestStepWins, 2, 2, 0, &[(Sever, 1)]),
        (BranchesAreNotToldApart, 2, 2, 0, &[(Stop, 1)]),
        (WhoIsBehindKeeps, 2, 2, 0, &[(Sever, 1)]),
        (TheLedgerStays, 2, 2, 0, &[(Sever, 1)]),
        (HalfAStateCounts, 2, 1, 0, &[(Stop, 1), (Sever, 1)]),
        (CommitBeforeTheVote, 2, 2, 0, &[(Spoil, 1)]),
        (ANumberAgain, 2, 2, 0, &[(KillCoordinator, 1)]),
        (BegunBeforeTheJournal, 2, 1, 0, &[(KillCoordinator, 1)]),
        (BegunBeforeTheJournal, 2, 1, 0, &[(Rival, 1)]),
        (NoFence, 2, 1, 0, &[(Rival, 1)]),
        (MarkedBeforeTheJournal, 1, 2, 1, &[(Kill, 1)]),
        (LooksBeforeItOpens, 1, 2, 1, &[(Kill, 1), (Rival, 1)]),
        (TheLastPartIsReportedOnce, 2, 1, 0, &[(KillCoordinator, 1)]),
        (TheLastPartIsReportedOnce, 2, 1, 0, &[(Cut, 1)]),
        (SilenceIsNoLoss, 2, 1, 0, &[(Kill, 1)]),
    ];
    for (defect, workers, steps, every, kinds) in all {
        let faults = kinds.iter().map(|(_, n)| n).sum();
        for end in [false, true] {
        let rules = Rules { workers, most: workers, steps, every, defect: Some(defect), ..rules(faults, kinds) };
        let start = std::time::Instant::now();
        let found = search(&rules, 1_000_000, end);
        eprintln!("{defect:?} {} states depth {} {:.1} s {}", found.states, found.depth, start.elapsed().as_secs_f64(), found.broken.map_or("NOT FOUND".into(), |story| format!("{} events {}", story.events.len(), story.what)));
        }
    }
}
