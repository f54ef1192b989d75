//! Any bytes as an index: an error, or a manifest that survives another turn, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shards::{
    manifest::Manifest,
    order::{Order, OrderSpec},
};
use shards_fuzz::end_at_uncaught_panics_only;

fuzz_target!(init: end_at_uncaught_panics_only(), |bytes: &[u8]| {
    let Ok(manifest) = Manifest::from_bytes(bytes.to_vec().into(), "fuzzed") else { return };
    let again = manifest.to_bytes().expect("a manifest can be written");
    assert_eq!(Manifest::from_bytes(again.into(), "again").ok(), Some(manifest.clone()));
    assert!(manifest.rows() <= manifest.stored_rows());
    let order = Order::of(&manifest, OrderSpec { seed: 1, lanes: 2, window: 2, batch: 4 });
    let _ = order.check();
});
