//! What may go wrong next, as far as the bound allows.

use super::{
    Broken, Event, Fault, Rules, World,
    coordinator::{Call, Told},
    worker::{Life, Stage},
};
use crate::membership::MemberId;
use proto::Generation;

impl Event {
    /// What it is charged to.
    fn fault(self) -> Option<Fault> {
        Some(match self {
            Self::Kill(_) => Fault::Kill,
            Self::Stop(_) => Fault::Stop,
            Self::Cut(_) => Fault::Cut,
            Self::Sever(_) => Fault::Sever,
            Self::KillCoordinator(_) => Fault::KillCoordinator,
            Self::Rival => Fault::Rival,
            Self::LoseAnswer(_) | Self::RepeatBeat(_) | Self::RepeatDirective(_) => Fault::Message,
            Self::Spoil(_) => Fault::Spoil,
            Self::Halt(_) => Fault::Halt,
            Self::Drain(..) => Fault::Drain,
            Self::RollBack(..) => Fault::RollBack,
            _ => return None,
        })
    }
}

impl World {
    fn is_left(&self, fault: Fault) -> bool {
        self.left.all > 0 && self.left.kinds[fault as usize] > 0
    }

    /// All faults that may happen.
    pub(super) fn faults(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.left.all == 0 || self.is_over() {
            return events;
        }
        for (place, worker) in self.workers.iter().enumerate().filter(|(place, _)| self.is_alive(*place)) {
            let runs = worker.life == Life::Running;
            events.push(Event::Kill(place));
            events.extend(runs.then_some(Event::Stop(place)));
            events.extend((!worker.cut).then_some(Event::Cut(place)));
            if worker.speaks() {
                events.push(Event::LoseAnswer(place));
                events.extend(self.late.beat.is_none().then_some(Event::RepeatBeat(place)));
                events.extend(self.late.told.is_none().then_some(Event::RepeatDirective(place)));
            }
        }
        for (generation, group) in self.groups.iter() {
            events.extend((!group.broken).then_some(Event::Sever(*generation)));
            let gathers =
                group.ranks.iter().all(|rank| rank.as_ref().is_some_and(|r| r.stage == Stage::Gather));
            events.extend(gathers.then_some(Event::Spoil(*generation)));
        }
        for (epoch, it) in &self.coordinators {
            events.push(Event::KillCoordinator(*epoch));
            events.extend(it.membership.stop().is_none().then_some(Event::Halt(*epoch)));
            let staying = it.membership.members.iter().filter(|(_, member)| !member.draining);
            events.extend(staying.map(|(id, _)| Event::Drain(*epoch, *id)));
            let steps = self.durable.committed.keys();
            events.extend(steps.map(|step| Event::RollBack(*epoch, *step)));
        }
        events.extend((self.coordinators.len() == 1).then_some(Event::Rival));
        events.retain(|event| event.fault().is_some_and(|fault| self.is_left(fault)));
        events
    }

    pub(super) fn go_wrong(&mut self, event: Event, rules: &Rules) -> Result<(), Broken> {
        if let Some(fault) = event.fault() {
            self.left.all = self.left.all.saturating_sub(1);
            let kind = &mut self.left.kinds[fault as usize];
            *kind = kind.saturating_sub(1);
        }
        match event {
            Event::Kill(place) => self.part_with(place, Life::Dead),
            Event::Stop(place) => self.workers[place].change(|worker| worker.life = Life::Stopped),
            Event::Cut(place) => self.workers[place].change(|worker| worker.cut = true),
            Event::Sever(generation) => self.break_group(generation),
            Event::KillCoordinator(epoch) => self.end_coordinator(epoch),
            Event::Rival => self.open(rules)?,
            Event::LoseAnswer(place) => self.beat(place, false, rules),
            Event::RepeatBeat(place) => {
                let beat = self.reach(place).zip(self.workers[place].beat());
                self.late.change(|late| late.beat = beat);
            }
            Event::RepeatDirective(place) => {
                let told = self.workers[place].member.zip(self.directive(place, rules));
                self.late.change(|late| late.told = told.map(|(id, told)| (place, id, told)));
            }
            Event::LateBeat => self.repeat_beat(rules),
            Event::LateDirective => self.repeat_directive(rules),
            Event::Spoil(generation) => self.spoil(generation),
            Event::Halt(epoch) => drop(self.call(epoch, &Call::Halt, rules)),
            Event::Drain(epoch, id) => drop(self.call(epoch, &Call::Drain(id), rules)),
            Event::RollBack(epoch, step) => drop(self.call(epoch, &Call::RollBack(step), rules)),
            _ => {}
        }
        Ok(())
    }

    /// The answer to a heartbeat that came late is one that nobody waits for.
    fn repeat_beat(&mut self, rules: &Rules) {
        if let Some((epoch, beat)) = self.late.change(|late| late.beat.take()) {
            self.call(epoch, &Call::Late(beat), rules);
        }
    }

    fn repeat_directive(&mut self, rules: &Rules) {
        let late: Option<(usize, MemberId, Told)> = self.late.change(|late| late.told.take());
        let Some((place, id, told)) = late else { return };
        if self.workers[place].member == Some(id) && self.workers[place].speaks() {
            self.obey(place, told, rules);
        }
    }

    fn spoil(&mut self, generation: Generation) {
        let before =
            self.workers.iter().filter(|worker| worker.generation == generation && worker.seat.is_some());
        let applied = before.map(|worker| worker.holding.applied()).max();
        self.groups.change(|groups| {
            if let (Some(group), Some(applied)) = (groups.get_mut(&generation), applied) {
                group.ballots[super::group::parity(applied)].spoiled = true;
            }
        });
    }
}
