//! Breadth first through all states, and the story of how one of them came about.

use super::{Broken, Event, Rules, World, fair::Known, piece::hash};
use std::{collections::HashMap, fmt::Write};

/// A state by its number: how it was reached.
struct Origin {
    from: u32,
    /// Which of the events that could happen there.
    nth: u16,
}

/// What was found.
pub(super) struct Found {
    pub(super) states: usize,
    /// Events on the longest of the shortest ways.
    pub(super) depth: usize,
    /// Whether states are left that were not looked at.
    pub(super) cut_off: bool,
    /// The first promise that does not hold, and how it came about.
    pub(super) broken: Option<Story>,
}

/// How a promise was broken.
pub(super) struct Story {
    pub(super) what: Broken,
    pub(super) events: Vec<Event>,
}

impl Story {
    /// As numbered lines.
    pub(super) fn tell(&self, rules: &Rules) -> String {
        let mut told = format!("{}\n", self.what);
        let mut world = World::first(rules);
        for (number, event) in (1..).zip(&self.events) {
            let ended = world.happen(*event, rules);
            let _ = writeln!(told, "{number:3}. {event:?}{}", world.sketch());
            if let Err(what) = ended {
                let _ = writeln!(told, "     {what}");
            }
        }
        told
    }
}

/// Looks at all states within the bound of `rules`, at most `limit`; also whether each leads to the run's `end`, if asked to.
pub(super) fn search(rules: &Rules, limit: usize, end: bool) -> Found {
    let first = World::first(rules);
    let mut known = Known::default();
    let mut numbers = HashMap::from([(hash(&first), 0u32)]);
    let mut origins = vec![Origin { from: 0, nth: 0 }];
    let mut level = vec![(0u32, first)];
    let mut depth = 0;
    let found = |origins: &[Origin], depth, cut_off, broken| Found { states: origins.len(), depth, cut_off, broken };
    while !level.is_empty() {
        let mut next_level = Vec::new();
        for (number, world) in level {
            if end && let Err(Story { what, events: more }) = world.ends(rules, &mut known) {
                let mut events = way(&origins, number, rules);
                events.extend(more);
                return found(&origins, depth, true, Some(Story { what, events }));
            }
            for (nth, event) in (0..).zip(world.possible(rules)) {
                let mut next = world.clone();
                let happened = next.happen(event, rules);
                let at = hash(&next);
                if happened.is_ok() && numbers.contains_key(&at) {
                    continue;
                }
                if let Err(what) = happened.and_then(|()| next.check()) {
                    let mut events = way(&origins, number, rules);
                    events.push(event);
                    return found(&origins, depth, true, Some(Story { what, events }));
                }
                let new = origins.len() as u32;
                numbers.insert(at, new);
                origins.push(Origin { from: number, nth });
                next_level.push((new, next));
            }
            if origins.len() > limit {
                return found(&origins, depth, true, None);
            }
        }
        level = next_level;
        depth += 1;
    }
    found(&origins, depth, false, None)
}

fn way(origins: &[Origin], mut number: u32, rules: &Rules) -> Vec<Event> {
    let mut choices = Vec::new();
    while let Some(Origin { from, nth }) = origins.get(number as usize).filter(|_| number > 0) {
        choices.push(usize::from(*nth));
        number = *from;
    }
    let mut world = World::first(rules);
    let step = |nth: usize| {
        let event = world.possible(rules).get(nth).copied();
        event.inspect(|event| drop(world.happen(*event, rules)))
    };
    choices.into_iter().rev().filter_map(step).collect()
}

impl World {
    fn possible(&self, rules: &Rules) -> Vec<Event> {
        let mut events = if self.is_over() { Vec::new() } else { self.ordinary(rules) };
        events.extend(self.faults());
        events
    }

    /// The workers in short.
    fn sketch(&self) -> String {
        let mut told = String::new();
        for worker in &self.workers {
            let holding = &worker.holding;
            let steps: Vec<u64> = holding.state.iter().map(|made| made.by.0).collect();
            let seat = worker.seat.as_ref().map(|seat| seat.stage);
            let staged = holding.staged.map_or("", |_| "+");
            let _ = write!(told, "\n       {:?} g{} {seat:?} settled {} {steps:?}{staged}", worker.life, worker.generation, holding.settled);
        }
        for (epoch, it) in &self.coordinators {
            let _ = write!(told, "\n       coordinator {epoch}: {:?} {:?} g{}", it.membership.state(), it.writing, it.membership.generation());
        }
        told
    }
}
