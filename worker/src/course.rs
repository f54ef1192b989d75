//! How the losses have been going, and whether a step's is an anomaly: the same on all ranks, since it follows from the votes alone.

use crate::vote::Verdict;
use proto::config::OptimizerSection;

/// Weight of the past in the moving average.
const PAST: f64 = 0.95;
/// Updates before a loss can be called a jump: the first ones fall steeply, and so do their averages.
const SETTLED: u64 = 20;

/// What is remembered of the losses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Course {
    /// Moving average of the loss, over the updates that were made.
    pub average: f64,
    /// How many these are.
    pub updates: u64,
    /// Anomalies since the last of them.
    pub anomalies: u32,
}

impl Course {
    /// What is wrong with a step, if anything.
    pub fn anomaly(&self, optimizer: &OptimizerSection, verdict: &Verdict) -> Option<String> {
        if let Some(what) = verdict.not_finite {
            return Some(format!("the {what} is not finite"));
        }
        let (loss, bound, average) = (verdict.loss(), optimizer.spike_bound, self.average);
        let jumps = bound > 0.0 && self.updates >= SETTLED && loss > bound * average;
        jumps.then(|| {
            format!("the loss {loss:.4} is over optimizer.spike_bound = {bound} times its moving average {average:.4}")
        })
    }

    /// Remembers a step.
    pub fn note(&mut self, verdict: &Verdict, anomaly: bool) {
        if anomaly {
            self.anomalies += 1;
            return;
        }
        let loss = verdict.loss();
        self.average = if self.updates == 0 { loss } else { PAST * self.average + (1.0 - PAST) * loss };
        self.updates += 1;
        self.anomalies = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vote::Votes;

    fn verdict(loss: f64) -> Verdict {
        Votes::counted(vec![
            1.0, loss, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        ])
        .verdict()
    }

    #[test]
    fn a_jump_is_an_anomaly_once_there_is_an_average_and_does_not_move_it() {
        let optimizer = OptimizerSection { spike_bound: 3.0, ..OptimizerSection::default() };
        let mut course = Course::default();
        for _ in 0..SETTLED {
            assert_eq!(course.anomaly(&optimizer, &verdict(100.0)), None);
            course.note(&verdict(2.0), false);
        }
        let told = course.anomaly(&optimizer, &verdict(6.5)).unwrap();
        assert!(told.contains("6.5000") && told.contains("2.0000"), "{told}");
        course.note(&verdict(6.5), true);
        assert_eq!((course.average, course.anomalies), (2.0, 1));
        assert_eq!(course.anomaly(&optimizer, &verdict(5.5)), None);
        course.note(&verdict(5.5), false);
        assert_eq!(course.anomalies, 0);
        assert_eq!(course.anomaly(&OptimizerSection::default(), &verdict(1e9)), None, "no bound is set");
        assert!(course.anomaly(&optimizer, &verdict(f64::INFINITY)).unwrap().contains("not finite"));
    }
}
