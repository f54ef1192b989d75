//! Breadth first through all states.

use super::{Event, Rules, World, fair::Known, piece::hash, story::Story};
use std::collections::HashMap;

/// How a state was reached first.
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
    /// Every state within the bound was looked at.
    pub(super) whole: bool,
    /// The first promise that does not hold, and how it came about.
    pub(super) broken: Option<Story>,
}

/// Looks at all states within the bound of `rules`, at most about `limit`: each holds what is promised, and from each the run reaches its
/// end once no more faults happen.
pub(super) fn search(rules: &Rules, limit: usize) -> Found {
    let first = World::first(rules);
    let mut known = Known::default();
    let mut numbers = HashMap::from([(hash(&first), 0u32)]);
    let mut origins = vec![Origin { from: 0, nth: 0 }];
    let mut level = vec![(0u32, first)];
    let mut depth = 0;
    while !level.is_empty() && origins.len() <= limit {
        let mut deeper = Vec::new();
        for (number, world) in level {
            if let Err(Story { what, events: more }) = world.ends(rules, &mut known) {
                return Found::broken(rules, &origins, depth, number, more, what);
            }
            for (nth, event) in (0..).zip(world.possible(rules)) {
                let mut next = world.clone();
                let happened = next.happen(event, rules);
                let at = hash(&next);
                if happened.is_ok() && numbers.contains_key(&at) {
                    continue;
                }
                if let Err(what) = happened.and_then(|()| next.check()) {
                    return Found::broken(rules, &origins, depth, number, vec![event], what);
                }
                let new = origins.len() as u32;
                numbers.insert(at, new);
                origins.push(Origin { from: number, nth });
                deeper.push((new, next));
            }
        }
        level = deeper;
        depth += 1;
    }
    Found { states: origins.len(), depth, whole: level.is_empty(), broken: None }
}

impl Found {
    fn broken(
        rules: &Rules,
        origins: &[Origin],
        depth: usize,
        number: u32,
        more: Vec<Event>,
        what: String,
    ) -> Self {
        let mut events = way(origins, number, rules);
        events.extend(more);
        Self { states: origins.len(), depth, whole: false, broken: Some(Story { what, events }) }
    }
}

/// The events that led to a state.
fn way(origins: &[Origin], mut number: u32, rules: &Rules) -> Vec<Event> {
    let mut choices = Vec::new();
    while number > 0 {
        let Origin { from, nth } = origins[number as usize];
        choices.push(usize::from(nth));
        number = from;
    }
    let mut world = World::first(rules);
    let event = |nth: usize| {
        let event = world.possible(rules)[nth];
        // It happened before, and broke no promise then.
        let _ = world.happen(event, rules);
        event
    };
    choices.into_iter().rev().map(event).collect()
}

impl World {
    fn possible(&self, rules: &Rules) -> Vec<Event> {
        let mut events = if self.is_over() { Vec::new() } else { self.ordinary(rules) };
        events.extend(self.faults());
        events
    }
}
