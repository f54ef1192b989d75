//! Which part of an image a view shows.

use super::uniform;
use rand::{Rng, RngExt};

/// Narrowest and widest width / height of a random crop, as torchvision's RandomResizedCrop.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
/// Random crops that are tried before the centre one is taken, as torchvision.
const CROP_TRIES: u32 = 10;

/// A rectangle inside an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Columns left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its columns.
    pub width: u32,
    /// Its rows.
    pub height: u32,
}

impl Crop {
    /// All of an image.
    pub fn whole((width, height): (u32, u32)) -> Self {
        Self { left: 0, top: 0, width, height }
    }

    /// The largest square, in the middle.
    pub fn centre((width, height): (u32, u32)) -> Self {
        let side = width.min(height);
        Self { left: (width - side) / 2, top: (height - side) / 2, width: side, height: side }
    }

    /// As torchvision's RandomResizedCrop: the share of the area is uniform in `[min_share, 1]`, width / height
    /// log-uniform in [`RATIO`]; when no try fits, the largest centre crop whose ratio is in [`RATIO`].
    pub(super) fn random((width, height): (u32, u32), min_share: f64, rng: &mut impl Rng) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn crops_keep_the_share_and_the_ratio_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (mut smallest, mut largest) = (1.0f64, 0.0f64);
        for _ in 0..2000 {
            let crop = Crop::random((400, 300), 0.2, &mut rng);
            let share = f64::from(crop.width * crop.height) / 120_000.0;
            let ratio = f64::from(crop.width) / f64::from(crop.height);
            assert!((0.195..=1.0).contains(&share) && (0.74..1.35).contains(&ratio), "{crop:?}");
            (smallest, largest) = (smallest.min(share), largest.max(share));
        }
        assert!(smallest < 0.22 && largest > 0.95, "{smallest} {largest}");
    }

    #[test]
    fn an_image_that_no_crop_fits_is_cropped_at_its_centre() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let wide = Crop::random((1000, 30), 0.9, &mut rng);
        assert_eq!(wide, Crop { left: 480, top: 0, width: 40, height: 30 });
        let tall = Crop::random((30, 1000), 0.9, &mut rng);
        assert_eq!(tall, Crop { left: 0, top: 480, width: 30, height: 40 });
        assert_eq!(Crop::centre((30, 100)), Crop { left: 0, top: 35, width: 30, height: 30 });
    }
}
