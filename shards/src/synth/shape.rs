//! The outlines of the shapes, around the origin and within about one unit of it.

use std::f32::consts::TAU;
use tiny_skia::{FillRule, Path, PathBuilder, Rect};

/// The inner radius of a ring.
const HOLE: f32 = 0.55;

/// What a thing looks like, apart from its size and colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Star,
    Ring,
    Cross,
    Heart,
}

impl Shape {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Circle, Self::Square, Self::Triangle, Self::Star, Self::Ring, Self::Cross, Self::Heart];

    /// The word in captions.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Ring => "ring",
            Self::Cross => "cross",
            Self::Heart => "heart",
        }
    }

    /// The outline, and how its inside is told.
    pub(super) fn path(self) -> (Option<Path>, FillRule) {
        let mut path = PathBuilder::new();
        match self {
            Self::Circle => path.push_circle(0.0, 0.0, 1.0),
            Self::Square => {
                Rect::from_ltrb(-0.86, -0.86, 0.86, 0.86).into_iter().for_each(|r| path.push_rect(r))
            }
            Self::Triangle => polygon(&mut path, &[1.12; 3]),
            Self::Star => polygon(&mut path, &[1.1, 0.46].repeat(5)),
            Self::Ring => {
                path.push_circle(0.0, 0.0, 1.0);
                path.push_circle(0.0, 0.0, HOLE);
            }
            Self::Cross => {
                // The arms' four outer and inner corners at the angles where they stand, starting at the top.
                let (arm, half) = (1.0, 0.32);
                let quarter = [(-half, -arm), (half, -arm), (half, -half)];
                let turned = (0..4).flat_map(|turn| quarter.map(|(x, y)| quarter_turns(x, y, turn)));
                join(&mut path, turned);
            }
            Self::Heart => heart(&mut path),
        }
        (path.finish(), FillRule::EvenOdd)
    }

    /// How far from the centre towards the right the shape surely has its colour.
    #[cfg(test)]
    pub(super) fn inside(self) -> f32 {
        if self == Self::Ring { (1.0 + HOLE) / 2.0 } else { 0.0 }
    }
}

/// A closed outline whose corners stand at even angles, clockwise from the top, at the given distances.
fn polygon(path: &mut PathBuilder, radii: &[f32]) {
    let corners = radii.iter().enumerate().map(|(place, radius)| {
        let angle = TAU * place as f32 / radii.len() as f32;
        (radius * angle.sin(), -radius * angle.cos())
    });
    join(path, corners);
}

fn join(path: &mut PathBuilder, corners: impl Iterator<Item = (f32, f32)>) {
    for (place, (x, y)) in corners.enumerate() {
        if place == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path.close();
}

fn quarter_turns(x: f32, y: f32, turns: u32) -> (f32, f32) {
    (0..turns).fold((x, y), |(x, y), _| (-y, x))
}

/// Two round lobes above a point.
fn heart(path: &mut PathBuilder) {
    path.move_to(0.0, 1.0);
    path.cubic_to(-0.5, 0.6, -1.05, 0.2, -1.05, -0.35);
    path.cubic_to(-1.05, -1.0, -0.2, -1.1, 0.0, -0.5);
    path.cubic_to(0.2, -1.1, 1.05, -1.0, 1.05, -0.35);
    path.cubic_to(1.05, 0.2, 0.5, 0.6, 0.0, 1.0);
    path.close();
}
