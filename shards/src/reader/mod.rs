//! From row groups in a store to images and captions: only the columns that are used, only the rows that are asked for.

mod broken;
mod footers;
mod rows;

pub use rows::{Captions, Features, Row, Rows};

use crate::{
    columns::{self, Columns},
    error::{Error, Result},
    filter::Filter,
    manifest::{self, File, Manifest, Place, RowGroup},
    object::{self, Object},
};
use arrow_array::RecordBatch;
use footers::Footers;
use futures::TryStreamExt;
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, RowFilter},
        async_reader::AsyncFileReader,
    },
    errors::ParquetError,
};
use proto::{
    RowGroupId,
    config::{Source, StoreSection},
};
use rows::Piece;
use std::{ops::Range, sync::Arc};

/// Reads row groups of one dataset. Shared by tasks.
pub struct Reader {
    manifest: Arc<Manifest>,
    /// By location.
    places: Vec<(Source, Filter, Place)>,
    footers: Footers,
}

/// A row group, and all that it takes to read it.
struct Target<'a> {
    file: &'a File,
    /// Its number inside the file.
    number: usize,
    group: RowGroup,
    name: String,
    metadata: ArrowReaderMetadata,
    columns: Columns,
    filter: Filter,
}

impl Reader {
    /// A reader of the row groups of `manifest`.
    ///
    /// # Errors
    /// A location that no store serves.
    pub fn new(manifest: Arc<Manifest>, store: &StoreSection) -> Result<Self> {
        let places = manifest.locations().map(|(source, location)| {
            Ok((source.clone(), Filter::parse(&source.filter)?, Place::new(location, store)?))
        });
        Ok(Self { places: places.collect::<Result<_>>()?, footers: Footers::default(), manifest })
    }

    /// What it reads.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Fetches the rows `rows` of a row group, counted among those that pass the filter. Rows whose pages can't be decoded are there, and
    /// say why.
    ///
    /// # Errors
    /// A row group that the manifest does not have, missing columns, a store that refuses, a file that is not what the manifest says.
    pub async fn fetch(&self, group: RowGroupId, rows: Range<u32>) -> Result<Rows> {
        let (target, object) = self.target(group).await?;
        match target.read(object, rows.clone()).await {
            Ok(batches) => {
                let found =
                    Rows::new(rows.start, batches.iter().filter_map(|batch| target.piece(batch)).collect());
                if found.len() == rows.len() { Ok(found) } else { Err(target.short(found.len(), rows.len())) }
            }
            Err(ParquetError::External(error)) => {
                Err(object::failure(&target.name, ParquetError::External(error)))
            }
            Err(error) => {
                tracing::warn!(
                    "row group {} of {} is broken ({error}); reading row by row",
                    target.number,
                    target.name
                );
                let (object, _) = manifest::object(&self.place(target.file)?.2.folder, target.file);
                broken::read(&target, object, rows).await
            }
        }
    }

    /// The names and types of the columns of the first file, and whether image and caption are among them.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn columns(&self) -> Result<Vec<(String, String)>> {
        let (target, _) = self.target(RowGroupId(0)).await?;
        let fields = target.metadata.schema().fields().iter();
        Ok(fields.map(|field| (field.name().clone(), field.data_type().to_string())).collect())
    }

    /// Whether the first file holds images, and not features that were made of them.
    ///
    /// # Errors
    /// As [`columns`](Self::columns), and [`Error::Features`].
    pub async fn check_images(&self) -> Result<()> {
        let (target, _) = self.target(RowGroupId(0)).await?;
        let column = target.metadata.schema().field(target.columns.image);
        if columns::is_features(column.data_type()) {
            return Err(Error::Features { file: target.name, column: column.name().clone() });
        }
        Ok(())
    }

    async fn target(&self, group: RowGroupId) -> Result<(Target<'_>, Object)> {
        let unknown = || Error::Value {
            name: "row group",
            value: group.to_string(),
            reason: format!("the manifest has {}", self.manifest.row_groups().len()),
        };
        let number = self.manifest.file_of(group).ok_or_else(unknown)?;
        let file = &self.manifest.files()[number];
        let (source, filter, place) = self.place(file)?;
        let (mut object, name) = manifest::object(&place.folder, file);
        let metadata = self.footers.get(number, &mut object).await.map_err(|e| object::failure(&name, e))?;
        let target = Target {
            file,
            number: (group.0 - file.groups.start) as usize,
            group: self.manifest.row_groups()[group.index()],
            columns: columns::find(metadata.schema(), source, &name)?,
            filter: filter.for_schema(metadata.schema()),
            name,
            metadata,
        };
        target.check()?;
        Ok((target, object))
    }

    fn place(&self, file: &File) -> Result<&(Source, Filter, Place)> {
        self.places.get(file.location as usize).ok_or_else(|| Error::Value {
            name: "location",
            value: file.location.to_string(),
            reason: "the manifest has fewer locations".into(),
        })
    }
}

impl Target<'_> {
    /// The footer tells of the same row groups as when the manifest was made.
    fn check(&self) -> Result<()> {
        let found = self.metadata.metadata().row_groups().get(self.number).map(|group| group.num_rows());
        if found == Some(i64::from(self.group.stored)) {
            return Ok(());
        }
        let found = found.map_or("nothing".into(), |rows| format!("{rows} rows"));
        Err(Error::Changed {
            location: self.name.clone(),
            difference: format!(
                "its row group {} had {} rows, now it has {found}",
                self.number, self.group.stored
            ),
            mend: "put the file back as it was, or make the index anew with `tandem data index`",
        })
    }

    /// Rows of the wanted columns, from the `rows.start`-th of those that pass on.
    async fn read<R: AsyncFileReader + Send + Unpin + 'static>(
        &self,
        object: R,
        rows: Range<u32>,
    ) -> std::result::Result<Vec<RecordBatch>, ParquetError> {
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object, self.metadata.clone());
        let schema = builder.parquet_schema().clone();
        if self.group.rows < self.group.stored {
            let columns = self.filter.columns(self.metadata.schema(), &self.name);
            let columns = columns.map_err(|e| ParquetError::General(e.to_string()))?;
            let filter = self.filter.clone();
            let passing = ArrowPredicateFn::new(ProjectionMask::roots(&schema, columns), move |batch| {
                Ok(filter.passing(&batch))
            });
            builder = builder.with_row_filter(RowFilter::new(vec![Box::new(passing)]));
        }
        let stream = builder
            .with_row_groups(vec![self.number])
            .with_projection(ProjectionMask::roots(&schema, self.columns.all()))
            .with_batch_size(rows.len().max(1))
            .with_offset(rows.start as usize)
            .with_limit(rows.len())
            .build()?;
        object::guarded(stream.try_collect()).await
    }

    /// The columns that are used of a batch.
    fn piece(&self, batch: &RecordBatch) -> Option<Piece> {
        let column =
            |index: usize| batch.column_by_name(self.metadata.schema().fields().get(index)?.name()).cloned();
        let identities = self.columns.identity.and_then(column);
        Some(Piece {
            images: column(self.columns.image)?,
            captions: column(self.columns.caption)?,
            identities,
        })
    }

    fn short(&self, found: usize, wanted: usize) -> Error {
        let reason = format!("{found} of {wanted} rows of row group {} were found", self.number);
        Error::Parquet { file: self.name.clone(), reason }
    }
}

#[cfg(test)]
mod tests;
