//! A run's status for people and for programs.

use super::live;
use crate::control::phase;
use proto::v1;
use serde_json::json;
use std::time::Duration;

/// All of it.
pub(super) fn as_text(status: &v1::StatusReply) -> String {
    let v1::StatusReply { run, state, reason, generation, step, steps, committed_checkpoint, .. } = status;
    let mut text = format!(
        "run {run}: {state} for {}: {reason}\ngeneration {generation}, step {step} of {steps}, newest checkpoint {committed_checkpoint}, {:.0} pairs/s\n",
        humantime::format_duration(Duration::from_secs(status.state_seconds as u64)),
        status.pairs_per_second
    );
    if let Some(settings) = &status.settings {
        text += &format!("set: {}\n", live::as_text(settings));
    }
    let mut scalars: Vec<_> = status.scalars.iter().collect();
    scalars.sort_by_key(|(name, _)| *name);
    for (name, value) in scalars {
        text += &format!("  {name:<16} {value:.6}\n");
    }
    text + &as_table(&status.members)
}

/// In one line.
pub(super) fn as_line(status: &v1::StatusReply) -> String {
    let v1::StatusReply { state, reason, step, steps, pairs_per_second, scalars, .. } = status;
    let loss = scalars.get("loss").map(|loss| format!(", loss {loss:.4}")).unwrap_or_default();
    format!("step {step} of {steps}{loss}, {pairs_per_second:.0} pairs/s: {state}: {reason}")
}

/// The workers, one per line.
pub(super) fn as_table(members: &[v1::Member]) -> String {
    let row = |member: &v1::Member| {
        [
            member.member.clone(),
            if member.seated { member.rank.to_string() } else { "-".into() },
            member.host.clone(),
            member.pid.to_string(),
            phase(member)
                + if member.spare { ", spare" } else { "" }
                + if member.draining { ", leaves" } else { "" },
            member.applied_step.to_string(),
            format!("{:.1} s ago", member.seconds_since_heartbeat),
        ]
    };
    let head = ["WORKER", "RANK", "HOST", "PROCESS", "PHASE", "STEP", "HEARD"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(members.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("  {}\n", line.trim_end())
    };
    if members.is_empty() { "  no workers\n".into() } else { rows.iter().map(line).collect() }
}

/// For programs.
pub(super) fn as_json(status: &v1::StatusReply) -> serde_json::Value {
    let member = |member: &v1::Member| {
        json!({
            "member": member.member, "host": member.host, "pid": member.pid,
            "seated": member.seated, "rank": member.seated.then_some(member.rank), "spare": member.spare,
            "draining": member.draining,
            "phase": phase(member), "applied_step": member.applied_step,
            "seconds_since_heartbeat": member.seconds_since_heartbeat,
            "lanes": member.seated.then_some(member.lanes), "seconds": member.seconds,
        })
    };
    json!({
        "run": status.run, "state": status.state, "reason": status.reason, "generation": status.generation,
        "step": status.step, "steps": status.steps, "committed_checkpoint": status.committed_checkpoint,
        "pairs_per_second": status.pairs_per_second, "scalars": status.scalars,
        "workers": status.workers, "min_workers": status.min_workers, "max_workers": status.max_workers,
        "state_seconds": status.state_seconds, "goodput": status.goodput, "recoveries": status.recoveries, "recovery_seconds": status.recovery_seconds,
        "substitutions": status.substitutions, "step_seconds": status.step_seconds,
        "data_wait_seconds": status.data_wait_seconds,
        "settings": status.settings.as_ref().map(live::as_json),
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
    })
}
