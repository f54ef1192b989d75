//! What tells that two pairs show the same image or say the same: 64-bit digests that are equal where the things are.

use crate::text::clean;
use sha2::{Digest, Sha256};

/// Identities of a pair: caption, image. Never 0, which stands for none.
pub type Identity = [i64; 2];

/// The identity of a pair: of its caption as it is cleaned before it is tokenised, and of its image by the digest that the dataset
/// carries (`recorded`: a phash or sha256 column), else by the SHA-256 of its encoded bytes.
pub fn identity(caption: &str, image: &[u8], recorded: Option<&str>) -> Identity {
    let image = recorded.filter(|text| !text.is_empty()).map_or(image, str::as_bytes);
    [digest(clean(caption).as_bytes()), digest(image)]
}

/// The first 64 bits of the SHA-256.
fn digest(bytes: &[u8]) -> i64 {
    let digest = Sha256::digest(bytes);
    let number = digest.iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    number.max(1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_compared_as_they_are_read() {
        let [one, image] = identity("A red  Car.", b"x", None);
        assert_eq!(identity("a red car", b"y", None)[0], one);
        assert_ne!(identity("a red cart", b"x", None), [one, image]);
        assert_eq!(identity("other", b"x", None)[1], image);
    }

    #[test]
    fn a_recorded_digest_wins_over_the_bytes() {
        let of = |image: &[u8], recorded| identity("c", image, recorded)[1];
        assert_eq!(of(b"x", Some("abc")), of(b"y", Some("abc")));
        assert_ne!(of(b"x", Some("abc")), of(b"x", Some("abd")));
        assert_eq!(of(b"x", Some("")), of(b"x", None));
    }
}
