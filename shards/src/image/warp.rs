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
    image.redraw(#[inline(always)] |source, target| {
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
    });
}

/// Any affine map.
#[inline(always)]
fn warp_freely(image: &mut Planar, back: [[f32; 3]; 2]) {
    let (width, height) = (image.width(), image.height());
    image.redraw(#[inline(always)] |source, target| {
        for (y, row) in target.chunks_exact_mut(width.max(1)).enumerate() {
            for (x, target) in row.iter_mut().enumerate() {
                let [x, y] = back.map(|[by_x, by_y, shift]| by_x * x as f32 + by_y * y as f32 + shift);
                *target = sample(source, (width, height), x, y);
            }
        }
    });
}

#[inline(always)]
fn sample(source: &[u8], (width, height): (usize, usize), x: f32, y: f32) -> u8 {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, lower_share) = (x - left, y - top);
    let (left, top) = (left as i32, top as i32);
    let inside = left >= 0 && top >= 0 && left + 1 < width as i32 && top + 1 < height as i32;
    let corners = if inside {
        let at = top as usize * width + left as usize;
        [source[at], source[at + 1], source[at + width], source[at + width + 1]]
    } else {
        let at = |x: i32, y: i32| {
            let inside = (0..width as i32).contains(&x) && (0..height as i32).contains(&y);
            if inside { source[y as usize * width + x as usize] } else { OUTSIDE }
        };
        let (right, below) = (left.saturating_add(1), top.saturating_add(1));
        [at(left, top), at(right, top), at(left, below), at(right, below)]
    };
    let [a, b, c, d] = corners.map(f32::from);
    let (upper, lower) = (a + right_share * (b - a), c + right_share * (d - c));
    cut(upper + lower_share * (lower - upper) + 0.5)
}
