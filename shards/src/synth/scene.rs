//! Scenes: what stands where, and the sentence that says so.

use super::shape::Shape;
use rand::{Rng, RngExt};

/// A colour with a name that people agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    /// The word in captions.
    pub(super) name: &'static str,
    /// Red, green and blue.
    pub(super) rgb: [u8; 3],
}

const fn paint(name: &'static str, rgb: [u8; 3]) -> Paint {
    Paint { name, rgb }
}

/// The colours of things, and of the backgrounds that captions name.
pub(super) const PAINTS: [Paint; 8] = [
    paint("red", [214, 30, 36]),
    paint("orange", [250, 140, 20]),
    paint("yellow", [250, 215, 30]),
    paint("green", [30, 150, 60]),
    paint("blue", [25, 70, 215]),
    paint("purple", [150, 50, 185]),
    paint("pink", [250, 140, 190]),
    paint("black", [20, 20, 22]),
];

/// One thing of a scene. Lengths are in sides of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Thing {
    pub(super) shape: Shape,
    pub(super) paint: Paint,
    pub(super) large: bool,
    /// The centre, from the left and from the top.
    pub(super) at: (f32, f32),
    pub(super) radius: f32,
    /// In degrees, clockwise.
    pub(super) turn: f32,
}

impl Thing {
    fn caption(&self) -> String {
        let size = if self.large { "large" } else { "small" };
        format!("a {size} {} {}", self.paint.name, self.shape.name())
    }
}

/// How the first of a pair stands to the second, or a third thing to both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Left,
    Right,
    Above,
    Below,
}

impl Relation {
    const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    fn words(self) -> &'static str {
        match self {
            Self::Left => "left of",
            Self::Right => "right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    fn level(self) -> bool {
        matches!(self, Self::Left | Self::Right)
    }

    /// A place from how far it is along the relation's axis, counted from the side that the relation names, and how far
    /// across it.
    fn place(self, along: f32, across: f32) -> (f32, f32) {
        match self {
            Self::Left => (along, across),
            Self::Right => (1.0 - along, across),
            Self::Above => (across, along),
            Self::Below => (across, 1.0 - along),
        }
    }
}

/// One to three things on a background.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scene {
    pub(super) things: Vec<Thing>,
    /// What joins the things in the caption: the first to the second, then the third to both.
    pub(super) relations: Vec<Relation>,
    /// Red, green and blue.
    pub(super) background: [u8; 3],
    /// The background's name, where the caption tells it.
    pub(super) named: Option<&'static str>,
}

impl Scene {
    /// A scene at random: mostly two things, at times one or three; every third background is named.
    pub(super) fn draw_from(rng: &mut impl Rng) -> Self {
        let (named, background) = if rng.random_bool(1.0 / 3.0) {
            let paint = pick(rng, &PAINTS);
            (Some(paint.name), paint.rgb)
        } else {
            (None, [rng.random_range(220..=255); 3])
        };
        // Things of one scene differ in more than size, and none has the background's colour: each can be told.
        let mut looks: Vec<(Shape, Paint)> = Shape::ALL
            .into_iter()
            .flat_map(|shape| PAINTS.map(|paint| (shape, paint)))
            .filter(|(_, paint)| paint.rgb != background)
            .collect();
        let mut thing = |rng: &mut _, at| {
            let (shape, paint) = looks.swap_remove(RngExt::random_range(rng, 0..looks.len()));
            random_thing(rng, shape, paint, at)
        };
        let first = pick(rng, &Relation::ALL);
        let (things, relations) = match rng.random_range(0..20) {
            0..3 => {
                let at = (near(rng, 0.5, 0.2), near(rng, 0.5, 0.2));
                (vec![thing(rng, at)], Vec::new())
            }
            3..17 => {
                let places = [(0.26, near(rng, 0.5, 0.1)), (0.74, near(rng, 0.5, 0.1))];
                let things = places.map(|(along, across)| {
                    let at = first.place(near(rng, along, 0.02), across);
                    thing(rng, at)
                });
                (things.into(), vec![first])
            }
            _ => {
                // The third stands to both on the other axis, so its relation holds whatever the pair's is.
                let others = if first.level() {
                    [Relation::Above, Relation::Below]
                } else {
                    [Relation::Left, Relation::Right]
                };
                let second = pick(rng, &others);
                let row = if matches!(second, Relation::Left | Relation::Above) { 0.74 } else { 0.26 };
                let places =
                    [0.26, 0.74].map(|along| first.place(near(rng, along, 0.02), near(rng, row, 0.02)));
                let [one, two] = places.map(|at| thing(rng, at));
                let at = second.place(near(rng, 0.26, 0.02), near(rng, 0.5, 0.2));
                (vec![one, two, thing(rng, at)], vec![first, second])
            }
        };
        Self { things, relations, background, named }
    }

    /// The sentence that is true of the scene, without a full stop.
    pub(super) fn caption(&self) -> String {
        let mut text = String::new();
        for (place, thing) in self.things.iter().enumerate() {
            let relation = place.checked_sub(1).and_then(|before| self.relations.get(before));
            match (place, relation) {
                (1, Some(relation)) => text.push_str(&format!(" {} {}", relation.words(), thing.caption())),
                (2, Some(relation)) => {
                    text.push_str(&format!(", {} {} both", thing.caption(), relation.words()))
                }
                _ => text.push_str(&thing.caption()),
            }
        }
        if let Some(name) = self.named {
            let article = if name.starts_with('o') { "an" } else { "a" };
            text.push_str(&format!(" on {article} {name} background"));
        }
        text
    }
}

fn random_thing(rng: &mut impl Rng, shape: Shape, paint: Paint, at: (f32, f32)) -> Thing {
    let large = rng.random_bool(0.5);
    let radius = if large { near(rng, 0.185, 0.01) } else { near(rng, 0.105, 0.01) };
    Thing { shape, paint, large, at, radius, turn: near(rng, 0.0, 12.0) }
}

fn near(rng: &mut impl Rng, middle: f32, spread: f32) -> f32 {
    rng.random_range(middle - spread..=middle + spread)
}

fn pick<T: Copy, const N: usize>(rng: &mut impl Rng, choices: &[T; N]) -> T {
    choices[rng.random_range(0..N)]
}
