//! Pairs that show the same image or say the same: no negatives of each other.

use tch::Tensor;

/// Whether two pairs share caption or image: identities `[n, 2]` and `[k, 2]`, i64, to `[n, k]`, bool.
pub(crate) fn same(rows: &Tensor, keys: &Tensor) -> Tensor {
    let equal =
        |column: i64| rows.select(1, column).unsqueeze(1).eq_tensor(&keys.select(1, column).unsqueeze(0));
    equal(0).logical_or(&equal(1))
}
