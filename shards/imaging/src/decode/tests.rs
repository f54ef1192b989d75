//! Real files of the three formats, made here: what the encoders write, and what they can't, byte by byte.

use super::*;
use image::codecs::png::PngEncoder;
use image::codecs::{jpeg::JpegEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Luma, LumaA, Rgb};
use proptest::prelude::*;

const ROOMY: ImageLimits = ImageLimits { pixels: 1 << 20, bytes: 1 << 20 };

fn pixel_limit(pixels: u64) -> ImageLimits {
    ImageLimits { pixels, ..ROOMY }
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn pixels(bytes: &[u8]) -> Vec<[u8; 3]> {
    decode(bytes, ROOMY).unwrap().pixels().map(|pixel| pixel.0).collect()
}

/// Each pixel differs from its neighbours.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 9) as u8, (y * 11) as u8, (x * y) as u8]))
}

#[test]
fn lossless_formats_give_the_pixels_back_and_jpeg_nearly() {
    let image = gradient(20, 13);
    assert_eq!(decode(&encoded(image.clone(), ImageFormat::Png), ROOMY).unwrap(), image);
    assert_eq!(decode(&encoded(image.clone(), ImageFormat::WebP), ROOMY).unwrap(), image);
    let flat = RgbImage::from_pixel(20, 13, Rgb([200, 100, 50]));
    for pixel in decode(&encoded(flat, ImageFormat::Jpeg), ROOMY).unwrap().pixels() {
        let error = pixel.0.iter().zip([200u8, 100, 50]).map(|(&a, b)| a.abs_diff(b)).max();
        assert!(error < Some(5), "{pixel:?}");
    }
}

#[test]
fn transparency_is_blended_over_white() {
    let red = |alpha| Rgba([255u8, 0, 0, alpha]);
    let image = ImageBuffer::from_fn(3, 1, |x, _| red([0, 128, 255][x as usize]));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let pixels = pixels(&encoded(image.clone(), format));
        assert_eq!(pixels, [[255, 255, 255], [255, 127, 127], [255, 0, 0]], "{format:?}");
    }
    let grey = ImageBuffer::from_fn(2, 1, |x, _| LumaA([[100u8, 50], [100, 255]][x as usize]));
    // (100 * 50 + 255 * 205) / 255 = 224.6.
    assert_eq!(pixels(&encoded(grey, ImageFormat::Png)), [[225; 3], [100; 3]]);
}

#[test]
fn grey_and_sixteen_bits_become_rgb_of_eight() {
    let grey = ImageBuffer::from_fn(2, 1, |x, _| Luma([[7u8], [250]][x as usize]));
    assert_eq!(pixels(&encoded(grey.clone(), ImageFormat::Png)), [[7; 3], [250; 3]]);
    assert_eq!(decode(&encoded(grey, ImageFormat::Jpeg), ROOMY).unwrap().dimensions(), (2, 1));
    // 257 v is v in 16 bits, and 1000 / 257 = 3.9.
    let deep = ImageBuffer::from_pixel(1, 1, Rgb([257u16 * 200, 1000, 65535]));
    assert_eq!(pixels(&encoded(deep, ImageFormat::Png)), [[200, 4, 255]]);
    let clear = ImageBuffer::from_pixel(1, 1, Rgba([65535u16, 0, 0, 257 * 128]));
    assert_eq!(pixels(&encoded(clear, ImageFormat::Png)), [[255, 127, 127]]);
}

/// A chunk of a PNG: length, kind, data, CRC-32.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [kind, data].concat();
    let crc = !named.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    [&(data.len() as u32).to_be_bytes()[..], &named, &crc.to_be_bytes()].concat()
}

/// The start of a PNG with 8 bits per sample.
fn png_header(width: u32, height: u32, color: u8) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, color, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header)].concat()
}

#[test]
fn a_palette_with_transparency_is_blended_over_white() {
    // One row (filter 0, then indices 0, 1, 2) in one stored block of zlib, with its Adler-32.
    let row = [0u8, 0, 1, 2];
    let (a, b) =
        row.iter().fold((1u32, 0u32), |(a, b), &byte| (a + u32::from(byte), b + a + u32::from(byte)));
    let data = [&[0x78, 0x01, 1, 4, 0, !4, !0][..], &row, &(b << 16 | a).to_be_bytes()].concat();
    let file = [
        png_header(3, 1, 3),
        chunk(b"PLTE", &[255, 0, 0, 0, 255, 0, 0, 0, 255]),
        chunk(b"tRNS", &[128, 0]),
        chunk(b"IDAT", &data),
        chunk(b"IEND", &[]),
    ]
    .concat();
    assert_eq!(pixels(&file), [[255, 127, 127], [255, 255, 255], [0, 0, 255]]);
}

/// A JPEG of one 8 x 8 block in C, M, Y, K, of which Adobe stores the complement: full, none, none, full.
fn cmyk_jpeg() -> Vec<u8> {
    let segment = |marker: u8, data: &[u8]| {
        [&[0xff, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
    };
    let (cyan_first, components) = ([1u8, 2, 3, 4], 4);
    let frame = cyan_first.iter().flat_map(|&id| [id, 0x11, 0]);
    let frame: Vec<u8> = [8, 0, 8, 0, 8, components].into_iter().chain(frame).collect();
    let scan = cyan_first.iter().flat_map(|&id| [id, 0]);
    let scan: Vec<u8> = [components].into_iter().chain(scan).chain([0, 63, 0]).collect();
    let mut lengths = [0u8; 16];
    (lengths[0], lengths[1]) = (1, 1);
    let dc = [&[0x00][..], &lengths, &[7, 8]].concat();
    lengths[1] = 0;
    let ac = [&[0x10][..], &lengths, &[0]].concat();
    // With a quantiser of 8 a sample is 128 + DC: `0` + 7 bits is 127, `10` + 8 bits is -128; each block ends by `0`.
    let (full, none) = ("0 1111111 0", "10 01111111 0");
    let bits: Vec<u8> = [full, none, none, full].concat().bytes().filter(|bit| *bit != b' ').collect();
    let coded = bits.chunks(8).flat_map(|bits| {
        let byte = (0..8).fold(0, |byte, at| byte << 1 | (bits.get(at) != Some(&b'0')) as u8);
        if byte == 0xff { vec![byte, 0] } else { vec![byte] }
    });
    [
        vec![0xff, 0xd8],
        segment(0xee, b"Adobe\0\x64\0\0\0\0\0"),
        segment(0xdb, &[&[0][..], &[8; 64]].concat()),
        segment(0xc0, &frame),
        segment(0xc4, &dc),
        segment(0xc4, &ac),
        segment(0xda, &scan),
        coded.collect(),
        vec![0xff, 0xd9],
    ]
    .concat()
}

#[test]
fn cmyk_becomes_rgb() {
    let red = RgbImage::from_pixel(8, 8, Rgb([255, 0, 0]));
    assert_eq!(decode(&cmyk_jpeg(), ROOMY).unwrap(), red);
    let whole = crate::Crop::whole;
    assert_eq!(crate::part(&cmyk_jpeg(), ROOMY, whole, 8, &mut Default::default()).unwrap(), red);
}

/// EXIF data whose only entry is the orientation, a short in the first directory.
fn exif(orientation: u8) -> Vec<u8> {
    let head = *b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
    [&head[..], &[0, orientation, 0, 0, 0, 0, 0, 0]].concat()
}

#[test]
fn the_exif_orientation_is_applied() {
    let corners = RgbImage::from_fn(3, 2, |x, y| Rgb([(x + 3 * y) as u8; 3]));
    // 6: the stored top row is the right column; 5: the stored rows are the columns.
    for (orientation, size, expected) in [
        (1, (3, 2), [0, 1, 2, 3, 4, 5]),
        (3, (3, 2), [5, 4, 3, 2, 1, 0]),
        (6, (2, 3), [3, 0, 4, 1, 5, 2]),
        (5, (2, 3), [0, 3, 1, 4, 2, 5]),
    ] {
        let (mut png, mut webp) = (Vec::new(), Vec::new());
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&corners, 3, 2, ExtendedColorType::Rgb8).unwrap();
        let mut encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&corners, 3, 2, ExtendedColorType::Rgb8).unwrap();
        for file in [png, webp] {
            let image = decode(&file, ROOMY).unwrap();
            assert_eq!(image.dimensions(), size, "orientation {orientation}");
            assert_eq!(image.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(), expected);
        }
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new(&mut jpeg);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&corners, 3, 2, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(decode(&jpeg, ROOMY).unwrap().dimensions(), size);
    }
}

#[test]
fn what_cannot_be_an_image_is_told_apart() {
    assert_eq!(decode(b"", ROOMY), Err(DecodeError::Empty));
    assert_eq!(decode(b"GIF89a....", ROOMY), Err(DecodeError::UnknownFormat(b"GIF89a..".to_vec())));
    assert!(matches!(decode(b"?", ROOMY), Err(DecodeError::UnknownFormat(_))));
    assert!(matches!(decode(b"\xff\xd8\xff", ROOMY), Err(DecodeError::Broken(_))));
    // A frame header of 0 x 0.
    let mut nothing = cmyk_jpeg();
    let frame = nothing.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    nothing[frame + 5..frame + 9].fill(0);
    assert!(decode(&nothing, ROOMY).is_err());
    let empty = [png_header(0, 5, 2), chunk(b"IDAT", &[]), chunk(b"IEND", &[])].concat();
    assert!(decode(&empty, ROOMY).is_err());
}

#[test]
fn the_header_alone_decides_about_the_size() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let file = encoded(gradient(20, 13), format);
        assert_eq!(
            decode(&file, pixel_limit(259)),
            Err(DecodeError::TooLarge { width: 20, height: 13, limit: 259 })
        );
        assert!(decode(&file, pixel_limit(260)).is_ok());
    }
    let bomb = [png_header(60_000, 50_000, 2), chunk(b"IDAT", &[0x78]), chunk(b"IEND", &[])].concat();
    let error = decode(&bomb, pixel_limit(64_000_000)).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge { width: 60_000, height: 50_000, limit: 64_000_000 });
    let text = error.to_string();
    assert!(text.contains("60000 x 50000") && text.contains("`data.max_pixels`"), "{text}");
}

#[test]
fn a_file_that_is_too_long_is_refused_before_it_is_looked_at() {
    let limits = ImageLimits { bytes: 99, ..ROOMY };
    let error = decode(&[7; 100], limits).unwrap_err();
    assert_eq!(error, DecodeError::TooLong { bytes: 100, limit: 99 });
    let text = error.to_string();
    assert!(text.contains("100 bytes") && text.contains("`data.max_bytes`"), "{text}");
}

#[test]
fn a_colour_profile_is_passed_over() {
    let image = gradient(20, 13);
    let profile = vec![7; 3000];
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_icc_profile(profile.clone()).unwrap();
    encoder.write_image(&image, 20, 13, ExtendedColorType::Rgb8).unwrap();
    assert_eq!(decode(&png, ROOMY).unwrap(), image);
    let jpeg = |profile: Option<Vec<u8>>| {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new(&mut bytes);
        if let Some(profile) = profile {
            encoder.set_icc_profile(profile).unwrap();
        }
        encoder.write_image(&image, 20, 13, ExtendedColorType::Rgb8).unwrap();
        let whole = crate::Crop::whole;
        crate::part(&bytes, ROOMY, whole, 13, &mut Default::default()).unwrap()
    };
    assert_eq!(jpeg(Some(profile)), jpeg(None));
}

#[test]
fn an_animation_gives_its_first_frame() {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let odd = if data.len() % 2 == 1 { &[0][..] } else { &[] };
        [kind, &(data.len() as u32).to_le_bytes()[..], data, odd].concat()
    };
    // A still's only chunk behind the file's head is its picture.
    let frame = |value| {
        let still = encoded(RgbImage::from_pixel(4, 4, Rgb([value; 3])), ImageFormat::WebP);
        // x, y, width - 1, height - 1 and duration in three bytes each; no blending, as it covers everything.
        let head = [&[0; 6][..], &[3, 0, 0, 3, 0, 0, 100, 0, 0, 2]].concat();
        chunk(b"ANMF", &[&head, &still[12..]].concat())
    };
    let chunks =
        [chunk(b"VP8X", &[2, 0, 0, 0, 3, 0, 0, 3, 0, 0]), chunk(b"ANIM", &[0; 6]), frame(90), frame(200)]
            .concat();
    let file = [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunks].concat();
    assert_eq!(decode(&file, ROOMY).unwrap(), RgbImage::from_pixel(4, 4, Rgb([90; 3])));
}

fn files() -> Vec<Vec<u8>> {
    let clear = ImageBuffer::from_fn(9, 7, |x, y| Rgba([x as u8, y as u8, 3, (x * y) as u8]));
    let mut files: Vec<_> = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP]
        .map(|format| encoded(gradient(20, 13), format))
        .to_vec();
    files.extend([encoded(clear.clone(), ImageFormat::Png), encoded(clear, ImageFormat::WebP), cmyk_jpeg()]);
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damaged_files_are_errors_or_images_within_the_limit(
        file in prop::sample::select(files()),
        keep in 0.0..3.0f64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 0..6),
    ) {
        let mut file = file;
        file.truncate((file.len() as f64 * keep) as usize);
        for (at, flip) in flips {
            if !file.is_empty() {
                let at = at.index(file.len());
                file[at] ^= flip;
            }
        }
        match decode(&file, pixel_limit(4096)) {
            Ok(image) => prop_assert!((1..=4096).contains(&(image.width() * image.height()))),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
