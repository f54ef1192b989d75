//! Axes: from data to a range, round tick values and their labels.

/// Values beyond this would overflow in the arithmetic of ranges; no measurement is that large.
const LARGEST: f64 = 1e100;

/// Whether a point can be drawn: finite and of a sane size.
pub(super) fn drawable(point: &(f64, f64)) -> bool {
    point.0.abs() <= LARGEST && point.1.abs() <= LARGEST
}

/// A range of values with ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// From the smallest to the largest value.
    pub(super) fn tight(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values);
        Self { low, high, step: round_step(high - low) }
    }

    /// From the last tick at or below the smallest value to the first at or above the largest.
    pub(super) fn rounded(values: impl Iterator<Item = f64>) -> Self {
        let Self { low, high, step } = Self::tight(values);
        // A hair of slack, so that a value that is a tick up to rounding adds no empty stripe.
        Self { low: (low / step + 1e-6).floor() * step, high: (high / step - 1e-6).ceil() * step, step }
    }

    /// Where a value stands: 0 at the low end, 1 at the high end.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The ticks within the range, with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step - 1e-6).ceil();
        let count = (self.high / self.step + 1e-6).floor() - first;
        (0..=count as u32)
            .map(|tick| (first + f64::from(tick)) * self.step)
            .map(|value| (value, label(value, self.step, self.low.abs().max(self.high.abs()))))
            .collect()
    }
}

/// The range of the values, widened where it is empty or too narrow for ticks to differ.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let size = low.abs().max(high.abs());
    if high - low > 1e-9 * size && high - low > 1.0 / LARGEST {
        return (low, high);
    }
    let around = if size > 1.0 / LARGEST { size / 10.0 } else { 1.0 };
    (low - around, high + around)
}

/// The round number (1, 2, 2.5 or 5 times a power of ten) that divides the range into about five steps.
fn round_step(range: f64) -> f64 {
    let raw = range / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let round = match raw / power {
        ..1.4 => 1.0,
        ..2.25 => 2.0,
        ..3.5 => 2.5,
        ..7.0 => 5.0,
        _ => 10.0,
    };
    round * power
}

/// A tick's label, with as many digits as tell it from its neighbours.
fn label(value: f64, step: f64, largest: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let (unit, suffix) = match largest {
        1e-3..1e4 => (1.0, ""),
        1e4..1e6 => (1e3, "k"),
        1e6..1e9 => (1e6, "M"),
        _ => return scientific(value, step),
    };
    let step = step / unit;
    let fits = |digits: &usize| {
        let scaled = step * 10f64.powi(*digits as i32);
        (scaled - scaled.round()).abs() < 1e-6 * scaled
    };
    let digits = (0..12).find(fits).unwrap_or(12);
    format!("{:.digits$}{suffix}", value / unit)
}

fn scientific(value: f64, step: f64) -> String {
    let digits = (value.abs().log10().floor() - step.log10().floor()).max(0.0) as usize + 1;
    let written = format!("{value:.digits$e}");
    match written.split_once('e') {
        Some((number, power)) => format!("{}e{power}", number.trim_end_matches('0').trim_end_matches('.')),
        None => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_about_five() {
        assert_eq!(
            labels(&Axis::rounded([0.03, 0.97].into_iter())),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(&Axis::tight([0.0, 1030.0].into_iter())),
            ["0", "200", "400", "600", "800", "1000"]
        );
        assert_eq!(labels(&Axis::tight([-1.0, 1.0].into_iter())), ["-1.0", "-0.5", "0", "0.5", "1.0"]);
        assert_eq!(labels(&Axis::tight([0.0, 12e3].into_iter())), ["0", "2.5k", "5.0k", "7.5k", "10.0k"]);
        assert_eq!(
            labels(&Axis::tight([0.0, 5e-5].into_iter())),
            ["0", "1e-5", "2e-5", "3e-5", "4e-5", "5e-5"]
        );
        for range in (1..400).map(|k| 1.07f64.powi(k)) {
            let ticks = Axis::tight([0.0, range].into_iter()).ticks().len();
            assert!((4..=7).contains(&ticks), "{range}: {ticks}");
        }
    }

    #[test]
    fn ticks_of_one_axis_differ() {
        for values in [[1e9, 1e9 + 50.0], [0.1001, 0.1002], [-3e-7, 4e-7], [1e80, 3e80], [123456.0, 123457.0]]
        {
            let mut labels = labels(&Axis::rounded(values.into_iter()));
            let all = labels.len();
            labels.dedup();
            assert_eq!(labels.len(), all, "{values:?}: {labels:?}");
        }
    }

    #[test]
    fn an_axis_without_a_range_gets_one() {
        let empty = Axis::rounded([].into_iter());
        assert_eq!((empty.place(0.0), empty.place(1.0)), (0.0, 1.0));
        for value in [0.0, 3.0, -7e12, 1e-300, 1e100, -1e100] {
            for axis in [Axis::tight([value].into_iter()), Axis::rounded([value, value].into_iter())] {
                let place = axis.place(value);
                assert!((0.2..0.8).contains(&place), "{value}: {place} of {axis:?}");
                assert!((3..=8).contains(&axis.ticks().len()), "{axis:?}");
            }
        }
    }

    #[test]
    fn only_points_of_a_sane_size_are_drawable() {
        assert!(drawable(&(0.0, -1e100)));
        assert!(!drawable(&(f64::NAN, 0.0)) && !drawable(&(0.0, f64::NAN)));
        assert!(!drawable(&(f64::INFINITY, 0.0)) && !drawable(&(0.0, f64::MIN)));
    }
}
