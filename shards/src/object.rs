//! A parquet file in an object store, as the parquet reader wants it.

use crate::{
    error::Error,
    store::{File, Remote, StoreError},
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use object_store::path::Path;
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::{ParquetError, Result},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};
use std::{ops::Range, panic::AssertUnwindSafe, sync::Arc};

/// Bytes that are fetched from the end of a file at once: the footer of most files, in one request.
const FOOTER: usize = 64 * 1024;

/// A file of known size. Neighbouring ranges are fetched together, and what fails on the way is tried again.
#[derive(Clone, Debug)]
pub struct Object {
    /// Where it is.
    pub store: Arc<Remote>,
    /// Its path in the store.
    pub path: Path,
    /// Bytes.
    pub size: u64,
    /// As the manifest has it: the store's etag, or the milliseconds of the last change. A file with another one is refused, on
    /// stores that have etags; only files with one are kept in the local cache.
    pub etag: Option<String>,
}

impl Object {
    /// The bytes of each range, exactly.
    ///
    /// # Errors
    /// A store that does not answer as often as the knobs say, a file that is gone or another one.
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> std::result::Result<Vec<Bytes>, StoreError> {
        let file = File { path: &self.path, size: self.size, etag: self.etag.as_deref() };
        self.store.ranges(&file, ranges).await
    }
}

/// What the parquet reader's error of a file means: trouble with the store stays that, the rest is the file's fault.
pub(crate) fn failure(file: &str, error: ParquetError) -> Error {
    let broken = |reason: String| Error::Parquet { file: file.into(), reason };
    match error {
        ParquetError::External(source) => match source.downcast::<StoreError>() {
            Ok(error) => Error::Store(*error),
            Err(other) => broken(other.to_string()),
        },
        other => broken(other.to_string()),
    }
}

/// What `work` makes, or an error in the place of a panic: the reader of parquet is other people's code, and some broken pages make it
/// panic.
pub(crate) async fn guarded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| Err(ParquetError::General("the reader of parquet panicked".into()));
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

fn external(error: StoreError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let read = self.ranges(std::slice::from_ref(&range)).await.map_err(external)?;
            Ok(read.into_iter().next().unwrap_or_default())
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.ranges(&ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER));
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}
