//! Image files to RGB: JPEG, PNG and WebP, told apart by their content.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, Rgba};
use std::io::Cursor;
use std::panic::catch_unwind;

/// Bytes of the widest decoded pixel: four channels of 16 bits.
const WIDEST_PIXEL: u64 = 8;
/// Bytes a decoder may use beside the pixels: compressed metadata such as colour profiles, and its own buffers.
const DECODER_ROOM: u64 = 64 << 20;

/// Why an image gives no view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes are stored.
    #[error("the image is empty (0 bytes): store its file's bytes or drop the row")]
    Empty,
    /// The content is none of the known formats.
    #[error("unknown image format (first bytes {0:02x?}): store JPEG, PNG or WebP")]
    UnknownFormat(Vec<u8>),
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
    /// The resizer refused; in its words.
    #[error(
        "image of {width} x {height} can't be resized to {size} x {size}: {reason}; set another `model.image_size`"
    )]
    Resize {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Side of the view, in pixels.
        size: u32,
        /// The resizer's text.
        reason: String,
    },
}

/// Decodes a JPEG, PNG or WebP file to upright RGB: transparency is blended over white, 16 bits are rounded to 8, grey
/// and CMYK become RGB, and the EXIF orientation is applied. An animation gives its first frame.
///
/// The header's size is compared with `max_pixels` before any pixel is allocated. No input makes this panic; errors are
/// those of [`DecodeError`] but `Resize`.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, DecodeError> {
    // The decoders are other people's code and the bytes come from anywhere: a panic there costs a row, not the run.
    catch_unwind(|| decode_known(bytes, max_pixels))
        .unwrap_or_else(|_| Err(DecodeError::Broken("the decoder panicked".into())))
}

fn decode_known(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes)
        .ok()
        .filter(|format| matches!(format, ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP))
        .ok_or_else(|| DecodeError::UnknownFormat(bytes.iter().copied().take(8).collect()))?;

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_pixels.saturating_mul(WIDEST_PIXEL).saturating_add(DECODER_ROOM));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(DecodeError::NoPixels { width, height });
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::TooLarge { width, height, limit: max_pixels });
    }

    // Damaged EXIF data says nothing about the pixels, so it doesn't cost the image.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder).map_err(broken)?;
    let mut upright = DynamicImage::ImageRgb8(over_white(decoded));
    upright.apply_orientation(orientation);
    Ok(upright.into_rgb8())
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
