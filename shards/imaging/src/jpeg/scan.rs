//! The blocks of a scan: those that are wanted become samples, the others are only passed.

use super::Damage;
use super::huffman::Bits;
use super::idct::{self, Block};
use super::marker::{Header, Tables};
use std::ops::Range;

/// From the place of a coefficient in the file to that in a block, row by row.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Part of a component's samples, column by column.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    /// Each `SCALE` times its value in 0..=255.
    pub(crate) samples: Vec<i16>,
    /// From one column to the next: not less than `rows.len()`.
    pub(crate) stride: usize,
    /// The component's columns that it holds.
    pub(crate) columns: Range<u32>,
    /// The component's rows that it holds.
    pub(crate) rows: Range<u32>,
}

/// A column takes a multiple of this, so that loops over it have no rest.
pub(crate) const CHUNK: usize = 32;

impl Plane {
    /// Makes room; what was there may stay.
    pub(crate) fn reserve(&mut self, columns: Range<u32>, rows: Range<u32>) {
        self.stride = rows.len().next_multiple_of(CHUNK);
        let needed = self.stride * columns.len();
        if self.samples.len() < needed {
            self.samples.resize(needed, 0);
        }
        (self.columns, self.rows) = (columns, rows);
    }
}

/// A component while its scan is read.
struct Stream<'a> {
    tables: Tables<'a>,
    across: u32,
    down: u32,
    /// Samples in a row of a block: 8, 4 or 2.
    side: usize,
    last: i32,
}

/// Decodes the units in `columns` and `rows` into one plane for each component; `sides` are the samples that a block
/// has in a row.
#[inline(always)]
pub(super) fn decode(
    header: &Header,
    bytes: &[u8],
    (columns, rows): (Range<u32>, Range<u32>),
    sides: [usize; 3],
    planes: &mut [Plane; 3],
) -> Result<(), Damage> {
    let mut streams = Vec::with_capacity(3);
    for ((component, side), plane) in header.components.iter().zip(sides).zip(planes.iter_mut()) {
        let tables = header.tables(component).ok_or(Damage::Code)?;
        let (across, down) = (component.across, component.down);
        let (wide, high) = (across * side as u32, down * side as u32);
        plane.reserve(columns.start * wide..columns.end * wide, rows.start * high..rows.end * high);
        streams.push(Stream { tables, across, down, side, last: 0 });
    }
    let per_row = header.width.div_ceil(8 * header.unit().0);
    let mut bits = Bits::new(bytes, header.scan);
    let (mut until_restart, mut restarts) = (header.restart, 0);
    for row in 0..rows.end {
        for column in 0..per_row {
            if header.restart != 0 {
                if until_restart == 0 {
                    bits.restart(restarts)?;
                    streams.iter_mut().for_each(|stream| stream.last = 0);
                    (until_restart, restarts) = (header.restart, restarts + 1);
                }
                until_restart -= 1;
            }
            if rows.contains(&row) && columns.contains(&column) {
                for (stream, plane) in streams.iter_mut().zip(planes.iter_mut()) {
                    stream.unit(&mut bits, plane, (column - columns.start, row - rows.start))?;
                }
            } else {
                for stream in &mut streams {
                    stream.pass(&mut bits)?;
                }
            }
        }
        bits.check()?;
    }
    Ok(())
}

impl Stream<'_> {
    /// Reads past a unit's blocks.
    #[inline(always)]
    fn pass(&mut self, bits: &mut Bits<'_>) -> Result<(), Damage> {
        for _ in 0..self.across * self.down {
            self.last = self.last.wrapping_add(self.tables.dc.difference(bits)?);
            self.tables.ac.coefficients(bits, |_, _| ())?;
        }
        Ok(())
    }

    /// Decodes a unit's blocks to their place in the plane, in units.
    #[inline(always)]
    fn unit(&mut self, bits: &mut Bits<'_>, plane: &mut Plane, place: (u32, u32)) -> Result<(), Damage> {
        for y in 0..self.down {
            for x in 0..self.across {
                let mut block: Block = [0; 64];
                let quantiser = self.tables.quantiser;
                self.last = self.last.wrapping_add(self.tables.dc.difference(bits)?);
                block[0] = self.last.wrapping_mul(i32::from(quantiser[0])) as i16;
                let mut flat = true;
                self.tables.ac.coefficients(bits, |index, value| {
                    flat = false;
                    block[usize::from(ZIGZAG[index] & 63)] =
                        value.wrapping_mul(i32::from(quantiser[index])) as i16;
                })?;
                let column = (place.0 * self.across + x) as usize * self.side;
                let row = (place.1 * self.down + y) as usize * self.side;
                let at = column * plane.stride + row;
                match self.side {
                    8 if flat => store(plane, at, &[[idct::mean(&block); 8]; 8]),
                    8 => store(plane, at, &idct::full(&block)),
                    4 => store(plane, at, &idct::reduced::<4>(&block)),
                    _ => store(plane, at, &idct::reduced::<2>(&block)),
                }
            }
        }
        Ok(())
    }
}

/// Puts a block's columns into the plane, the first at sample `at`.
#[inline(always)]
fn store<const SIDE: usize>(plane: &mut Plane, at: usize, columns: &[[i16; SIDE]; SIDE]) {
    let columns_of_plane = plane.samples.get_mut(at..).unwrap_or_default().chunks_mut(plane.stride.max(1));
    for (target, column) in columns_of_plane.zip(columns) {
        if let Some(target) = target.get_mut(..SIDE) {
            target.copy_from_slice(column);
        }
    }
}
