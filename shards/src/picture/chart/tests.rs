//! What must be seen in a chart, and what must not break one.

use super::*;
use image::Rgb;

fn panel(series: &[&[(f64, f64)]]) -> Panel {
    let series = series.iter().enumerate();
    Panel {
        title: "loss".into(),
        x_label: "step".into(),
        y_label: "nats".into(),
        series: series
            .map(|(n, points)| Series { name: format!("run {n}"), points: points.to_vec() })
            .collect(),
    }
}

/// The chart of one panel, and the pixel in which a value pair stands.
fn drawn(panel: &Panel) -> (RgbImage, impl Fn(f64, f64) -> (u32, u32)) {
    let plot = Plot::new(panel, Point::new_equal(GAP as i32));
    let at = move |x, y| {
        let (along, down) = plot.place((x, y));
        let corner = plot.area.top_left;
        ((corner.x as f32 + along).round() as u32, (corner.y as f32 + down).round() as u32)
    };
    (line_charts("", std::slice::from_ref(panel), 1), at)
}

/// Whether the pixel has the hue of the series at `place`, be it paler at the line's edge.
fn is_of(image: &RgbImage, (x, y): (u32, u32), place: usize) -> bool {
    let wanted = colour(place);
    let Rgb(found) = *image.get_pixel(x, y);
    found
        .into_iter()
        .zip([wanted.r(), wanted.g(), wanted.b()])
        .all(|(found, wanted)| found.abs_diff(wanted) < 90)
}

#[test]
fn lines_run_through_their_points_and_nowhere_else() {
    let panel = panel(&[&[(0.0, 0.0), (10.0, 1.0)], &[(0.0, 1.0), (5.0, 1.0), (10.0, 0.0)]]);
    let (image, at) = drawn(&panel);
    let area = Plot::new(&panel, Point::new_equal(GAP as i32)).area;
    let (left, top) = (area.top_left.x as u32, area.top_left.y as u32);
    assert_eq!(at(0.0, 0.0), (left, top + area.size.height - 1), "small values are at the lower left");
    assert_eq!(at(10.0, 1.0), (left + area.size.width - 1, top), "large values are at the upper right");
    for (x, y) in [(0.0, 0.0), (2.5, 0.25), (5.0, 0.5), (10.0, 1.0)] {
        assert!(is_of(&image, at(x, y), 0), "{x} {y}: {:?}", image.get_pixel(at(x, y).0, at(x, y).1));
    }
    for (x, y) in [(0.0, 1.0), (2.0, 1.0), (5.0, 1.0), (7.5, 0.5), (10.0, 0.0)] {
        assert!(is_of(&image, at(x, y), 1), "{x} {y}: {:?}", image.get_pixel(at(x, y).0, at(x, y).1));
    }
    for (x, y) in [(2.5, 0.5), (7.5, 0.25), (5.0, 0.1)] {
        assert!(!is_of(&image, at(x, y), 0) && !is_of(&image, at(x, y), 1), "{x} {y}");
    }
}

#[test]
fn points_that_are_not_finite_are_skipped() {
    let whole: &[(f64, f64)] = &[(0.0, 0.0), (10.0, 1.0)];
    let broken: &[(f64, f64)] = &[
        (0.0, 0.0),
        (f64::NAN, 3.0),
        (5.0, f64::INFINITY),
        (f64::NEG_INFINITY, 0.0),
        (10.0, 1.0),
        (4.0, f64::MAX),
    ];
    assert_eq!(drawn(&panel(&[whole])).0, drawn(&panel(&[broken])).0);
}

#[test]
fn one_point_is_a_dot_and_constants_are_a_level_line() {
    let dot = panel(&[&[(3.0, 7.0)]]);
    let (image, at) = drawn(&dot);
    let (x, y) = at(3.0, 7.0);
    assert!(
        [(x, y), (x + 2, y), (x - 2, y), (x, y + 2), (x, y - 2)].into_iter().all(|p| is_of(&image, p, 0))
    );

    let level = panel(&[&[(0.0, 5.0), (4.0, 5.0)]]);
    let (image, at) = drawn(&level);
    assert!([0.0, 1.3, 4.0].into_iter().all(|x| is_of(&image, at(x, 5.0), 0)));
}

#[test]
fn a_legend_names_several_series_and_never_one() {
    let coloured = |panel: &Panel| {
        let (image, _) = drawn(panel);
        let top = Plot::new(panel, Point::new_equal(GAP as i32)).area.top_left.y as u32 - 5;
        (0..top).any(|y| (0..image.width()).any(|x| is_of(&image, (x, y), 1)))
    };
    assert!(coloured(&panel(&[&[(0.0, 0.0), (1.0, 1.0)], &[(0.0, 0.0)]])));
    assert!(!coloured(&panel(&[&[(0.0, 0.0), (1.0, 1.0)]])));
}

#[test]
fn panels_stand_in_rows_and_nothing_breaks_the_sheet() {
    let size = |count, columns| line_charts("charts", &vec![panel(&[]); count], columns).dimensions();
    assert_eq!(size(3, 2), (GAP + 2 * (460 + GAP), TITLE + GAP + 2 * (300 + GAP)));
    assert_eq!(size(2, 0), (GAP + 460 + GAP, TITLE + GAP + 2 * (300 + GAP)));
    assert_eq!(size(1, u32::MAX), (GAP + 460 + GAP, TITLE + GAP + 300 + GAP));
    assert_eq!(size(0, 3), (GAP + 460 + GAP, TITLE + GAP));

    let long = "a very long text ".repeat(200);
    let series = Series { name: long.clone(), points: vec![(0.0, -1e99), (1e-300, 1e100)] };
    let crowded =
        Panel { title: long.clone(), x_label: long.clone(), y_label: long.clone(), series: vec![series; 90] };
    let image = line_charts(&long, &[crowded.clone(), crowded], 2);
    let last = image.width() - 1;
    let blank = |x, y| image.get_pixel(x, y).0 == [255; 3];
    assert!((0..image.height()).all(|y| blank(0, y) && blank(last, y)), "something runs over the edge");
}
