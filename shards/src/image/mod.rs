//! From stored image bytes to the pixels the model reads: decode, augment, normalise.
//!
//! Everything random comes from the generator that is handed in, so a view is a function of the image, the
//! configuration and the generator's key.

mod decode;
mod ops;
mod rand_augment;
mod view;

pub use decode::{DecodeError, decode};
pub use image::RgbImage;
pub use rand_augment::{UnknownOperation, check_operations};
pub use view::{evaluation_view, normalise, training_view};
