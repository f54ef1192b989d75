//! Learning rate and distillation weight as functions of the global step.

use proto::GlobalStep;
use proto::config::{ObjectiveSection, OptimizerSection};
use std::f64::consts::PI;

/// The learning rate of the update that follows `step` committed ones: linear warm-up, then a half cosine down to the minimum
/// (Loshchilov & Hutter, 2017, equation 5, without restarts), by step rather than by epoch.
pub fn learning_rate(optimizer: &OptimizerSection, step: GlobalStep) -> f64 {
    let OptimizerSection {
        learning_rate: top,
        min_learning_rate: bottom,
        warmup,
        warmup_learning_rate: first,
        ..
    } = *optimizer;
    if step.0 < warmup {
        return first + (top - first) * step.0 as f64 / warmup as f64;
    }
    let decay = optimizer.steps.saturating_sub(warmup).max(1);
    let done = ((step.0 - warmup) as f64 / decay as f64).min(1.0);
    bottom + (top - bottom) * 0.5 * (1.0 + (PI * done).cos())
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
        let at = |step| learning_rate(&optimizer(), GlobalStep(step));
        for (step, expected) in [(0, 0.1), (5, 0.55), (10, 1.0), (55, 0.6), (100, 0.2), (1_000, 0.2)] {
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
