//! How generations end and begin: everything that follows by itself from who is here.

use super::{Begun, Layout, Member, MemberId, Membership, Proposal, Seat, Stage, Stream};
use proto::{Generation, GlobalStep, v1};
use std::{collections::BTreeSet, time::Duration};

impl Membership {
    /// Draws the consequences of an event.
    pub(super) fn proceed(&mut self, now: Duration) {
        if self.puts_off {
            self.stirred = true;
            return;
        }
        if self.verdict.is_some() {
            return;
        }
        self.hear_adopted(now);
        self.excuse_the_dead(now);
        if matches!(self.stage, Stage::Parting { .. }) && self.are_all_back() {
            self.stage = Stage::Idle;
            self.ask_again();
        }
        self.heed_drains();
        // Those who hold the run are not kept waiting like a first generation, also where a coordinator hears of them late.
        if self.stage == Stage::Idle && self.deadline.is_none() && self.members.values().any(Member::holds) {
            self.deadline = Some(now + self.spec.grace);
        }
        let idle = self.stage == Stage::Idle && self.proposal.is_none();
        if idle && !self.conclude_idle() && !self.is_held_back() && self.going_back().is_none() {
            self.propose(now);
        }
    }

    /// The consequences of the events that come now are drawn by [`catch_up`](Self::catch_up).
    pub fn put_off(&mut self) {
        self.puts_off = true;
    }

    /// Whether there are consequences to draw: there are none of a heartbeat that only tells of another step.
    pub fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// Draws the consequences that were put off, if there are any.
    pub fn catch_up(&mut self, now: Duration) {
        self.puts_off = false;
        if std::mem::take(&mut self.stirred) {
            self.proceed(now);
        }
    }

    /// A generation of an earlier coordinator goes on if all of it are heard, and ends if one is lost. If nobody was
    /// heard, it was over, and the next one is begun like a first.
    fn hear_adopted(&mut self, now: Duration) {
        if self.stage != Stage::Adopted {
            return;
        }
        let here: Vec<&Member> =
            self.seats.iter().filter_map(|seat| self.members.get(&seat.member)).collect();
        let heard = here.iter().filter(|member| member.phase != v1::Phase::Unspecified).count();
        let whole = here.len() + self.finished.len() == self.seats.len();
        if here.is_empty() {
            self.stage = Stage::Idle;
            // A stop was meant for those who are gone.
            self.stop = self.stop.filter(|_| self.asked);
        } else if !whole && heard > 0 {
            let why = std::mem::take(&mut self.why).join(", ");
            self.part(false, Some(why), now);
        } else if whole && heard == here.len() {
            self.stage = Stage::Together;
            // What was reported of a checkpoint went down with the earlier coordinator.
            self.ask_again();
        }
    }

    /// The generation can't go on, or was asked not to. What is lost is worth waiting for others, for a while.
    pub(super) fn part(&mut self, broken: bool, lost: Option<String>, now: Duration) {
        let before = match self.stage {
            Stage::Together | Stage::Adopted => {
                self.why.clear();
                self.deadline = Some(now);
                false
            }
            Stage::Parting { broken } => broken,
            Stage::Idle => return,
        };
        self.stage = Stage::Parting { broken: broken || before };
        let Some(reason) = lost else { return };
        // That the collectives of a second one failed is no news.
        if !broken || self.why.is_empty() {
            self.why.push(reason);
            self.deadline = Some(now + self.spec.grace);
        }
    }

    /// When the peers of a member say that they have lost one, and its stream is gone as well, it is not waited for.
    fn excuse_the_dead(&mut self, now: Duration) {
        if self.stage != (Stage::Parting { broken: true }) {
            return;
        }
        let dead = |member: &Member| matches!(member.stream, Stream::Gone(_)) && !is_back(member);
        let here = self.seats.iter().filter_map(|seat| Some((seat.member, self.members.get(&seat.member)?)));
        let lost: Vec<MemberId> = here.filter(|(_, member)| dead(member)).map(|(id, _)| id).collect();
        for id in lost {
            self.lose(id, "was lost by its peers, and its connection is gone", now);
        }
    }

    /// A member that never took up its seat has not left its place either.
    fn are_all_back(&self) -> bool {
        let mut here = self.seats.iter().filter_map(|seat| self.members.get(&seat.member));
        here.all(is_back)
    }

    /// Asks for a checkpoint if one that was due may have died with its generation or its coordinator.
    fn ask_again(&mut self) {
        let due = |step: GlobalStep| step.0.checked_div(self.spec.settings.checkpoint_every).unwrap_or(0);
        if due(self.step()) > due(self.committed) {
            self.ask_for_checkpoint();
        }
    }

    /// Numbers of requests grow, also over coordinators: those of an earlier one that no checkpoint answered are not known any more.
    pub(super) fn ask_for_checkpoint(&mut self) {
        let first = (self.epoch.saturating_sub(1) << 32) + 1;
        self.request = first.max(self.request + 1);
    }

    /// Ends the run with a checkpoint when those who are told to go can't leave it to others.
    fn heed_drains(&mut self) {
        let held = |id: MemberId, member: &Member| self.seat(id).is_some() || member.holds();
        let leaves = |(id, member): (&MemberId, &Member)| member.draining && held(*id, member);
        if self.stop.is_some() || !self.members.values().any(|member| member.draining) {
            return;
        }
        let staying =
            self.choose(|id, member| !member.draining && (self.seat(id).is_some() || is_back(member)));
        let taken_over = staying.iter().any(|id| self.members.get(id).is_some_and(|m| held(*id, m)));
        let enough = staying.len() >= self.spec.least.index() && taken_over;
        let alone = self.members.values().all(|member| member.draining);
        if alone || (self.members.iter().any(leaves) && !enough) {
            self.stop = Some(v1::Stop { checkpoint: true });
            self.withdraw_rollback("the workers were told to go, and the run stops");
        }
    }

    /// Who has a seat if those who are `eligible` come together: the members of the newest generation in the order of their ranks, then
    /// others, those who hold the run first, and spares only in the place of those who are missing.
    fn choose(&self, eligible: impl Fn(MemberId, &Member) -> bool) -> Vec<MemberId> {
        let mut open: Vec<_> = self.members.iter().filter(|(id, member)| eligible(**id, member)).collect();
        let place = |id| self.rank(id).map_or(usize::MAX, |rank| rank.index());
        open.sort_by_cached_key(|(id, member)| (place(**id), !member.holds(), member.spare, **id));
        let mut chosen = Vec::new();
        for (id, member) in open {
            let limit = if member.spare { self.spec.wanted } else { self.spec.most };
            if chosen.len() < limit.index() {
                chosen.push(*id);
            }
        }
        chosen
    }

    /// Who would have a seat now.
    pub(super) fn candidates(&self) -> Vec<MemberId> {
        // Who is told to go while the run is asked to stop leaves with the others.
        self.choose(|_, member| member.is_ready() && (!member.draining || self.stop.is_some()))
    }

    fn propose(&mut self, now: Duration) {
        let chosen = self.candidates();
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        let enough = if due { self.spec.least } else { self.spec.wanted };
        let holds = |id: &MemberId| self.members.get(id).is_some_and(Member::holds);
        // Nobody begins anew while somebody who holds the run is here.
        let held = chosen.iter().any(holds) || !self.members.keys().any(holds);
        if chosen.len() < enough.index() || !held {
            return;
        }
        let seat = |id: MemberId| {
            let member = self.members.get(&id)?;
            let Member { pid, weight, spare, slot, .. } = *member;
            Some(Seat { member: id, host: member.host.clone(), pid, weight, spare, slot })
        };
        let seats: Vec<Seat> = chosen.into_iter().filter_map(seat).collect();
        let (generation, step) = (self.generation.next(), self.begins(&seats));
        self.proposal = Some(Proposal { generation, seats, step });
    }

    /// The generation that begins as soon as it is [confirmed](Self::confirm).
    pub fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref().filter(|_| self.verdict.is_none())
    }

    /// The journal has the proposed generation: it begins. Says whether it does.
    pub fn confirm(&mut self, generation: Generation, now: Duration) -> bool {
        let Some(Proposal { seats, step, .. }) = self.proposal.take_if(|p| p.generation == generation) else {
            return false;
        };
        if self.verdict.is_some() {
            return false;
        }
        self.begun = Begun {
            committed: (self.committed_by, self.committed),
            answered: self.answered,
            every: self.spec.settings.checkpoint_every,
        };
        self.applied = step;
        self.layout = Layout::of(&seats, self.spec.lanes);
        (self.generation, self.seats, self.stage) = (generation, seats, Stage::Together);
        self.finished = BTreeSet::new();
        self.deadline = Some(now);
        let lost: Vec<String> = self
            .seats
            .iter()
            .filter(|seat| !self.members.contains_key(&seat.member))
            .map(|seat| self.name(seat.member))
            .collect();
        for name in lost {
            self.part(false, Some(format!("{name} was lost before it began")), now);
        }
        self.proceed(now);
        true
    }

    /// The step with which these members begin: the newest that one of them holds, or that of the newest checkpoint.
    pub(super) fn begins(&self, seats: &[Seat]) -> GlobalStep {
        self.newest_held(seats.iter().filter_map(|seat| self.members.get(&seat.member)))
    }

    /// The newest step that one of these holds, or that of the newest checkpoint: as `proto::settle` decides.
    pub(super) fn newest_held<'a>(&self, members: impl Iterator<Item = &'a Member>) -> GlobalStep {
        let held = members.filter(|member| member.holds()).map(|member| (member.settled, member.applied));
        held.max().unwrap_or_default().max((self.committed_by, self.committed)).1
    }

    /// Whether the generation has to end at its next step boundary, because another membership is waiting.
    pub fn wants_regroup(&self) -> bool {
        let finishing =
            |seat: &Seat| self.members.get(&seat.member).is_none_or(|m| m.phase == v1::Phase::Finishing);
        if self.stage != Stage::Together || self.stop.is_some() || self.seats.iter().any(finishing) {
            return false;
        }
        if self.paused.is_some() || self.going_back().is_some() {
            return true;
        }
        let next =
            self.choose(|id, member| !member.draining && (self.rank(id).is_some() || member.is_ready()));
        let now = self.seats.iter().map(|seat| seat.member);
        let stays = next.iter().any(|id| self.rank(*id).is_some());
        stays && next.len() >= self.spec.least.index() && !next.iter().copied().eq(now)
    }
}

/// It has no group any more.
fn is_back(member: &Member) -> bool {
    member.phase == v1::Phase::Waiting
}
