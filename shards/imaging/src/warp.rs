//! Geometric operations: the pixel at (x, y) takes what stood at another place of the image.

use super::ops::cut;
use super::planar::Planar;

/// What a geometric operation shows where the image ends.
const OUTSIDE: u8 = 128;

/// Redraws the image: the pixel at (x, y) takes what stood at `back * (x, y, 1)`, interpolated between the four pixels
/// around it.
#[inline(always)]
pub(super) fn warp(image: &mut Planar, back: [[f32; 3]; 2]) {
    let [[by_x, slope, shift], [tilt, by_y, rise]] = back;
    if by_x == 1.0 && tilt == 0.0 && by_y == 1.0 && rise.fract() == 0.0 {
        shift_rows(image, |row| slope * row + shift, rise as isize);
    } else {
        warp_freely(image, back);
    }
}

/// Each row takes a row `rise` below it, from `shift(row)` pixels further right on.
#[inline(always)]
fn shift_rows(image: &mut Planar, shift: impl Fn(f32) -> f32, rise: isize) {
    let width = image.width();
    // The row that is read, and what lies beside it.
    let mut line = vec![OUTSIDE; width + 1];
    image.redraw(
        #[inline(always)]
        |source, target| {
            for (y, target) in target.chunks_exact_mut(width.max(1)).enumerate() {
                let row = y.checked_add_signed(rise).and_then(|y| source.get(y * width..(y + 1) * width));
                let shift = shift(y as f32);
                let (whole, share) = (shift.floor(), shift - shift.floor());
                let Some(row) = row.filter(|_| whole.abs() <= width as f32) else {
                    target.fill(OUTSIDE);
                    continue;
                };
                let whole = whole as isize;
                let (before, skipped) = (whole.min(0).unsigned_abs(), whole.max(0) as usize);
                let seen = (width - skipped).min(width + 1 - before.min(width + 1));
                line.fill(OUTSIDE);
                line[before..before + seen].copy_from_slice(&row[skipped..skipped + seen]);
                if share == 0.0 {
                    target.copy_from_slice(&line[..width]);
                    continue;
                }
                for ((target, &left), &right) in target.iter_mut().zip(&line[..width]).zip(&line[1..]) {
                    let (left, right) = (f32::from(left), f32::from(right));
                    *target = cut(left + share * (right - left) + 0.5);
                }
            }
        },
    );
}

/// Pixels that are worked on together.
const RUN: usize = 32;
/// Columns and rows of [`OUTSIDE`] that are laid around the image, so that no pixel needs a look at where it comes from.
const MARGIN: usize = 2;

/// The three channels of a pixel in one number, from the lowest byte up.
type Packed = u32;

/// Any affine map.
#[inline(always)]
fn warp_freely(image: &mut Planar, back: [[f32; 3]; 2]) {
    let (width, height) = (image.width(), image.height());
    let stride = width + 2 * MARGIN;
    image.redraw_packed(
        #[inline(always)]
        |sources, packed, mut targets| {
            pack(sources, width, packed);
            for (y, x) in (0..height).flat_map(|y| (0..width).step_by(RUN).map(move |x| (y, x))) {
                let origins = origins(back, (x, y), (width, height));
                let mut corners = [[0; RUN]; 4];
                for (at, &first) in origins.first.iter().enumerate() {
                    let first = first as usize;
                    corners[0][at] = packed[first];
                    corners[1][at] = packed[first + 1];
                    corners[2][at] = packed[first + stride];
                    corners[3][at] = packed[first + stride + 1];
                }
                let run = y * width + x..y * width + (x + RUN).min(width);
                for (channel, target) in targets.iter_mut().enumerate() {
                    interpolate(&corners, 8 * channel as u32, &origins, &mut target[run.clone()]);
                }
            }
        },
    );
}

/// Lays the channels together, with a margin around.
#[inline(always)]
fn pack(sources: [&[u8]; 3], width: usize, packed: &mut Vec<Packed>) {
    let stride = width + 2 * MARGIN;
    let height = sources[0].len() / width.max(1);
    packed.clear();
    packed.resize(stride * (height + 2 * MARGIN), Packed::from_le_bytes([OUTSIDE, OUTSIDE, OUTSIDE, 0]));
    let [reds, greens, blues] = sources.map(|source| source.chunks_exact(width.max(1)));
    let rows = packed.chunks_exact_mut(stride).skip(MARGIN);
    for (((row, reds), greens), blues) in rows.zip(reds).zip(greens).zip(blues) {
        let pixels = row[MARGIN..].iter_mut().zip(reds).zip(greens).zip(blues);
        for (((pixel, &red), &green), &blue) in pixels {
            *pixel = Packed::from(red) | Packed::from(green) << 8 | Packed::from(blue) << 16;
        }
    }
}

/// Where a run of pixels comes from.
struct Origins {
    /// The upper left of each pixel's four origins, in the packed image.
    first: [u32; RUN],
    /// What the right and the lower ones weigh.
    right_share: [f32; RUN],
    lower_share: [f32; RUN],
}

/// Of the run that begins at (x, y).
#[inline(always)]
fn origins(
    [across, down]: [[f32; 3]; 2],
    (x, y): (usize, usize),
    (width, height): (usize, usize),
) -> Origins {
    let mut found = Origins { first: [0; RUN], right_share: [0.0; RUN], lower_share: [0.0; RUN] };
    let (y, margin) = (y as f32, MARGIN as i32);
    for at in 0..RUN {
        let x = (x + at) as f32;
        let (x, y) = (across[0] * x + across[1] * y + across[2], down[0] * x + down[1] * y + down[2]);
        let (left, top) = (x.floor(), y.floor());
        (found.right_share[at], found.lower_share[at]) = (x - left, y - top);
        // Further out everything is the same.
        let column = (left.clamp(-(MARGIN as f32), width as f32) as i32 + margin) as u32;
        let row = (top.clamp(-(MARGIN as f32), height as f32) as i32 + margin) as u32;
        found.first[at] = row * (width + 2 * MARGIN) as u32 + column;
    }
    found
}

#[inline(always)]
fn interpolate(corners: &[[Packed; RUN]; 4], shift: u32, origins: &Origins, target: &mut [u8]) {
    let mut line = [0; RUN];
    let [upper_left, upper_right, lower_left, lower_right] = corners;
    for at in 0..RUN {
        let channel = |pixel: Packed| (pixel >> shift & 0xff) as i32 as f32;
        let (a, b) = (channel(upper_left[at]), channel(upper_right[at]));
        let (c, d) = (channel(lower_left[at]), channel(lower_right[at]));
        let share = origins.right_share[at];
        let (upper, lower) = (a + share * (b - a), c + share * (d - c));
        line[at] = cut(upper + origins.lower_share[at] * (lower - upper) + 0.5);
    }
    target.copy_from_slice(&line[..target.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    fn row(values: &[u8]) -> RgbImage {
        RgbImage::from_fn(values.len() as u32, 1, |x, _| Rgb([values[x as usize]; 3]))
    }

    fn warped(image: &RgbImage, back: [[f32; 3]; 2]) -> RgbImage {
        let mut planar = Planar::from_rgb(image);
        warp(&mut planar, back);
        planar.pixels()
    }

    #[test]
    fn warp_interpolates_and_fills_with_grey() {
        let moved = warped(&row(&[0, 100, 200]), [[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]);
        assert_eq!(moved.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(), [25, 125, 182]);
    }

    #[test]
    fn rows_that_are_moved_whole_are_those_of_the_general_way() {
        let image = RgbImage::from_fn(50, 37, |x, y| Rgb([(x * 5) as u8, (y * 6) as u8, (x * y) as u8]));
        for (slope, shift, rise) in [
            (0.0, 7.0, 0.0),
            (0.0, -7.0, 0.0),
            (0.21, 0.0, 0.0),
            (-0.3, 0.0, 3.0),
            (0.0, 0.0, -40.0),
            (0.0, 90.0, 0.0),
            (0.0, -50.5, 0.0),
        ] {
            let back = [[1.0, slope, shift], [0.0, 1.0, rise]];
            let mut general = Planar::from_rgb(&image);
            warp_freely(&mut general, back);
            let (rows, general) = (warped(&image, back), general.pixels());
            // The share of a neighbour is rounded elsewhere: by a level at most.
            let most = rows.as_raw().iter().zip(general.as_raw()).map(|(&a, &b)| a.abs_diff(b)).max();
            assert!(most <= Some(1), "{back:?}: apart by {most:?}");
        }
    }
}
