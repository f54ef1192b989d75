//! The pixel operations behind the views, each in place.
//!
//! Those of RandAugment follow salesforce/ALBEF, dataset/randaugment.py, which truncates where others round. One departure:
//! its sharpness lets values beyond 255 wrap around to black, an accident; here they saturate, as in PIL.

use image::{Rgb, RgbImage};
use std::array::from_fn;

/// What a geometric operation shows where the image ends.
const OUTSIDE: [u8; 3] = [128; 3];

type Table = [u8; 256];

/// Stretches each channel to 0..255.
pub(super) fn auto_contrast(image: &mut RgbImage) {
    let tables = histograms(image).map(|histogram| auto_contrast_table(&histogram));
    apply(image, &tables);
}

fn auto_contrast_table(histogram: &[u32; 256]) -> Table {
    let low = histogram.iter().position(|&count| count > 0).unwrap_or(0) as f64;
    let high = histogram.iter().rposition(|&count| count > 0).unwrap_or(0) as f64;
    if high <= low {
        return from_fn(|value| value as u8);
    }
    let scale = 255.0 / (high - low);
    let offset = -low * scale;
    from_fn(|value| (value as f64 * scale + offset) as u8)
}

/// Evens out each channel's histogram, as PIL's ImageOps.equalize.
pub(super) fn equalize(image: &mut RgbImage) {
    let tables = histograms(image).map(|histogram| equalize_table(&histogram));
    apply(image, &tables);
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

/// Multiplies every value; 1 changes nothing.
pub(super) fn brightness(image: &mut RgbImage, factor: f32) {
    apply(image, &[from_fn(|value| (value as f32 * factor) as u8); 3]);
}

/// Moves each pixel away from its smoothed value (factor above 1) or towards it (below 1); 1 changes nothing. The smoothing
/// weighs the pixel 5 and its eight neighbours 1 each; the outermost pixels keep their values.
pub(super) fn sharpen(image: &mut RgbImage, factor: f32) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width < 3 || height < 3 {
        return;
    }
    let source = image.as_raw().clone();
    let samples: &mut [u8] = image;
    let row = 3 * width;
    let three = |middle: usize| {
        u32::from(source[middle - 3]) + u32::from(source[middle]) + u32::from(source[middle + 3])
    };
    for y in 1..height - 1 {
        for at in y * row + 3..(y + 1) * row - 3 {
            let sum = three(at - row) + three(at) + three(at + row) + 4 * u32::from(source[at]);
            let smooth = ((sum + 6) / 13) as f32;
            samples[at] = (smooth + factor * (f32::from(source[at]) - smooth)) as u8;
        }
    }
}

/// Redraws the image: the pixel at (x, y) takes what stood at `back * (x, y, 1)`, interpolated between the four pixels
/// around it.
pub(super) fn warp(image: &mut RgbImage, back: [[f32; 3]; 2]) {
    let source = image.clone();
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let [x, y] = back.map(|[by_x, by_y, shift]| by_x * x as f32 + by_y * y as f32 + shift);
        *pixel = sample(&source, x, y);
    }
}

fn sample(image: &RgbImage, x: f32, y: f32) -> Rgb<u8> {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, lower_share) = (x - left, y - top);
    let at = |x: f32, y: f32| {
        // Negative floats would saturate to 0, which is inside.
        let inside = x >= 0.0 && y >= 0.0;
        let pixel = inside.then(|| image.get_pixel_checked(x as u32, y as u32)).flatten();
        pixel.map_or(OUTSIDE, |pixel| pixel.0)
    };
    let corners = [at(left, top), at(left + 1.0, top), at(left, top + 1.0), at(left + 1.0, top + 1.0)];
    Rgb(from_fn(|channel| {
        let [a, b, c, d] = corners.map(|corner| f32::from(corner[channel]));
        let (upper, lower) = (a + right_share * (b - a), c + right_share * (d - c));
        (upper + lower_share * (lower - upper) + 0.5) as u8
    }))
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
pub(super) fn jitter(image: &mut RgbImage, jitter: &Jitter) {
    let sum: f64 = image.pixels().map(|pixel| f64::from(luma(pixel.0.map(f32::from)))).sum();
    let pixels = f64::from(image.width()) * f64::from(image.height());
    let mean = jitter.brightness * (sum / pixels.max(1.0)) as f32;
    for pixel in image.pixels_mut() {
        let lit = pixel.0.map(|value| mean + jitter.contrast * (jitter.brightness * f32::from(value) - mean));
        let grey = luma(lit);
        pixel.0 = from_fn(|channel| {
            let coloured = grey + jitter.saturation * (lit[channel] - grey);
            (jitter.gain[channel] * coloured + 0.5) as u8
        });
    }
}

/// Gives the three channels the pixel's luma.
pub(super) fn grey(image: &mut RgbImage) {
    for pixel in image.pixels_mut() {
        pixel.0 = [(luma(pixel.0.map(f32::from)) + 0.5) as u8; 3];
    }
}

/// The luma of ITU-R BT.601, as PIL's mode L.
fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// How often each value occurs, of R, G, B.
fn histograms(image: &RgbImage) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in image.pixels() {
        for (counts, value) in counts.iter_mut().zip(pixel.0) {
            counts[usize::from(value)] += 1;
        }
    }
    counts
}

fn apply(image: &mut RgbImage, tables: &[Table; 3]) {
    for pixel in image.pixels_mut() {
        pixel.0 = from_fn(|channel| tables[channel][usize::from(pixel.0[channel])]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut image =
            RgbImage::from_fn(3, 1, |x, _| Rgb([[50, 9, 0], [60, 9, 77], [101, 9, 255]][x as usize]));
        auto_contrast(&mut image);
        assert_eq!(image.as_raw(), &[0, 9, 0, 50, 9, 77, 255, 9, 255]);
    }

    #[test]
    fn equalize_follows_the_cumulated_histogram() {
        // 510 of 10, 255 of 20, 255 of 30: step = (1020 - 255) / 255 = 3, and half a step is 1.
        // 10 -> 1 / 3 = 0; 20 -> (1 + 510) / 3 = 170; 30 -> (1 + 765) / 3 = 255.
        let values = [vec![10; 510], vec![20; 255], vec![30; 255]].concat();
        let mut image = row(&values);
        equalize(&mut image);
        assert_eq!(reds(&image), [vec![0; 510], vec![170; 255], vec![255; 255]].concat());

        let mut few = row(&[3, 200]);
        equalize(&mut few);
        assert_eq!(reds(&few), [3, 200], "with fewer than 255 darker pixels there is nothing to spread");
    }

    #[test]
    fn brightness_truncates_and_saturates() {
        let mut image = row(&[0, 10, 101, 200]);
        brightness(&mut image, 1.36);
        assert_eq!(reds(&image), [0, 13, 137, 255]);
    }

    #[test]
    fn sharpening_leaves_the_smoothed_pixel_behind_and_keeps_the_border() {
        let mut image = RgbImage::from_pixel(3, 3, Rgb([13; 3]));
        image.put_pixel(1, 1, Rgb([26; 3]));
        // Smoothed: (8 * 13 + 5 * 26) / 13 = 18; 18 + 2 * (26 - 18) = 34.
        sharpen(&mut image, 2.0);
        assert_eq!(reds(&image), [13, 13, 13, 13, 34, 13, 13, 13, 13]);

        let mut bright = RgbImage::new(3, 3);
        bright.put_pixel(1, 1, Rgb([255; 3]));
        sharpen(&mut bright, 1.36);
        assert_eq!(bright.get_pixel(1, 1).0, [255; 3], "it saturates instead of wrapping");
    }

    #[test]
    fn warp_interpolates_and_fills_with_grey() {
        let mut image = row(&[0, 100, 200]);
        warp(&mut image, [[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]);
        assert_eq!(reds(&image), [25, 125, 182]);
    }

    #[test]
    fn jitter_by_ones_changes_nothing_and_its_parts_do_what_they_say() {
        let original = RgbImage::from_fn(2, 1, |x, _| Rgb([[10, 20, 30], [110, 120, 130]][x as usize]));
        let jittered = |brightness, contrast, saturation, gain| {
            let mut image = original.clone();
            jitter(&mut image, &Jitter { brightness, contrast, saturation, gain });
            image.into_raw()
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
        let mut image = RgbImage::from_fn(2, 1, |x, _| Rgb([[255, 0, 0], [10, 20, 30]][x as usize]));
        grey(&mut image);
        assert_eq!(image.as_raw(), &[76, 76, 76, 18, 18, 18]);
    }
}
