//! JPEG decoding of a part: what lies outside a crop is read but not transformed, nothing is read below it, the
//! components keep the resolution that they are stored in, and a crop that will shrink a lot is decoded smaller.
//!
//! It reads the sequential files that cameras and the web are full of, in one scan of 8 bits, grey or of three
//! components; everything else is left to the crate `image`.

mod huffman;
mod idct;
mod marker;
mod scan;

pub(super) use idct::SCALE;
pub(super) use marker::Colour;
pub(super) use scan::{CHUNK, Plane};

use super::crop::Crop;
use image::metadata::Orientation;
use marker::Header;

/// How a scan is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// No symbol has the code that stands there, or a block has too many coefficients.
    #[error("a code in its scan is invalid")]
    Code,
    /// The bytes end within the scan.
    #[error("its scan ends too early")]
    End,
    /// A restart marker is missing.
    #[error("a restart marker of its scan is not where it should be")]
    Restart,
}

/// A JPEG file whose headers are read.
pub(super) struct Jpeg<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl<'a> Jpeg<'a> {
    /// `None` for what is left to the crate `image`, damaged headers included.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        Header::read(bytes).map(|header| Self { bytes, header })
    }

    /// Width and height, as stored.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        (self.header.width, self.header.height)
    }

    pub(super) fn orientation(&self) -> Orientation {
        self.header.orientation
    }

    pub(super) fn colour(&self) -> Colour {
        self.header.colour
    }

    /// Components: 1 or 3.
    pub(super) fn components(&self) -> usize {
        self.header.components.len()
    }

    /// How many pixels a sample of a component stands for in a row and in a column, at full size.
    pub(super) fn spacing(&self, component: usize) -> (u32, u32) {
        let (across, down) = self.header.unit();
        self.header.components.get(component).map_or((1, 1), |one| (across / one.across, down / one.down))
    }

    /// Decodes the samples around `crop`. In plane `component` a sample at side 8 is a stored one; at side 4 or 2 it
    /// stands for 2 or 4 of them in both directions.
    #[inline(always)]
    pub(super) fn decode(
        &self,
        crop: Crop,
        sides: [usize; 3],
        planes: &mut [Plane; 3],
    ) -> Result<(), Damage> {
        let (across, down) = self.header.unit();
        let (wide, high) = (8 * across, 8 * down);
        // A neighbour is needed on each side: chroma is interpolated.
        let units = |from: u32, length: u32, unit: u32, whole: u32| {
            let margin = unit / 8;
            from.saturating_sub(margin) / unit..(from + length + margin).min(whole).div_ceil(unit)
        };
        let columns = units(crop.left, crop.width, wide, self.header.width);
        let rows = units(crop.top, crop.height, high, self.header.height);
        scan::decode(&self.header, self.bytes, (columns, rows), sides, planes)
    }
}

#[cfg(test)]
mod tests;
