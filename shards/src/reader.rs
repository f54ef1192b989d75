//! From row groups in a store to encoded images and captions: only the columns that are used, only the rows that are asked for.

use crate::{
    columns,
    error::{Error, Result},
    manifest::Manifest,
    object::{self, Object},
    store::Folder,
};
use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::DataType;
use futures::TryStreamExt;
use parquet::arrow::{
    ParquetRecordBatchStreamBuilder, ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector},
};
use proto::{RowGroupId, config::DataSection};
use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Footers that are kept; when there are more, all are dropped and read again.
const FOOTERS: usize = 256;

/// Reads row groups of one dataset. Shared by tasks.
pub struct Reader {
    folder: Folder,
    /// Of each row group: its file's number, its number inside the file.
    places: Vec<(u32, usize)>,
    /// Paths, sizes and etags.
    files: Vec<(String, u64, Option<String>)>,
    image: String,
    caption: String,
    footers: Mutex<HashMap<u32, ArrowReaderMetadata>>,
}

/// Some rows of one row group, as they came from the store.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    first: u32,
    pieces: Vec<Piece>,
}

/// Columns of equal length.
#[derive(Clone, Debug)]
struct Piece {
    images: ArrayRef,
    captions: ArrayRef,
    identities: Option<ArrayRef>,
}

/// One row; a column that is null there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The encoded image.
    pub image: Option<&'a [u8]>,
    /// The caption.
    pub caption: Option<&'a str>,
    /// A digest of the image, from the dataset's phash or sha256 column.
    pub identity: Option<&'a str>,
}

impl Reader {
    /// A reader of the row groups that `manifest` lists below `location`. `data` names the columns.
    ///
    /// # Errors
    /// A location that no store serves.
    pub fn new(location: &str, data: &DataSection, manifest: &Manifest) -> Result<Self> {
        Ok(Self::of(Folder::open(location)?, data, manifest))
    }

    /// A reader of the row groups that `manifest` lists below `folder`. `data` names the columns.
    pub fn of(folder: Folder, data: &DataSection, manifest: &Manifest) -> Self {
        let files = manifest.files().iter();
        let places = (0..)
            .zip(files.clone())
            .flat_map(|(number, file)| (0..file.row_groups.len()).map(move |group| (number, group)));
        Self {
            folder,
            places: places.collect(),
            files: files.map(|file| (file.path.clone(), file.size, Some(file.etag.clone()))).collect(),
            image: data.image_column.clone(),
            caption: data.caption_column.clone(),
            footers: Mutex::default(),
        }
    }

    /// Fetches the rows `rows` of a row group.
    ///
    /// # Errors
    /// A row group that the manifest does not have, missing columns, broken pages, a store that refuses.
    pub async fn fetch(&self, group: RowGroupId, rows: Range<u32>) -> Result<Rows> {
        let Some(&(file, number)) = self.places.get(group.index()) else {
            let reason = format!("row group {group} is not in the manifest");
            return Err(Error::Parquet { file: self.folder.path_of(""), reason });
        };
        let (mut object, name) = self.object(file);
        let failed = |e| object::failure(&name, e);
        let metadata = self.metadata(file, &mut object).await.map_err(failed)?;
        let columns = columns::find(metadata.schema(), &self.image, &self.caption, &name)?;
        let name_of = |index: usize| metadata.schema().field(index).name().clone();
        let (image, caption) = (name_of(columns.image), name_of(columns.caption));
        let identity = columns.identity.map(name_of);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object, metadata);
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.all());
        let selection = vec![RowSelector::skip(rows.start as usize), RowSelector::select(rows.len())];
        let stream = builder
            .with_row_groups(vec![number])
            .with_projection(mask)
            .with_batch_size(rows.len().max(1))
            .with_row_selection(RowSelection::from(selection))
            .build()
            .map_err(failed)?;
        let batches: Vec<_> = stream.try_collect().await.map_err(failed)?;
        let pieces = batches.iter().filter_map(|batch| {
            let column = |name: &String| batch.column_by_name(name).cloned();
            let identities = identity.as_ref().and_then(column);
            Some(Piece { images: column(&image)?, captions: column(&caption)?, identities })
        });
        let fetched = Rows { first: rows.start, pieces: pieces.collect() };
        if fetched.len() != rows.len() {
            let reason = format!("row group {number} has fewer rows than its footer says");
            return Err(Error::Parquet { file: name, reason });
        }
        Ok(fetched)
    }

    /// The names and types of the columns of the first file, and whether image and caption are among them.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn columns(&self) -> Result<Vec<(String, String)>> {
        let (mut object, name) = self.object(0);
        let failed = |e| object::failure(&name, e);
        let metadata = self.metadata(0, &mut object).await.map_err(failed)?;
        columns::find(metadata.schema(), &self.image, &self.caption, &name)?;
        let fields = metadata.schema().fields().iter();
        Ok(fields.map(|field| (field.name().clone(), field.data_type().to_string())).collect())
    }

    fn object(&self, file: u32) -> (Object, String) {
        let (path, size, etag) = self.files.get(file as usize).cloned().unwrap_or_default();
        let (store, path) = self.folder.object(&path);
        let name = path.to_string();
        (Object { store, path, size, etag }, name)
    }

    async fn metadata(&self, file: u32, object: &mut Object) -> parquet::errors::Result<ArrowReaderMetadata> {
        let footers = || self.footers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = footers().get(&file).cloned();
        if let Some(metadata) = known {
            return Ok(metadata);
        }
        let metadata = ArrowReaderMetadata::load_async(object, ArrowReaderOptions::new()).await?;
        let mut footers = footers();
        if footers.len() >= FOOTERS {
            footers.clear();
        }
        footers.insert(file, metadata.clone());
        Ok(metadata)
    }
}

impl Rows {
    /// The row with this number inside its row group; none outside of what was fetched.
    pub fn get(&self, row_in_group: u32) -> Option<Row<'_>> {
        let mut at = row_in_group.checked_sub(self.first)? as usize;
        for Piece { images, captions, identities } in &self.pieces {
            if at < images.len() {
                let identity = identities.as_ref().and_then(|column| text(column, at));
                return Some(Row { image: bytes(images, at), caption: text(captions, at), identity });
            }
            at -= images.len();
        }
        None
    }

    /// How many rows there are.
    fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.images.len()).sum()
    }
}

fn bytes(column: &ArrayRef, at: usize) -> Option<&[u8]> {
    let value = || match column.data_type() {
        DataType::Binary => Some(column.as_binary::<i32>().value(at)),
        DataType::LargeBinary => Some(column.as_binary::<i64>().value(at)),
        DataType::BinaryView => Some(column.as_binary_view().value(at)),
        _ => None,
    };
    if column.is_null(at) { None } else { value() }
}

fn text(column: &ArrayRef, at: usize) -> Option<&str> {
    let value = || match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(at)),
        DataType::Utf8View => Some(column.as_string_view().value(at)),
        _ => None,
    };
    if column.is_null(at) { None } else { value() }
}
