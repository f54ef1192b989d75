//! What has to hold after the last fault.

use super::{
    Options,
    failure::{Outcome, Why},
};
use crate::run::{Place, tandem};
use serde_json::Value;

/// How far a loss may be from the undisturbed run's, relative to it. Sums over other worlds have other float orders, which is all that
/// may differ; a step that were lost, repeated or made with other pairs shows from the third digit on, in all losses of all later steps.
pub(super) const TOLERANCE: f64 = 1e-4;
/// What the float order decides at times is which hard negative is drawn, where the draw falls on an edge between two (about twice in
/// 4,000 steps between one and three undisturbed workers). Then the matching loss of that step differs, by at most this,
pub(super) const OF_ANOTHER_NEGATIVE: f64 = 0.02;
/// and only in one of so many steps.
pub(super) const STEPS_OF_ONE: u64 = 500;
/// The losses that are compared.
const MATCHING: &str = "loss_itm";
const OTHERS: [&str; 2] = ["loss_itc", "loss_mlm"];

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// The last step.
    pub(super) steps: u64,
    /// How the losses differ from the undisturbed run's.
    pub(super) apart: Apart,
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
    verdict.apart = apart(&lines, &place.metrics("undisturbed"));
    verdict.wrong.extend(verdict.apart.wrong(verdict.steps));
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

/// How the losses of two runs differ, relative to the second's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Apart {
    /// The most, but for steps with another negative.
    pub(super) most: f64,
    /// In which step.
    step: u64,
    /// Steps in which only the matching loss is over the tolerance.
    pub(super) negatives: u64,
    /// The most in one of them.
    pub(super) by_negative: f64,
}

impl Apart {
    fn wrong(&self, steps: u64) -> Option<String> {
        let Self { most, step, negatives, by_negative } = *self;
        if most.is_nan() || most > TOLERANCE {
            return Some(format!(
                "a loss of step {step} is {most:.1e} from the undisturbed run's, over {TOLERANCE:.0e}"
            ));
        }
        let many =
            negatives > 1 + steps / STEPS_OF_ONE || by_negative.is_nan() || by_negative > OF_ANOTHER_NEGATIVE;
        many.then(|| format!("{negatives} steps have another matching loss, by up to {by_negative:.1e}"))
    }
}

/// Compares step by step; what is missing is infinitely far.
fn apart(lines: &[Value], reference: &[Value]) -> Apart {
    let mut apart = Apart::default();
    if lines.len() != reference.len() {
        (apart.most, apart.step) = (f64::INFINITY, lines.len().min(reference.len()) as u64);
        return apart;
    }
    for (one, other) in lines.iter().zip(reference) {
        let of = |line: &Value, name: &str| line[name].as_f64().unwrap_or(f64::INFINITY);
        let difference = |name: &str| {
            let (one, other) = (of(one, name), of(other, name));
            let comparable = one.is_finite() && other.is_finite();
            if comparable { (one - other).abs() / other.abs() } else { f64::INFINITY }
        };
        let others = OTHERS.map(difference).into_iter().fold(0.0, f64::max);
        let matching = difference(MATCHING);
        let negative = others <= TOLERANCE && matching > TOLERANCE && matching.is_finite();
        if negative {
            apart.negatives += 1;
            apart.by_negative = apart.by_negative.max(matching);
        }
        let most = if negative { others } else { others.max(matching) };
        if most > apart.most {
            (apart.most, apart.step) = (most, one["step"].as_u64().unwrap_or(0));
        }
    }
    apart
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
        let line = |step: u64, itc: f64, itm: f64| json!({"step": step, "loss_itc": itc, "loss_itm": itm, "loss_mlm": 2.0});
        let (one, other) = ([line(1, 4.0, 1.0), line(2, 2.0, 1.0)], [line(1, 4.0, 1.0), line(2, 2.5, 1.0)]);
        assert_eq!(apart(&one, &one), Apart::default());
        let found = apart(&one, &other);
        assert!(found.step == 2 && (found.most - 0.2).abs() < 1e-12 && found.wrong(2).is_some());
        assert!(apart(&one, &other[..1]).wrong(2).is_some());
        assert!(
            apart(&[json!({"step": 1})], &[line(1, 4.0, 1.0)]).wrong(1).is_some(),
            "what is missing is no match"
        );
    }

    #[test]
    fn another_negative_is_rare_and_changes_the_matching_loss_of_its_step_alone() {
        let run = |changed: &[u64], by: f64| -> Vec<Value> {
            let itm = |step| if changed.contains(&step) { 1.0 + by } else { 1.0 };
            (1..=600)
                .map(|step| json!({"step": step, "loss_itc": 3.0, "loss_itm": itm(step), "loss_mlm": 2.0}))
                .collect()
        };
        let against = |changed: &[u64], by: f64| apart(&run(changed, by), &run(&[], 0.0));
        assert_eq!(against(&[7, 300], 1e-3).wrong(600), None);
        assert_eq!(against(&[7, 300], 1e-3).negatives, 2);
        assert!(against(&[7, 8, 300], 1e-3).wrong(600).is_some(), "three are too many");
        assert!(against(&[7], 0.03).wrong(600).is_some(), "that is too much");
    }
}
