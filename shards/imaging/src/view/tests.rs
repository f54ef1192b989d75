//! Views against known pixels and against PIL's, and what holds for any of them.

use super::*;
use image::{DynamicImage, ImageFormat, Rgb, imageops};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::io::Cursor;

const LIMITS: ImageLimits = ImageLimits { pixels: 1 << 20, bytes: 1 << 20 };

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x * 2 + y) as u8]))
}

/// A PNG file.
fn file(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    DynamicImage::from(image.clone()).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Nothing random is left.
fn plain() -> AugmentSection {
    AugmentSection { min_crop: 1.0, flip: 0.0, operations: 0, ..AugmentSection::default() }
}

/// The pixels of a training view.
fn view(bytes: &[u8], augment: &AugmentSection, size: u32, key: u64) -> RgbImage {
    let augment = AugmentSection { mean: [0.0; 3], std: [1.0; 3], ..augment.clone() };
    let plane = (size * size) as usize;
    let (mut scratch, mut out) = (Scratch::default(), vec![f32::NAN; 3 * plane]);
    let mut rng = ChaCha8Rng::seed_from_u64(key);
    training_input(bytes, LIMITS, &augment, size, &mut rng, &mut scratch, &mut out).unwrap();
    RgbImage::from_fn(size, size, |x, y| {
        Rgb([0, 1, 2].map(|channel| (out[channel * plane + (y * size + x) as usize] * 255.0).round() as u8))
    })
}

fn whole(bytes: &[u8], size: u32) -> RgbImage {
    part(bytes, LIMITS, Crop::whole, size, &mut Scratch::default()).unwrap()
}

/// The greatest and the mean difference of two images' samples.
fn apart(left: &RgbImage, right: &RgbImage) -> (u8, f64) {
    assert_eq!(left.dimensions(), right.dimensions());
    let differences = || left.as_raw().iter().zip(right.as_raw()).map(|(&left, &right)| left.abs_diff(right));
    let sum: f64 = differences().map(f64::from).sum();
    (differences().max().unwrap_or(0), sum / left.as_raw().len() as f64)
}

/// tests/golden/pil: files and what PIL made of them.
///
/// PIL rounds the chroma after interpolating it, the channels after converting them, and both passes of the resize; here
/// there is one rounding. Hence the tolerance of JPEG; without it there is only the resize's rounding. A progressive file
/// goes through the crate `image`, whose transform rounds by itself.
#[test]
fn views_are_those_of_pil_within_a_tolerance() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/pil");
    let golden = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
    for (name, most, mean) in [
        ("lossless.png", 1, 0.2),
        ("grey.jpg", 1, 0.2),
        ("420.jpg", 4, 0.5),
        ("422.jpg", 4, 0.5),
        ("444.jpg", 4, 0.5),
        ("restart.jpg", 4, 0.5),
        ("progressive.jpg", 8, 0.8),
    ] {
        let bytes = golden(name);
        for (view, choose) in [("whole", Crop::whole as fn((u32, u32)) -> Crop), ("centre", Crop::centre)] {
            let ours = part(&bytes, LIMITS, choose, 40, &mut Scratch::default()).unwrap();
            let pil = image::load_from_memory(&golden(&format!("{name}.{view}.png"))).unwrap().to_rgb8();
            let found = apart(&ours, &pil);
            assert!(found.0 <= most && found.1 <= mean, "{name}, {view}: apart by {found:?}");
        }
    }
}

#[test]
fn without_randomness_a_training_view_is_the_evaluation_view() {
    let bytes = file(&gradient(70, 41));
    assert_eq!(view(&bytes, &plain(), 32, 0), whole(&bytes, 32));
    assert_eq!(whole(&file(&gradient(24, 24)), 24), gradient(24, 24));

    let (mut scratch, mut trained, mut evaluated) = (Scratch::default(), vec![0.0; 3072], vec![0.0; 3072]);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    training_input(&bytes, LIMITS, &plain(), 32, &mut rng, &mut scratch, &mut trained).unwrap();
    evaluation_input(&bytes, LIMITS, &plain(), 32, &mut scratch, &mut evaluated).unwrap();
    assert_eq!(trained, evaluated);
}

#[test]
fn a_key_fixes_the_view() {
    let bytes = file(&gradient(70, 41));
    let augment = AugmentSection { grey: 0.5, color: 0.4, ..AugmentSection::default() };
    assert_eq!(view(&bytes, &augment, 32, 1), view(&bytes, &augment, 32, 1));
    assert_ne!(view(&bytes, &augment, 32, 1), view(&bytes, &augment, 32, 2));
}

#[test]
fn what_a_scratch_was_used_for_before_leaves_no_trace() {
    let (large, small) = (file(&gradient(300, 211)), file(&gradient(31, 57)));
    let mut used = Scratch::default();
    for (bytes, size) in [(&large, 64), (&small, 20), (&large, 33), (&small, 64)] {
        let fresh = part(bytes, LIMITS, Crop::centre, size, &mut Scratch::default()).unwrap();
        assert_eq!(part(bytes, LIMITS, Crop::centre, size, &mut used).unwrap(), fresh);
    }
}

#[test]
fn flip_mirrors_and_grey_comes_after_the_jitter() {
    let image = gradient(32, 32);
    let bytes = file(&image);
    let flipped = view(&bytes, &AugmentSection { flip: 1.0, ..plain() }, 32, 0);
    assert_eq!(flipped, imageops::flip_horizontal(&image));
    let grey = view(&bytes, &AugmentSection { grey: 1.0, color: 0.8, ..plain() }, 32, 0);
    assert!(grey.pixels().all(|Rgb([r, g, b])| r == g && g == b));
    assert_ne!(grey, view(&bytes, &AugmentSection { grey: 1.0, ..plain() }, 32, 0), "the jitter took place");
}

#[test]
fn shrinking_averages_instead_of_skipping() {
    // A checkerboard of single pixels is grey when it is shrunk, in any filter with antialiasing.
    let board = RgbImage::from_fn(64, 64, |x, y| Rgb([if (x + y) % 2 == 0 { 0 } else { 255 }; 3]));
    let view = whole(&file(&board), 8);
    assert!(view.pixels().all(|pixel| (125..=130).contains(&pixel.0[0])), "{:?}", view.as_raw());
}

#[test]
fn a_crop_sees_nothing_outside_itself() {
    // The left half is black: a view of it has no trace of the white half, though a wide filter reaches over.
    let image = RgbImage::from_fn(40, 20, |x, _| Rgb([if x < 20 { 0 } else { 255 }; 3]));
    let left = |_| Crop { left: 0, top: 0, width: 20, height: 20 };
    let view = part(&file(&image), LIMITS, left, 7, &mut Scratch::default()).unwrap();
    assert!(view.as_raw().iter().all(|&value| value == 0));
}

#[test]
fn an_image_that_cannot_be_decoded_is_an_error() {
    let mut out = [0.0; 192];
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (augment, mut scratch) = (AugmentSection::default(), Scratch::default());
    let result = training_input(b"", LIMITS, &augment, 8, &mut rng, &mut scratch, &mut out);
    assert_eq!(result, Err(DecodeError::Empty));
    assert_eq!(check(&file(&gradient(9, 9)), LIMITS), Ok(()));
    assert!(check(b"\xff\xd8\xff", LIMITS).is_err());
}

#[test]
fn normalised_values_stand_channel_by_channel() {
    let image = RgbImage::from_raw(2, 1, vec![0, 51, 102, 255, 204, 153]).unwrap();
    let mut view = Planar::from_rgb(&image);
    let mut out = [0.0; 6];
    normalise(&view, &[0.5, 0.0, 0.2], &[0.5, 1.0, 0.1], &mut out);
    let near =
        |out: &[f32; 6], expected: [f32; 6]| out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near(&out, [-1.0, 1.0, 0.2, 0.8, 2.0, 4.0]), "{out:?}");
    // A look-up takes place on the way.
    view.look_up([[255; 256], [0; 256], [51; 256]]);
    normalise(&view, &[0.5, 0.0, 0.2], &[0.5, 1.0, 0.1], &mut out);
    assert!(near(&out, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]), "{out:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_view_is_written_whole(
        (width, height) in (1..90u32, 1..90u32),
        size in 1..40u32,
        min_crop in -0.5..1.5f64,
        (operations, magnitude) in (0..5u32, 0..=10u32),
        (flip, grey, color) in (0.0..=1.0f64, 0.0..=1.0f64, 0.0..=1.0f64),
        key in any::<u64>(),
    ) {
        let augment = AugmentSection { min_crop, operations, magnitude, flip, grey, color, ..AugmentSection::default() };
        let (mut scratch, mut out) = (Scratch::default(), vec![f32::NAN; (3 * size * size) as usize]);
        let mut rng = ChaCha8Rng::seed_from_u64(key);
        let bytes = file(&gradient(width, height));
        training_input(&bytes, LIMITS, &augment, size, &mut rng, &mut scratch, &mut out).unwrap();
        prop_assert!(out.iter().all(|number| number.is_finite()));
    }
}
