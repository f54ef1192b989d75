//! What may happen next without a fault, and what each event does.

use super::{
    Broken, Defect, Event, Fault, Rules, World,
    coordinator::{Call, Coordinator, NOW, Writing},
    worker::{Life, Worker},
};
use crate::membership::{MemberId, State, Stream};
use proto::{Generation, GlobalStep};

impl World {
    /// All that may happen without a fault. Some of it changes nothing.
    pub(super) fn ordinary(&self, rules: &Rules) -> Vec<Event> {
        let mut events = Vec::new();
        self.healing(&mut events);
        self.coordination(rules, &mut events);
        for (place, worker) in self.workers.iter().enumerate() {
            self.working(place, worker, rules, &mut events);
        }
        let groups = self.groups.iter();
        events.extend(
            groups
                .filter(|(of, group)| !group.broken && self.is_stuck(**of))
                .map(|(of, _)| Event::Expire(*of)),
        );
        events
    }

    /// What brings back what a fault took.
    fn healing(&self, events: &mut Vec<Event>) {
        // Who held the run has left, but not at its end: whoever took it over has others started.
        let deserted =
            self.workers.iter().all(|worker| worker.seat.is_none() && worker.holding.settled.0 == 0);
        for (place, worker) in self.workers.iter().enumerate() {
            match worker.life {
                Life::Dead => events.push(Event::Start(place)),
                Life::Stopped => events.push(Event::Wake(place)),
                Life::Left if deserted => events.push(Event::Start(place)),
                Life::Running | Life::Left => {}
            }
            if worker.cut {
                events.push(Event::Heal(place));
            }
        }
        events.extend(self.late.beat.map(|_| Event::LateBeat));
        events.extend(self.late.told.as_ref().map(|_| Event::LateDirective));
    }

    fn coordination(&self, rules: &Rules, events: &mut Vec<Event>) {
        if rules.has(Defect::LooksBeforeItOpens) && self.durable.looked.is_none() {
            events.push(Event::Look);
        }
        if !self.coordinators.contains_key(&self.durable.epoch) && !self.durable.ended {
            events.push(Event::Open);
        }
        for (epoch, it) in &self.coordinators {
            if self.durable.epoch > *epoch {
                events.push(Event::Fence(*epoch));
            }
            let (membership, whole) = (&it.membership, it.whole.is_some());
            let apart = rules.has(Defect::MarkedBeforeTheJournal);
            events
                .extend((whole && (apart || it.writing == Writing::Nothing)).then_some(Event::Write(*epoch)));
            events.extend((it.writing != Writing::Nothing).then_some(Event::Act(*epoch)));
            if membership.deadline.is_some_and(|deadline| deadline > NOW) {
                events.push(Event::GraceEnds(*epoch));
            }
            for (id, member) in &membership.members {
                if self.is_heard(*epoch, *id) {
                    continue;
                }
                if !rules.has(Defect::SilenceIsNoLoss) {
                    events.push(Event::Miss(*epoch, *id));
                }
                if matches!(member.stream, Stream::Open(_)) {
                    events.push(Event::Gone(*epoch, *id));
                }
            }
        }
    }

    fn working(&self, place: usize, worker: &Worker, rules: &Rules, events: &mut Vec<Event>) {
        if !worker.runs() {
            return;
        }
        if worker.speaks() {
            events.extend(self.has_news(place, rules).then_some(Event::Beat(place)));
            events.extend((rules.kinds[Fault::Message as usize] > 0).then_some(Event::Hear(place)));
            let busy = |epoch| self.coordinators.get(&epoch).is_none_or(|it| it.whole.is_some());
            if !worker.outbox.is_empty() && !self.reach(place).is_none_or(busy) {
                events.push(Event::Report(place));
            }
            if self.coordinators.len() > 1
                && self.reach(place) != self.coordinators.keys().next_back().copied()
            {
                events.push(Event::Move(place));
            }
        }
        if self.can_advance(place) {
            events.push(Event::Advance(place));
        }
        if self.can_fail(place) {
            events.push(Event::Fail(place));
        }
        if self.can_fail_halfway(place, rules) {
            events.push(Event::FailHalfway(place));
        }
    }

    /// Whether the ranks of a generation wait for one that does not move. One that does not come at all is the coordinator's affair.
    fn is_stuck(&self, generation: Generation) -> bool {
        let stopped = |worker: &Worker| worker.life == Life::Stopped && worker.seat.is_some();
        self.workers.iter().any(|worker| stopped(worker) && worker.generation == generation)
    }

    /// An event and all that follows at once.
    pub(super) fn happen(&mut self, event: Event, rules: &Rules) -> Result<(), Broken> {
        self.act_out(event, rules)?;
        self.follow(rules)
    }

    /// What nothing is gained from waiting with.
    fn follow(&mut self, rules: &Rules) -> Result<(), Broken> {
        for place in 0..self.workers.len() {
            let worker = &self.workers[place];
            if worker.runs()
                && !worker.cut
                && worker.seat.is_none()
                && (worker.member.is_none() || worker.refused)
            {
                self.join(place, rules);
            }
        }
        // Nobody notices what becomes of a coordinator that nobody talks to.
        let alone = |epoch: &u64| {
            *epoch < self.durable.epoch
                && !(0..self.workers.len()).any(|w| self.reach(w) == Some(*epoch) && self.is_alive(w))
        };
        let fenced: Vec<u64> = self.coordinators.keys().copied().filter(alone).collect();
        fenced.into_iter().for_each(|epoch| self.end_coordinator(epoch));
        while let Some((epoch, writing)) = self.next_writing(rules) {
            match writing {
                Writing::Nothing => self.write(epoch, rules)?,
                Writing::Generation(_) | Writing::Decided | Writing::RolledBack => self.act(epoch, rules)?,
            }
        }
        Ok(())
    }

    /// A coordinator that has something to write, where it makes no difference when it does.
    fn next_writing(&self, rules: &Rules) -> Option<(u64, Writing)> {
        let matters = self.may_lose_coordinator(rules);
        let apart = rules.has(Defect::MarkedBeforeTheJournal);
        let due = |it: &Coordinator| match it.writing {
            Writing::Generation(_) => false,
            Writing::Decided | Writing::RolledBack => !matters,
            Writing::Nothing if it.whole.is_some() && !apart => !matters,
            Writing::Nothing => {
                let membership = &it.membership;
                self.durable.lacks(membership)
                    || membership.verdict().is_some()
                    || membership.rolls_back().is_some()
                    || membership.proposal().is_some()
            }
        };
        let found = self.coordinators.iter().find(|(_, it)| !self.is_over() && due(it));
        found.map(|(epoch, it)| (*epoch, it.writing))
    }

    /// Whether it makes a difference when a checkpoint is decided and marked.
    fn may_lose_coordinator(&self, rules: &Rules) -> bool {
        let left = |fault: Fault| self.left.all > 0 && self.left.kinds[fault as usize] > 0;
        let wrong =
            [Defect::MarkedBeforeTheJournal, Defect::LooksBeforeItOpens].map(|defect| rules.has(defect));
        left(Fault::KillCoordinator)
            || left(Fault::Rival)
            || self.coordinators.len() > 1
            || wrong.contains(&true)
    }

    fn act_out(&mut self, event: Event, rules: &Rules) -> Result<(), Broken> {
        match event {
            Event::Start(place) => {
                let pid = self.record.next_pid;
                self.record.change(|record| record.next_pid += 1);
                self.workers[place].change(|worker| *worker = Worker::new(pid));
            }
            Event::Beat(place) => self.beat(place, true, rules),
            Event::Hear(place) => self.listen(place, rules),
            Event::Advance(place) => self.advance(place, rules)?,
            Event::Fail(place) => self.fail(place, false, rules),
            Event::FailHalfway(place) => self.fail(place, true, rules),
            Event::Report(place) => self.report(place, rules)?,
            Event::Move(place) => {
                let newest = self.coordinators.keys().next_back().copied().unwrap_or_default();
                self.workers[place].change(|worker| worker.link = newest);
            }
            Event::Wake(place) => self.workers[place].change(|worker| worker.life = Life::Running),
            Event::Heal(place) => self.workers[place].change(|worker| worker.cut = false),
            Event::Expire(generation) => self.break_group(generation),
            Event::Look => self.durable.change(|durable| durable.looked = Some(durable.newest())),
            Event::Open => self.open(rules)?,
            Event::Write(epoch) if rules.has(Defect::MarkedBeforeTheJournal) => self.mark(epoch, rules),
            Event::Write(epoch) => self.write(epoch, rules)?,
            Event::Act(epoch) => self.act(epoch, rules)?,
            Event::Fence(epoch) => self.end_coordinator(epoch),
            Event::Miss(epoch, id) => drop(self.call(epoch, &Call::Miss(id), rules)),
            Event::Gone(epoch, id) => drop(self.call(epoch, &Call::Gone(id), rules)),
            Event::GraceEnds(epoch) => drop(self.call(epoch, &Call::GraceEnds, rules)),
            fault => self.go_wrong(fault, rules)?,
        }
        Ok(())
    }

    fn with(&mut self, epoch: u64, act: impl FnOnce(&mut Coordinator)) {
        if let Some(it) = self.coordinators.get_mut(&epoch) {
            it.change(act);
        }
    }

    /// A coordinator takes over the run, and makes good what one before it decided and did not do.
    pub(super) fn open(&mut self, rules: &Rules) -> Result<(), Broken> {
        let steps = GlobalStep(rules.steps);
        let opened = self.durable.change(|durable| {
            let looked = durable.looked.take();
            if let Some(decided) = durable.decided.take() {
                durable.mark(&decided);
            }
            if !rules.has(Defect::ARollbackIsLeftHalfDone) {
                durable.remove_later();
            }
            let known = looked.unwrap_or_else(|| durable.newest());
            if known >= steps {
                durable.ended = true;
                return None;
            }
            let by = durable.committed_by(known);
            Some(Coordinator::open(durable, (by, known), rules))
        });
        let Some(coordinator) = opened else { return Ok(()) };
        let (generation, seats) = (coordinator.membership.generation(), &coordinator.membership.seats);
        let given: Vec<MemberId> = seats.iter().map(|seat| seat.member).collect();
        self.coordinators.insert(coordinator.epoch, super::Piece::new(coordinator));
        self.give(generation, given)
    }

    /// Writes the next decision into the journal, or finds that another coordinator has.
    fn write(&mut self, epoch: u64, rules: &Rules) -> Result<(), Broken> {
        let Some(it) = self.coordinators.get(&epoch).cloned() else { return Ok(()) };
        let whole = it.whole.as_ref().filter(|_| !rules.has(Defect::MarkedBeforeTheJournal));
        if self.durable.epoch != epoch && !rules.has(Defect::NoFence) {
            self.end_coordinator(epoch);
            return Ok(());
        }
        if let Some(whole) = whole {
            // Of a generation that is over by now, it would be of a branch that may have been given up.
            let current = whole.generation == self.durable.generation;
            if current {
                self.durable.change(|durable| durable.decided = Some(whole.clone()));
            }
            self.with(epoch, |it| match current {
                true => it.writing = Writing::Decided,
                false => it.whole = None,
            });
        } else if let Some((step, by)) = it.membership.rolls_back() {
            let by = if rules.has(Defect::ARollbackHasNoNumber) { it.membership.generation() } else { by };
            self.durable.change(|durable| durable.roll_back(step, by));
            self.call(epoch, &Call::DecidedRollback(step, by), rules);
        } else if self.durable.lacks(&it.membership) {
            self.durable.change(|durable| durable.ask(&it.membership));
        } else if let Some(verdict) = it.membership.verdict() {
            if verdict.state == State::Failed {
                return Err(format!("the run fails: {}", verdict.reason));
            }
            self.durable.change(|durable| durable.ended = true);
        } else if let Some(proposal) = it.membership.proposal() {
            if proposal.generation <= self.durable.generation {
                return Err(format!(
                    "generation {} follows generation {}",
                    proposal.generation, self.durable.generation
                ));
            }
            if rules.has(Defect::BegunBeforeTheJournal) {
                self.give(proposal.generation, proposal.seats.iter().map(|seat| seat.member).collect())?;
            } else {
                self.durable.change(|durable| durable.begin(proposal));
            }
            self.with(epoch, |it| it.writing = Writing::Generation(proposal.generation));
        }
        Ok(())
    }

    /// Gives a whole checkpoint its marker, whoever leads the run and whatever it decides meanwhile.
    fn mark(&mut self, epoch: u64, rules: &Rules) {
        if let Some(whole) = self.coordinators.get(&epoch).and_then(|it| it.whole.clone()) {
            self.durable.change(|durable| durable.mark(&whole));
            self.call(epoch, &Call::Committed, rules);
        }
    }

    /// Does what the journal has.
    fn act(&mut self, epoch: u64, rules: &Rules) -> Result<(), Broken> {
        let Some(it) = self.coordinators.get(&epoch).cloned() else { return Ok(()) };
        match it.writing {
            Writing::Nothing => Ok(()),
            Writing::RolledBack => {
                if self.durable.epoch == epoch {
                    self.durable.change(|durable| durable.remove_later());
                    self.call(epoch, &Call::RolledBack, rules);
                } else {
                    self.end_coordinator(epoch);
                }
                Ok(())
            }
            Writing::Generation(generation) => {
                if let Some(proposal) =
                    it.membership.proposal().filter(|_| rules.has(Defect::BegunBeforeTheJournal))
                {
                    self.durable.change(|durable| durable.begin(proposal));
                }
                self.begin(epoch, generation, rules)
            }
            Writing::Decided => {
                if let Some(whole) = &it.whole {
                    self.durable.change(|durable| {
                        durable.mark(whole);
                        durable.answered = durable.answered.max(whole.request);
                        if durable.decided.as_ref() == Some(whole) {
                            durable.decided = None;
                        }
                    });
                }
                self.call(epoch, &Call::Committed, rules);
                Ok(())
            }
        }
    }

    fn begin(&mut self, epoch: u64, generation: Generation, rules: &Rules) -> Result<(), Broken> {
        self.call(epoch, &Call::Confirm(generation), rules);
        let seats = self.coordinators.get(&epoch).map(|it| it.membership.seats.clone()).unwrap_or_default();
        self.give(generation, seats.iter().map(|seat| seat.member).collect())
    }

    /// These members have their places from now on.
    fn give(&mut self, generation: Generation, members: Vec<MemberId>) -> Result<(), Broken> {
        match self.record.given.get(&generation) {
            _ if members.is_empty() => Ok(()),
            Some(before) if *before == members => Ok(()),
            Some(before) => {
                Err(format!("generation {generation} has the members {before:?}, and then {members:?}"))
            }
            None => {
                self.record.change(|record| {
                    record.given.insert(generation, members);
                    // Numbers only grow, as another promise has it.
                    while record.given.len() > 2 {
                        record.given.pop_first();
                    }
                });
                Ok(())
            }
        }
    }

    pub(super) fn end_coordinator(&mut self, epoch: u64) {
        self.coordinators.remove(&epoch);
        if self.late.beat.is_some_and(|(of, _)| of == epoch) {
            self.late.change(|late| late.beat = None);
        }
    }
}
