//! Learning rate and distillation weight as functions of the global step.

use proto::GlobalStep;
use proto::config::{ObjectiveSection, OptimizerSection, Schedule};
use std::f64::consts::PI;

/// Steps between two stairs of the published warm-up.
const STAIR: u64 = 100;

/// The learning rate of the update that follows `step` committed ones: linear warm-up, then a half cosine down to the minimum
/// (Loshchilov & Hutter, 2017, equation 5, without restarts).
///
/// By step, both are smooth. By epoch, as the published `Pretrain.py` calls its scheduler, the rate rises in stairs of 100 steps, stays
/// at the top for the rest of the first epoch, and then takes the cosine's value at the epoch's number.
pub fn learning_rate(optimizer: &OptimizerSection, steps_per_epoch: f64, step: GlobalStep) -> f64 {
    let (step, warmup) = (step.0, optimizer.warmup);
    let (risen, done) = match optimizer.schedule {
        Schedule::Step => {
            let decay = optimizer.steps.saturating_sub(warmup).max(1);
            (step, step.saturating_sub(warmup) as f64 / decay as f64)
        }
        Schedule::Epoch => {
            let epoch = (step as f64 / steps_per_epoch.max(1.0)).floor();
            let epochs = (optimizer.steps as f64 / steps_per_epoch.max(1.0)).ceil().max(1.0);
            // The scheduler is called after the update at each stair.
            let risen = if epoch == 0.0 { step.saturating_sub(1) / STAIR * STAIR } else { warmup };
            (risen, epoch / epochs)
        }
    };
    let OptimizerSection {
        learning_rate: top, min_learning_rate: bottom, warmup_learning_rate: first, ..
    } = *optimizer;
    if risen < warmup {
        return first + (top - first) * risen as f64 / warmup as f64;
    }
    bottom + (top - bottom) * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
}

/// The weight of the teacher's soft targets: grows linearly from 0 over `objective.alpha_ramp` steps (one epoch when 0), as the
/// published training loop does.
pub fn alpha(objective: &ObjectiveSection, steps_per_epoch: f64, step: GlobalStep) -> f64 {
    let ramp = if objective.alpha_ramp == 0 { steps_per_epoch } else { objective.alpha_ramp as f64 };
    if ramp <= 0.0 { objective.alpha } else { objective.alpha * (step.0 as f64 / ramp).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn optimizer() -> OptimizerSection {
        OptimizerSection {
            steps: 100,
            warmup: 10,
            warmup_learning_rate: 0.1,
            learning_rate: 1.0,
            min_learning_rate: 0.2,
            ..Default::default()
        }
    }

    #[test]
    fn warms_up_then_falls_to_the_minimum() {
        let at = |step| learning_rate(&optimizer(), 20.0, GlobalStep(step));
        for (step, expected) in [(0, 0.1), (5, 0.55), (10, 1.0), (55, 0.6), (100, 0.2), (1_000, 0.2)] {
            assert!((at(step) - expected).abs() < 1e-12, "step {step}: {} instead of {expected}", at(step));
        }
    }

    #[test]
    fn by_epoch_it_climbs_stairs_and_falls_once_an_epoch() {
        let optimizer =
            OptimizerSection { schedule: Schedule::Epoch, warmup: 200, steps: 4_000, ..optimizer() };
        let at = |step| learning_rate(&optimizer, 1_000.0, GlobalStep(step));
        let cosine = |epoch: f64| 0.2 + 0.8 * 0.5 * (1.0 + (PI * epoch / 4.0).cos());
        let expected =
            [(0, 0.1), (100, 0.1), (101, 0.55), (200, 0.55), (201, 1.0), (999, 1.0), (1_000, cosine(1.0))];
        for (step, expected) in expected.into_iter().chain([(1_999, cosine(1.0)), (3_999, cosine(3.0))]) {
            assert!((at(step) - expected).abs() < 1e-12, "step {step}: {} instead of {expected}", at(step));
        }
    }

    #[test]
    fn alpha_ramps_over_an_epoch_unless_told() {
        let objective = ObjectiveSection { alpha: 0.4, alpha_ramp: 0, ..Default::default() };
        assert_eq!(alpha(&objective, 50.0, GlobalStep(25)), 0.2);
        assert_eq!(alpha(&objective, 50.0, GlobalStep(80)), 0.4);
        assert_eq!(alpha(&ObjectiveSection { alpha_ramp: 10, ..objective }, 50.0, GlobalStep(5)), 0.2);
    }
}
