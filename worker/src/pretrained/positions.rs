//! Position embeddings of another grid or length than the run's.

use tch::Tensor;

/// A position table `[1, 1 + r * c, width]` of a class token and a square grid, for a grid of `rows` by `columns`: the class token's
/// stays, the grid's are interpolated (bicubic, corners not aligned), as the published `interpolate_pos_embed` (models/vit.py) and
/// Hugging Face's ViT do. None if the table has no square grid.
pub fn resize(table: &Tensor, rows: i64, columns: i64) -> Option<Tensor> {
    let [1, tokens, width] = table.size()[..] else { return None };
    let side = ((tokens - 1) as f64).sqrt().round() as i64;
    if tokens < 2 || side * side != tokens - 1 {
        return None;
    }
    let grid = table.narrow(1, 1, tokens - 1).reshape([1, side, side, width]).permute([0, 3, 1, 2]);
    let grid = grid.upsample_bicubic2d([rows, columns], false, None, None);
    let grid = grid.permute([0, 2, 3, 1]).reshape([1, rows * columns, width]);
    Some(Tensor::cat(&[table.narrow(1, 0, 1), grid], 1))
}

/// `given` in the shape of `wanted`, where it is a position table that can be brought into it, and what was done.
pub(super) fn fit(name: &str, given: Tensor, wanted: &Tensor) -> (Tensor, Option<String>) {
    let (is, should) = (given.size(), wanted.size());
    if is == should {
        return (given, None);
    }
    let side = |tokens: i64| ((tokens - 1) as f64).sqrt().round() as i64;
    match (is.as_slice(), should.as_slice()) {
        ([1, from, width], [1, to, same]) if name.ends_with("visual_encoder.pos_embed") && width == same => {
            let note = format!("pos_embed from {0}x{0} to {1}x{1}", side(*from), side(*to));
            match resize(&given, side(*to), side(*to)) {
                Some(resized) => (resized, Some(note)),
                None => (given, None),
            }
        }
        // The first rows of a longer table are the table of shorter texts.
        ([from, width], [to, same])
            if name.ends_with("position_embeddings.weight") && width == same && from > to =>
        {
            (given.narrow(0, 0, *to).copy(), Some(format!("the first {to} of {from} positions")))
        }
        _ => (given, None),
    }
}
