//! From stored image bytes to the pixels the model reads: decode, augment, normalise.
//!
//! Everything random comes from the generator that is handed in, so a view is a function of the image, the
//! configuration and the generator's key.

mod crop;
mod decode;
mod jpeg;
mod ops;
mod planar;
mod rand_augment;
mod resample;
mod source;
mod taps;
mod view;
mod warp;
mod wide;

pub use crop::Crop;
pub use decode::{DecodeError, ImageLimits, decode};
pub use image::RgbImage;
pub use rand_augment::{UnknownOperation, check_operations};
pub use source::{Scratch, with_scratch};
pub use view::{check, evaluation_input, part, training_input};

use rand::{Rng, RngExt};

/// True with this probability; never panics, whatever the number.
fn chance(rng: &mut impl Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

fn uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}
