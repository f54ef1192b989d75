//! The pixel operations behind the views.
//!
//! Those of RandAugment follow salesforce/ALBEF, dataset/randaugment.py, which truncates where others round. One departure:
//! its sharpness lets values beyond 255 wrap around to black, an accident; here they saturate, as in PIL.
//!
//! Auto-contrast, equalize and brightness are look-ups: they are only noted, and what they need to know of the image is
//! worked out through the look-ups that wait.

use super::planar::{Planar, Table};
use std::array::from_fn;

/// Stretches each channel to 0..255.
pub(super) fn auto_contrast(image: &mut Planar) {
    let range = |channel: &[u8]| {
        let lowest = channel.iter().fold(255, |lowest: u8, &value| lowest.min(value));
        let highest = channel.iter().fold(0, |highest: u8, &value| highest.max(value));
        (lowest, highest)
    };
    let mut ranges = image.stored().map(range);
    if let Some(waiting) = image.waiting() {
        // A look-up never falls, so the ends stay the ends.
        let through =
            |table: &Table, (low, high): (u8, u8)| (table[usize::from(low)], table[usize::from(high)]);
        ranges = from_fn(|channel| through(&waiting[channel], ranges[channel]));
    }
    image.look_up(ranges.map(|(low, high)| auto_contrast_table(f64::from(low), f64::from(high))));
}

fn auto_contrast_table(low: f64, high: f64) -> Table {
    if high <= low {
        return from_fn(|value| value as u8);
    }
    let scale = 255.0 / (high - low);
    let offset = -low * scale;
    from_fn(|value| (value as f64 * scale + offset) as u8)
}

/// Evens out each channel's histogram, as PIL's ImageOps.equalize.
pub(super) fn equalize(image: &mut Planar) {
    let mut histograms = image.stored().map(histogram);
    if let Some(waiting) = image.waiting() {
        histograms = from_fn(|channel| {
            let mut through = [0; 256];
            for (&count, &value) in histograms[channel].iter().zip(&waiting[channel]) {
                through[usize::from(value)] += count;
            }
            through
        });
    }
    image.look_up(histograms.map(|histogram| equalize_table(&histogram)));
}

fn equalize_table(histogram: &[u32; 256]) -> Table {
    let pixels: u32 = histogram.iter().sum();
    let brightest = histogram.iter().rev().copied().find(|&count| count > 0).unwrap_or(0);
    let step = (pixels - brightest) / 255;
    if step == 0 {
        return from_fn(|value| value as u8);
    }
    let mut darker = step / 2;
    from_fn(|value| {
        let level = (darker / step).min(255) as u8;
        darker += histogram[value];
        level
    })
}

/// How often each value occurs.
fn histogram(channel: &[u8]) -> [u32; 256] {
    // Neighbours are often equal, and adding twice to one place has to wait for the first: four places don't.
    let mut counts = [[0; 256]; 4];
    let (fours, rest) = channel.as_chunks::<4>();
    for four in fours {
        for (counts, &value) in counts.iter_mut().zip(four) {
            counts[usize::from(value)] += 1;
        }
    }
    for &value in rest {
        counts[0][usize::from(value)] += 1;
    }
    from_fn(|value| counts.iter().map(|counts| counts[value]).sum())
}

/// Multiplies every value; 1 changes nothing.
pub(super) fn brightness(image: &mut Planar, factor: f32) {
    if factor != 1.0 {
        image.look_up([from_fn(|value| (value as f32 * factor) as u8); 3]);
    }
}

/// Moves each pixel away from its smoothed value (factor above 1) or towards it (below 1); 1 changes nothing. The smoothing
/// weighs the pixel 5 and its eight neighbours 1 each; the outermost pixels keep their values.
#[inline(always)]
pub(super) fn sharpen(image: &mut Planar, factor: f32) {
    let (width, height) = (image.width(), image.height());
    if width < 3 || height < 3 || factor == 1.0 {
        return;
    }
    let mut columns = vec![0u16; width];
    image.redraw(
        #[inline(always)]
        |source, target| {
            target[..width].copy_from_slice(&source[..width]);
            for y in 1..height - 1 {
                let above = &source[(y - 1) * width..y * width];
                let own = &source[y * width..(y + 1) * width];
                let below = &source[(y + 1) * width..(y + 2) * width];
                for (((sum, &above), &own), &below) in columns.iter_mut().zip(above).zip(own).zip(below) {
                    *sum = u16::from(above) + u16::from(own) + u16::from(below);
                }
                let target = &mut target[y * width..(y + 1) * width];
                (target[0], target[width - 1]) = (own[0], own[width - 1]);
                let inner = target[1..width - 1].iter_mut().zip(&own[1..width - 1]);
                let sums = columns[..width - 2].iter().zip(&columns[1..width - 1]).zip(&columns[2..]);
                for ((target, &own), ((&left, &middle), &right)) in inner.zip(sums) {
                    let smooth = f32::from((left + middle + right + 4 * u16::from(own) + 6) / 13);
                    *target = cut(smooth + factor * (f32::from(own) - smooth));
                }
            }
            let last = (height - 1) * width;
            target[last..].copy_from_slice(&source[last..]);
        },
    );
}

/// The whole part, in 0..=255.
#[inline(always)]
pub(super) fn cut(value: f32) -> u8 {
    // Cut as a float: that and the conversion of a number in range are one instruction each for many numbers.
    value.clamp(0.0, 255.0) as i32 as u8
}

/// Factors of the colour jitter; 1 changes nothing.
pub(super) struct Jitter {
    pub(super) brightness: f32,
    pub(super) contrast: f32,
    pub(super) saturation: f32,
    /// Of R, G, B.
    pub(super) gain: [f32; 3],
}

/// Brightness, contrast around the image's mean luma, saturation, then the channels' gains; rounded and cut to 0..255 once,
/// at the end.
#[inline(always)]
pub(super) fn jitter(image: &mut Planar, jitter: &Jitter) {
    let [reds, greens, blues] = image.samples();
    let mut sums = [0u64; 3];
    for (sum, plane) in sums.iter_mut().zip([&*reds, &*greens, &*blues]) {
        *sum = plane.iter().map(|&value| u64::from(value)).sum();
    }
    let pixels = reds.len().max(1) as f64;
    let mean = jitter.brightness * luma(sums.map(|sum| (sum as f64 / pixels) as f32));
    for ((red, green), blue) in reds.iter_mut().zip(greens).zip(blues) {
        let lit = [*red, *green, *blue]
            .map(|value| mean + jitter.contrast * (jitter.brightness * f32::from(value) - mean));
        let grey = luma(lit);
        [*red, *green, *blue] = from_fn(|channel| {
            let coloured = grey + jitter.saturation * (lit[channel] - grey);
            cut(jitter.gain[channel] * coloured + 0.5)
        });
    }
}

/// Gives the three channels the pixel's luma.
#[inline(always)]
pub(super) fn grey(image: &mut Planar) {
    let [reds, greens, blues] = image.samples();
    for ((red, green), blue) in reds.iter_mut().zip(greens).zip(blues) {
        let grey = cut(luma([*red, *green, *blue].map(f32::from)) + 0.5);
        (*red, *green, *blue) = (grey, grey, grey);
    }
}

/// The luma of ITU-R BT.601, as PIL's mode L.
#[inline(always)]
fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    /// What `operation` makes of `image`.
    fn done(image: &RgbImage, operation: impl FnOnce(&mut Planar)) -> RgbImage {
        let mut planar = Planar::from_rgb(image);
        operation(&mut planar);
        planar.pixels()
    }

    /// One row whose three channels hold the same values.
    fn row(values: &[u8]) -> RgbImage {
        RgbImage::from_fn(values.len() as u32, 1, |x, _| Rgb([values[x as usize]; 3]))
    }

    fn reds(image: &RgbImage) -> Vec<u8> {
        image.pixels().map(|pixel| pixel.0[0]).collect()
    }

    #[test]
    fn auto_contrast_stretches_each_channel_by_itself() {
        // 50..101 is stretched by 5: 60 -> 50; green is flat and stays; blue is stretched already.
        let image = RgbImage::from_fn(3, 1, |x, _| Rgb([[50, 9, 0], [60, 9, 77], [101, 9, 255]][x as usize]));
        assert_eq!(done(&image, auto_contrast).as_raw(), &[0, 9, 0, 50, 9, 77, 255, 9, 255]);
    }

    #[test]
    fn equalize_follows_the_cumulated_histogram() {
        // 510 of 10, 255 of 20, 255 of 30: step = (1020 - 255) / 255 = 3, and half a step is 1.
        // 10 -> 1 / 3 = 0; 20 -> (1 + 510) / 3 = 170; 30 -> (1 + 765) / 3 = 255.
        let values = [vec![10; 510], vec![20; 255], vec![30; 255]].concat();
        assert_eq!(
            reds(&done(&row(&values), equalize)),
            [vec![0; 510], vec![170; 255], vec![255; 255]].concat()
        );

        assert_eq!(
            reds(&done(&row(&[3, 200]), equalize)),
            [3, 200],
            "with fewer than 255 darker pixels there is nothing to spread"
        );
    }

    #[test]
    fn brightness_truncates_and_saturates() {
        let bright = done(&row(&[0, 10, 101, 200]), |image| brightness(image, 1.36));
        assert_eq!(reds(&bright), [0, 13, 137, 255]);
    }

    #[test]
    fn sharpening_leaves_the_smoothed_pixel_behind_and_keeps_the_border() {
        let mut image = RgbImage::from_pixel(3, 3, Rgb([13; 3]));
        image.put_pixel(1, 1, Rgb([26; 3]));
        // Smoothed: (8 * 13 + 5 * 26) / 13 = 18; 18 + 2 * (26 - 18) = 34.
        assert_eq!(reds(&done(&image, |image| sharpen(image, 2.0))), [13, 13, 13, 13, 34, 13, 13, 13, 13]);

        let mut bright = RgbImage::new(3, 3);
        bright.put_pixel(1, 1, Rgb([255; 3]));
        let bright = done(&bright, |image| sharpen(image, 1.36));
        assert_eq!(bright.get_pixel(1, 1).0, [255; 3], "it saturates instead of wrapping");
    }

    #[test]
    fn jitter_by_ones_changes_nothing_and_its_parts_do_what_they_say() {
        let original = RgbImage::from_fn(2, 1, |x, _| Rgb([[10, 20, 30], [110, 120, 130]][x as usize]));
        let jittered = |brightness, contrast, saturation, gain| {
            let factors = Jitter { brightness, contrast, saturation, gain };
            done(&original, |image| jitter(image, &factors)).into_raw()
        };
        assert_eq!(&jittered(1.0, 1.0, 1.0, [1.0; 3]), original.as_raw());
        assert_eq!(jittered(2.0, 1.0, 1.0, [1.0; 3]), [20, 40, 60, 220, 240, 255]);
        // The lumas are 18.15 and 118.15, their mean 68.15.
        assert_eq!(jittered(1.0, 0.0, 1.0, [1.0; 3]), [68; 6]);
        assert_eq!(jittered(1.0, 1.0, 0.0, [1.0; 3]), [18, 18, 18, 118, 118, 118]);
        assert_eq!(jittered(1.0, 1.0, 1.0, [2.0, 1.0, 0.5]), [20, 20, 15, 220, 120, 65]);
    }

    #[test]
    fn grey_is_the_luma() {
        let image = RgbImage::from_fn(2, 1, |x, _| Rgb([[255, 0, 0], [10, 20, 30]][x as usize]));
        assert_eq!(done(&image, grey).as_raw(), &[76, 76, 76, 18, 18, 18]);
    }
}
