//! One file's footer: its row groups, and how many of their rows pass the filter.

use super::{File, Place, RowGroup};
use crate::{
    error::{Error, Result},
    filter::Filter,
    object::{self, Object},
    store::Folder,
};
use futures::TryStreamExt;
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    },
    file::metadata::RowGroupMetaData,
};

/// How Tandem reads parquet: by the types of parquet itself, whatever the writer's types were, so that there are few.
pub(crate) fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

/// A file of a manifest as the parquet reader wants it, and its name for messages.
pub(crate) fn object(folder: &Folder, file: &File) -> (Object, String) {
    let (store, path) = folder.object(&file.path);
    let name = path.to_string();
    (Object { store, path, size: file.size, etag: Some(file.etag.clone()) }, name)
}

/// Reads what a manifest holds of a file.
///
/// # Errors
/// A file that is no parquet or is cut short, a filter's column that is missing, a store that refuses.
pub(super) async fn read(place: &Place, file: &File, filter: &Filter) -> Result<Vec<RowGroup>> {
    let (mut object, name) = self::object(&place.folder, file);
    let failed = |e| object::failure(&name, e);
    let broken = |reason: String| Error::Parquet { file: name.clone(), reason };
    if file.size == 0 {
        return Err(broken("it is empty".into()));
    }
    let metadata = object::guarded(ArrowReaderMetadata::load_async(&mut object, options()));
    let metadata = metadata.await.map_err(failed)?;
    let groups = metadata.metadata().row_groups().iter().map(|group| row_group(group).map_err(broken));
    let mut groups: Vec<RowGroup> = groups.collect::<Result<_>>()?;
    let filter = filter.for_schema(metadata.schema());
    if !filter.is_empty() {
        let columns = filter.columns(metadata.schema(), &name)?;
        for (number, group) in groups.iter_mut().enumerate() {
            let (object, _) = self::object(&place.folder, file);
            let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object, metadata.clone());
            let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
            let stream =
                builder.with_row_groups(vec![number]).with_projection(mask).build().map_err(failed)?;
            let batches: Vec<_> = object::guarded(stream.try_collect()).await.map_err(failed)?;
            group.rows = batches.iter().map(|batch| filter.passing(batch).true_count() as u32).sum();
        }
    }
    Ok(groups)
}

fn row_group(group: &RowGroupMetaData) -> std::result::Result<RowGroup, String> {
    let number =
        |value: i64, what: &str| u64::try_from(value).map_err(|_| format!("a row group has {value} {what}"));
    let rows =
        u32::try_from(group.num_rows()).map_err(|_| format!("a row group has {} rows", group.num_rows()))?;
    let mut offset = u64::MAX;
    for column in group.columns() {
        let start = column.dictionary_page_offset().unwrap_or(i64::MAX).min(column.data_page_offset());
        offset = offset.min(number(start, "as the offset of a column")?);
        number(column.compressed_size(), "bytes in a column")?;
    }
    Ok(RowGroup { stored: rows, rows, offset, bytes: number(group.compressed_size(), "bytes")? })
}
