//! The views of an image: random for training, fixed for evaluation, and their values as the model's input.
//!
//! A training view is made in this order: random resized crop (or the whole image), horizontal flip, RandAugment, colour
//! jitter, grey. The first three are ALBEF's pre-training transform (salesforce/ALBEF, dataset/__init__.py); the last two
//! are off by default, and grey comes last so that a grey view is grey.

use super::DecodeError;
use super::ops::{self, Jitter};
use super::rand_augment::rand_augment;
use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{RgbImage, imageops};
use proto::config::AugmentSection;
use rand::{Rng, RngExt};
use std::fmt::Display;

/// Narrowest and widest width / height of a random crop, as torchvision's RandomResizedCrop.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
/// Random crops that are tried before the centre one is taken, as torchvision.
const CROP_TRIES: u32 = 10;

/// A random view of `image`, `size` x `size` pixels; the steps and their order stand at the module.
///
/// `augment.min_crop` of 1 takes the whole image, whose aspect ratio is then lost. Names in `augment.choose_from` that
/// [`super::check_operations`] refuses do nothing. Errors: `NoPixels` for an image without any, `Resize` if the resizer
/// refuses.
pub fn training_view(
    image: &RgbImage,
    augment: &AugmentSection,
    size: u32,
    rng: &mut impl Rng,
) -> Result<RgbImage, DecodeError> {
    let crop = if augment.min_crop < 1.0 {
        Crop::random(image.width(), image.height(), augment.min_crop, rng)
    } else {
        Crop::whole(image.width(), image.height())
    };
    let mut view = resize(image, crop, size)?;
    if chance(rng, augment.flip) {
        imageops::flip_horizontal_in_place(&mut view);
    }
    rand_augment(&mut view, augment, rng);
    if augment.color > 0.0 {
        let mut near_one = |spread: f64| uniform(rng, 1.0 - spread, 1.0 + spread) as f32;
        let jitter = Jitter {
            brightness: near_one(augment.color),
            contrast: near_one(augment.color),
            saturation: near_one(augment.color),
            gain: [(); 3].map(|()| near_one(augment.color / 2.0)),
        };
        ops::jitter(&mut view, &jitter);
    }
    if chance(rng, augment.grey) {
        ops::grey(&mut view);
    }
    Ok(view)
}

/// The whole of `image`, resized to `size` x `size` pixels. Errors as [`training_view`].
pub fn evaluation_view(image: &RgbImage, size: u32) -> Result<RgbImage, DecodeError> {
    resize(image, Crop::whole(image.width(), image.height()), size)
}

/// Writes `(value / 255 - mean) / std` as `[3, height, width]` to `out`, which holds 3 x height x width values; `mean`
/// and `std` are those of R, G, B in 0..1.
pub fn normalise(image: &RgbImage, mean: &[f64; 3], std: &[f64; 3], out: &mut [f32]) {
    debug_assert_eq!(out.len(), image.as_raw().len(), "one value per sample");
    // A channel has 256 values: a table is faster than the arithmetic and rounds once.
    let plane = (out.len() / 3).max(1);
    for (channel, plane) in out.chunks_exact_mut(plane).enumerate().take(3) {
        let table: [f32; 256] =
            std::array::from_fn(|value| ((value as f64 / 255.0 - mean[channel]) / std[channel]) as f32);
        for (out, pixel) in plane.iter_mut().zip(image.as_raw().chunks_exact(3)) {
            *out = table[usize::from(pixel[channel])];
        }
    }
}

/// A rectangle inside an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crop {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Crop {
    fn whole(width: u32, height: u32) -> Self {
        Self { left: 0, top: 0, width, height }
    }

    /// As torchvision's RandomResizedCrop: the share of the area is uniform in `[min_share, 1]`, width / height
    /// log-uniform in [`RATIO`]; when no try fits, the largest centre crop whose ratio is in [`RATIO`].
    fn random(width: u32, height: u32, min_share: f64, rng: &mut impl Rng) -> Self {
        let area = f64::from(width) * f64::from(height);
        for _ in 0..CROP_TRIES {
            let area = area * uniform(rng, min_share.max(0.0), 1.0);
            let ratio = uniform(rng, RATIO.0.ln(), RATIO.1.ln()).exp();
            let (crop_width, crop_height) = (rounded(area * ratio), rounded(area / ratio));
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                return Self {
                    left: rng.random_range(0..=width - crop_width),
                    top: rng.random_range(0..=height - crop_height),
                    width: crop_width,
                    height: crop_height,
                };
            }
        }
        let crop_width = width.min((f64::from(height) * RATIO.1).round() as u32);
        let crop_height = height.min((f64::from(width) / RATIO.0).round() as u32);
        Self {
            left: (width - crop_width) / 2,
            top: (height - crop_height) / 2,
            width: crop_width,
            height: crop_height,
        }
    }
}

/// The side of a square of this area, in whole pixels.
fn rounded(area: f64) -> u32 {
    area.sqrt().round() as u32
}

/// Bicubic with antialiasing, as PIL. The crop is a window on the image: nothing is copied, and pixels outside it have no
/// part in the result, as if it had been cut out.
fn resize(image: &RgbImage, crop: Crop, size: u32) -> Result<RgbImage, DecodeError> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(DecodeError::NoPixels { width, height });
    }
    let refused =
        |reason: &dyn Display| DecodeError::Resize { width, height, size, reason: reason.to_string() };
    let mut view = RgbImage::new(size, size);
    let source = ImageRef::new(width, height, image.as_raw(), PixelType::U8x3).map_err(|e| refused(&e))?;
    let source =
        CroppedImage::new(&source, crop.left, crop.top, crop.width, crop.height).map_err(|e| refused(&e))?;
    let mut target = Image::from_slice_u8(size, size, &mut view, PixelType::U8x3).map_err(|e| refused(&e))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&source, &mut target, &options).map_err(|e| refused(&e))?;
    Ok(view)
}

/// True with this probability; never panics, whatever the number.
fn chance(rng: &mut impl Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

fn uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

#[cfg(test)]
mod tests;
