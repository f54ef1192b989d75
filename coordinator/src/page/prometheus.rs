//! The run's metrics for Prometheus.

use crate::control::{Control, phase};
use proto::{
    exposition::{Exposition, labels},
    v1::StatusReply,
};
use std::collections::BTreeMap;

/// Scalars of a step that have metrics of their own, and what they are.
const SCALARS: [(&str, &str, &str); 12] = [
    ("loss", "loss", "Sum of the three losses of the last reported step"),
    ("loss_itc", "loss_itc", "Image-text contrastive loss"),
    ("loss_mlm", "loss_mlm", "Masked language modelling loss"),
    ("loss_itm", "loss_itm", "Image-text matching loss"),
    ("gradient_norm", "gradient_norm", "L2 norm of the whole gradient, before clipping"),
    ("learning_rate", "learning_rate", "Learning rate"),
    ("temperature", "temperature", "Learned temperature of the contrastive loss"),
    ("alpha", "alpha", "Share of the momentum teacher's targets"),
    ("queue_filled", "queue_rows", "Rows of the queue that hold features"),
    ("queue_age", "queue_age_steps", "Steps since the oldest row of the queue was added"),
    ("teacher_drift", "teacher_drift_ratio", "Norm of teacher minus student, over that of the student"),
    (
        "checkpoint_stall",
        "checkpoint_stall_seconds",
        "Time that the loop stood still for checkpoints since the last report",
    ),
];

/// The metrics of this moment.
pub(super) fn text(control: &Control) -> String {
    let (status, (clock, elapsed)) = (control.status(), control.clock());
    let mut all = Exposition::default();
    all.gauges("run_info", "The run's name", [(labels([("run", &status.run)]), 1.0)]);
    progress(&mut all, &status);
    for (scalar, name, help) in SCALARS {
        if let Some(value) = status.scalars.get(scalar) {
            all.gauge(name, help, *value);
        }
    }
    members(&mut all, &status);
    let spent = clock.spent(elapsed);
    let spent = spent.into_iter().map(|(state, seconds)| (labels([("state", state)]), seconds));
    all.counters("state_seconds", "Time of this coordinator, by the run's state", spent);
    all.gauge("goodput_ratio", "Share of this coordinator's time in which the run trained", status.goodput);
    let (recoveries, recovery) = clock.recoveries();
    all.counter("recoveries", "Times that the run went on after it had lost workers", f64::from(recoveries));
    all.counter("recovery_seconds", "Time from losses until the run went on", recovery.as_secs_f64());
    all.text()
}

fn progress(all: &mut Exposition, status: &StatusReply) {
    all.gauge("step", "Committed updates", status.step as f64);
    all.gauge("steps", "The run's last step", status.steps as f64);
    all.gauge("generation", "Number of the generation", status.generation as f64);
    let committed = status.committed_checkpoint as f64;
    all.gauge("checkpoint_step", "Step of the newest committed checkpoint; 0: none", committed);
    all.gauge(
        "pairs_per_second",
        "Pairs trained on per second, over the last half minute",
        status.pairs_per_second,
    );
    all.gauge("step_seconds", "Time of a step, mean since the report before", status.step_seconds);
    all.gauge("data_wait_seconds", "Of it, time spent waiting for data", status.data_wait_seconds);
    let substitutions = status.substitutions as f64;
    all.counter("substituted_rows", "Rows that could not be used and others stood in for", substitutions);
}

fn members(all: &mut Exposition, status: &StatusReply) {
    let seated = status.members.iter().filter(|member| member.seated).count();
    all.gauge("world_size", "Workers in the generation that goes on", seated as f64);
    let mut phases: BTreeMap<String, f64> = BTreeMap::new();
    let mut slowest: BTreeMap<String, f64> = BTreeMap::new();
    for member in &status.members {
        *phases.entry(phase(member)).or_default() += 1.0;
        for (phase, seconds) in &member.seconds {
            let held = slowest.entry(phase.clone()).or_default();
            *held = held.max(*seconds);
        }
    }
    let each = status.members.iter().flat_map(|member| {
        let of = |phase: &str| labels([("member", &member.member), ("host", &member.host), ("phase", phase)]);
        member.seconds.iter().map(move |(phase, seconds)| (of(phase), *seconds))
    });
    let help = "Time of each worker's last step, by phase: data, encode, gather, learn, vote, update";
    all.gauges("worker_step_phase_seconds", help, each);
    let by = |name: &str, values: BTreeMap<String, f64>| -> Vec<_> {
        values.into_iter().map(|(value, number)| (labels([(name, &value)]), number)).collect()
    };
    all.gauges("workers", "Workers that are here, by what they do", by("phase", phases));
    let help = "Time of the slowest worker's last step, by phase: data, encode, gather, learn, vote, update";
    all.gauges("slowest_step_phase_seconds", help, by("phase", slowest));
}
