//! That captions are true of the pixels, and pairs a function of their key.

use super::scene::{PAINTS, Relation, Scene};
use super::*;
use image::Rgb;
use std::collections::HashSet;

/// How far any shape reaches, in radii; only the corners of squares, on diagonals, reach farther.
const REACH: f32 = 1.13;

fn scene(index: u64) -> Scene {
    Scene::draw_from(&mut keyed::rng("synth", &[7, index]))
}

/// Where the pixels of a colour have their centre, in pixels; a few strays at smooth edges don't move it.
fn centre(image: &RgbImage, rgb: [u8; 3]) -> (f32, f32) {
    let of_it = image.enumerate_pixels().filter(|(.., pixel)| pixel.0 == rgb);
    let (x, y, count) = of_it.fold((0, 0, 0), |(x, y, count), (px, py, _)| (x + px, y + py, count + 1));
    assert!(count > 20, "there is hardly any {rgb:?}");
    (x as f32 / count as f32, y as f32 / count as f32)
}

/// The colour that a caption's phrase, such as "a small red circle", names.
fn named(phrase: &str) -> [u8; 3] {
    let words: Vec<&str> = phrase.split(' ').collect();
    PAINTS.iter().find(|paint| paint.name == words[2]).unwrap().rgb
}

/// Whether the words of a relation hold between two places.
fn holds(words: &str, one: (f32, f32), other: (f32, f32)) -> bool {
    match words {
        "left of" => one.0 < other.0 && (one.1 - other.1).abs() < other.0 - one.0,
        "right of" => holds("left of", other, one),
        "above" => holds("left of", (one.1, one.0), (other.1, other.0)),
        "below" => holds("above", other, one),
        other => panic!("no relation: {other}"),
    }
}

/// A caption without its background, cut at its first relation: the relation, what is before and what is after.
fn parted(caption: &str) -> Option<(&'static str, &str, &str)> {
    let body = caption.split(" on a").next().unwrap();
    ["left of", "right of", "above", "below"]
        .into_iter()
        .filter_map(|words| body.split_once(words).map(|(one, other)| (words, one.trim(), other.trim())))
        .min_by_key(|(_, one, _)| one.len())
}

#[test]
fn pixels_bear_out_the_relation_that_the_caption_tells() {
    let mut seen = HashSet::new();
    for index in 0..400 {
        let (image, caption) = pair(7, index, 96);
        let Some((words, one, other)) = parted(&caption) else { continue };
        let third = other.split_once(", ");
        let other = third.map_or(other, |(other, _)| other);
        let colours = [named(one), named(other)];
        let told_apart =
            colours[0] != colours[1] && third.is_none_or(|(_, third)| !colours.contains(&named(third)));
        if told_apart {
            let centres = colours.map(|rgb| centre(&image, rgb));
            assert!(holds(words, centres[0], centres[1]), "{index}: {caption}, but {centres:?}");
            if let Some((_, third)) = third {
                let (words, third, _) = parted(third).unwrap();
                let third = centre(&image, named(third));
                let middle = ((centres[0].0 + centres[1].0) / 2.0, (centres[0].1 + centres[1].1) / 2.0);
                assert!(holds(words, third, middle), "{index}: {caption}, but {third:?} and {centres:?}");
            }
            seen.insert(words);
        }
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn things_have_their_colour_where_they_stand_and_do_not_touch() {
    for index in 0..300 {
        let scene = scene(index);
        let image = draw::picture(&scene, 128);
        let at = |x: f32, y: f32| image.get_pixel((x * 128.0) as u32, (y * 128.0) as u32).0;
        for thing in &scene.things {
            let (x, y) = thing.at;
            assert_eq!(at(x + thing.shape.inside() * thing.radius, y), thing.paint.rgb, "{index}: {scene:?}");
            let hollow = thing.shape == shape::Shape::Ring;
            assert_eq!(at(x, y) == scene.background, hollow, "{index}: {scene:?}");
            let reach = thing.radius * REACH;
            assert!(
                [x, y].into_iter().all(|v| v > reach && v < 1.0 - reach),
                "{index}: off the edge: {scene:?}"
            );
        }
        let reach = |k: usize| scene.things[k].radius * REACH;
        for (one, other) in (0..scene.things.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
            let (a, b) = (scene.things[one].at, scene.things[other].at);
            let apart = (a.0 - b.0).hypot(a.1 - b.1);
            assert!(apart > reach(one) + reach(other), "{index}: things overlap: {scene:?}");
        }
        assert_eq!(at(0.004, 0.004), scene.background);
    }
}

#[test]
fn sizes_and_backgrounds_are_as_told() {
    for index in 0..200 {
        let (image, caption) = pair(7, index, 96);
        let scene = scene(index);
        for thing in &scene.things {
            assert_eq!(thing.large, thing.radius > 0.15);
            let size = if thing.large { "large" } else { "small" };
            let phrase = format!("a {size} {} {}", thing.paint.name, thing.shape.name());
            assert!(caption.contains(&phrase), "{caption}: {phrase}");
        }
        let Rgb(corner) = *image.get_pixel(0, 0);
        match caption.split_once(" on a").map(|(_, background)| background.trim_start_matches('n').trim()) {
            Some(name) => {
                let paint = PAINTS.iter().find(|paint| format!("{} background", paint.name) == name).unwrap();
                assert_eq!(corner, paint.rgb, "{caption}");
            }
            None => assert!(corner[0] >= 220 && corner == [corner[0]; 3], "{caption}: {corner:?}"),
        }
    }
}

#[test]
fn captions_read_as_sentences() {
    let thing = |place| scene(place).things[0];
    let relations = vec![Relation::Left, Relation::Below];
    let things = vec![thing(0), thing(1), thing(2)];
    let told = Scene { things, relations, background: PAINTS[1].rgb, named: Some("orange") }.caption();
    let [a, b, c] = [0, 1, 2].map(|place| {
        let thing = thing(place);
        let size = if thing.large { "large" } else { "small" };
        format!("a {size} {} {}", thing.paint.name, thing.shape.name())
    });
    assert_eq!(told, format!("{a} left of {b}, {c} below both on an orange background"));
}

#[test]
fn pairs_are_functions_of_their_key() {
    assert_eq!(pair(1, 2, 64), pair(1, 2, 64));
    assert_eq!(pair(1, 2, 64).1, pair(1, 2, 32).1);
    assert_ne!(pair(1, 2, 64).0, pair(2, 2, 64).0);
    let pictures: HashSet<Vec<u8>> = (0..500).map(|index| pair(3, index, 48).0.into_raw()).collect();
    assert_eq!(pictures.len(), 500);
    let captions: HashSet<String> = (0..5000).map(|index| scene(index).caption()).collect();
    assert!(captions.len() > 4000, "{}", captions.len());
}

#[test]
fn sizes_are_held_within_their_bounds() {
    for (asked, given) in [(0, 16), (16, 16), (17, 17), (224, 224), (1024, 1024), (u32::MAX, 1024)] {
        assert_eq!(pair(0, 0, asked).0.dimensions(), (given, given));
    }
}

#[test]
fn jpeg_bytes_decode_to_nearly_the_same_picture() {
    let (image, _) = pair(5, 5, 64);
    let back = image::load_from_memory(&encode_jpeg(&image, 95).unwrap()).unwrap().to_rgb8();
    let off: u64 = image.iter().zip(back.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(off < 6 * 64 * 64 * 3, "{off}");
    assert!(encode_jpeg(&image, 20).unwrap().len() < encode_jpeg(&image, 95).unwrap().len());
    assert!(encode_jpeg(&RgbImage::new(70_000, 1), 80).is_err());
}
