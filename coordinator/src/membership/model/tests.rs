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
fn without_faults() {
    holds(&rules(0, &[]), 1_000_000, true);
}

macro_rules! all { ($($name:ident $all:literal $($kind:ident)*;)*) => { $(
#[test]
fn $name() {
    let mut kinds = Vec::new();
    for kind in [$(Fault::$kind),*] {
        match kinds.iter_mut().find(|(k, _)| *k == kind) { Some((_, n)) => *n += 1, None => kinds.push((kind, 1)) }
    }
    holds(&rules($all, &kinds), 3_000_000, true);
} )* } }
all! {
 kill 1 Kill; stop 1 Stop; cut 1 Cut; sever 1 Sever; coordinator 1 KillCoordinator; rival 1 Rival; message 1 Message; spoil 1 Spoil; halt 1 Halt; drain 1 Drain;
 kill_coordinator 2 Kill KillCoordinator;
 kill_kill 2 Kill Kill;
 stop_coordinator 2 Stop KillCoordinator;
 sever_sever 2 Sever Sever;
 coordinator_coordinator 2 KillCoordinator KillCoordinator;
 sever_coordinator 2 Sever KillCoordinator;
 spoil_kill 2 Spoil Kill;
}
