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

macro_rules! one { ($($name:ident $kind:ident)*) => { $(
#[test]
fn $name() {
    holds(&rules(1, &[(Fault::$kind, 1)]), 1_000_000, true);
} )* } }
one! { kill Kill stop Stop cut Cut sever Sever coordinator KillCoordinator rival Rival message Message spoil Spoil halt Halt drain Drain }
