//! Legends: each series' colour beside its name, in rows that fill the width.

use super::{Series, colour};
use crate::picture::canvas::{self, Canvas};
use crate::picture::lettering::cut;
use embedded_graphics::mono_font::MonoFont;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X13;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

const FONT: MonoFont = FONT_6X13;
const SWATCH: u32 = 16;
const GAP: u32 = 14;
const LETTERS: usize = 30;
const ROWS: u32 = 4;

/// Names and where they stand, as (row, pixels from the left); too many series end in a count of the rest.
pub(super) struct Legend {
    entries: Vec<(u32, u32, String)>,
    rest: usize,
}

impl Legend {
    /// The legend of `series` in a width of `room` pixels; one series needs none.
    pub(super) fn of(series: &[Series], room: u32) -> Self {
        let mut entries = Vec::new();
        let (mut row, mut left) = (0, 0);
        let named = if series.len() > 1 { series } else { &[] };
        for one in named {
            let name = cut(&one.name, LETTERS);
            let wide = SWATCH + canvas::width(&name, &FONT);
            if left > 0 && left + wide > room {
                (row, left) = (row + 1, 0);
            }
            if row == ROWS {
                break;
            }
            entries.push((row, left, name));
            left += wide + GAP;
        }
        let rest = named.len() - entries.len();
        Self { entries, rest }
    }

    /// The height in pixels.
    pub(super) fn height(&self) -> u32 {
        let rows = self.entries.last().map_or(0, |(row, ..)| row + 1) + u32::from(self.rest > 0);
        rows * canvas::leading(&FONT)
    }

    /// Draws it with its upper left corner at `corner`.
    pub(super) fn draw(&self, canvas: &mut Canvas, corner: Point) {
        for (place, (row, left, name)) in self.entries.iter().enumerate() {
            let at = corner + Point::new(*left as i32, (row * canvas::leading(&FONT)) as i32);
            let swatch = Rectangle::new(at + Point::new(0, 5), Size::new(SWATCH - 5, 3));
            canvas.fill(swatch, colour(place));
            canvas.text(at + Point::new(SWATCH as i32, 0), name, &FONT, canvas::INK);
        }
        if self.rest > 0 {
            let last = self.height() - canvas::leading(&FONT);
            let text = format!("and {} more", self.rest);
            canvas.text(corner + Point::new(0, last as i32), &text, &FONT, canvas::FAINT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legend(count: usize, name: &str) -> Legend {
        let series = vec![Series { name: name.into(), points: Vec::new() }; count];
        Legend::of(&series, 400)
    }

    #[test]
    fn one_series_has_no_legend_and_two_have_a_row() {
        assert_eq!(legend(1, "loss").height(), 0);
        assert_eq!(legend(2, "loss").height(), canvas::leading(&FONT));
    }

    #[test]
    fn names_stay_within_the_width_and_the_rest_is_counted() {
        let many = legend(100, &"x".repeat(80));
        assert!(many.entries.iter().all(|(_, left, name)| left + SWATCH + canvas::width(name, &FONT) <= 400));
        assert_eq!(many.entries.len() + many.rest, 100);
        assert_eq!(many.height(), (ROWS + 1) * canvas::leading(&FONT));
    }
}
