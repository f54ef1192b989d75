//! From a block's coefficients to its samples, at full size or at a half and a quarter of it.
//!
//! The full size follows the integer method of libjpeg (Loeffler, Ligtenberg and Moschytz, 11 multiplications, 13 bits of
//! fraction), value by value, so that samples equal those that PIL decodes. The smaller sizes take the block's lowest
//! frequencies only: the transform of 4 x 4 and 2 x 2 coefficients.

/// Coefficients in rows of rising vertical frequency, dequantised.
pub(super) type Block = [i16; 64];

type Lanes = [i32; 8];

/// Samples of a block, column by column; each is `SCALE` times its value in 0..=255.
pub(super) type Samples = [[i16; 8]; 8];

/// What one level of brightness is in [`Samples`].
pub(crate) const SCALE: i16 = 128;

const BITS: i32 = 13;
/// Bits that are kept between the two passes.
const KEPT: i32 = 2;

/// A real number in `BITS` of fraction.
const fn fixed(value: f64) -> i32 {
    (value * (1 << BITS) as f64 + 0.5) as i32
}

/// The 64 samples of a block.
#[inline(always)]
pub(super) fn full(block: &Block) -> Samples {
    // Plain loops over lanes: the compiler makes vectors of these, and not of closures.
    let mut rows = [[0; 8]; 8];
    for (row, coefficients) in rows.iter_mut().zip(block.as_chunks::<8>().0) {
        for (value, &coefficient) in row.iter_mut().zip(coefficients) {
            *value = i32::from(coefficient);
        }
    }
    let half = pass::<{ BITS - KEPT }>(&rows);
    let mut columns = [[0; 8]; 8];
    for (at, column) in columns.iter_mut().enumerate() {
        for (value, row) in column.iter_mut().zip(&half) {
            *value = row[at];
        }
    }
    let values = pass::<{ BITS + KEPT + 3 }>(&columns);
    let mut samples = [[0; 8]; 8];
    for (column, values) in samples.iter_mut().zip(&values) {
        for (one, &value) in column.iter_mut().zip(values) {
            *one = sample(value);
        }
    }
    samples
}

/// Shifts to 0..=255, cuts and scales.
#[inline(always)]
fn sample(value: i32) -> i16 {
    (value + 128).clamp(0, 255) as i16 * SCALE
}

/// The transform along the first index.
#[inline(always)]
fn pass<const SHIFT: i32>(rows: &[Lanes; 8]) -> [Lanes; 8] {
    let mut out = [[0; 8]; 8];
    let [a, b, c, d, e, f, g, h] = rows;
    for lane in 0..8 {
        let column = [a[lane], b[lane], c[lane], d[lane], e[lane], f[lane], g[lane], h[lane]];
        let column = eight::<SHIFT>(column);
        out[0][lane] = column[0];
        out[1][lane] = column[1];
        out[2][lane] = column[2];
        out[3][lane] = column[3];
        out[4][lane] = column[4];
        out[5][lane] = column[5];
        out[6][lane] = column[6];
        out[7][lane] = column[7];
    }
    out
}

/// Eight coefficients to eight values, rounded after `SHIFT` bits.
#[inline(always)]
fn eight<const SHIFT: i32>(c: [i32; 8]) -> [i32; 8] {
    let times = |value: i32, factor: i32| value.wrapping_mul(factor);
    let sum = |left: i32, right: i32| left.wrapping_add(right);
    let less = |left: i32, right: i32| left.wrapping_sub(right);

    let turn = times(sum(c[2], c[6]), const { fixed(0.541196100) });
    let (low, high) = (
        less(turn, times(c[6], const { fixed(1.847759065) })),
        sum(turn, times(c[2], const { fixed(0.765366865) })),
    );
    let (plus, minus) = (sum(c[0], c[4]) << BITS, less(c[0], c[4]) << BITS);
    let even = [sum(plus, high), sum(minus, low), less(minus, low), less(plus, high)];

    let (outer, inner) = (sum(c[7], c[1]), sum(c[5], c[3]));
    let (third, fourth) = (sum(c[7], c[3]), sum(c[5], c[1]));
    let both = times(sum(third, fourth), const { fixed(1.175875602) });
    let third = less(both, times(third, const { fixed(1.961570560) }));
    let fourth = less(both, times(fourth, const { fixed(0.390180644) }));
    let outer = times(outer, const { fixed(0.899976223) });
    let inner = times(inner, const { fixed(2.562915447) });
    let odd = [
        sum(less(times(c[1], const { fixed(1.501321110) }), outer), fourth),
        sum(less(times(c[3], const { fixed(3.072711026) }), inner), third),
        sum(less(times(c[5], const { fixed(2.053119869) }), inner), fourth),
        sum(less(times(c[7], const { fixed(0.298631336) }), outer), third),
    ];
    let round = |value: i32| sum(value, 1 << (SHIFT - 1)) >> SHIFT;
    [
        round(sum(even[0], odd[0])),
        round(sum(even[1], odd[1])),
        round(sum(even[2], odd[2])),
        round(sum(even[3], odd[3])),
        round(less(even[3], odd[3])),
        round(less(even[2], odd[2])),
        round(less(even[1], odd[1])),
        round(less(even[0], odd[0])),
    ]
}

/// The sample that a block has everywhere when only its first coefficient isn't zero.
#[inline(always)]
pub(super) fn mean(block: &Block) -> i16 {
    // As the two passes round it.
    sample(((i32::from(block[0]) << KEPT) + (1 << (KEPT + 2))) >> (KEPT + 3))
}

/// The block at a half or a quarter of its size: `SIDE` columns of `SIDE` samples, 4 or 2.
#[inline(always)]
pub(super) fn reduced<const SIDE: usize>(block: &Block) -> [[i16; SIDE]; SIDE] {
    let waves = waves::<SIDE>();
    let coefficient = |at: usize| f32::from(block[at]);
    // Along the rows' index first, then along the columns'.
    let half: [[f32; SIDE]; SIDE] = std::array::from_fn(|y| {
        std::array::from_fn(|column| (0..SIDE).map(|row| waves[y][row] * coefficient(8 * row + column)).sum())
    });
    std::array::from_fn(|x| {
        std::array::from_fn(|y| {
            let value: f32 = (0..SIDE).map(|column| waves[x][column] * half[y][column]).sum();
            (f32::from(SCALE) * (value + 128.0).clamp(0.0, 255.0) + 0.5) as i16
        })
    })
}

/// By place and frequency: the inverse transform of `SIDE` values, scaled so that a block's mean stays what it is.
#[inline(always)]
fn waves<const SIDE: usize>() -> [[f32; SIDE]; SIDE] {
    // cos(pi (2 place + 1) frequency / (2 SIDE)) / 2 behind the first, which is 1 / sqrt(8): that of 8 values is the
    // same for every side, as a coefficient's share of the mean's energy is.
    const FLAT: f32 = 0.353_553_4;
    const FOUR: [[f32; 4]; 4] = [
        [FLAT, 0.461_939_77, 0.353_553_4, 0.191_341_71],
        [FLAT, 0.191_341_71, -0.353_553_4, -0.461_939_77],
        [FLAT, -0.191_341_71, -0.353_553_4, 0.461_939_77],
        [FLAT, -0.461_939_77, 0.353_553_4, -0.191_341_71],
    ];
    const TWO: [[f32; 2]; 2] = [[FLAT, 0.353_553_4], [FLAT, -0.353_553_4]];
    std::array::from_fn(|place| {
        std::array::from_fn(|frequency| {
            if SIDE == 4 { FOUR[place % 4][frequency % 4] } else { TWO[place % 2][frequency % 2] }
        })
    })
}
