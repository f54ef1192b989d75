//! From decoded components to the view: resized, in the view's colours, plane by plane.
//!
//! Both passes add whole runs of samples: first columns of the decoded planes, which lie column by column, then rows. A
//! sample is a 16-bit number with seven bits of fraction that lose one in each pass, so that the value is rounded once.

use super::jpeg::{CHUNK, Colour, Plane};
use super::taps::Taps;

/// Bits of fraction behind the second pass.
const FRACTION: i32 = 5;
/// Places that the first pass works on together, to write rows in pieces.
const TILE: usize = 8;

/// What a resize needs beside its source and its result; made once, used for every image.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Of each component along the rows and along the columns.
    pub(super) taps: [[Taps; 2]; 3],
    /// Of each component: resized along the rows, row by row.
    rows: [Vec<i16>; 3],
}

/// Resizes `components` planes to three planes of `size` x `size` in R, G, B, one after the other.
#[inline(always)]
pub(super) fn resample(
    planes: &[Plane; 3],
    colour: Colour,
    buffers: &mut Buffers,
    size: usize,
    out: &mut [u8],
) {
    let width = size.next_multiple_of(CHUNK);
    let components = if colour == Colour::Grey { 1 } else { 3 };
    for ((plane, [across, down]), rows) in
        planes.iter().zip(&buffers.taps).zip(&mut buffers.rows).take(components)
    {
        if rows.len() < width * plane.stride {
            rows.resize(width * plane.stride, 0);
        }
        shrink_rows(plane, across, down, rows, width);
    }
    let (red, rest) = out.split_at_mut(size * size);
    let (green, blue) = rest.split_at_mut(size * size);
    for y in 0..size {
        let line = y * size..(y + 1) * size;
        let lines = [&mut red[line.clone()], &mut green[line.clone()], &mut blue[line]];
        let [red, green, blue] = lines.map(|line| line.chunks_mut(CHUNK));
        for (at, ((red, green), blue)) in red.zip(green).zip(blue).enumerate() {
            let mut sums = [[0; CHUNK]; 3];
            for (component, sums) in sums.iter_mut().enumerate().take(components) {
                let (first, weights) = buffers.taps[component][1].of(y);
                let first = (first - planes[component].rows.start) as usize;
                *sums = weigh(&buffers.rows[component], first * width + at * CHUNK, width, weights);
            }
            let pixels = match colour {
                Colour::Grey => [levels(&sums[0]); 3],
                Colour::Rgb => [levels(&sums[0]), levels(&sums[1]), levels(&sums[2])],
                Colour::Ycc => coloured(&sums[0], &sums[1], &sums[2]),
            };
            for (target, channel) in [red, green, blue].into_iter().zip(&pixels) {
                target.copy_from_slice(&channel[..target.len()]);
            }
        }
    }
}

/// The first pass: from columns of samples to rows of places.
#[inline(always)]
fn shrink_rows(plane: &Plane, across: &Taps, down: &Taps, rows: &mut [i16], width: usize) {
    let wanted = down.samples();
    let first = (wanted.start - plane.rows.start) as usize / CHUNK * CHUNK;
    let end = (wanted.end - plane.rows.start) as usize;
    for y in (first..end).step_by(CHUNK) {
        for x in (0..across.len()).step_by(TILE) {
            let mut tile = [[0i16; CHUNK]; TILE];
            for (place, column) in (x..across.len()).zip(&mut tile) {
                let (first, weights) = across.of(place);
                let at = (first - plane.columns.start) as usize * plane.stride + y;
                *column = weigh(&plane.samples, at, plane.stride, weights);
            }
            for (row, at) in (0..CHUNK).zip((y * width + x..).step_by(width)) {
                for (target, column) in rows[at..at + TILE].iter_mut().zip(&tile) {
                    *target = column[row];
                }
            }
        }
    }
}

/// The weighted sum of runs of `CHUNK` samples that begin at `at` and then every `stride`.
#[inline(always)]
fn weigh(samples: &[i16], at: usize, stride: usize, weights: &[i16]) -> [i16; CHUNK] {
    // Half of what cutting the products takes away on average.
    let mut sums = [weights.len() as i16 / 2; CHUNK];
    for (run, &weight) in weights.iter().enumerate() {
        let from = at + run * stride;
        let run = &samples[from..from + CHUNK];
        for (sum, &sample) in sums.iter_mut().zip(run) {
            // The upper half of a product is an instruction of its own.
            *sum = sum.wrapping_add(((i32::from(sample) * i32::from(weight)) >> 16) as i16);
        }
    }
    sums
}

#[inline(always)]
fn levels(sums: &[i16; CHUNK]) -> [u8; CHUNK] {
    let mut levels = [0; CHUNK];
    for (level, &sum) in levels.iter_mut().zip(sums) {
        *level = ((i32::from(sum) + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8;
    }
    levels
}

/// R, G, B from luma and the two differences, as JFIF defines them.
#[inline(always)]
fn coloured(luma: &[i16; CHUNK], blue: &[i16; CHUNK], red: &[i16; CHUNK]) -> [[u8; CHUNK]; 3] {
    const SHIFT: i32 = 14;
    const fn fixed(value: f64) -> i32 {
        (value * (1 << SHIFT) as f64 + 0.5) as i32
    }
    let middle = 128 << FRACTION;
    let finish =
        |value: i32| ((value + (1 << (SHIFT + FRACTION - 1))) >> (SHIFT + FRACTION)).clamp(0, 255) as u8;
    let mut out = [[0; CHUNK]; 3];
    for at in 0..CHUNK {
        let (luma, blue, red) =
            (i32::from(luma[at]) << SHIFT, i32::from(blue[at]) - middle, i32::from(red[at]) - middle);
        out[0][at] = finish(luma + fixed(1.402) * red);
        out[1][at] = finish(luma - fixed(0.344_136_286) * blue - fixed(0.714_136_286) * red);
        out[2][at] = finish(luma + fixed(1.772) * blue);
    }
    out
}
