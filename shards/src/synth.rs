//! Drawn scenes with captions that are true of them: pairs without a download, and with words whose order matters.

mod draw;
mod scene;
mod shape;

use crate::keyed;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageResult, RgbImage};
use scene::Scene;

/// The picture and the caption of one scene, such as "a small red circle left of a large blue square".
///
/// `size` is the side in pixels, taken as 16 at least and 1024 at most. The same three numbers give the same pair, and
/// the scene itself depends on `seed` and `index` only.
pub fn pair(seed: u64, index: u64, size: u32) -> (RgbImage, String) {
    let scene = Scene::draw_from(&mut keyed::rng("synth", &[seed, index]));
    (draw::picture(&scene, size.clamp(16, 1024)), scene.caption())
}

/// The image as JPEG; `quality` is from 1, the smallest file, to 100. Fails for images without pixels or with a side
/// over 65535.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
