//! RandAugment as ALBEF has it (salesforce/ALBEF, dataset/randaugment.py): operations are drawn with replacement, and
//! each is applied with probability one half.
//!
//! With `s = magnitude / 10`, the strengths are those published: brightness and sharpness by the factor `1.8 s + 0.1` (so
//! a magnitude of 5 changes nothing and 0 all but blackens), shears by `0.3 s`, rotation by `30 s` degrees, translations
//! by `10 s` pixels whatever the image's size; the geometric ones in either direction, with 128 where the image ends.

use super::ops;
use super::planar::Planar;
use super::warp::warp;
use proto::config::AugmentSection;
use rand::{Rng, RngExt};

/// The magnitude at which operations have their full strength.
const FULL_MAGNITUDE: f32 = 10.0;

/// A name in `augment.choose_from` that is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("augment.choose_from: no operation is called `{name}`; known are {known}")]
pub struct UnknownOperation {
    /// The name.
    pub name: String,
    /// The names that would do, separated by commas.
    pub known: String,
}

/// Whether every name in `augment.choose_from` is an operation; the error is the first that isn't.
pub fn check_operations(augment: &AugmentSection) -> Result<(), UnknownOperation> {
    match augment.choose_from.iter().find(|name| Operation::parse(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(UnknownOperation {
            name: name.clone(),
            known: Operation::NAMED.map(|(known, _)| known).join(", "),
        }),
    }
}

/// Applies `augment.operations` random operations to `image`.
#[inline(always)]
pub(super) fn rand_augment(image: &mut Planar, augment: &AugmentSection, rng: &mut impl Rng) {
    if augment.choose_from.is_empty() {
        return;
    }
    let strength = augment.magnitude as f32 / FULL_MAGNITUDE;
    for _ in 0..augment.operations {
        let name = &augment.choose_from[rng.random_range(0..augment.choose_from.len())];
        let applied = rng.random_bool(0.5);
        let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        if let Some(operation) = Operation::parse(name).filter(|_| applied) {
            operation.apply(image, strength, sign);
        }
    }
}

/// One operation of RandAugment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    AutoContrast,
    Equalize,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
}

impl Operation {
    const NAMED: [(&str, Self); 10] = [
        ("identity", Self::Identity),
        ("auto_contrast", Self::AutoContrast),
        ("equalize", Self::Equalize),
        ("brightness", Self::Brightness),
        ("sharpness", Self::Sharpness),
        ("shear_x", Self::ShearX),
        ("shear_y", Self::ShearY),
        ("translate_x", Self::TranslateX),
        ("translate_y", Self::TranslateY),
        ("rotate", Self::Rotate),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, operation)| *operation)
    }

    /// `strength` is in 0..1; `sign` is the direction of a geometric operation, 1 or -1.
    #[inline(always)]
    fn apply(self, image: &mut Planar, strength: f32, sign: f32) {
        let factor = 1.8 * strength + 0.1;
        let shear = 0.3 * strength * sign;
        let shift = 10.0 * strength * sign;
        match self {
            Self::Identity => {}
            Self::AutoContrast => ops::auto_contrast(image),
            Self::Equalize => ops::equalize(image),
            Self::Brightness => ops::brightness(image, factor),
            Self::Sharpness => ops::sharpen(image, factor),
            // ALBEF's matrices lead from the source to the view; `warp` takes the way back.
            Self::ShearX => warp(image, [[1.0, -shear, 0.0], [0.0, 1.0, 0.0]]),
            Self::ShearY => warp(image, [[1.0, 0.0, 0.0], [-shear, 1.0, 0.0]]),
            Self::TranslateX => warp(image, [[1.0, 0.0, shift], [0.0, 1.0, 0.0]]),
            Self::TranslateY => warp(image, [[1.0, 0.0, 0.0], [0.0, 1.0, shift]]),
            Self::Rotate => {
                let (sin, cos) = (30.0 * strength * sign).to_radians().sin_cos();
                // Around (width / 2, height / 2), where OpenCV's users put the centre.
                let (x, y) = (image.width() as f32 / 2.0, image.height() as f32 / 2.0);
                warp(image, [[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_default_name_is_known_and_a_wrong_one_is_named() {
        let mut augment = AugmentSection::default();
        assert_eq!(check_operations(&augment), Ok(()));
        augment.choose_from.push("solarise".into());
        let text = check_operations(&augment).unwrap_err().to_string();
        assert!(text.contains("`solarise`") && text.contains("shear_x, shear_y"), "{text}");
    }

    /// Black, with one white pixel.
    fn dot(side: u32, x: u32, y: u32) -> RgbImage {
        let mut image = RgbImage::new(side, side);
        image.put_pixel(x, y, Rgb([255; 3]));
        image
    }

    fn applied(operation: Operation, image: RgbImage, strength: f32, sign: f32) -> RgbImage {
        let mut planar = Planar::from_rgb(&image);
        operation.apply(&mut planar, strength, sign);
        planar.pixels()
    }

    #[test]
    fn translations_shift_by_ten_pixels_at_full_strength() {
        let moved = applied(Operation::TranslateX, dot(32, 20, 5), 1.0, 1.0);
        assert_eq!(moved.get_pixel(10, 5).0, [255; 3]);
        assert_eq!(moved.get_pixel(21, 5).0, [0; 3]);
        assert_eq!(moved.get_pixel(22, 5).0, [128; 3], "what comes in from outside is grey");
        let moved = applied(Operation::TranslateY, dot(32, 20, 5), 0.5, -1.0);
        assert_eq!(moved.get_pixel(20, 10).0, [255; 3]);
        assert_eq!(moved.get_pixel(20, 4).0, [128; 3]);
    }

    #[test]
    fn shears_move_rows_and_columns_in_proportion() {
        // At full strength a pixel moves by 0.3 of its row: 3 to the right in row 10.
        assert_eq!(applied(Operation::ShearX, dot(32, 4, 10), 1.0, 1.0).get_pixel(7, 10).0, [255; 3]);
        assert_eq!(applied(Operation::ShearY, dot(32, 10, 4), 1.0, 1.0).get_pixel(10, 7).0, [255; 3]);
        assert_eq!(applied(Operation::ShearX, dot(32, 4, 10), 1.0, -1.0).get_pixel(1, 10).0, [255; 3]);
    }

    #[test]
    fn rotation_is_counter_clockwise_around_the_centre() {
        // Three times 30 degrees: a quarter turn takes (dx, dy) = (12, 0) to (0, -12), up in the image.
        let turned = applied(Operation::Rotate, dot(32, 28, 16), 3.0, 1.0);
        assert!(turned.get_pixel(16, 4).0[0] > 250, "{:?}", turned.get_pixel(16, 4));
    }

    #[test]
    fn half_of_the_draws_do_nothing() {
        let augment = AugmentSection {
            operations: 1,
            magnitude: 10,
            choose_from: vec!["brightness".into()],
            ..AugmentSection::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let grey = RgbImage::from_pixel(1, 1, Rgb([100; 3]));
        let changed = (0..1000)
            .filter(|_| {
                let mut image = Planar::from_rgb(&grey);
                rand_augment(&mut image, &augment, &mut rng);
                image.pixels() != grey
            })
            .count();
        assert!((400..600).contains(&changed), "{changed}");
    }
}
