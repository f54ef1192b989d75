//! Rows of a row group with a page that can't be decoded, or with text that is no UTF-8: each that can be read, and of the others why
//! not. That is a function of the stored bytes; a store that refuses is not.

use super::{Result, Rows, Target, rows::Part};
use crate::object::{Object, failure};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::{ParquetError, Result as ParquetResult},
    file::metadata::ParquetMetaData,
};
use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// A file whose ranges are fetched once, however often they are read.
#[derive(Clone)]
struct Once {
    object: Arc<tokio::sync::Mutex<Object>>,
    fetched: Arc<Mutex<HashMap<Range<u64>, Bytes>>>,
}

/// Halves the rows until the broken ones stand alone.
pub(super) async fn read(target: &Target<'_>, object: Object, rows: Range<u32>) -> Result<Rows> {
    let object = Once { object: Arc::new(tokio::sync::Mutex::new(object)), fetched: Arc::default() };
    let mut parts = Vec::new();
    // The rows that are still to be read, the first ones last.
    let mut open = vec![rows.clone()];
    while let Some(part) = open.pop() {
        match target.read(object.clone(), part.clone()).await {
            Ok(batches) => {
                parts.extend(batches.iter().filter_map(|batch| target.piece(batch)).map(Part::Read))
            }
            Err(ParquetError::External(error)) => {
                return Err(failure(&target.name, ParquetError::External(error)));
            }
            Err(error) if part.len() == 1 => parts.push(Part::Broken(format!("it can't be read: {error}"))),
            Err(_) => {
                let middle = part.start + (part.end - part.start) / 2;
                open.extend([middle..part.end, part.start..middle]);
            }
        }
    }
    let found = Rows::of(rows.start, parts);
    if found.len() == rows.len() { Ok(found) } else { Err(target.short(found.len(), rows.len())) }
}

impl AsyncFileReader for Once {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let fetched = || self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(bytes) = fetched().get(&range) {
                return Ok(bytes.clone());
            }
            let bytes = self.object.lock().await.get_bytes(range.clone()).await?;
            fetched().insert(range, bytes.clone());
            Ok(bytes)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move { self.object.lock().await.get_metadata(options).await }.boxed()
    }
}
