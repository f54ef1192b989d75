//! Any bytes as a parquet file of a dataset: an error, or rows that are whole or say why not, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::{
    RowGroupId,
    config::{DataSection, StoreSection},
};
use shards::{manifest::Manifest, reader::Reader};
use shards_fuzz::end_at_uncaught_panics_only;
use std::{fs, sync::Arc};

/// Rows that are read of a group: a footer may say any number.
const MOST: u32 = 64;

fuzz_target!(init: end_at_uncaught_panics_only(), |bytes: &[u8]| {
    let disk = tempfile::tempdir().expect("a temporary folder");
    fs::write(disk.path().join("0.parquet"), bytes).expect("room for a file");
    let data = DataSection { train: disk.path().to_str().unwrap_or_default().into(), ..DataSection::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = StoreSection::default();
        let Ok(manifest) = Manifest::open(&data, &store).await else { return };
        let manifest = Arc::new(manifest);
        let Ok(reader) = Reader::new(manifest.clone(), &store) else { return };
        for (id, group) in (0..).zip(manifest.row_groups()).take(4) {
            let count = group.rows.min(MOST);
            if let Ok(rows) = reader.fetch(RowGroupId(id), 0..count).await {
                let row = |at| rows.get(at).expect("what was fetched is there");
                (0..count).map(row).for_each(|row| drop(row.captions.iter().collect::<Vec<_>>()));
            }
        }
    });
});
