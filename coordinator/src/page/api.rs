//! What the page asks for, as JSON.

use crate::{
    control::{Control, phase},
    journal::{Event, Told},
    metrics::Line,
};
use proto::v1::Member;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

/// Most points of a curve.
const POINTS: usize = 2000;
/// Most entries of the journal, and rows, that are listed.
const NEWEST: usize = 500;
/// Most seats that are listed, over all generations: the older ones are left out.
const SEATS: usize = 200_000;

/// The run now.
pub(super) fn run(control: &Control, events: usize, evaluations: usize) -> Value {
    let (status, (_, elapsed)) = (control.status(), control.clock());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (lines, quarantined) = {
        let recorder = control.recorder();
        (recorder.lines().len(), recorder.quarantined().len())
    };
    json!({
        "run": status.run,
        "state": status.state,
        "reason": status.reason,
        "generation": status.generation,
        "step": status.step,
        "steps": status.steps,
        "committed_checkpoint": status.committed_checkpoint,
        "pairs_per_second": status.pairs_per_second,
        "workers": status.workers,
        "min_workers": status.min_workers,
        "max_workers": status.max_workers,
        "exit_code": status.exit_code,
        "learning_rate_scale": status.settings.map(|settings| settings.learning_rate_scale),
        "unix_millis": now.as_millis() as u64,
        "started_unix_millis": now.saturating_sub(elapsed).as_millis() as u64,
        "goodput": status.goodput,
        "lanes": status.members.iter().map(|member| member.lanes).sum::<u32>(),
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
        "revision": { "series": lines, "events": events, "quarantine": quarantined, "evaluation": evaluations },
    })
}

fn member(member: &Member) -> Value {
    json!({
        "member": member.member,
        "host": member.host,
        "pid": member.pid,
        "rank": member.seated.then_some(member.rank),
        "seated": member.seated,
        "phase": phase(member),
        "applied_step": member.applied_step,
        "seconds_since_heartbeat": member.seconds_since_heartbeat,
        "spare": member.spare,
        "draining": member.draining,
        "lanes": member.seated.then_some([member.first_lane, member.lanes]),
        "seconds": member.seconds,
    })
}

/// The curves, thinned: every how-manieth line stays as it is, so that no point is made up.
pub(super) fn series(control: &Control) -> Value {
    let recorder = control.recorder();
    let lines = recorder.lines();
    let every = lines.len().div_ceil(POINTS).max(1);
    let last = lines.len().saturating_sub(1);
    let kept = lines.iter().enumerate().filter(|(at, _)| (last - at).is_multiple_of(every));
    let kept: Vec<&Line> = kept.map(|(_, line)| line).collect();
    let names: BTreeSet<&String> = kept.iter().flat_map(|line| line.scalars.keys()).collect();
    let curve =
        |value: &dyn Fn(&Line) -> Option<f64>| kept.iter().map(|line| value(line)).collect::<Vec<_>>();
    let mut values = Map::new();
    values.insert("pairs_per_second".into(), json!(curve(&|line| Some(line.pairs_per_second))));
    values.insert("step_seconds".into(), json!(curve(&|line| Some(line.seconds))));
    values.insert("data_wait_seconds".into(), json!(curve(&|line| Some(line.data_wait_seconds))));
    for name in names {
        values.insert(name.clone(), json!(curve(&|line| line.scalars.get(name).copied())));
    }
    json!({ "steps": kept.iter().map(|line| line.step).collect::<Vec<_>>(), "values": values })
}

/// The newest entries of the journal.
pub(super) fn events(told: &[Told]) -> Value {
    let newest = told.iter().skip(told.len().saturating_sub(NEWEST));
    newest.map(|one| json!({ "number": one.number, "unix_millis": one.unix_millis, "kind": one.kind(), "text": one.text() })).collect()
}

/// Who had a seat in which generation, and at which step it is known to have begun: that of the newest checkpoint before it.
pub(super) fn generations(told: &[Told]) -> Value {
    let mut step = 0;
    let mut all = Vec::new();
    for one in told {
        match &one.event {
            Event::Committed(new) | Event::Rewound(Some(new)) => step = new.step.0,
            Event::Generation { generation, seats } => {
                let members: Vec<&String> = seats.iter().map(|seat| &seat.member).collect();
                all.push(json!({
                    "generation": generation.0,
                    "unix_millis": one.unix_millis,
                    "world_size": seats.len(),
                    "step": step,
                    "members": members,
                }));
            }
            _ => {}
        }
    }
    let mut room = SEATS;
    let fits = |one: &&Value| {
        let seats = one["members"].as_array().map_or(0, Vec::len);
        room = room.saturating_sub(seats);
        room > 0
    };
    let newest = all.iter().rev().take_while(fits).count().max(1);
    all.drain(..all.len().saturating_sub(newest));
    all.into()
}

/// The newest rows that could not be used.
pub(super) fn quarantine(control: &Control) -> Value {
    let recorder = control.recorder();
    let rows = recorder.quarantined();
    let newest = rows.iter().skip(rows.len().saturating_sub(NEWEST));
    newest.map(|one| json!({ "step": one.step, "row": one.row, "substitute": one.substitute, "reason": one.reason })).collect()
}
