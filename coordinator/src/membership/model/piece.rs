//! Parts of a world that are shared between states until they change, each with its hash, and the hash itself: two states with
//! one hash count as one. At a million states the chance that any two differ is 1 in 30 million.

use std::{
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// A part of a world.
#[derive(Clone, Debug)]
pub(super) struct Piece<T> {
    it: Arc<T>,
    hash: u64,
}

impl<T: Clone + Hash> Piece<T> {
    pub(super) fn new(it: T) -> Self {
        let hash = hash(&it);
        Self { it: Arc::new(it), hash }
    }

    /// Changes it in this world only.
    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let it = Arc::make_mut(&mut self.it);
        let done = change(it);
        self.hash = hash(it);
        done
    }
}

impl<T> Deref for Piece<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.it
    }
}

impl<T> Hash for Piece<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// 64 bits of a value, the same in every process.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut mixed = Mixed(0x243f_6a88_85a3_08d3);
    value.hash(&mut mixed);
    mixed.finish()
}

/// Multiplies and folds, word by word.
struct Mixed(u64);

impl Mixed {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(23);
    }
}

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        let mut last = Self(self.0);
        last.mix(0x1319_8a2e_0370_7344);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }
}
