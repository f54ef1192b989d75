//! What the search can't reach, by chance: many workers, many steps, and faults of all kinds one after the other. A walk is a function
//! of its seed, so one that breaks a promise can be walked again: the message names the seed.

use super::{FAULTS, Rules, World, coordinator::Memory, fair::Known, story::Story};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Faults of each kind in one walk.
const EACH: u8 = 3;
/// Events after which a walk that has not come to its end is ended without more faults.
const LONGEST: usize = 4_000;

/// Walks until the run is over, or long enough, and then to its end without more faults. Returns how many events happened.
fn walk(seed: u64) -> Result<usize, Story> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let workers = chance.random_range(2..=8);
    let rules = Rules {
        workers,
        most: workers,
        steps: chance.random_range(4..=12),
        every: chance.random_range(0..=4),
        grace: chance.random_bool(0.5),
        faults: EACH * FAULTS as u8,
        kinds: [EACH; FAULTS],
        defect: None,
        memory: Memory::default(),
    };
    let mut world = World::first(&rules);
    let mut events = Vec::new();
    while !world.is_over() && events.len() < LONGEST {
        let (ordinary, faults) = (world.ordinary(&rules), world.faults());
        // Faults can happen nearly always: without a bias a walk would have all of them at its beginning.
        let struck = !faults.is_empty() && (ordinary.is_empty() || chance.random_bool(0.03));
        let from = if struck { &faults } else { &ordinary };
        let Some(event) = from.get(chance.random_range(0..from.len().max(1))).copied() else { break };
        events.push(event);
        if let Err(what) = world.happen(event, &rules).and_then(|()| world.check()) {
            return Err(Story { what, events });
        }
    }
    match world.ends(&rules, &mut Known::default()) {
        Ok(()) => Ok(events.len()),
        Err(Story { what, events: more }) => Err(Story { what, events: [events, more].concat() }),
    }
}

/// Walks with these seeds.
fn hold(seeds: std::ops::Range<u64>) {
    let mut events = 0;
    for seed in seeds.clone() {
        match walk(seed) {
            Ok(count) => events += count,
            Err(Story { what, events }) => {
                panic!("seed {seed}, after {} events: {what}\n{events:?}", events.len())
            }
        }
    }
    println!("{} walks, {events} events", seeds.end - seeds.start);
    assert!(events as u64 > 20 * (seeds.end - seeds.start), "the walks end before anything happens");
}

#[test]
fn walks_of_many_workers_keep_every_promise() {
    hold(0..300);
}

/// Minutes: `cargo test --release -p coordinator walks -- --ignored --nocapture`.
#[test]
#[ignore = "long"]
fn more_walks() {
    hold(1_000..101_000);
}
