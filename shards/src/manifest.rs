//! What a dataset consists of, made once from the footers of its parquet files and frozen for a run.

use crate::{
    committed::digest,
    error::{Error, Result},
    object::Object,
    store::Folder,
};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use proto::RowGroupId;
use serde::{Deserialize, Serialize};

/// The file beside the data that holds its manifest, made by `tandem data index`.
pub const INDEX: &str = "_tandem.json";
/// The file below a run's output that holds the manifest of its dataset, frozen at its start.
pub const FROZEN: &str = "dataset.json";
/// Version of [`Manifest`]; another one is refused.
const VERSION: u32 = 1;
/// Footers that are read at the same time.
const AT_ONCE: usize = 16;

/// The files of a dataset, by path, with their row groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    files: Vec<File>,
}

/// One parquet file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative to the dataset's location, parts parted by `/`; empty where the location is the file.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The store's etag; on a local disk, whose etags do not survive a copy, the time of the last change.
    pub etag: String,
    /// In the order of the file.
    pub row_groups: Vec<RowGroup>,
}

/// One row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowGroup {
    /// Rows.
    pub rows: u32,
    /// Stored bytes of all its columns.
    pub bytes: u64,
    /// Where it starts in the file.
    pub offset: u64,
}

impl Manifest {
    /// Reads the footers of all parquet files at `location`; names that begin with `_` or `.` are passed over.
    ///
    /// # Errors
    /// A location without parquet files or rows, a file that is no parquet or is cut short, a store that refuses.
    pub async fn index(location: &str) -> Result<Self> {
        let folder = Folder::open(location)?;
        let objects = parquet_files(&folder, location).await?;
        let read = objects.into_iter().map(|object| footer(&folder, object));
        let files: Vec<File> = futures::stream::iter(read).buffered(AT_ONCE).try_collect().await?;
        let manifest = Self { version: VERSION, files };
        if manifest.rows() == 0 {
            return Err(Error::NoRows { location: location.into() });
        }
        Ok(manifest)
    }

    /// The manifest of the dataset at `location`: its index where there is one, which has to fit the files, else read from the
    /// footers.
    ///
    /// # Errors
    /// As [`index`](Self::index), an index that can't be understood, and one that does not fit the files any more.
    pub async fn open(location: &str) -> Result<Self> {
        let folder = Folder::open(location)?;
        let objects = parquet_files(&folder, location).await?;
        let single = objects.iter().any(|object| folder.relative(object).is_empty());
        let found = if single { None } else { folder.get(INDEX).await? };
        let Some(bytes) = found else { return Self::index(location).await };
        let manifest = Self::from_json(&bytes, &folder.path_of(INDEX))?;
        let seen = objects.iter().map(|object| {
            let path = folder.relative(object);
            let known = manifest.files.iter().find(|file| file.path == path);
            File {
                row_groups: known.map(|file| file.row_groups.clone()).unwrap_or_default(),
                ..stored(&folder, object)
            }
        });
        let now = Self { version: VERSION, files: seen.collect() };
        match manifest.difference(&now) {
            None => Ok(manifest),
            Some(difference) => Err(Error::Changed {
                location: location.into(),
                difference,
                mend: "make its index anew with `tandem data index`",
            }),
        }
    }

    /// Reads what [`to_json`](Self::to_json) wrote. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Index`] for anything else.
    pub fn from_json(bytes: &[u8], name: &str) -> Result<Self> {
        let failed = |reason: String| Error::Index { file: name.into(), reason };
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| failed(e.to_string()))?;
        if manifest.version != VERSION {
            return Err(failed(format!("its version is {}, this Tandem reads {VERSION}", manifest.version)));
        }
        Ok(manifest)
    }

    /// As JSON, one line.
    ///
    /// # Errors
    /// Of a serialiser, which plain numbers and strings do not raise.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::Index { file: INDEX.into(), reason: e.to_string() })
    }

    /// The files, by path.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.row_groups().map(|(_, _, group)| u64::from(group.rows)).sum()
    }

    /// All row groups in the order of their [`RowGroupId`]s: the file, the number inside the file, and the row group.
    pub fn row_groups(&self) -> impl Iterator<Item = (&File, usize, RowGroup)> {
        self.files.iter().flat_map(|file| {
            file.row_groups.iter().enumerate().map(move |(number, group)| (file, number, *group))
        })
    }

    /// File, row group inside it and row inside that of the dataset's row number `row`; none past the end.
    pub fn place(&self, row: u64) -> Option<(&str, usize, RowGroupId, u32)> {
        let mut before = 0;
        for (id, (file, number, group)) in (0..).zip(self.row_groups()) {
            if row < before + u64::from(group.rows) {
                return Some((&file.path, number, RowGroupId(id), (row - before) as u32));
            }
            before += u64::from(group.rows);
        }
        None
    }

    /// SHA-256 over everything in it, hex: two datasets with the same fingerprint are the same.
    ///
    /// # Errors
    /// As [`to_json`](Self::to_json).
    pub fn fingerprint(&self) -> Result<String> {
        Ok(digest(&self.to_json()?))
    }

    /// The first file in which `now` differs from this, and how; none when they are the same.
    pub fn difference(&self, now: &Self) -> Option<String> {
        let by_path = |files: &[File], path: &str| files.iter().position(|file| file.path == path);
        for file in &self.files {
            let name = &file.path;
            let Some(at) = by_path(&now.files, name) else { return Some(format!("{name} is gone")) };
            let found = &now.files[at];
            if found.size != file.size {
                return Some(format!("{name} has {} bytes, it had {}", found.size, file.size));
            }
            if found.etag != file.etag || found.row_groups != file.row_groups {
                return Some(format!("{name} was written anew"));
            }
        }
        let new = now.files.iter().find(|file| by_path(&self.files, &file.path).is_none());
        new.map(|file| format!("{} is new", file.path))
    }
}

async fn parquet_files(folder: &Folder, location: &str) -> Result<Vec<ObjectMeta>> {
    let all = folder.objects().await?;
    let name = |object: &ObjectMeta| object.location.filename().unwrap_or_default().to_owned();
    let visible = |object: &ObjectMeta| !name(object).starts_with(['_', '.']);
    let parquet = |object: &&ObjectMeta| visible(object) && name(object).ends_with(".parquet");
    let found: Vec<ObjectMeta> = all.iter().filter(parquet).cloned().collect();
    match (all.first(), found.is_empty()) {
        (None, _) => Err(Error::Missing { location: location.into() }),
        (Some(other), true) => {
            Err(Error::NoParquet { location: location.into(), files: all.len(), example: name(other) })
        }
        _ => Ok(found),
    }
}

/// What the store says of a file, without its row groups.
fn stored(folder: &Folder, object: &ObjectMeta) -> File {
    let changed = || object.last_modified.timestamp_millis().to_string();
    let etag = object.e_tag.clone().filter(|_| !folder.is_local()).unwrap_or_else(changed);
    File { path: folder.relative(object), size: object.size, etag, row_groups: Vec::new() }
}

async fn footer(folder: &Folder, object: ObjectMeta) -> Result<File> {
    let file = stored(folder, &object);
    let failed = |reason: String| Error::Parquet { file: object.location.to_string(), reason };
    if object.size == 0 {
        return Err(failed("it is empty".into()));
    }
    let (store, path) = folder.object(&file.path);
    let mut reader = Object { store, path, size: object.size, etag: Some(file.etag.clone()) };
    let loaded = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await;
    let metadata = loaded.map_err(|e| crate::object::failure(object.location.as_ref(), e))?;
    let row_group = |group: &parquet::file::metadata::RowGroupMetaData| {
        let number = |value: i64, what: &str| {
            u64::try_from(value).map_err(|_| failed(format!("a row group has {value} {what}")))
        };
        let rows = u32::try_from(group.num_rows())
            .map_err(|_| failed(format!("a row group has {} rows", group.num_rows())))?;
        let offset = group.columns().iter().map(|column| column.byte_range().0).min().unwrap_or(0);
        Ok(RowGroup { rows, bytes: number(group.compressed_size(), "bytes")?, offset })
    };
    let row_groups = metadata.metadata().row_groups().iter().map(row_group).collect::<Result<_>>()?;
    Ok(File { row_groups, ..file })
}

#[cfg(test)]
mod tests;
