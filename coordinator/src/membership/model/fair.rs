//! What comes when no more faults happen: what was taken comes back, what is sent arrives, and everybody does in turn what they
//! can. It is a function of the state, so a path that meets one that was gone before need not be gone again.

use super::{Event, Rules, World, piece::hash};
use std::collections::HashMap;

/// States from which the run is known to reach its end.
#[derive(Default)]
pub(super) struct Known {
    ends: HashMap<u64, ()>,
}

/// How urgent an event is; what can only fail does so last.
fn rank(event: Event) -> u8 {
    match event {
        Event::Wake(_) | Event::Heal(_) | Event::Start(_) | Event::LateBeat | Event::LateDirective => 0,
        Event::Fence(_) | Event::Look | Event::Open | Event::Act(_) | Event::Write(_) => 1,
        Event::Miss(..) | Event::Gone(..) | Event::GraceEnds(_) => 2,
        Event::Move(_) | Event::Beat(_) | Event::Hear(_) | Event::Report(_) => 3,
        Event::Advance(_) => 4,
        Event::Expire(_) => 5,
        _ => 6,
    }
}

impl World {
    /// The next event, and the state after it; none where nothing happens any more.
    fn fair(&self, rules: &Rules) -> Option<(Event, World)> {
        let mut events = self.ordinary(rules);
        events.sort_by_key(|event| rank(*event));
        let before = hash(self);
        events.into_iter().find_map(|event| {
            let mut next = self.clone();
            // What breaks a promise is found by the search.
            next.happen(event, rules).ok()?;
            (hash(&next) != before).then_some((event, next))
        })
    }

    /// Whether the run reaches its end from here; if not, the events up to where it goes in circles or stands still.
    pub(super) fn ends(&self, rules: &Rules, known: &mut Known) -> Result<(), Vec<Event>> {
        let mut world = self.clone();
        world.left.all = 0;
        world.left.kinds = Default::default();
        let (mut path, mut events) = (Vec::new(), Vec::new());
        loop {
            let at = hash(&world);
            if world.is_over() || known.ends.contains_key(&at) {
                known.ends.extend(path.into_iter().map(|at| (at, ())));
                return Ok(());
            }
            if path.contains(&at) {
                return Err(events);
            }
            path.push(at);
            let Some((event, next)) = world.fair(rules) else { return Err(events) };
            events.push(event);
            world = next;
        }
    }
}
