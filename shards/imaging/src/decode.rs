//! Image files to RGB: JPEG, PNG and WebP, told apart by their content.
//!
//! Colour profiles are passed over, as PIL and torchvision do in the reference's transform: the samples are taken for
//! sRGB.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, Rgba};
use proto::config::DataSection;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of the widest decoded pixel: four channels of 16 bits.
const WIDEST_PIXEL: u64 = 8;
/// Bytes a decoder may use beside the pixels: compressed metadata such as colour profiles, and its own buffers.
const DECODER_ROOM: u64 = 64 << 20;

/// How large an image may be: looked at before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Of the decoded image.
    pub pixels: u64,
    /// Of its file.
    pub bytes: u64,
}

impl From<&DataSection> for ImageLimits {
    fn from(data: &DataSection) -> Self {
        Self { pixels: data.max_pixels, bytes: data.max_bytes }
    }
}

impl ImageLimits {
    pub(super) fn check_pixels(self, (width, height): (u32, u32)) -> Result<(), DecodeError> {
        if width == 0 || height == 0 {
            return Err(DecodeError::NoPixels { width, height });
        }
        if u64::from(width) * u64::from(height) > self.pixels {
            return Err(DecodeError::TooLarge { width, height, limit: self.pixels });
        }
        Ok(())
    }
}

/// Why an image gives no view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes are stored.
    #[error("the image is empty (0 bytes): store its file's bytes or drop the row")]
    Empty,
    /// The content is none of the known formats.
    #[error("unknown image format (first bytes {0:02x?}): store JPEG, PNG or WebP")]
    UnknownFormat(Vec<u8>),
    /// More bytes are stored than are allowed.
    #[error(
        "image file of {bytes} bytes is over the limit of {limit} bytes: shrink it or raise `data.max_bytes`"
    )]
    TooLong {
        /// The file's bytes.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The header announces more pixels than are allowed.
    #[error(
        "image of {width} x {height} pixels is over the limit of {limit} pixels: shrink it or raise `data.max_pixels`"
    )]
    TooLarge {
        /// Pixels in a row, as stored.
        width: u32,
        /// Rows, as stored.
        height: u32,
        /// The limit, in pixels.
        limit: u64,
    },
    /// A side is zero.
    #[error("image of {width} x {height} has no pixels: drop the row")]
    NoPixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The file is damaged or uses what its decoder doesn't know; in the decoder's words.
    #[error("broken image: {0}; store the file again or drop the row")]
    Broken(String),
}

/// Decodes a JPEG, PNG or WebP file to upright RGB: transparency is blended over white, 16 bits are rounded to 8, grey
/// and CMYK become RGB, and the EXIF orientation is applied. An animation gives its first frame.
///
/// The file's length and the header's size are compared with `limits` before any pixel is allocated. No input makes this
/// panic.
pub fn decode(bytes: &[u8], limits: ImageLimits) -> Result<RgbImage, DecodeError> {
    guarded(|| {
        let (stored, orientation) = decode_stored(bytes, known_format(bytes, limits)?, limits)?;
        let mut upright = DynamicImage::ImageRgb8(stored);
        upright.apply_orientation(orientation);
        Ok(upright.into_rgb8())
    })
}

/// The decoders are fed from anywhere: a panic there costs a row, not the run.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DecodeError::Broken("the decoder panicked".into())))
}

/// The format, of a file that isn't too long.
pub(super) fn known_format(bytes: &[u8], limits: ImageLimits) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.len() as u64 > limits.bytes {
        return Err(DecodeError::TooLong { bytes: bytes.len() as u64, limit: limits.bytes });
    }
    image::guess_format(bytes)
        .ok()
        .filter(|format| matches!(format, ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP))
        .ok_or_else(|| DecodeError::UnknownFormat(bytes.iter().copied().take(8).collect()))
}

/// The whole image as its file has it, and how it is to be turned.
pub(super) fn decode_stored(
    bytes: &[u8],
    format: ImageFormat,
    limits: ImageLimits,
) -> Result<(RgbImage, Orientation), DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut room = Limits::no_limits();
    room.max_alloc = Some(limits.pixels.saturating_mul(WIDEST_PIXEL).saturating_add(DECODER_ROOM));
    reader.limits(room);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    limits.check_pixels(decoder.dimensions())?;
    // Damaged EXIF data says nothing about the pixels, so it doesn't cost the image.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder).map_err(broken)?;
    if format == ImageFormat::Jpeg && !ends(bytes) {
        return Err(DecodeError::cut_off());
    }
    Ok((over_white(decoded), orientation))
}

impl DecodeError {
    pub(super) fn cut_off() -> Self {
        Self::Broken("it has no end marker, so it was cut off".into())
    }
}

/// Whether a JPEG file has its end marker. What follows it is passed over.
pub(super) fn ends(bytes: &[u8]) -> bool {
    bytes.windows(2).rev().any(|pair| pair == [0xff, 0xd9])
}

fn broken(error: ImageError) -> DecodeError {
    DecodeError::Broken(error.to_string())
}

fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (pixel, &Rgba([r, g, b, alpha])) in rgb.pixels_mut().zip(rgba.pixels()) {
        let alpha = u32::from(alpha);
        // 127 rounds the division to the nearest.
        pixel.0 = [r, g, b].map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    rgb
}

#[cfg(test)]
mod tests;
