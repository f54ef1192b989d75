//! The same code, compiled for the vector instructions that this processor has.

use pulp::{Arch, Simd, WithSimd};

/// Runs `work` compiled for the widest instructions of this processor that the compiler was told of. That reaches what is
/// inlined into `work`, and nothing else: the closure and what it calls say `#[inline(always)]`.
#[inline(always)]
pub(super) fn wide<T>(work: impl FnMut() -> T) -> T {
    Arch::new().dispatch(Wide(work))
}

struct Wide<F>(F);

impl<T, F: FnMut() -> T> WithSimd for Wide<F> {
    type Output = T;

    // `FnMut`: calling a `FnOnce` goes through a function of the compiler's that would not be inlined.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> T {
        (self.0)()
    }
}
