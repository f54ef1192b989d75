//! Contact sheets: pairs side by side, each image above its caption.

use super::canvas::{self, Canvas};
use super::lettering::wrap;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X13;
use embedded_graphics::prelude::*;
use image::RgbImage;

const SIDE: u32 = 128;
const GAP: u32 = 16;
const LINES: usize = 3;

/// Thumbnails of 128 px on white, `columns` in a row (at least one), each with up to three lines of its caption below.
///
/// Small images are enlarged smoothly and all keep their aspect. Without items the sheet is blank.
pub fn contact_sheet(items: &[(RgbImage, String)], columns: u32) -> RgbImage {
    let columns = (columns as usize).min(items.len()).max(1);
    let captioned = SIDE + 6 + LINES as u32 * canvas::leading(&FONT_6X13);
    let rows = items.len().div_ceil(columns) as u32;
    let mut sheet = Canvas::new(GAP + columns as u32 * (SIDE + GAP), GAP + rows * (captioned + GAP));
    for (place, (image, caption)) in items.iter().enumerate() {
        let (row, column) = ((place / columns) as u32, (place % columns) as u32);
        let corner = Point::new((GAP + column * (SIDE + GAP)) as i32, (GAP + row * (captioned + GAP)) as i32);
        let small = canvas::thumbnail(image, SIDE);
        let area = canvas::centred_in(&small, corner, SIDE);
        sheet.frame(area, 1, canvas::RULE);
        sheet.paste(&small, area.top_left);
        let lines = wrap(caption, (SIDE / FONT_6X13.character_size.width) as usize, LINES);
        sheet.lines(corner + Point::new(0, SIDE as i32 + 6), &lines, &FONT_6X13, canvas::INK);
    }
    sheet.into_image()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn every_image_stands_in_its_cell() {
        let shades = [10, 60, 110, 160, 210];
        let items = shades.map(|shade| (RgbImage::from_pixel(8, 8, Rgb([shade; 3])), "a caption".to_owned()));
        let sheet = contact_sheet(&items, 3);
        let down = (sheet.height() - GAP) / 2;
        for (place, shade) in (0..).zip(shades) {
            let (x, y) = (GAP + place % 3 * (SIDE + GAP) + SIDE / 2, GAP + place / 3 * down + SIDE / 2);
            assert_eq!(sheet.get_pixel(x, y).0, [shade; 3], "item {place}");
        }
        assert_eq!(sheet.width(), GAP + 3 * (SIDE + GAP));
    }

    #[test]
    fn a_caption_stays_below_its_own_image() {
        let sheet = contact_sheet(
            &[(RgbImage::new(1, 1), "word ".repeat(500)), (RgbImage::new(1, 1), String::new())],
            2,
        );
        let dark = |from: u32| {
            (from..from + SIDE)
                .any(|x| (GAP + SIDE + 2..sheet.height()).any(|y| sheet.get_pixel(x, y).0[0] < 128))
        };
        assert!(dark(GAP));
        assert!(!dark(GAP + SIDE + GAP));
        assert!((0..sheet.width()).all(|x| sheet.get_pixel(x, sheet.height() - 2).0 == [255; 3]));
    }

    #[test]
    fn odd_sizes_and_counts_make_a_sheet() {
        let odd = [(1, 1), (5000, 3), (3, 5000), (0, 0)];
        let items = odd.map(|(width, height)| (RgbImage::new(width, height), "x".repeat(1000)));
        assert_eq!(contact_sheet(&items, 0).width(), GAP + SIDE + GAP);
        assert_eq!(contact_sheet(&items, u32::MAX).width(), GAP + 4 * (SIDE + GAP));
        assert!(contact_sheet(&[], 4).pixels().all(|pixel| pixel.0 == [255; 3]));
    }
}
