//! A white canvas to put text, rectangles, lines and images on. What falls off its edges is not drawn.

use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyle, PrimitiveStyleBuilder, Rectangle, StrokeAlignment};
use embedded_graphics::text::{Baseline, Text};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use std::convert::Infallible;
use tiny_skia::Pixmap;

/// The colour of text that is to be read first.
pub(super) const INK: Rgb888 = Rgb888::new(0x20, 0x24, 0x2a);
/// The colour of text that explains.
pub(super) const FAINT: Rgb888 = Rgb888::new(0x66, 0x6d, 0x77);
/// The colour of thin frames and of lines between parts.
pub(super) const RULE: Rgb888 = Rgb888::new(0xd5, 0xd9, 0xdf);

/// An image under work.
pub(super) struct Canvas(RgbImage);

impl Canvas {
    /// A white one of at least one pixel.
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width.max(1), height.max(1), Rgb([255; 3])))
    }

    /// The finished image.
    pub(super) fn into_image(self) -> RgbImage {
        self.0
    }

    /// One line of text with its upper left corner at `corner`. Letters that the font lacks show as '?'.
    pub(super) fn text(&mut self, corner: Point, text: &str, font: &MonoFont, colour: Rgb888) {
        // No latin font has "…", so its cell stays blank in the text and gets three dots.
        let blank = |letter: char| letter == '…' || letter.is_control();
        let line: String = text.chars().map(|letter| if blank(letter) { ' ' } else { letter }).collect();
        let style = MonoTextStyle::new(font, colour);
        let Ok(_) = Text::with_baseline(&line, corner, style, Baseline::Top).draw(self);
        let cell = font.character_size.width as i32;
        let dot = Size::new(1, 1 + u32::from(cell > 8));
        for (place, _) in text.chars().enumerate().filter(|(_, letter)| *letter == '…') {
            for third in 0..3 {
                let right = place as i32 * cell + (2 * third + 1) * cell / 6;
                self.fill(Rectangle::new(corner + Point::new(right, font.baseline as i32 - 1), dot), colour);
            }
        }
    }

    /// Text centred on `middle` from left to right, with its top there.
    pub(super) fn centred(&mut self, middle: Point, text: &str, font: &MonoFont, colour: Rgb888) {
        self.text(middle - Point::new(width(text, font) as i32 / 2, 0), text, font, colour);
    }

    /// Lines of text, one below the other.
    pub(super) fn lines(&mut self, corner: Point, lines: &[String], font: &MonoFont, colour: Rgb888) {
        for (row, line) in (0..).zip(lines) {
            let down = row * leading(font) as i32;
            self.text(corner + Point::new(0, down), line, font, colour);
        }
    }

    /// A full rectangle.
    pub(super) fn fill(&mut self, area: Rectangle, colour: Rgb888) {
        let Ok(()) = area.into_styled(PrimitiveStyle::with_fill(colour)).draw(self);
    }

    /// A frame of `thickness` pixels around `area`, none of it inside.
    pub(super) fn frame(&mut self, area: Rectangle, thickness: u32, colour: Rgb888) {
        let style = PrimitiveStyleBuilder::new()
            .stroke_color(colour)
            .stroke_width(thickness)
            .stroke_alignment(StrokeAlignment::Outside)
            .build();
        let Ok(()) = area.into_styled(style).draw(self);
    }

    /// The image with its upper left corner at `corner`.
    pub(super) fn paste(&mut self, image: &RgbImage, corner: Point) {
        imageops::replace(&mut self.0, image, corner.x.into(), corner.y.into());
    }

    /// A drawing laid over what is there, as transparent as it is.
    pub(super) fn blend(&mut self, drawing: &Pixmap, corner: Point) {
        let columns = drawing.width().max(1) as usize;
        for (place, ink) in drawing.pixels().iter().enumerate().filter(|(_, ink)| ink.alpha() > 0) {
            let x = corner.x + (place % columns) as i32;
            let y = corner.y + (place / columns) as i32;
            if let Some(Rgb(below)) = self.pixel(x, y) {
                // The drawing's colours are premultiplied: only what is below has to be weighed.
                let rest = 255 - u16::from(ink.alpha());
                for (value, over) in below.iter_mut().zip([ink.red(), ink.green(), ink.blue()]) {
                    *value = over.saturating_add(((u16::from(*value) * rest + 127) / 255) as u8);
                }
            }
        }
    }

    fn pixel(&mut self, x: i32, y: i32) -> Option<&mut Rgb<u8>> {
        self.0.get_pixel_mut_checked(x.try_into().ok()?, y.try_into().ok()?)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            if let Some(pixel) = self.pixel(at.x, at.y) {
                *pixel = Rgb([colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// How many pixels a line of text is wide.
pub(super) fn width(text: &str, font: &MonoFont) -> u32 {
    text.chars().count() as u32 * font.character_size.width
}

/// How many pixels lie between the tops of two lines.
pub(super) fn leading(font: &MonoFont) -> u32 {
    font.character_size.height + 2
}

/// The image scaled, up or down, to the largest size with its aspect that fits a square of `side` pixels.
pub(super) fn thumbnail(image: &RgbImage, side: u32) -> RgbImage {
    let longer = u64::from(image.width().max(image.height()));
    let scaled = |length: u32| (u64::from(length) * u64::from(side) / longer.max(1)).max(1) as u32;
    if image.is_empty() {
        return RgbImage::from_pixel(1, 1, Rgb([255; 3]));
    }
    imageops::resize(image, scaled(image.width()), scaled(image.height()), FilterType::CatmullRom)
}

/// Where an image stands so that it is centred in a square of `side` pixels with its corner at `corner`.
pub(super) fn centred_in(image: &RgbImage, corner: Point, side: u32) -> Rectangle {
    let room = Point::new((side - image.width().min(side)) as i32, (side - image.height().min(side)) as i32);
    Rectangle::new(corner + room / 2, Size::new(image.width(), image.height()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::mono_font::iso_8859_1::FONT_7X13;

    fn written(text: &str) -> RgbImage {
        let mut canvas = Canvas::new(80, 16);
        canvas.text(Point::new(1, 1), text, &FONT_7X13, INK);
        canvas.into_image()
    }

    #[test]
    fn letters_that_the_font_lacks_show_as_question_marks() {
        assert_eq!(written("a猫b"), written("a?b"));
        assert_ne!(written("größe"), written("gr??e"));
        assert_eq!(written("a\nb"), written("a b"));
    }

    #[test]
    fn an_ellipsis_is_three_dots_in_its_own_cell() {
        let dark = |image: &RgbImage, x: u32| (0..16).filter(|y| image.get_pixel(x, *y).0[0] < 128).count();
        let image = written("  …");
        let columns: Vec<u32> = (0..80).filter(|x| dark(&image, *x) > 0).collect();
        assert_eq!(columns.len(), 3);
        assert!(columns.iter().all(|x| (15..22).contains(x)), "{columns:?}");
    }

    #[test]
    fn what_falls_off_the_canvas_is_dropped() {
        let mut canvas = Canvas::new(4, 4);
        canvas.text(Point::new(-100, -3), "far off, and a long way over the edge", &FONT_7X13, INK);
        canvas.paste(&RgbImage::new(9, 9), Point::new(3, 3));
        canvas.frame(Rectangle::new(Point::new(-5, -5), Size::new(50, 50)), 3, INK);
        let image = canvas.into_image();
        assert_eq!((image.dimensions(), image.get_pixel(3, 3).0), ((4, 4), [0; 3]));
    }

    #[test]
    fn thumbnails_keep_their_aspect() {
        let size = |width, height| thumbnail(&RgbImage::new(width, height), 128).dimensions();
        assert_eq!(size(32, 32), (128, 128));
        assert_eq!(size(640, 320), (128, 64));
        assert_eq!(size(5000, 3), (128, 1));
        assert_eq!(size(1, 1), (128, 128));
        assert_eq!(size(0, 7), (1, 1));
    }
}
