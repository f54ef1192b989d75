//! Any bytes as an image: an error or pixels within the limits, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::config::AugmentSection;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use shards::image::{ImageLimits, decode, training_input, with_scratch};
use shards_fuzz::end_at_uncaught_panics_only;

const SIDE: u32 = 32;
const LIMITS: ImageLimits = ImageLimits { pixels: 1 << 18, bytes: 1 << 20 };

fuzz_target!(init: end_at_uncaught_panics_only(), |bytes: &[u8]| {
    let whole = decode(bytes, LIMITS);
    if let Ok(image) = &whole {
        assert!(u64::from(image.width()) * u64::from(image.height()) <= LIMITS.pixels);
    }
    let mut view = vec![f32::NAN; 3 * (SIDE * SIDE) as usize];
    let mut draws = ChaCha8Rng::seed_from_u64(bytes.len() as u64);
    let augment = AugmentSection { color: 0.4, grey: 0.1, ..AugmentSection::default() };
    let made = with_scratch(|scratch| {
        training_input(bytes, LIMITS, &augment, SIDE, &mut draws, scratch, &mut view)
    });
    assert!(made.is_err() || view.iter().all(|value| value.is_finite()));
});
