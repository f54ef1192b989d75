//! An image file whose header is read, and the views of its parts: only what a part needs is decoded.

use super::crop::Crop;
use super::decode::{DecodeError, ImageLimits, decode_stored, ends, known_format};
use super::jpeg::{Colour, Jpeg, Plane, SCALE};
use super::planar::Planar;
use super::resample::{Buffers, resample};
use super::taps::Axis;
use image::metadata::Orientation;
use image::{ImageFormat, RgbImage};
use std::cell::RefCell;

/// A part of a JPEG file is decoded to a half or a quarter of its size when it still has this many samples for each pixel
/// of the view. (An eighth, the blocks' means, is visibly softer.)
const ROOM: u32 = 2;

/// What views need beside their files: made once, used for every image of a thread.
#[derive(Debug, Default)]
pub struct Scratch {
    planes: [Plane; 3],
    buffers: Buffers,
    /// The view itself.
    pub(super) view: Planar,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Lends this thread's scratch.
pub fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => work(&mut scratch),
        // It is lent already, further up.
        Err(_) => work(&mut Scratch::default()),
    })
}

/// How the stored image becomes the upright one: mirrored first, then its rows become columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    mirror_x: bool,
    mirror_y: bool,
    transpose: bool,
}

impl From<Orientation> for Turn {
    fn from(orientation: Orientation) -> Self {
        let (mirror_x, mirror_y, transpose) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (true, false, false),
            Orientation::Rotate180 => (true, true, false),
            Orientation::FlipVertical => (false, true, false),
            Orientation::Rotate90FlipH => (false, false, true),
            Orientation::Rotate90 => (false, true, true),
            Orientation::Rotate270FlipH => (true, true, true),
            Orientation::Rotate270 => (true, false, true),
        };
        Self { mirror_x, mirror_y, transpose }
    }
}

enum Content<'a> {
    Jpeg(Box<Jpeg<'a>>),
    Whole(RgbImage),
}

/// An image file, open.
pub(super) struct Source<'a> {
    content: Content<'a>,
    turn: Turn,
}

impl<'a> Source<'a> {
    /// Reads the header; of what isn't a plain JPEG file, everything. Limits come before allocations.
    pub(super) fn open(bytes: &'a [u8], limits: ImageLimits) -> Result<Self, DecodeError> {
        let format = known_format(bytes, limits)?;
        if let Some(jpeg) = (format == ImageFormat::Jpeg).then(|| Jpeg::open(bytes)).flatten() {
            limits.check_pixels(jpeg.dimensions())?;
            if !ends(bytes) {
                return Err(DecodeError::cut_off());
            }
            let turn = jpeg.orientation().into();
            return Ok(Self { content: Content::Jpeg(Box::new(jpeg)), turn });
        }
        let (image, orientation) = decode_stored(bytes, format, limits)?;
        Ok(Self { content: Content::Whole(image), turn: orientation.into() })
    }

    /// Width and height as stored.
    fn stored(&self) -> (u32, u32) {
        match &self.content {
            Content::Jpeg(jpeg) => jpeg.dimensions(),
            Content::Whole(image) => image.dimensions(),
        }
    }

    /// Width and height of the upright image.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        let (width, height) = self.stored();
        if self.turn.transpose { (height, width) } else { (width, height) }
    }

    /// Draws the part `crop` of the upright image to the view, `size` x `size` pixels, mirrored if `flip`.
    #[inline(always)]
    pub(super) fn draw(
        &self,
        crop: Crop,
        flip: bool,
        size: u32,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        let Scratch { planes, buffers, view } = scratch;
        let crop = self.stored_part(crop);
        let Turn { mirror_x, mirror_y, transpose } = self.turn;
        let mirrored = [mirror_x ^ (flip && !transpose), mirror_y ^ (flip && transpose)];
        let colour = match &self.content {
            Content::Jpeg(jpeg) => {
                let sides = self.lay_taps(Some(jpeg), crop, mirrored, size, buffers);
                jpeg.decode(crop, sides, planes).map_err(|e| DecodeError::Broken(e.to_string()))?;
                jpeg.colour()
            }
            Content::Whole(image) => {
                self.lay_taps(None, crop, mirrored, size, buffers);
                copy_part(image, crop, planes);
                Colour::Rgb
            }
        };
        let size = size as usize;
        resample(planes, colour, buffers, size, view.reset(size, size));
        if transpose {
            view.transpose();
        }
        Ok(())
    }

    /// The stored rectangle that an upright one shows.
    fn stored_part(&self, crop: Crop) -> Crop {
        let (width, height) = self.stored();
        let Crop { left, top, width: wide, height: high } = crop;
        let (left, top, wide, high) =
            if self.turn.transpose { (top, left, high, wide) } else { (left, top, wide, high) };
        Crop {
            left: if self.turn.mirror_x { width - left - wide } else { left },
            top: if self.turn.mirror_y { height - top - high } else { top },
            width: wide,
            height: high,
        }
    }

    /// Sets each component's weights; gives the samples that its blocks are decoded to.
    #[inline(always)]
    fn lay_taps(
        &self,
        jpeg: Option<&Jpeg<'_>>,
        crop: Crop,
        mirrored: [bool; 2],
        size: u32,
        buffers: &mut Buffers,
    ) -> [usize; 3] {
        let (width, height) = self.stored();
        let mut sides = [8; 3];
        for (component, side) in sides.iter_mut().enumerate().take(jpeg.map_or(3, Jpeg::components)) {
            let (wide, high) = jpeg.map_or((1, 1), |jpeg| jpeg.spacing(component));
            let samples = (crop.width / wide).min(crop.height / high);
            let enough = |shrink: &u32| jpeg.is_some() && samples / shrink >= ROOM * size;
            let shrink = [4, 2].into_iter().find(enough).unwrap_or(1);
            *side = (8 / shrink) as usize;
            let [across, down] = mirrored;
            let rows = Axis {
                whole: width,
                start: crop.left,
                length: crop.width,
                spacing: wide,
                shrink,
                mirrored: across,
            };
            let columns = Axis {
                whole: height,
                start: crop.top,
                length: crop.height,
                spacing: high,
                shrink,
                mirrored: down,
            };
            let (done, rest) = buffers.taps.split_at_mut(component);
            let alike =
                done.iter().find(|[one, other]| one.axis() == Some(rows) && other.axis() == Some(columns));
            if let (Some(alike), Some(taps)) = (alike, rest.first_mut()) {
                // The two differences of colour have the same resolution.
                taps.clone_from(alike);
            } else if let Some([across, down]) = rest.first_mut() {
                across.set(rows, size);
                down.set(columns, size);
            }
        }
        sides
    }
}

/// Splits a part of an image into its channels, column by column.
fn copy_part(image: &RgbImage, crop: Crop, planes: &mut [Plane; 3]) {
    let (columns, rows) = (crop.left..crop.left + crop.width, crop.top..crop.top + crop.height);
    for plane in planes.iter_mut() {
        plane.reserve(columns.clone(), rows.clone());
    }
    let row_length = 3 * image.width() as usize;
    let lines = image.as_raw().chunks(row_length.max(1)).skip(crop.top as usize).take(crop.height as usize);
    for (y, line) in lines.enumerate() {
        let pixels = line.as_chunks::<3>().0.iter().skip(crop.left as usize).take(crop.width as usize);
        for (x, pixel) in pixels.enumerate() {
            for (plane, &value) in planes.iter_mut().zip(pixel) {
                plane.samples[x * plane.stride + y] = i16::from(value) * SCALE;
            }
        }
    }
}
