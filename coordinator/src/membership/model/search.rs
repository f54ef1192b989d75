//! Breadth first through all states, and the story of how one of them came about.

use super::{Broken, Event, Rules, World, fair::Known, piece::hash};
use std::{collections::HashMap, fmt::Write};

/// A state by its number: how it was reached.
struct Origin {
    from: u32,
    event: Option<Event>,
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
    let mut origins = vec![Origin { from: 0, event: None }];
    let mut level = vec![(0u32, first)];
    let mut depth = 0;
    let found = |origins: &[Origin], depth, cut_off, broken| Found { states: origins.len(), depth, cut_off, broken };
    while !level.is_empty() {
        let mut next_level = Vec::new();
        for (number, world) in level {
            if end && let Err(more) = world.ends(rules, &mut known) {
                let mut events = way(&origins, number);
                let what = format!("after event {} no more faults happen, and the run does not end", events.len());
                events.extend(more);
                return found(&origins, depth, true, Some(Story { what, events }));
            }
            let ordinary = if world.is_over() { Vec::new() } else { world.ordinary(rules) };
            for event in ordinary.into_iter().chain(world.faults()) {
                let mut next = world.clone();
                let happened = next.happen(event, rules);
                let at = hash(&next);
                if happened.is_ok() && numbers.contains_key(&at) {
                    continue;
                }
                if let Err(what) = happened.and_then(|()| next.check()) {
                    let mut events = way(&origins, number);
                    events.push(event);
                    return found(&origins, depth, true, Some(Story { what, events }));
                }
                let new = origins.len() as u32;
                numbers.insert(at, new);
                origins.push(Origin { from: number, event: Some(event) });
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

fn way(origins: &[Origin], mut number: u32) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(Origin { from, event: Some(event) }) = origins.get(number as usize) {
        events.push(*event);
        number = *from;
    }
    events.reverse();
    events
}

impl World {
    /// The workers in short.
    fn sketch(&self) -> String {
        let mut told = String::new();
        for worker in &self.workers {
            let holding = &worker.holding;
            let steps: Vec<u64> = holding.state.iter().map(|by| by.0).collect();
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
