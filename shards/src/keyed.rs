//! Randomness as a function of a key: the same words give the same draws on any machine, thread count and world size.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A generator whose draws depend on `domain` and `words` only. `domain` keeps apart what would share words, such as the
/// masks and the augmentation of one row.
///
/// The seed of ChaCha8 (Bernstein, 2008; 8 rounds) is SHA-256 over the domain, its length, and the words.
pub fn rng(domain: &str, words: &[u64]) -> ChaCha8Rng {
    let mut digest = Sha256::new();
    digest.update((domain.len() as u64).to_le_bytes());
    digest.update(domain.as_bytes());
    for word in words {
        digest.update(word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn keys_are_told_apart() {
        let draw = |domain: &str, words: &[u64]| rng(domain, words).next_u64();
        assert_eq!(draw("mask", &[1, 2]), draw("mask", &[1, 2]));
        assert_ne!(draw("mask", &[1, 2]), draw("mask", &[2, 1]));
        assert_ne!(draw("mask", &[1, 2]), draw("crop", &[1, 2]));
        assert_ne!(draw("mask", &[]), draw("mask", &[0]));
    }
}
