//! From a scene to pixels, with smooth edges.

use super::scene::{Scene, Thing};
use image::RgbImage;
use tiny_skia::{Color, Paint, Pixmap, Transform};

/// The scene in a square of `size` pixels.
pub(super) fn picture(scene: &Scene, size: u32) -> RgbImage {
    let mut image = RgbImage::new(size, size);
    if let Some(mut pixmap) = Pixmap::new(size, size) {
        let [red, green, blue] = scene.background;
        pixmap.fill(Color::from_rgba8(red, green, blue, 255));
        for thing in &scene.things {
            draw_thing(&mut pixmap, thing);
        }
        // The background is opaque, so nothing has to be divided by alpha.
        for (pixel, ink) in image.pixels_mut().zip(pixmap.pixels()) {
            pixel.0 = [ink.red(), ink.green(), ink.blue()];
        }
    }
    image
}

fn draw_thing(pixmap: &mut Pixmap, thing: &Thing) {
    let side = pixmap.width() as f32;
    let mut paint = Paint::default();
    let [red, green, blue] = thing.paint.rgb;
    paint.set_color_rgba8(red, green, blue, 255);
    let scale = thing.radius * side;
    let placed = Transform::from_scale(scale, scale)
        .post_rotate(thing.turn)
        .post_translate(thing.at.0 * side, thing.at.1 * side);
    if let (Some(path), rule) = thing.shape.path() {
        pixmap.fill_path(&path, &paint, rule, placed, None);
    }
}
