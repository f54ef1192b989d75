//! Parts of JPEG files against the same parts of the whole image, and damage.

use crate::{Crop, DecodeError, ImageLimits, RgbImage, Scratch, check, decode, part};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, imageops};
use proptest::prelude::*;

const LIMITS: ImageLimits = ImageLimits { pixels: 1 << 22, bytes: 1 << 22 };
const GOLDEN: [&str; 6] = ["420.jpg", "422.jpg", "444.jpg", "restart.jpg", "grey.jpg", "progressive.jpg"];

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../tests/golden/pil/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn differences(left: &RgbImage, right: &RgbImage) -> (u8, f64) {
    let apart: Vec<u8> = left.as_raw().iter().zip(right.as_raw()).map(|(&a, &b)| a.abs_diff(b)).collect();
    let sum: f64 = apart.iter().copied().map(f64::from).sum();
    (apart.iter().copied().max().unwrap_or(0), sum / apart.len() as f64)
}

fn shown(bytes: &[u8], crop: Crop, size: u32) -> RgbImage {
    part(bytes, LIMITS, |_| crop, size, &mut Scratch::default()).unwrap()
}

#[test]
fn a_crop_at_its_own_size_is_that_part_of_the_whole_image() {
    for name in GOLDEN {
        let bytes = golden(name);
        // The other decoder in the house: it rounds otherwise.
        let whole = decode(&bytes, LIMITS).unwrap();
        for (left, top, side) in
            [(0, 0, 64), (32, 0, 64), (17, 5, 23), (40, 41, 1), (90, 58, 6), (15, 16, 16)]
        {
            let crop = Crop { left, top, width: side, height: side };
            let expected = imageops::crop_imm(&whole, left, top, side, side).to_image();
            let (most, mean) = differences(&shown(&bytes, crop, side), &expected);
            assert!(
                most <= 5 && mean <= 1.0,
                "{name} at ({left}, {top}), {side} wide: apart by {most}, {mean}"
            );
        }
    }
}

#[test]
fn a_crop_of_a_part_is_exactly_what_it_is_when_all_is_decoded() {
    // At the image's own size a view is its pixels, so a small crop has to equal the same pixels of a large one, bit by
    // bit, chroma at the border included.
    for name in GOLDEN {
        let bytes = golden(name);
        let large = shown(&bytes, Crop { left: 32, top: 0, width: 64, height: 64 }, 64);
        for (left, top, side) in [(1, 1, 30), (33, 20, 31), (16, 16, 16), (60, 60, 4)] {
            let small = shown(&bytes, Crop { left: 32 + left, top, width: side, height: side }, side);
            let expected = imageops::crop_imm(&large, left, top, side, side).to_image();
            assert_eq!(differences(&small, &expected), (0, 0.0), "{name} at ({left}, {top}), {side} wide");
        }
    }
}

/// EXIF data whose only entry is the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let head = *b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
    [&head[..], &[0, orientation, 0, 0, 0, 0, 0, 0]].concat()
}

/// Smooth, so that a JPEG file of it is near to it.
fn waves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |angle: f32| (127.5 + 120.0 * angle.sin()) as u8;
        Rgb([wave(x as f32 / 9.0), wave(y as f32 / 11.0), wave((x + y) as f32 / 17.0)])
    })
}

fn jpeg(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder.write_image(image, image.width(), image.height(), ExtendedColorType::Rgb8).unwrap();
    bytes
}

#[test]
fn a_crop_is_of_the_upright_image_in_all_eight_orientations() {
    let stored = waves(61, 43);
    for orientation in 1..=8 {
        let bytes = jpeg(&stored, orientation);
        let upright = decode(&bytes, LIMITS).unwrap();
        assert_eq!(upright.dimensions(), if orientation < 5 { (61, 43) } else { (43, 61) });
        let expected = imageops::crop_imm(&upright, 7, 3, 29, 29).to_image();
        let view = shown(&bytes, Crop { left: 7, top: 3, width: 29, height: 29 }, 29);
        let (most, mean) = differences(&view, &expected);
        assert!(most <= 4 && mean < 0.6, "orientation {orientation}: apart by {most}, {mean}");
    }
}

#[test]
fn a_large_image_is_decoded_smaller_and_looks_the_same() {
    let image = waves(700, 600);
    let (bytes, lossless) = (jpeg(&image, 1), {
        let mut bytes = std::io::Cursor::new(vec![]);
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    });
    // The sides of the blocks are 4, 2 and 2 samples.
    for size in [140, 70, 31] {
        let crop = Crop { left: 11, top: 7, width: 600, height: 580 };
        let (most, mean) = differences(&shown(&bytes, crop, size), &shown(&lossless, crop, size));
        assert!(most <= 6 && mean < 1.0, "{size}: apart by {most}, {mean}");
    }
}

#[test]
fn a_file_that_was_cut_off_is_an_error_wherever_the_crop_is() {
    for name in GOLDEN {
        let bytes = golden(name);
        assert_eq!(check(&bytes, LIMITS), Ok(()), "{name}");
        for share in [0.4, 0.7, 0.99] {
            let cut = &bytes[..(bytes.len() as f64 * share) as usize];
            let top = |_| Crop { left: 0, top: 0, width: 8, height: 8 };
            assert!(matches!(check(cut, LIMITS), Err(DecodeError::Broken(_))), "{name} {share}");
            assert!(part(cut, LIMITS, top, 8, &mut Scratch::default()).is_err(), "{name} {share}");
        }
    }
    // Also one whose end was put back.
    let bytes = golden("420.jpg");
    let closed = [&bytes[..bytes.len() * 2 / 3], &[0xff, 0xd9]].concat();
    let error = check(&closed, LIMITS).unwrap_err();
    assert!(error.to_string().contains("its scan"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn damage_is_an_error_or_an_image(
        name in prop::sample::select(GOLDEN.to_vec()),
        keep in 0.5..1.5f64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 0..8),
    ) {
        let mut bytes = golden(name);
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        let limits = ImageLimits { pixels: 1 << 16, ..LIMITS };
        match part(&bytes, limits, Crop::centre, 24, &mut Scratch::default()) {
            Ok(view) => prop_assert_eq!(view.dimensions(), (24, 24)),
            Err(error) => prop_assert!(!error.to_string().contains("panicked"), "{}", error),
        }
    }
}
