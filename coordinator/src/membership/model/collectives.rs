//! How a rank gets from one collective to the next, and out of its group.

use super::{
    Broken, Defect, Rules, World,
    durable::Checkpoint,
    group::{Ballot, Group, parity},
    piece::hash,
    worker::{Entry, Life, Seat, Stage, Worker},
};
use proto::settle::{Deed, Plan};
use proto::{Generation, GlobalStep};

impl World {
    fn seated(&self, place: usize) -> Option<(Seat, Generation)> {
        let worker = &self.workers[place];
        Some((worker.seat.clone()?, worker.generation))
    }

    fn group(&self, place: usize) -> Option<&Group> {
        self.groups.get(&self.workers[place].generation)
    }

    /// Whether the rank's collective can end well now.
    pub(super) fn can_advance(&self, place: usize) -> bool {
        let Some(seat) = &self.workers[place].seat else { return false };
        if seat.stage == Stage::Flush {
            return self.workers[place].outbox.is_empty() && !seat.severed;
        }
        self.group(place).is_some_and(|group| match seat.stage {
            Stage::Hand => group.told.is_some(),
            _ => seat.count > 0 && group.all_reached(seat.count),
        })
    }

    /// Whether it can fail.
    pub(super) fn can_fail(&self, place: usize) -> bool {
        let Some(seat) = &self.workers[place].seat else { return false };
        if seat.severed || seat.count == 0 {
            return true;
        }
        let generation = self.workers[place].generation;
        let meets = |epoch| self.coordinators.get(&epoch).is_some_and(|it| it.open == Some(generation));
        let closed = seat.stage == Stage::Meet && !self.reach(place).is_some_and(meets);
        seat.stage != Stage::Flush && (closed || self.group(place).is_none_or(|group| group.broken))
    }

    /// Whether the leader's state can be cut off while it comes.
    pub(super) fn can_fail_halfway(&self, place: usize, rules: &Rules) -> bool {
        let receives = self.deed(place, rules) == Some(Deed::Receive);
        receives && self.group(place).is_some_and(|group| group.told.is_some()) && self.can_fail(place)
    }

    /// What the plan says that a rank does to which the leader hands over.
    fn deed(&self, place: usize, rules: &Rules) -> Option<Deed> {
        let (seat, _) = self.seated(place).filter(|(seat, _)| seat.stage == Stage::Hand)?;
        match self.group(place)?.plan(|table| rules.settle(table, seat.given.resume)) {
            Plan::Settle { deeds, .. } => deeds.get(seat.given.rank as usize).copied(),
            Plan::Begin | Plan::RollBack { .. } => None,
        }
    }

    /// The rank's collective ends well.
    pub(super) fn advance(&mut self, place: usize, rules: &Rules) -> Result<(), Broken> {
        let Some((seat, generation)) = self.seated(place) else { return Ok(()) };
        match seat.stage {
            Stage::Meet => self.enter(place, Stage::Table, rules),
            Stage::Table => self.compare_notes(place, &seat, rules),
            Stage::Hand => self.receive(place, &seat, rules),
            Stage::Compare => self.begin_training(place, &seat, rules),
            Stage::Gather => {
                self.workers[place].change(|worker| {
                    worker.holding.staged = Some(generation);
                    if rules.has(Defect::CommitBeforeTheVote) {
                        worker.holding.commit(generation, false);
                    }
                });
                self.enter(place, Stage::Vote, rules)
            }
            Stage::Vote => self.commit(place, rules),
            Stage::Part => {
                self.drop_out(place, false);
                Ok(())
            }
            Stage::Flush => self.enter(place, Stage::End, rules),
            Stage::End => {
                self.leave(place, true, rules);
                Ok(())
            }
        }
    }

    /// It ends in an error: the rank leaves the group, and keeps what it held.
    pub(super) fn fail(&mut self, place: usize, halfway: bool, rules: &Rules) {
        if halfway && let Some(told) = self.group(place).and_then(|group| group.told.clone()) {
            self.workers[place].change(|worker| worker.take(Deed::Receive, &told, false, rules));
        }
        self.drop_out(place, true);
    }

    /// Enters a collective, unless the rank has lost its own connections.
    fn enter(&mut self, place: usize, stage: Stage, rules: &Rules) -> Result<(), Broken> {
        let Some((seat, generation)) = self.seated(place) else { return Ok(()) };
        if seat.severed {
            self.drop_out(place, true);
            return Ok(());
        }
        let count = seat.count + 1;
        self.workers[place].change(|worker| {
            worker.seat.iter_mut().for_each(|seat| (seat.stage, seat.count) = (stage, count));
        });
        let worker = &self.workers[place];
        let (holding, orders, served) = (worker.holding.clone(), worker.orders.clone(), worker.served);
        let leads = seat.given.rank == 0;
        let crossed = self.groups.change(|groups| {
            let Some(group) = groups.get_mut(&generation) else { return false };
            if stage == Stage::Gather && leads {
                let checkpoint = orders.request > served || orders.stop == Some(true);
                let (stop, regroup) = (orders.stop.is_some(), orders.regroup);
                group.ballots[parity(holding.applied())] =
                    Ballot { checkpoint, stop, regroup, spoiled: false };
            }
            if let Some(rank) = group.rank(seat.given.rank) {
                (rank.count, rank.stage) = (count, stage);
                rank.held = if stage == Stage::Table { holding.held() } else { rank.held };
                rank.sum =
                    if stage == Stage::Compare { hash(&(&holding.state, &holding.ledger)) } else { rank.sum };
            }
            if stage == Stage::Hand {
                let leader = match group.plan(|table| rules.settle(table, seat.given.resume)) {
                    Plan::Settle { leader, .. } | Plan::RollBack { leader, .. } => Some(leader.0),
                    Plan::Begin => None,
                };
                if leader == Some(seat.given.rank) {
                    group.told = Some(holding);
                }
            }
            group.is_crossed()
        });
        if crossed {
            return Err(format!(
                "ranks of generation {generation} wait in different collectives for each other"
            ));
        }
        Ok(())
    }

    /// The table is known.
    fn compare_notes(&mut self, place: usize, seat: &Seat, rules: &Rules) -> Result<(), Broken> {
        let plan = self.group(place).map(|group| group.plan(|table| rules.settle(table, seat.given.resume)));
        if plan != Some(Plan::Begin) {
            return self.enter(place, Stage::Hand, rules);
        }
        let first = self.checkpoint(seat.given.resume.1)?;
        self.workers[place].change(|worker| {
            let holding = &mut worker.holding;
            holding.settled = Generation(0);
            (holding.state, holding.ledger, holding.torn) = (first.state, first.ledger, false);
        });
        self.enter(place, Stage::Compare, rules)
    }

    fn checkpoint(&self, step: GlobalStep) -> Result<Checkpoint, Broken> {
        if step.0 == 0 {
            let (state, ledger) = (Vec::new(), Vec::new());
            return Ok(Checkpoint { generation: Generation(0), state, ledger, request: 0 });
        }
        let missing = || {
            format!("a worker is told to begin with the checkpoint of step {step}, which is not committed")
        };
        self.durable.committed.get(&step).cloned().ok_or_else(missing)
    }

    /// What the leader hands over has come.
    fn receive(&mut self, place: usize, seat: &Seat, rules: &Rules) -> Result<(), Broken> {
        let Some(group) = self.group(place) else { return Ok(()) };
        let (plan, told) = (
            group.plan(|table| rules.settle(table, seat.given.resume)),
            group.told.clone().unwrap_or_default(),
        );
        match plan {
            Plan::Settle { deeds, .. } => {
                let deed = deeds.get(seat.given.rank as usize).copied().unwrap_or(Deed::Receive);
                self.workers[place].change(|worker| worker.take(deed, &told, true, rules));
            }
            Plan::RollBack { step, .. } => {
                let first = self.checkpoint(seat.given.resume.1)?;
                if !told.state.starts_with(&first.state) || told.applied() != step {
                    return Err(format!(
                        "the checkpoint of step {} is not of the run that goes back to it",
                        first.step()
                    ));
                }
                self.workers[place].change(|worker| {
                    let holding = &mut worker.holding;
                    holding.settled = Generation(0);
                    (holding.state, holding.ledger, holding.torn) = (told.state, told.ledger, false);
                    if let Some(last) = holding.ledger.last_mut() {
                        *last = Entry { back_to: Some(first.step()), ..*last };
                    }
                });
            }
            Plan::Begin => {}
        }
        self.enter(place, Stage::Compare, rules)
    }

    /// All states were found to be the same.
    fn begin_training(&mut self, place: usize, seat: &Seat, rules: &Rules) -> Result<(), Broken> {
        let generation = self.workers[place].generation;
        if self.group(place).is_some_and(|group| !group.is_one()) {
            return Err(format!("the ranks of generation {generation} go on from different states"));
        }
        let newest = self.group(place).and_then(Group::newest);
        let (settled, newest) = newest.unwrap_or_default();
        let applied = self.workers[place].holding.applied();
        // What is older than the checkpoint that the run was rolled back to does not count.
        let counts = (settled, newest) >= seat.given.resume;
        if settled.0 > 0 && counts && applied < newest {
            return Err(format!(
                "generation {generation} goes on from step {applied}, though a rank of it held step {newest}"
            ));
        }
        self.workers[place].change(|worker| {
            worker.settled = generation;
            let holding = &mut worker.holding;
            (holding.rolls_back, holding.settled, holding.staged) = (false, generation, None);
            let applied = holding.applied().0;
            let last = applied == rules.steps && seat.given.resume.1.0 < applied;
            let due = |step: u64| step.checked_div(rules.every).unwrap_or(0);
            if last || due(applied) > due(seat.given.resume.1.0) {
                worker.keep(true, last);
            }
        });
        if self.record.settled < generation {
            self.record.change(|record| record.settled = generation);
        }
        self.next_step(place, rules)
    }

    fn next_step(&mut self, place: usize, rules: &Rules) -> Result<(), Broken> {
        if self.workers[place].holding.applied().0 >= rules.steps {
            self.flush(place);
            return Ok(());
        }
        self.workers[place].change(|worker| worker.holding.staged = None);
        self.enter(place, Stage::Gather, rules)
    }

    fn flush(&mut self, place: usize) {
        self.workers[place].change(|worker| {
            worker.seat.iter_mut().for_each(|seat| seat.stage = Stage::Flush);
        });
    }

    /// The votes are counted.
    fn commit(&mut self, place: usize, rules: &Rules) -> Result<(), Broken> {
        let generation = self.workers[place].generation;
        let early = rules.has(Defect::CommitBeforeTheVote);
        let before = GlobalStep(self.workers[place].holding.applied().0 - u64::from(early));
        let ballot =
            self.groups.get(&generation).map(|group| group.ballots[parity(before)]).unwrap_or_default();
        self.workers[place].change(|worker| {
            let holding = &mut worker.holding;
            holding.staged = None;
            if !early {
                holding.commit(generation, ballot.spoiled);
            }
            holding.rolls_back = ballot.spoiled;
        });
        let made = self.workers[place].holding.state.last();
        if made.is_none_or(|made| made.spoiled != ballot.spoiled) {
            return Err(format!("worker {place} has made an update that the votes are against"));
        }
        if ballot.spoiled {
            self.drop_out(place, true);
            return Ok(());
        }
        let applied = self.workers[place].holding.applied().0;
        let last = applied == rules.steps;
        if last || ballot.checkpoint || (rules.every > 0 && applied.is_multiple_of(rules.every)) {
            let must = last || ballot.checkpoint;
            self.workers[place].change(|worker| worker.keep(must, last || ballot.stop));
        }
        match ballot {
            Ballot { stop: true, .. } => self.flush(place),
            Ballot { regroup: true, .. } => return self.enter(place, Stage::Part, rules),
            _ => return self.next_step(place, rules),
        }
        Ok(())
    }

    /// Out of the group, and ready for another seat.
    fn drop_out(&mut self, place: usize, broken: bool) {
        let generation = self.workers[place].generation;
        self.workers[place].change(|worker| worker.wait(broken));
        self.break_group(generation);
        self.close_empty(generation);
        self.sit(place);
    }

    pub(super) fn break_group(&mut self, generation: Generation) {
        let whole = self.groups.get(&generation).is_some_and(|group| !group.broken);
        if whole {
            self.groups
                .change(|groups| groups.iter_mut().for_each(|(of, group)| group.broken |= *of == generation));
        }
    }

    /// A group that nobody is in any more is forgotten.
    pub(super) fn close_empty(&mut self, generation: Generation) {
        let inside = |worker: &Worker| worker.seat.is_some() && worker.generation == generation;
        let alive = |worker: &Worker| matches!(worker.life, Life::Running | Life::Stopped);
        if !self.workers.iter().any(|worker| alive(worker) && inside(worker))
            && self.groups.contains_key(&generation)
        {
            self.groups.change(|groups| groups.remove(&generation));
        }
    }
}
