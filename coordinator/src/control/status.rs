//! The run as operators see it.

use super::{Clock, Control, lock};
use crate::membership::{Member, MemberId, Membership};
use proto::v1;
use std::{collections::HashMap, time::Duration};

/// Phases of a step that a worker may name, and the longest name.
const MOST_PHASES: usize = 16;
const LONGEST_PHASE: usize = 32;

/// The word for what a worker does.
pub fn phase(member: &v1::Member) -> String {
    member.phase().as_str_name().trim_start_matches("PHASE_").to_lowercase()
}

impl Control {
    /// The run for operators.
    pub fn status(&self) -> v1::StatusReply {
        let now = self.watch().borrow().clone();
        let left = now.patience.map(|left| format!(", for {:.0} s more", left.as_secs_f64()));
        let scale = self.look(Membership::scaled);
        let (clock, elapsed) = self.clock();
        let (recoveries, recovery) = clock.recoveries();
        v1::StatusReply {
            run: self.handout.run.clone(),
            state: now.state.word().into(),
            reason: now.reason + &left.unwrap_or_default(),
            generation: now.generation.0,
            step: now.step.0,
            steps: now.steps.0,
            committed_checkpoint: now.committed.0,
            pairs_per_second: now.pairs_per_second,
            scalars: now.scalars.into_iter().collect(),
            members: self.members(),
            workers: scale.wanted.0,
            min_workers: scale.least.0,
            max_workers: scale.most.0,
            exit_code: now.verdict.map(|verdict| verdict.exit.code().into()),
            goodput: clock.goodput(elapsed),
            recoveries,
            recovery_seconds: recovery.as_secs_f64(),
            substitutions: now.substitutions as u64,
            step_seconds: now.step_seconds,
            state_seconds: clock.in_state(elapsed).as_secs_f64(),
            settings: Some(self.look(|membership| membership.settings().to_wire())),
            profile: self.profiled(),
            rollback: self.look(Membership::told_rollback),
            data_wait_seconds: now.step_seconds * now.data_wait,
        }
    }

    /// How the run has spent its time, and for how long this coordinator has had it.
    pub fn clock(&self) -> (Clock, Duration) {
        (lock(&self.clock).clone(), self.started.elapsed())
    }

    /// What a worker's last step took, by phase.
    pub fn took(&self, id: MemberId, seconds: HashMap<String, f64>) {
        let names = seconds.keys().all(|name| name.len() <= LONGEST_PHASE);
        if seconds.len() <= MOST_PHASES && names && self.look(|membership| membership.member(id).is_some()) {
            lock(&self.laps).insert(id, seconds);
        }
    }

    /// The members, for status: those with a seat by rank, then the others.
    fn members(&self) -> Vec<v1::Member> {
        let now = self.started.elapsed();
        let membership = &lock(&self.held).membership;
        let mut laps = lock(&self.laps);
        laps.retain(|id, _| membership.member(*id).is_some());
        let member = |(id, member): (MemberId, &Member)| v1::Member {
            member: id.to_string(),
            host: member.host.clone(),
            pid: member.pid,
            rank: membership.seat(id).unwrap_or_default().0,
            phase: member.phase.into(),
            applied_step: member.applied.0,
            seconds_since_heartbeat: now.saturating_sub(member.heard).as_secs_f64(),
            seated: membership.seat(id).is_some(),
            spare: member.spare,
            draining: member.draining,
            seconds: laps.get(&id).cloned().unwrap_or_default(),
            first_lane: 0,
            lanes: 0,
        };
        let mut members: Vec<v1::Member> = membership.members().map(member).collect();
        members.sort_by_key(|member| (!member.seated, member.rank));
        let mut first = 0;
        let lanes = membership.lanes().into_iter().map(|count| {
            first += count;
            (first - count, count)
        });
        let lanes: Vec<(u32, u32)> = lanes.collect();
        for member in members.iter_mut().filter(|member| member.seated) {
            (member.first_lane, member.lanes) = lanes.get(member.rank as usize).copied().unwrap_or_default();
        }
        members
    }
}
