//! What has to hold after the last fault.

use super::{
    Options,
    failure::{Outcome, Why},
};
use crate::run::{Place, tandem};
use serde_json::Value;

/// How far a loss may be from the undisturbed run's, relative to it. Sums over other worlds have other float orders, which is all that
/// may differ; a step that were lost, repeated or made with other pairs shows from the third digit on.
pub(super) const TOLERANCE: f64 = 1e-4;
/// The losses that are compared.
const LOSSES: [&str; 3] = ["loss_itc", "loss_itm", "loss_mlm"];

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// The last step.
    pub(super) steps: u64,
    /// The largest relative difference of a loss from the undisturbed run's.
    pub(super) apart: f64,
    /// Rows that had to be committed and were not, and rows that were more than once, by the ledger.
    pub(super) lost: u64,
    /// As above.
    pub(super) repeated: u64,
    /// All that does not hold.
    pub(super) wrong: Vec<String>,
}

/// The knobs of the run, beside the places of its data. Nothing but dropout would make its result depend on the world size; the
/// learning rate is a constant, so that a run of fewer steps is the beginning of a longer one.
pub(super) fn sets(workers: usize) -> Vec<String> {
    let fixed = [
        "data.lanes=8",
        "model.dropout=0",
        "optimizer.steps=1000000000",
        "optimizer.warmup=0",
        "optimizer.learning_rate=1e-4",
        "optimizer.min_learning_rate=1e-4",
        "checkpoint.every=20",
        "checkpoint.failures=1000",
        "metrics.every=1",
        "cluster.heartbeat_ms=100",
        "cluster.lost_after=2",
        "cluster.compare_every=50",
        "cluster.meeting_timeout=3",
        "cluster.collective_timeout=3",
        "run.min_workers=1",
    ];
    let counts = [format!("run.workers={workers}"), format!("run.max_workers={}", workers + 1)];
    fixed.into_iter().map(str::to_owned).chain(counts).collect()
}

/// Judges a run that has ended in `output`, and makes the undisturbed one to hold it against.
///
/// # Errors
/// The undisturbed run can't be made.
pub(super) fn judge(place: &Place, output: &str, options: &Options) -> Outcome<Verdict> {
    let mut verdict = Verdict::default();
    let lines = place.metrics(output);
    let steps: Vec<u64> = lines.iter().filter_map(|line| line["step"].as_u64()).collect();
    verdict.steps = steps.last().copied().unwrap_or(0);
    verdict.wrong.extend(once_each(&steps));
    prove(&place.path(output), &mut verdict);
    if verdict.steps == 0 {
        return Ok(verdict);
    }
    let all = [format!("optimizer.steps={}", verdict.steps)];
    let sets: Vec<String> = sets(options.workers).into_iter().chain(all).collect();
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    eprintln!("the undisturbed run of {} steps", verdict.steps);
    let told = place.run("undisturbed", &sets, &[]);
    if told.code != Some(0) {
        return Err(Why::new("the undisturbed run", &format!("{told:?}")));
    }
    let (step, apart) = apart(&lines, &place.metrics("undisturbed"));
    verdict.apart = apart;
    if apart > TOLERANCE {
        verdict.wrong.push(format!(
            "a loss of step {step} is {apart:.1e} from that of the undisturbed run, over {TOLERANCE:.0e}"
        ));
    }
    Ok(verdict)
}

/// What the ledger proves.
fn prove(run: &str, verdict: &mut Verdict) {
    let told = tandem(&["data", "verify-ledger", "--json", "--run", run]);
    let report: Value = serde_json::from_str(&told.out).unwrap_or_default();
    let epochs = report["report"]["epochs"].as_array().cloned().unwrap_or_default();
    let sum = |what: &str| epochs.iter().filter_map(|epoch| epoch[what]["count"].as_u64()).sum();
    (verdict.lost, verdict.repeated) = (sum("missing"), sum("repeated"));
    if told.code != Some(0) || report["proven"] != true {
        verdict.wrong.push(format!("the ledger proves nothing: {}{}", told.out, told.err));
    }
    let proven = report["report"]["steps"].as_u64();
    if proven != Some(verdict.steps) {
        verdict
            .wrong
            .push(format!("the ledger is of {proven:?} steps, the metrics are of {}", verdict.steps));
    }
}

/// Whether the steps are 1, 2, 3, ….
fn once_each(steps: &[u64]) -> Option<String> {
    let wrong = steps.iter().zip(1..).find(|(step, expected)| **step != *expected);
    wrong.map(|(step, expected)| format!("metrics.jsonl has step {step} where step {expected} belongs"))
}

/// The largest relative difference of a loss, and its step; infinite where a line is missing.
fn apart(lines: &[Value], reference: &[Value]) -> (u64, f64) {
    let of = |line: &Value, name: &str| line[name].as_f64().unwrap_or(f64::INFINITY);
    let differences = lines.iter().zip(reference).flat_map(|(one, other)| {
        let step = one["step"].as_u64().unwrap_or(0);
        LOSSES.map(|name| (step, (of(one, name) - of(other, name)).abs() / of(other, name).abs()))
    });
    let largest = differences
        .fold((0, 0.0), |largest, one| if one.1 > largest.1 || one.1.is_nan() { one } else { largest });
    if lines.len() == reference.len() {
        largest
    } else {
        (lines.len().min(reference.len()) as u64, f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_step_that_is_missing_or_there_twice_is_named() {
        assert_eq!(once_each(&[1, 2, 3]), None);
        assert!(once_each(&[1, 3]).is_some_and(|what| what.contains("step 3 where step 2")));
        assert!(once_each(&[1, 2, 2]).is_some_and(|what| what.contains("step 2 where step 3")));
    }

    #[test]
    fn losses_are_compared_step_by_step() {
        let line =
            |step: u64, loss: f64| json!({"step": step, "loss_itc": loss, "loss_itm": 1.0, "loss_mlm": 2.0});
        let (one, other) = ([line(1, 4.0), line(2, 2.0)], [line(1, 4.0), line(2, 2.5)]);
        assert_eq!(apart(&one, &one), (0, 0.0));
        let (step, apart_by) = apart(&one, &other);
        assert!(step == 2 && (apart_by - 0.2).abs() < 1e-12);
        assert_eq!(apart(&one, &other[..1]).1, f64::INFINITY);
        assert!(
            !(apart(&[json!({"step": 1})], &[line(1, 4.0)]).1 <= TOLERANCE),
            "what is missing is no match"
        );
    }
}
