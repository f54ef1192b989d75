//! Line charts: panels side by side, each with its axes, a light grid and one line per series.

mod axis;
mod legend;

use super::canvas::{self, Canvas};
use super::lettering::cut;
use axis::Axis;
use embedded_graphics::mono_font::MonoFont;
use embedded_graphics::mono_font::iso_8859_1::{FONT_6X13, FONT_7X13_BOLD, FONT_10X20};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use image::RgbImage;
use legend::Legend;
use tiny_skia::{FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Stroke, Transform};

const PANEL: Size = Size::new(460, 300);
const GAP: u32 = 20;
const TITLE: u32 = 30;
const SMALL: MonoFont = FONT_6X13;
/// Half a line's width and then some: what a drawing needs around the plot so that no stroke is cut.
const BLEED: u32 = 5;

/// One chart.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// What runs along it, with its unit; may be empty.
    pub x_label: String,
    /// What runs up it, with its unit; may be empty.
    pub y_label: String,
    /// The lines.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend, which only panels of several series have.
    pub name: String,
    /// (x, y), joined in this order. Points that aren't finite are skipped; a single one is drawn as a dot.
    pub points: Vec<(f64, f64)>,
}

/// Charts of 460 by 300 px on white, `columns` in a row (at least one), below a title that may be empty.
pub fn line_charts(title: &str, panels: &[Panel], columns: u32) -> RgbImage {
    let columns = (columns as usize).min(panels.len()).max(1);
    let rows = panels.len().div_ceil(columns) as u32;
    let above = if title.is_empty() { 0 } else { TITLE };
    let width = GAP + columns as u32 * (PANEL.width + GAP);
    let mut canvas = Canvas::new(width, above + GAP + rows * (PANEL.height + GAP));
    let room = (width - 2 * GAP) / FONT_10X20.character_size.width;
    canvas.text(Point::new(GAP as i32, 14), &cut(title, room as usize), &FONT_10X20, canvas::INK);
    for (place, panel) in panels.iter().enumerate() {
        let (row, column) = ((place / columns) as u32, (place % columns) as u32);
        let left = GAP + column * (PANEL.width + GAP);
        let top = above + GAP + row * (PANEL.height + GAP);
        Plot::new(panel, Point::new(left as i32, top as i32)).draw(&mut canvas);
    }
    canvas.into_image()
}

/// The colour of the series at `place`; they are told apart with most kinds of colour blindness, and repeat.
fn colour(place: usize) -> Rgb888 {
    // Okabe and Ito's, less the yellow, which is faint on white.
    const COLOURS: [Rgb888; 7] = [
        Rgb888::new(0x00, 0x72, 0xb2),
        Rgb888::new(0xd5, 0x5e, 0x00),
        Rgb888::new(0x00, 0x9e, 0x73),
        Rgb888::new(0xcc, 0x79, 0xa7),
        Rgb888::new(0xe6, 0x9f, 0x00),
        Rgb888::new(0x56, 0xb4, 0xe9),
        Rgb888::new(0x40, 0x40, 0x40),
    ];
    COLOURS.get(place % COLOURS.len()).copied().unwrap_or(canvas::INK)
}

/// A panel laid out: where its parts stand on the canvas.
struct Plot<'a> {
    panel: &'a Panel,
    corner: Point,
    legend: Legend,
    across: Axis,
    up: Axis,
    /// The pixels that the axes span.
    area: Rectangle,
}

impl<'a> Plot<'a> {
    fn new(panel: &'a Panel, corner: Point) -> Self {
        let points = || panel.series.iter().flat_map(|series| &series.points).filter(|p| axis::drawable(p));
        let across = Axis::tight(points().map(|point| point.0));
        let up = Axis::rounded(points().map(|point| point.1));
        let labels = up.ticks().into_iter().map(|(_, label)| canvas::width(&label, &SMALL)).max();
        let left = labels.unwrap_or(0) + 8;
        let right = 24;
        let legend = Legend::of(&panel.series, PANEL.width - left - right);
        let named = if panel.y_label.is_empty() { 0 } else { 15 };
        let top = 20 + legend.height() + named + 6;
        let below = if panel.x_label.is_empty() { 18 } else { 32 };
        let area = Rectangle::new(
            corner + Point::new(left as i32, top as i32),
            Size::new(PANEL.width - left - right, PANEL.height - top - below),
        );
        Self { panel, corner, legend, across, up, area }
    }

    /// Where a value pair stands, in pixels from the area's upper left corner.
    fn place(&self, (x, y): (f64, f64)) -> (f32, f32) {
        let along = self.across.place(x) * f64::from(self.area.size.width - 1);
        let down = (1.0 - self.up.place(y)) * f64::from(self.area.size.height - 1);
        (along as f32, down as f32)
    }

    fn draw(&self, canvas: &mut Canvas) {
        self.draw_frame(canvas);
        self.draw_ticks(canvas);
        for (place, series) in self.panel.series.iter().enumerate() {
            if let Some(line) = self.line(series, colour(place)) {
                canvas.blend(&line, self.area.top_left - Point::new_equal(BLEED as i32));
            }
        }
    }

    /// The words around the plot.
    fn draw_frame(&self, canvas: &mut Canvas) {
        let left = self.area.top_left.x;
        let at = |y: i32| Point::new(left, self.corner.y + y);
        let room = |font: &MonoFont| (self.area.size.width / font.character_size.width) as usize;
        let title = cut(&self.panel.title, room(&FONT_7X13_BOLD));
        canvas.text(at(2), &title, &FONT_7X13_BOLD, canvas::INK);
        self.legend.draw(canvas, at(20));
        let y_label = cut(&self.panel.y_label, room(&SMALL));
        canvas.text(at(20 + self.legend.height() as i32), &y_label, &SMALL, canvas::FAINT);
        let x_label = cut(&self.panel.x_label, room(&SMALL));
        let middle = left + self.area.size.width as i32 / 2;
        let bottom = self.corner.y + PANEL.height as i32 - 13;
        canvas.centred(Point::new(middle, bottom), &x_label, &SMALL, canvas::FAINT);
    }

    /// The grid, the axes and the ticks' labels.
    fn draw_ticks(&self, canvas: &mut Canvas) {
        let Rectangle { top_left, size } = self.area;
        let (right, bottom) = (size.width as i32, size.height as i32);
        let grid = Rgb888::new(0xec, 0xee, 0xf1);
        for (value, label) in self.across.ticks() {
            let x = (self.across.place(value) * f64::from(right - 1)).round() as i32;
            canvas.fill(Rectangle::new(top_left + Point::new(x, 0), Size::new(1, size.height + 3)), grid);
            canvas.centred(top_left + Point::new(x, bottom + 5), &label, &SMALL, canvas::FAINT);
        }
        for (value, label) in self.up.ticks() {
            let y = ((1.0 - self.up.place(value)) * f64::from(bottom - 1)).round() as i32;
            canvas.fill(Rectangle::new(top_left + Point::new(-3, y), Size::new(size.width + 3, 1)), grid);
            let back = canvas::width(&label, &SMALL) as i32 + 6;
            canvas.text(top_left + Point::new(-back, y - 6), &label, &SMALL, canvas::FAINT);
        }
        let axis = Rgb888::new(0x9a, 0xa1, 0xab);
        canvas.fill(Rectangle::new(top_left, Size::new(1, size.height)), axis);
        canvas.fill(Rectangle::new(top_left + Point::new(0, bottom - 1), Size::new(size.width, 1)), axis);
    }

    /// A series as a drawing that is `BLEED` larger than the area on every side; none without a point.
    fn line(&self, series: &Series, colour: Rgb888) -> Option<Pixmap> {
        let mut pixmap = Pixmap::new(self.area.size.width + 2 * BLEED, self.area.size.height + 2 * BLEED)?;
        let mut paint = Paint::default();
        paint.set_color_rgba8(colour.r(), colour.g(), colour.b(), 255);
        // The middle of a pixel is half a pixel from its corner.
        let shift = Transform::from_translate(BLEED as f32 + 0.5, BLEED as f32 + 0.5);
        let points: Vec<_> =
            series.points.iter().filter(|p| axis::drawable(p)).map(|p| self.place(*p)).collect();
        let (first, others) = points.split_first()?;
        let mut path = PathBuilder::new();
        if others.iter().all(|point| point == first) {
            path.push_circle(first.0, first.1, 3.5);
            pixmap.fill_path(&path.finish()?, &paint, FillRule::Winding, shift, None);
        } else {
            path.move_to(first.0, first.1);
            others.iter().for_each(|point| path.line_to(point.0, point.1));
            let stroke = Stroke {
                width: 1.8,
                line_cap: LineCap::Round,
                line_join: LineJoin::Round,
                ..Stroke::default()
            };
            pixmap.stroke_path(&path.finish()?, &paint, &stroke, shift, None);
        }
        Some(pixmap)
    }
}

#[cfg(test)]
mod tests;
