//! The views of an image: random for training, fixed for evaluation, and their values as the model's input.
//!
//! A training view is made in this order: random resized crop (or the whole image), horizontal flip, RandAugment, colour
//! jitter, grey. The first three are ALBEF's pre-training transform (salesforce/ALBEF, dataset/__init__.py); the last two
//! are off by default, and grey comes last so that a grey view is grey.
//!
//! What is random is drawn before the pixels exist: the crop from the header's size, so that only the crop is decoded.
//! The samples stay bytes until they are written as numbers, once, to where the model will read them.

use super::crop::Crop;
use super::decode::{DecodeError, ImageLimits, guarded};
use super::ops::{self, Jitter};
use super::planar::Planar;
use super::rand_augment::rand_augment;
use super::source::{Scratch, Source};
use super::wide::wide;
use super::{chance, uniform};
use image::RgbImage;
use proto::config::AugmentSection;
use rand_chacha::ChaCha8Rng;

/// Writes a random view of an image file to `out` as the model's input: `[3, size, size]` numbers, `(value / 255 - mean) /
/// std`. The steps and their order stand at the module.
///
/// `augment.min_crop` of 1 takes the whole image, whose aspect ratio is then lost. Names in `augment.choose_from` that
/// [`super::check_operations`] refuses do nothing. The file's length and the header's size are compared with `limits`
/// before any pixel is allocated; no input makes this panic.
pub fn training_input(
    bytes: &[u8],
    limits: ImageLimits,
    augment: &AugmentSection,
    size: u32,
    rng: &mut ChaCha8Rng,
    scratch: &mut Scratch,
    out: &mut [f32],
) -> Result<(), DecodeError> {
    guarded(|| {
        let source = Source::open(bytes, limits)?;
        wide(
            #[inline(always)]
            || {
                draw_training_view(&source, augment, size, rng, scratch)?;
                normalise(&scratch.view, &augment.mean, &augment.std, out);
                Ok(())
            },
        )
    })
}

/// Writes the whole of an image file, resized, to `out`; else as [`training_input`].
pub fn evaluation_input(
    bytes: &[u8],
    limits: ImageLimits,
    augment: &AugmentSection,
    size: u32,
    scratch: &mut Scratch,
    out: &mut [f32],
) -> Result<(), DecodeError> {
    guarded(|| {
        let source = Source::open(bytes, limits)?;
        draw(&source, Crop::whole(source.dimensions()), size, scratch)?;
        normalise(&scratch.view, &augment.mean, &augment.std, out);
        Ok(())
    })
}

/// The part of an upright image that `choose` takes, from its width and height, as `size` x `size` pixels.
pub fn part(
    bytes: &[u8],
    limits: ImageLimits,
    choose: impl FnOnce((u32, u32)) -> Crop,
    size: u32,
    scratch: &mut Scratch,
) -> Result<RgbImage, DecodeError> {
    guarded(|| {
        let source = Source::open(bytes, limits)?;
        draw(&source, choose(source.dimensions()), size, scratch)?;
        Ok(scratch.view.pixels())
    })
}

/// Whether any view of an image file can be made: reads all of it.
pub fn check(bytes: &[u8], limits: ImageLimits) -> Result<(), DecodeError> {
    part(bytes, limits, Crop::whole, 1, &mut Scratch::default()).map(|_| ())
}

fn draw(source: &Source<'_>, crop: Crop, size: u32, scratch: &mut Scratch) -> Result<(), DecodeError> {
    wide(
        #[inline(always)]
        || source.draw(crop, false, size, scratch),
    )
}

#[inline(always)]
fn draw_training_view(
    source: &Source<'_>,
    augment: &AugmentSection,
    size: u32,
    rng: &mut ChaCha8Rng,
    scratch: &mut Scratch,
) -> Result<(), DecodeError> {
    let crop = if augment.min_crop < 1.0 {
        Crop::random(source.dimensions(), augment.min_crop, rng)
    } else {
        Crop::whole(source.dimensions())
    };
    let flip = chance(rng, augment.flip);
    source.draw(crop, flip, size, scratch)?;
    let view = &mut scratch.view;
    rand_augment(view, augment, rng);
    if augment.color > 0.0 {
        let mut near_one = |spread: f64| uniform(rng, 1.0 - spread, 1.0 + spread) as f32;
        let jitter = Jitter {
            brightness: near_one(augment.color),
            contrast: near_one(augment.color),
            saturation: near_one(augment.color),
            gain: [(); 3].map(|()| near_one(augment.color / 2.0)),
        };
        ops::jitter(view, &jitter);
    }
    if chance(rng, augment.grey) {
        ops::grey(view);
    }
    Ok(())
}

/// Writes `(value / 255 - mean) / std` as `[3, height, width]` to `out`, which holds 3 x height x width numbers; `mean`
/// and `std` are those of R, G, B in 0..1. Look-ups that wait take place on the way.
#[inline(always)]
fn normalise(view: &Planar, mean: &[f64; 3], std: &[f64; 3], out: &mut [f32]) {
    let plane = view.width() * view.height();
    debug_assert_eq!(out.len(), 3 * plane, "one number per sample");
    for (channel, (out, samples)) in out.chunks_exact_mut(plane.max(1)).zip(view.stored()).enumerate() {
        if let Some(tables) = view.waiting() {
            let table: [f32; 256] = std::array::from_fn(|value| {
                let value = f64::from(tables[channel][value]) / 255.0;
                ((value - mean[channel]) / std[channel]) as f32
            });
            for (out, &sample) in out.iter_mut().zip(samples) {
                *out = table[usize::from(sample)];
            }
        } else {
            let (factor, offset) =
                ((1.0 / (255.0 * std[channel])) as f32, (-mean[channel] / std[channel]) as f32);
            for (out, &sample) in out.iter_mut().zip(samples) {
                *out = factor * f32::from(sample) + offset;
            }
        }
    }
}

#[cfg(test)]
mod tests;
