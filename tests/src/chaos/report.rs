//! What a trial found: a table for people, JSON for programs.

use super::{
    Options, Struck, Trial,
    judge::{TOLERANCE, Verdict},
    plan::Fault,
    watch::{Cost, cost, ordinary, percentile},
};
use serde_json::{Value, json};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// What faults of one kind cost.
#[derive(Clone, Debug)]
struct Row {
    name: &'static str,
    costs: Vec<Cost>,
}

/// The whole.
#[derive(Clone, Debug)]
pub struct Report {
    seed: u64,
    /// Where everything lies that was kept.
    pub folder: PathBuf,
    plan: Vec<String>,
    /// Each fault with its cost, for whoever looks for the slow ones.
    strikes: Vec<Value>,
    rows: Vec<Row>,
    ordinary: Duration,
    generations: u64,
    conditions: Vec<String>,
    verdict: Verdict,
    wrong: Vec<String>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        trial: &Trial,
        struck: &[Struck],
        verdict: Verdict,
        wrong: Vec<String>,
        folder: &Path,
    ) -> Self {
        let commits = trial.watch.commits();
        let ordinary = ordinary(commits);
        let mut rows: Vec<Row> = Vec::new();
        let mut strikes = Vec::new();
        for (number, one) in struck.iter().enumerate() {
            let next = struck.get(number + 1);
            let until = next.map_or(trial.fleet.now(), |next| next.at);
            let together = one.strike.overlaps || next.is_some_and(|next| next.strike.overlaps);
            let name = if together { "two at a time" } else { one.strike.fault.name() };
            let cost = cost(commits, one.at, until, ordinary, one.strike.fault.takes_away());
            strikes.push(json!({
                "at_s": one.at.as_secs_f64(),
                "fault": one.strike.fault.name(),
                "whom": one.whom,
                "overlaps": together,
                "recovery_ms": cost.recovery.map(ms),
                "pause_ms": ms(cost.pause),
                "steps_redone": cost.redone,
                "generations": cost.generations,
            }));
            match rows.iter_mut().find(|row| row.name == name) {
                Some(row) => row.costs.push(cost),
                None => rows.push(Row { name, costs: vec![cost] }),
            }
        }
        rows.sort_by_key(|row| {
            Fault::ALL.iter().position(|fault| fault.name() == row.name).unwrap_or(usize::MAX)
        });
        let plan = struck.iter().map(|one| {
            format!(
                "{:.3} s: {} {} ({:?})",
                one.at.as_secs_f64(),
                one.strike.fault.name(),
                one.whom,
                one.strike
            )
        });
        Self {
            seed: options.seed,
            folder: folder.into(),
            plan: plan.collect(),
            strikes,
            rows,
            ordinary,
            generations: trial.watch.generation(),
            conditions: trial.conditions(),
            verdict,
            wrong,
        }
    }

    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.wrong.is_empty()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let (recoveries, pauses) = (row.recoveries(), row.pauses());
            json!({
                "fault": row.name,
                "count": row.costs.len(),
                "recovery_ms": {"p50": ms(percentile(&recoveries, 0.5)), "p99": ms(percentile(&recoveries, 0.99)), "max": ms(percentile(&recoveries, 1.0))},
                "pause_ms": {"p50": ms(percentile(&pauses, 0.5)), "p99": ms(percentile(&pauses, 0.99)), "max": ms(percentile(&pauses, 1.0))},
                "unrecovered": row.costs.len() - recoveries.len(),
                "steps_redone": row.redone(),
            })
        });
        json!({
            "seed": self.seed,
            "holds": self.holds(),
            "wrong": self.wrong,
            "faults": self.rows.iter().map(|row| row.costs.len()).sum::<usize>(),
            "rows": rows.collect::<Vec<_>>(),
            "strikes": self.strikes,
            "ordinary_step_ms": ms(self.ordinary),
            "steps": self.verdict.steps,
            "generations": self.generations,
            "pairs_lost": self.verdict.lost,
            "pairs_repeated": self.verdict.repeated,
            "loss_apart": self.verdict.apart.most,
            "steps_with_another_negative": self.verdict.apart.negatives,
            "loss_apart_by_another_negative": self.verdict.apart.by_negative,
            "tolerance": TOLERANCE,
            "conditions": self.conditions,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "seed {}, {} steps, {} generations, an ordinary step takes {:.0} ms",
            self.seed,
            self.verdict.steps,
            self.generations,
            self.ordinary.as_secs_f64() * 1e3
        );
        self.conditions.iter().for_each(|line| {
            let _ = writeln!(text, "{line}");
        });
        let _ = writeln!(
            text,
            "\n{:17} {:>5} | {:>8} {:>8} {:>8} | {:>8} {:>8} | {:>6}",
            "fault", "count", "recovery", "p99", "max", "pause", "max", "redone"
        );
        for row in &self.rows {
            let (recoveries, pauses) = (row.recoveries(), row.pauses());
            let seconds =
                |times: &[Duration], share: f64| format!("{:.2} s", percentile(times, share).as_secs_f64());
            let _ = writeln!(
                text,
                "{:17} {:>5} | {:>8} {:>8} {:>8} | {:>8} {:>8} | {:>6}",
                row.name,
                row.costs.len(),
                seconds(&recoveries, 0.5),
                seconds(&recoveries, 0.99),
                seconds(&recoveries, 1.0),
                seconds(&pauses, 0.5),
                seconds(&pauses, 1.0),
                row.redone(),
            );
        }
        let Verdict { lost, repeated, apart, .. } = self.verdict;
        let _ = writeln!(
            text,
            "\nrecovery (p50, p99, max): where a worker is gone at once, from then to the first commit of the next generation; else the longest pause; less an ordinary step\npause (p50, max): the longest time without a commit until the next fault, less an ordinary step\nredone: steps that had been committed and were made again"
        );
        let _ = writeln!(
            text,
            "pairs lost {lost}, repeated {repeated}; losses are at most {:.1e} from the undisturbed run's (tolerance {TOLERANCE:.0e}), but for {} steps with another hard negative (up to {:.1e})",
            apart.most, apart.negatives, apart.by_negative
        );
        if self.holds() {
            let _ = writeln!(text, "everything holds");
        } else {
            let _ = writeln!(text, "\nthe plan, for seed {}:\n  {}", self.seed, self.plan.join("\n  "));
            let _ = writeln!(
                text,
                "\nwhat does not hold:\n  {}\neverything lies in {}",
                self.wrong.join("\n  "),
                self.folder.display()
            );
        }
        text
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Row {
    fn recoveries(&self) -> Vec<Duration> {
        self.costs.iter().filter_map(|cost| cost.recovery).collect()
    }

    fn pauses(&self) -> Vec<Duration> {
        self.costs.iter().map(|cost| cost.pause).collect()
    }

    fn redone(&self) -> u64 {
        self.costs.iter().map(|cost| cost.redone).sum()
    }
}
