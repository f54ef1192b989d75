//! What workers and coordinators tell each other.

use super::{
    Broken, Defect, Rules, World,
    coordinator::{Answer, Call, Told, What},
    group::{Group, Rank},
    worker::{Life, Orders, Stage, Worker},
};

impl World {
    /// A process registers, or does so again.
    pub(super) fn join(&mut self, place: usize, rules: &Rules) {
        let Some(epoch) = self.reach(place) else { return };
        let pid = self.workers[place].pid;
        self.forget_told(place);
        match self.call(epoch, &Call::Join(pid), rules) {
            Answer::Joined(Some(member)) => self.workers[place].change(|worker| {
                (worker.member, worker.refused, worker.link) = (Some(member), false, epoch);
                worker.orders = Orders::default();
            }),
            _ => self.part_with(place, Life::Left),
        }
    }

    /// What the coordinator of that epoch answers, if it serves.
    pub(super) fn call(&mut self, epoch: u64, call: &Call, rules: &Rules) -> Answer {
        match self.coordinators.get_mut(&epoch) {
            Some(it) => rules.memory.take(it, call),
            None => Answer::Nothing,
        }
    }

    /// A heartbeat and what follows from it, with its answer if that is `heard`.
    pub(super) fn beat(&mut self, place: usize, heard: bool, rules: &Rules) {
        let (Some(epoch), Some(beat)) = (self.reach(place), self.workers[place].beat()) else { return };
        let answer = self.call(epoch, &Call::Beat(beat), rules);
        if !heard {
            return;
        }
        if self.workers[place].link != epoch {
            self.workers[place].change(|worker| worker.link = epoch);
        }
        match answer {
            Answer::Told(Some(told)) => self.hear(place, told, rules),
            _ => {
                self.workers[place].change(|worker| worker.refused = true);
                self.forget_told(place);
                self.sever_own(place);
            }
        }
    }

    /// Whether a heartbeat says something new or brings something new. That of a step more alone would be of no consequence now.
    pub(super) fn has_news(&self, place: usize, rules: &Rules) -> bool {
        let (Some(epoch), Some(beat)) = (self.reach(place), self.workers[place].beat()) else { return false };
        let Some(it) = self.coordinators.get(&epoch) else { return false };
        let known = it.membership.members.get(&beat.member);
        let said = known.map(|member| (member.phase, member.generation, member.settled));
        if said != Some((beat.phase, beat.generation, beat.settled)) {
            return true;
        }
        let Some(Told { what, request, stop, regroup }) = self.directive(place, rules) else { return true };
        let seat = match what {
            What::Sit(given) => Some(given),
            What::Wait => None,
            What::Leave => return true,
        };
        let (orders, link) = (&self.workers[place].orders, self.workers[place].link);
        *orders != Orders { seat, request, stop, regroup } || link != epoch
    }

    /// The stream tells the directive of now.
    pub(super) fn listen(&mut self, place: usize, rules: &Rules) {
        let told = self.directive(place, rules);
        if let Some(told) = told {
            self.hear(place, told, rules);
        }
    }

    /// What it tells now.
    pub(super) fn directive(&self, place: usize, rules: &Rules) -> Option<Told> {
        let (epoch, member) = (self.reach(place)?, self.workers[place].member?);
        match rules.memory.take(&mut self.coordinators.get(&epoch)?.clone(), &Call::Look(member)) {
            Answer::Told(told) => told,
            _ => None,
        }
    }

    /// A directive counts unless a later one came before it.
    fn hear(&mut self, place: usize, told: Told, rules: &Rules) {
        self.forget_told(place);
        self.obey(place, told, rules);
    }

    pub(super) fn obey(&mut self, place: usize, told: Told, rules: &Rules) {
        let Told { what, request, stop, regroup } = told;
        let seat = match what {
            What::Leave => {
                self.leave(place, false, rules);
                // Somebody may start another worker in the place of one that was told to go.
                return self.workers[place].change(|worker| worker.life = Life::Dead);
            }
            What::Sit(given) => Some(given),
            What::Wait => None,
        };
        let lost = seat.as_ref().is_none_or(|given| given.generation != self.workers[place].generation);
        let orders = Orders { seat, request, stop, regroup };
        if self.workers[place].orders != orders {
            self.workers[place].change(|worker| worker.orders = orders);
        }
        if lost {
            self.sever_own(place);
        }
        self.sit(place);
    }

    /// The control thread ends the collectives of a seat that was lost.
    fn sever_own(&mut self, place: usize) {
        if self.workers[place].seat.as_ref().is_none_or(|seat| seat.severed) {
            return;
        }
        self.workers[place].change(|worker| worker.seat.iter_mut().for_each(|seat| seat.severed = true));
        let generation = self.workers[place].generation;
        self.break_group(generation);
    }

    /// Takes the seat that it was told of, if it has none, and goes to where the ranks meet, if they may.
    pub(super) fn sit(&mut self, place: usize) {
        let before = self.workers[place].generation;
        let wants = |worker: &Worker| {
            let seat = worker.orders.seat.as_ref();
            worker.seat.is_none() && !worker.refused && seat.is_some_and(|given| given.generation > before)
        };
        if !wants(&self.workers[place]) {
            return;
        }
        self.workers[place].change(Worker::sit);
        let (worker, open) =
            (&self.workers[place], self.reach(place).and_then(|epoch| self.coordinators.get(&epoch)));
        let (Some(seat), generation, pid) = (worker.seat.clone(), worker.generation, worker.pid) else {
            return;
        };
        if worker.cut || open.is_none_or(|coordinator| coordinator.open != Some(generation)) {
            return;
        }
        let held = worker.holding.held();
        self.workers[place].change(|worker| worker.seat.iter_mut().for_each(|seat| seat.count = 1));
        self.groups.change(|groups| {
            let group = groups.entry(generation).or_insert_with(|| Group::new(seat.given.world));
            if let Some(free) = group.ranks.get_mut(seat.given.rank as usize) {
                *free = Some(Rank { pid, count: 1, stage: Stage::Meet, held, sum: 0 });
            }
        });
    }

    /// A part is reported. One that nobody wants any more is given up; one of the last checkpoint is told again until that is committed.
    pub(super) fn report(&mut self, place: usize, rules: &Rules) -> Result<(), Broken> {
        let (Some(epoch), Some(member)) = (self.reach(place), self.workers[place].member) else {
            return Ok(());
        };
        let Some(part) = self.workers[place].outbox.first().cloned() else { return Ok(()) };
        let lasting = part.last && !rules.has(Defect::TheLastPartIsReportedOnce);
        let own = part.generation == self.workers[place].generation;
        let committed = match self.call(epoch, &Call::Report(member, part), rules) {
            Answer::Part(committed) => committed,
            Answer::Broken(what) => return Err(what),
            _ => return Ok(()),
        };
        // The report that makes a checkpoint whole is answered when that is committed.
        let waits = self.coordinators.get(&epoch).is_some_and(|it| it.whole.is_some());
        if committed != Some(false) || !(lasting || waits) {
            self.workers[place].change(|worker| drop(worker.outbox.remove(0)));
        }
        if committed.is_none() && lasting && own {
            self.sever_own(place);
        }
        Ok(())
    }

    /// A worker goes for good, and says so if it is heard.
    pub(super) fn leave(&mut self, place: usize, done: bool, rules: &Rules) {
        let (epoch, member) = (self.reach(place), self.workers[place].member);
        if let (Some(epoch), Some(member), true) = (epoch, member, self.workers[place].speaks()) {
            self.call(epoch, &Call::Leave(member, done), rules);
        }
        self.part_with(place, Life::Left);
    }

    /// A process is no more.
    pub(super) fn part_with(&mut self, place: usize, life: Life) {
        let (generation, seated) = (self.workers[place].generation, self.workers[place].seat.is_some());
        self.workers[place].change(|worker| *worker = worker.ended(life));
        self.forget_told(place);
        if seated {
            self.break_group(generation);
            self.close_empty(generation);
        }
    }

    pub(super) fn forget_told(&mut self, place: usize) {
        if self.late.told.as_ref().is_some_and(|(of, ..)| *of == place) {
            self.late.change(|late| late.told = None);
        }
    }
}
