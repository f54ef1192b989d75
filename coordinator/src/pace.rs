//! How fast the run goes, measured from when its steps were committed. Pure: the time is an argument.

use proto::GlobalStep;
use std::{collections::VecDeque, time::Duration};

/// The time over which the speed is averaged.
const WINDOW: Duration = Duration::from_secs(30);

/// The newest committed steps and when they were.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    seen: VecDeque<(Duration, GlobalStep)>,
}

impl Pace {
    /// The run is at `step` now. Only growth counts.
    pub fn observe(&mut self, step: GlobalStep, now: Duration) {
        if self.seen.back().is_some_and(|(_, last)| *last >= step) {
            return;
        }
        self.seen.push_back((now, step));
        while self.seen.len() > 2
            && self.seen.get(1).is_some_and(|(time, _)| now.saturating_sub(*time) >= WINDOW)
        {
            self.seen.pop_front();
        }
    }

    /// Steps per second; 0 until two steps were seen.
    pub fn steps_per_second(&self) -> f64 {
        let (Some((start, first)), Some((end, last))) = (self.seen.front(), self.seen.back()) else {
            return 0.0;
        };
        let seconds = end.saturating_sub(*start).as_secs_f64();
        if seconds > 0.0 { (last.0 - first.0) as f64 / seconds } else { 0.0 }
    }

    /// The time until `steps`; none while the speed is unknown.
    pub fn remaining(&self, steps: GlobalStep) -> Option<Duration> {
        let (speed, at) = (self.steps_per_second(), self.seen.back()?.1);
        (speed > 0.0).then(|| Duration::from_secs_f64(steps.0.saturating_sub(at.0) as f64 / speed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_half_minute() {
        let mut pace = Pace::default();
        assert_eq!((pace.steps_per_second(), pace.remaining(GlobalStep(9))), (0.0, None));
        for second in 0..100 {
            let step = if second < 50 { second } else { 50 + (second - 50) * 2 };
            pace.observe(GlobalStep(step), Duration::from_secs(second));
            pace.observe(GlobalStep(step), Duration::from_secs(second + 1));
        }
        assert_eq!(pace.steps_per_second(), 2.0);
        assert_eq!(pace.remaining(GlobalStep(148 + 20)), Some(Duration::from_secs(10)));
    }
}
