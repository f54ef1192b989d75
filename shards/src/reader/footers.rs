//! Footers that are kept, since a file's row groups are read at different times.

use crate::{
    manifest::options,
    object::{Object, guarded},
};
use parquet::{arrow::arrow_reader::ArrowReaderMetadata, errors::Result};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// Bytes of the footers that are kept, about.
const ROOM: usize = 256 << 20;

/// The footers that were read last, by the file's number.
#[derive(Default)]
pub(super) struct Footers {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    footers: HashMap<usize, ArrowReaderMetadata>,
    /// In the order in which they were read.
    order: VecDeque<(usize, usize)>,
    bytes: usize,
}

impl Footers {
    /// The footer of file number `file`, which is `object`.
    pub(super) async fn get(&self, file: usize, object: &mut Object) -> Result<ArrowReaderMetadata> {
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held().footers.get(&file).cloned();
        if let Some(metadata) = known {
            return Ok(metadata);
        }
        let metadata = guarded(ArrowReaderMetadata::load_async(object, options())).await?;
        held().keep(file, &metadata, ROOM);
        Ok(metadata)
    }
}

impl Held {
    fn keep(&mut self, file: usize, metadata: &ArrowReaderMetadata, room: usize) {
        if self.footers.insert(file, metadata.clone()).is_some() {
            return;
        }
        let size = metadata.metadata().memory_size();
        self.order.push_back((file, size));
        self.bytes += size;
        while self.bytes > room
            && let Some((oldest, size)) = self.order.pop_front()
        {
            self.footers.remove(&oldest);
            self.bytes -= size;
        }
    }
}
