//! The weights of a bicubic resize along one axis: straight from the samples that a component has to the view's pixels.
//!
//! They are PIL's (Catmull and Rom's kernel, widened by what the image shrinks; nothing outside the crop has a part).
//! A component that is stored at a lower resolution would first be interpolated to the image's: a linear step, so its
//! weights are multiplied into these, and the interpolated plane is never made.

/// One in the weights: 15 bits of fraction, less the last so that it fits in 16 with a sign.
pub(super) const ONE: i32 = (1 << 15) - 1;

/// A component along an axis, and the part of it that the view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Pixels of the whole image.
    pub(super) whole: u32,
    /// The crop's first pixel.
    pub(super) start: u32,
    /// The crop's pixels.
    pub(super) length: u32,
    /// Pixels to a stored sample.
    pub(super) spacing: u32,
    /// Stored samples to a decoded one: 1, 2 or 4.
    pub(super) shrink: u32,
    /// The view begins at the crop's end.
    pub(super) mirrored: bool,
}

/// For each of the view's places the samples that it is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Taps {
    axis: Option<Axis>,
    /// First sample, and where its weights begin and end.
    places: Vec<(u32, usize, usize)>,
    weights: Vec<i16>,
    /// Weights of the place that is worked on.
    sums: Vec<f64>,
}

impl Taps {
    /// The first sample of a place, and the weights of it and those that follow; their sum is [`ONE`].
    #[inline(always)]
    pub(super) fn of(&self, place: usize) -> (u32, &[i16]) {
        let (first, from, to) = self.places[place];
        (first, &self.weights[from..to])
    }

    /// What the weights were set for.
    pub(super) fn axis(&self) -> Option<Axis> {
        self.axis
    }

    /// Places.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The samples that have a part in any place.
    pub(super) fn samples(&self) -> std::ops::Range<u32> {
        let ends = self.places.iter().map(|&(first, from, to)| first + (to - from) as u32);
        let first = self.places.iter().map(|place| place.0).min().unwrap_or(0);
        first..ends.max().unwrap_or(first)
    }

    /// Sets the weights of `size` places over an axis.
    #[inline(always)]
    pub(super) fn set(&mut self, axis: Axis, size: u32) {
        self.axis = Some(axis);
        self.places.clear();
        self.weights.clear();
        let step = f64::from(if axis.shrink > 1 { axis.spacing * axis.shrink } else { 1 });
        let (start, length) = (f64::from(axis.start) / step, f64::from(axis.length) / step);
        let stored = axis.whole.div_ceil(axis.spacing);
        let last = f64::from(if axis.shrink > 1 { stored.div_ceil(axis.shrink) } else { axis.whole });
        let (lowest, highest) = (start.floor(), (start + length).ceil().min(last));
        let scale = length / f64::from(size);
        let widened = scale.max(1.0);
        for place in 0..size {
            let place = if axis.mirrored { size - 1 - place } else { place };
            let centre = start + (f64::from(place) + 0.5) * scale;
            let from = (centre - 2.0 * widened + 0.5).floor().max(lowest);
            let to = (centre + 2.0 * widened + 0.5).floor().min(highest).max(from + 1.0);
            let weighted = (from as u32..to as u32)
                .map(|sample| (sample, bicubic((f64::from(sample) + 0.5 - centre) / widened)));
            self.gather(weighted, axis, stored);
        }
    }

    /// Adds a place that is made of weighted pixels (or, if the axis shrinks, samples).
    #[inline(always)]
    fn gather(&mut self, weighted: impl Iterator<Item = (u32, f64)>, axis: Axis, stored: u32) {
        self.sums.clear();
        let mut first = None;
        for (pixel, weight) in weighted {
            let shares =
                if axis.shrink > 1 { [(pixel, 1.0); 2] } else { shares(pixel, axis.spacing, stored) };
            let first = *first.get_or_insert(shares.iter().map(|share| share.0).min().unwrap_or(pixel));
            for (sample, share) in shares {
                let at = sample.saturating_sub(first) as usize;
                if self.sums.len() <= at {
                    self.sums.resize(at + 1, 0.0);
                }
                self.sums[at] += 0.5 * share * weight;
            }
        }
        let unit = f64::from(ONE) / self.sums.iter().sum::<f64>();
        let from = self.weights.len();
        self.weights.extend(self.sums.iter().map(|sum| (sum * unit + 0.5).floor() as i16));
        // Rounding must not change the brightness: the largest weight takes the difference.
        let added = &mut self.weights[from..];
        let missing = ONE - added.iter().map(|&weight| i32::from(weight)).sum::<i32>();
        if let Some(largest) = added.iter_mut().max_by_key(|weight| **weight) {
            *largest = (i32::from(*largest) + missing) as i16;
        }
        let zeros = added.iter().take_while(|&&weight| weight == 0).count();
        let end = added.iter().rposition(|&weight| weight != 0).map_or(0, |last| last + 1);
        let first = first.unwrap_or(0) + zeros as u32;
        self.places.push((first, from + zeros.min(end), from + end));
    }
}

/// Of which two stored samples a pixel is made, as libjpeg interpolates: of a pair's pixels each is three quarters of
/// its own sample; at other spacings samples are repeated. Twice the shares, so that one sample alone counts 1 twice.
#[inline(always)]
fn shares(pixel: u32, spacing: u32, stored: u32) -> [(u32, f64); 2] {
    let own = (pixel / spacing).min(stored.saturating_sub(1));
    if spacing != 2 {
        return [(own, 1.0); 2];
    }
    let other =
        if pixel.is_multiple_of(2) { own.saturating_sub(1) } else { (own + 1).min(stored.saturating_sub(1)) };
    [(own, 1.5), (other, 0.5)]
}

#[inline(always)]
fn bicubic(distance: f64) -> f64 {
    let x = distance.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Axis = Axis { whole: 10, start: 0, length: 10, spacing: 1, shrink: 1, mirrored: false };

    fn taps(axis: Axis, size: u32) -> Vec<(u32, Vec<i16>)> {
        let mut taps = Taps::default();
        taps.set(axis, size);
        (0..taps.len())
            .map(|place| taps.of(place))
            .map(|(first, weights)| (first, weights.to_vec()))
            .collect()
    }

    #[test]
    fn at_the_same_size_each_place_is_its_sample_and_mirrored_the_order_turns() {
        let value = |(first, weights): &(u32, Vec<i16>)| {
            let ones = weights.iter().position(|&weight| i32::from(weight) == ONE);
            first + ones.unwrap() as u32
        };
        let forward: Vec<u32> = taps(PLAIN, 10).iter().map(value).collect();
        assert_eq!(forward, (0..10).collect::<Vec<_>>());
        let backward: Vec<u32> = taps(Axis { mirrored: true, ..PLAIN }, 10).iter().map(value).collect();
        assert_eq!(backward, (0..10).rev().collect::<Vec<_>>());
    }

    #[test]
    fn weights_sum_to_one_and_stay_inside_the_crop() {
        for (spacing, shrink) in [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4)] {
            let axis = Axis { whole: 131, start: 17, length: 90, spacing, shrink, mirrored: false };
            for (first, weights) in taps(axis, 13) {
                assert_eq!(weights.iter().map(|&weight| i32::from(weight)).sum::<i32>(), ONE);
                let step = spacing * shrink;
                // Interpolation may reach one sample further.
                let (low, high) = ((17 / step).saturating_sub(1), 107u32.div_ceil(step) + 1);
                assert!(first >= low && first + weights.len() as u32 <= high, "{first} {weights:?} {axis:?}");
            }
        }
    }

    #[test]
    fn half_resolution_is_interpolated_and_then_resized() {
        // Two pixels of a pair at sample 3 in the middle: (3/4, 1/4) to the left and to the right.
        let axis = Axis { whole: 20, start: 6, length: 2, spacing: 2, shrink: 1, mirrored: false };
        let [left, right] = taps(axis, 2).try_into().unwrap();
        assert_eq!(left, (2, vec![8192, 24575]));
        assert_eq!(right, (3, vec![24575, 8192]));
    }
}
