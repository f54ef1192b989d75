//! The images of a batch, in memory that goes back to where it came from.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Numbers of images. When they are dropped, the loader writes a later batch into the same memory.
#[derive(Default)]
pub struct Images {
    numbers: Vec<f32>,
    pool: Pool,
}

/// Memory that waits for a batch.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<f32>>>>);

impl Pool {
    /// Room for a batch of `length` numbers; what it holds is old.
    pub(super) fn take(&self, length: usize) -> Images {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut numbers = free.unwrap_or_default();
        numbers.resize(length, 0.0);
        Images { numbers, pool: self.clone() }
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let mut free = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(std::mem::take(&mut self.numbers));
    }
}

impl Clone for Images {
    /// A copy outside the pool.
    fn clone(&self) -> Self {
        Self { numbers: self.numbers.clone(), pool: Pool::default() }
    }
}

impl Deref for Images {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers
    }
}

impl DerefMut for Images {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers
    }
}

impl PartialEq for Images {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers", self.numbers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_a_copy_stands_alone() {
        let pool = Pool::default();
        let mut first = pool.take(8);
        first.fill(3.0);
        let (place, copy) = (first.as_ptr(), first.clone());
        drop(first);
        let second = pool.take(6);
        assert_eq!(second.as_ptr(), place);
        assert_ne!(pool.take(6).as_ptr(), place, "it is taken");
        assert_eq!(&copy[..], &[3.0; 8]);
        assert_eq!(second.len(), 6);
    }
}
