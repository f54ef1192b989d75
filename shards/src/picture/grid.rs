//! Retrieval grids: a query per row, beside it what was found for it, and which of that is right.

use super::canvas::{self, Canvas};
use super::lettering::{cut, wrap};
use embedded_graphics::mono_font::iso_8859_1::{FONT_6X13, FONT_7X13_BOLD, FONT_7X14, FONT_10X20};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use image::RgbImage;

const MARGIN: u32 = 24;
const QUERY: u32 = 220;
const SIDE: u32 = 128;
const GAP: u32 = 18;
const SHOWN: usize = 5;
const TITLE: u32 = 36;
/// The image, then the rank and two lines of caption.
const ROW: u32 = SIDE + 10 + 16 + 28;
const RIGHT: Rgb888 = Rgb888::new(0x1a, 0x9c, 0x4b);

/// One query and its answers.
#[derive(Debug, Clone)]
pub struct GridRow {
    /// What was asked.
    pub query: Query,
    /// What was found, in any order; the five of the lowest rank are shown.
    pub answers: Vec<Answer>,
}

/// What was asked.
#[derive(Debug, Clone)]
pub enum Query {
    /// Words.
    Text(String),
    /// An image and its caption.
    Image(RgbImage, String),
}

/// One image that was found.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The image, of any size.
    pub image: RgbImage,
    /// Its caption.
    pub caption: String,
    /// Whether it answers the query.
    pub right: bool,
    /// Its place among all that was found; 1 is the best.
    pub rank: usize,
}

/// A grid on white, 998 px wide: in each row the query and its five best answers, the right ones framed in thick green.
pub fn retrieval_grid(title: &str, rows: &[GridRow]) -> RgbImage {
    let width = MARGIN + QUERY + SHOWN as u32 * (GAP + SIDE) + MARGIN;
    let mut canvas = Canvas::new(width, MARGIN + TITLE + rows.len() as u32 * (ROW + GAP));
    let room = (width - 2 * MARGIN) / FONT_10X20.character_size.width;
    let corner = Point::new_equal(MARGIN as i32);
    canvas.text(corner - Point::new(0, 6), &cut(title, room as usize), &FONT_10X20, canvas::INK);
    for (place, row) in rows.iter().enumerate() {
        let corner = row_corner(place);
        let rule =
            Rectangle::new(corner - Point::new(0, GAP as i32 / 2 + 4), Size::new(width - 2 * MARGIN, 1));
        canvas.fill(rule, canvas::RULE);
        draw_query(&mut canvas, corner, &row.query);
        let mut best: Vec<&Answer> = row.answers.iter().collect();
        best.sort_by_key(|answer| answer.rank);
        for (column, answer) in best.into_iter().take(SHOWN).enumerate() {
            draw_answer(&mut canvas, corner + Point::new(answer_left(column), 0), answer);
        }
    }
    canvas.into_image()
}

fn row_corner(row: usize) -> Point {
    Point::new(MARGIN as i32, (MARGIN + TITLE + row as u32 * (ROW + GAP)) as i32)
}

fn answer_left(column: usize) -> i32 {
    (QUERY + GAP + column as u32 * (SIDE + GAP)) as i32
}

fn draw_query(canvas: &mut Canvas, corner: Point, query: &Query) {
    match query {
        Query::Text(text) => {
            let lines = wrap(text, (QUERY / FONT_7X14.character_size.width) as usize, 8);
            let height = lines.len() as u32 * canvas::leading(&FONT_7X14);
            let down = (SIDE - height.min(SIDE)) as i32 / 2;
            canvas.lines(corner + Point::new(0, down), &lines, &FONT_7X14, canvas::INK);
        }
        Query::Image(image, caption) => {
            let small = canvas::thumbnail(image, SIDE);
            let area = canvas::centred_in(&small, corner, SIDE);
            canvas.frame(area, 1, canvas::RULE);
            canvas.paste(&small, area.top_left);
            let lines = wrap(caption, (QUERY / FONT_6X13.character_size.width) as usize, 3);
            canvas.lines(corner + Point::new(0, SIDE as i32 + 10), &lines, &FONT_6X13, canvas::INK);
        }
    }
}

fn draw_answer(canvas: &mut Canvas, corner: Point, answer: &Answer) {
    let small = canvas::thumbnail(&answer.image, SIDE);
    let area = canvas::centred_in(&small, corner, SIDE);
    let (thickness, colour) = if answer.right { (5, RIGHT) } else { (1, canvas::RULE) };
    canvas.frame(area, thickness, colour);
    canvas.paste(&small, area.top_left);
    let below = corner + Point::new(0, SIDE as i32 + 10);
    if answer.right {
        canvas.text(below, &format!("{} · right", answer.rank), &FONT_7X13_BOLD, RIGHT);
    } else {
        canvas.text(below, &answer.rank.to_string(), &FONT_7X13_BOLD, canvas::FAINT);
    }
    let lines = wrap(&answer.caption, (SIDE / FONT_6X13.character_size.width) as usize, 2);
    canvas.lines(below + Point::new(0, 16), &lines, &FONT_6X13, canvas::FAINT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    const GREEN: [u8; 3] = [0x1a, 0x9c, 0x4b];

    fn answer(rank: usize, right: bool) -> Answer {
        let image = RgbImage::from_pixel(16, 8, Rgb([(rank as u8).wrapping_mul(10); 3]));
        Answer {
            image,
            caption: "a caption that is too long for two lines of its column".into(),
            right,
            rank,
        }
    }

    fn grid(answers: Vec<Answer>) -> RgbImage {
        retrieval_grid("found", &[GridRow { query: Query::Text("a query".into()), answers }])
    }

    /// The colour at a place in the first row's answer, from its image's upper left corner.
    fn at(image: &RgbImage, column: usize, x: i32, y: i32) -> [u8; 3] {
        let corner = row_corner(0) + Point::new(answer_left(column) + x, SIDE as i32 / 4 + y);
        image.get_pixel(corner.x as u32, corner.y as u32).0
    }

    #[test]
    fn right_answers_are_framed_in_green_and_others_are_not() {
        let image = grid(vec![answer(1, false), answer(2, true)]);
        for (x, y) in [(-1, 0), (-5, 32), (128, 10), (132, 63), (64, -5), (64, 68)] {
            assert_eq!(at(&image, 1, x, y), GREEN, "{x} {y}");
            assert_ne!(at(&image, 0, x, y), GREEN, "{x} {y}");
        }
        for (x, y) in [(-6, 32), (133, 32), (64, -6), (64, 69)] {
            assert_eq!(at(&image, 1, x, y), [255; 3], "the frame is five pixels thick, not more: {x} {y}");
        }
        assert_eq!(at(&image, 1, 0, 0), [20; 3], "the frame leaves the image whole");
        assert_eq!(at(&image, 0, -1, 0), [0xd5, 0xd9, 0xdf]);
    }

    #[test]
    fn the_five_best_are_shown_by_rank() {
        let image = grid([6, 3, 1, 5, 2, 4].map(|rank| answer(rank, false)).into());
        for column in 0..SHOWN {
            assert_eq!(at(&image, column, 64, 32), [(column as u8 + 1) * 10; 3]);
        }
        assert_eq!(grid(Vec::new()).dimensions(), image.dimensions());
    }

    #[test]
    fn odd_images_and_long_texts_make_a_grid() {
        let long = "supercalifragilistic\u{0}\n".repeat(300);
        let odd = |width, height| Answer { image: RgbImage::new(width, height), ..answer(usize::MAX, true) };
        let answers = vec![odd(1, 1), odd(5000, 3), odd(0, 0), odd(3, 5000)];
        let rows = [
            GridRow { query: Query::Text(long.clone()), answers: answers.clone() },
            GridRow { query: Query::Image(RgbImage::new(5000, 3), long.clone()), answers },
        ];
        let image = retrieval_grid(&long, &rows);
        assert_eq!(image.width(), 998);
        assert!(image.rows().next_back().unwrap().all(|pixel| pixel.0 == [255; 3]));
        assert_eq!(retrieval_grid("", &[]).width(), 998);
    }
}
