//! Views against known pixels, and what holds for any of them.

use super::*;
use crate::keyed;
use image::Rgb;
use proptest::prelude::*;

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x * 2 + y) as u8]))
}

/// Nothing random is left.
fn plain() -> AugmentSection {
    AugmentSection { min_crop: 1.0, flip: 0.0, operations: 0, ..AugmentSection::default() }
}

fn view(image: &RgbImage, augment: &AugmentSection, size: u32, key: u64) -> RgbImage {
    training_view(image, augment, size, &mut keyed::rng("test", &[key])).unwrap()
}

#[test]
fn without_randomness_a_training_view_is_the_evaluation_view() {
    let image = gradient(70, 41);
    assert_eq!(view(&image, &plain(), 32, 0), evaluation_view(&image, 32).unwrap());
    assert_eq!(evaluation_view(&gradient(24, 24), 24).unwrap(), gradient(24, 24));
}

#[test]
fn a_key_fixes_the_view() {
    let image = gradient(70, 41);
    let augment = AugmentSection { grey: 0.5, color: 0.4, ..AugmentSection::default() };
    assert_eq!(view(&image, &augment, 32, 1), view(&image, &augment, 32, 1));
    assert_ne!(view(&image, &augment, 32, 1), view(&image, &augment, 32, 2));
}

#[test]
fn flip_mirrors_and_grey_comes_after_the_jitter() {
    let image = gradient(32, 32);
    let flipped = view(&image, &AugmentSection { flip: 1.0, ..plain() }, 32, 0);
    assert_eq!(flipped, imageops::flip_horizontal(&image));
    let grey = view(&image, &AugmentSection { grey: 1.0, color: 0.8, ..plain() }, 32, 0);
    assert!(grey.pixels().all(|Rgb([r, g, b])| r == g && g == b));
    assert_ne!(grey, view(&image, &AugmentSection { grey: 1.0, ..plain() }, 32, 0), "the jitter took place");
}

#[test]
fn shrinking_averages_instead_of_skipping() {
    // A checkerboard of single pixels is grey when it is shrunk, in any filter with antialiasing.
    let board = RgbImage::from_fn(64, 64, |x, y| Rgb([if (x + y) % 2 == 0 { 0 } else { 255 }; 3]));
    let view = evaluation_view(&board, 8).unwrap();
    assert!(view.pixels().all(|pixel| (125..=130).contains(&pixel.0[0])), "{:?}", view.as_raw());
}

#[test]
fn a_crop_sees_nothing_outside_itself() {
    // The left half is black: a view of it has no trace of the white half, though a wide filter reaches over.
    let image = RgbImage::from_fn(40, 20, |x, _| Rgb([if x < 20 { 0 } else { 255 }; 3]));
    let crop = Crop { left: 0, top: 0, width: 20, height: 20 };
    assert!(resize(&image, crop, 7).unwrap().as_raw().iter().all(|&value| value == 0));
}

#[test]
fn crops_keep_the_share_and_the_ratio_asked_for() {
    let mut rng = keyed::rng("crop", &[0]);
    let (mut smallest, mut largest) = (1.0f64, 0.0f64);
    for _ in 0..2000 {
        let crop = Crop::random(400, 300, 0.2, &mut rng);
        let share = f64::from(crop.width * crop.height) / 120_000.0;
        let ratio = f64::from(crop.width) / f64::from(crop.height);
        assert!((0.195..=1.0).contains(&share) && (0.74..1.35).contains(&ratio), "{crop:?}");
        (smallest, largest) = (smallest.min(share), largest.max(share));
    }
    assert!(smallest < 0.22 && largest > 0.95, "{smallest} {largest}");
}

#[test]
fn an_image_that_no_crop_fits_is_cropped_at_its_centre() {
    let mut rng = keyed::rng("crop", &[0]);
    let wide = Crop::random(1000, 30, 0.9, &mut rng);
    assert_eq!(wide, Crop { left: 480, top: 0, width: 40, height: 30 });
    let tall = Crop::random(30, 1000, 0.9, &mut rng);
    assert_eq!(tall, Crop { left: 0, top: 480, width: 30, height: 40 });
}

#[test]
fn an_image_without_pixels_is_an_error() {
    let nothing = RgbImage::new(0, 3);
    assert_eq!(evaluation_view(&nothing, 8), Err(DecodeError::NoPixels { width: 0, height: 3 }));
    let mut rng = keyed::rng("test", &[0]);
    assert!(training_view(&nothing, &AugmentSection::default(), 8, &mut rng).is_err());
}

#[test]
fn normalised_values_stand_channel_by_channel() {
    let image = RgbImage::from_raw(2, 1, vec![0, 51, 102, 255, 204, 153]).unwrap();
    let mut out = [0.0; 6];
    normalise(&image, &[0.5, 0.0, 0.2], &[0.5, 1.0, 0.1], &mut out);
    assert_eq!(out, [-1.0, 1.0, 0.2, 0.8, 2.0, 4.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_view_has_the_size_asked_for(
        (width, height) in (1..90u32, 1..90u32),
        size in 1..40u32,
        min_crop in -0.5..1.5f64,
        (operations, magnitude) in (0..5u32, 0..=10u32),
        (flip, grey, color) in (0.0..=1.0f64, 0.0..=1.0f64, 0.0..=1.0f64),
        key in any::<u64>(),
    ) {
        let augment = AugmentSection { min_crop, operations, magnitude, flip, grey, color, ..AugmentSection::default() };
        let view = view(&gradient(width, height), &augment, size, key);
        prop_assert_eq!(view.dimensions(), (size, size));
    }
}
