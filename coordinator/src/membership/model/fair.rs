//! What comes when no more faults happen: what was taken comes back, what is sent arrives, and everybody does in turn what they
//! can. It is a function of the state, so a path that meets one that was gone before need not be gone again.

use super::{Broken, Event, FAULTS, Rules, World, piece::hash, story::Story};
use std::collections::HashSet;

/// States from which the run is known to reach its end.
#[derive(Default)]
pub(super) struct Known {
    ends: HashSet<u64>,
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
    fn fair(&self, rules: &Rules) -> Option<(Event, Result<World, Broken>)> {
        let mut events = self.ordinary(rules);
        events.sort_by_key(|event| rank(*event));
        let before = hash(self);
        events.into_iter().find_map(|event| {
            let mut next = self.clone();
            let held = next.happen(event, rules);
            (held.is_err() || hash(&next) != before).then_some((event, held.map(|()| next)))
        })
    }

    /// Whether the run reaches its end from here; if not, the events up to where it goes in circles or stands still.
    pub(super) fn ends(&self, rules: &Rules, known: &mut Known) -> Result<(), Story> {
        let mut world = self.clone();
        (world.left.all, world.left.kinds) = (0, [0; FAULTS]);
        let (mut path, mut events) = (Vec::new(), Vec::new());
        loop {
            let at = hash(&world);
            if world.is_over() || known.ends.contains(&at) {
                known.ends.extend(path);
                return Ok(());
            }
            let circles = path.contains(&at);
            path.push(at);
            let Some((event, next)) = world.fair(rules).filter(|_| !circles) else {
                return Err(Story { what: "no more faults happen, and the run does not end".into(), events });
            };
            events.push(event);
            world = next.map_err(|what| Story { what, events: events.clone() })?;
        }
    }
}
