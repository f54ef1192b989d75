//! A manifest as a file: parquet, one row a file of the dataset, so that it is compact and other tools can read it.

use super::{File, Manifest, RowGroup};
use crate::{
    committed::digest,
    error::{Error, Result},
};
use arrow_array::{
    Array, ArrayRef, ListArray, PrimitiveArray, RecordBatch, StringArray, UInt32Array, UInt64Array,
    cast::AsArray,
    types::{ArrowPrimitiveType, UInt32Type, UInt64Type},
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, Encoding, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};
use proto::config::Source;
use serde::{Deserialize, Serialize};
use std::{fmt::Display, panic::catch_unwind, sync::Arc};

/// The file beside the data that holds its manifest, made by `tandem data index`.
pub const INDEX: &str = "_tandem.index";
/// The file below a run's output that holds the manifest of its dataset, frozen at its start.
pub const FROZEN: &str = "dataset.index";
/// Version of the format; another one is refused.
const VERSION: u32 = 3;
/// Where the file keeps what is no table.
const KEY: &str = "tandem.manifest";
/// Where the file keeps the number of bytes before its footer and their SHA-256: a page that was damaged is not given to the reader of
/// parquet, which some pages make ask for more memory than there is.
const SEAL: &str = "tandem.seal";
/// Rows that are decoded at once.
const BATCH: usize = 4096;

/// What is no table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    sources: Vec<Source>,
    locations: Vec<(u32, String)>,
}

impl Manifest {
    /// As a file.
    ///
    /// # Errors
    /// Of the writer of parquet, which plain columns do not raise.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let failed = |e: &dyn Display| Error::Index { file: INDEX.into(), reason: e.to_string() };
        let head =
            Head { version: VERSION, sources: self.sources.clone(), locations: self.locations.clone() };
        let head = serde_json::to_string(&head).map_err(|e| failed(&e))?;
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(vec![KeyValue::new(KEY.into(), head)]))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .set_column_encoding("offset.list.element".into(), Encoding::DELTA_BINARY_PACKED)
            .set_column_encoding("bytes.list.element".into(), Encoding::DELTA_BINARY_PACKED)
            .set_column_encoding("stored.list.element".into(), Encoding::DELTA_BINARY_PACKED)
            .set_column_encoding("rows.list.element".into(), Encoding::DELTA_BINARY_PACKED)
            .build();
        let table = self.table().map_err(|e| failed(&e))?;
        let mut writer =
            ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties)).map_err(|e| failed(&e))?;
        writer.write(&table).and_then(|()| writer.flush()).map_err(|e| failed(&e))?;
        writer.sync().map_err(|e| failed(&e))?;
        let pages = writer.inner();
        let seal = format!("{} {}", pages.len(), digest(pages));
        writer.append_key_value_metadata(KeyValue::new(SEAL.into(), seal));
        writer.into_inner().map_err(|e| failed(&e))
    }

    fn table(&self) -> std::result::Result<RecordBatch, arrow_schema::ArrowError> {
        let files = || self.files.iter();
        let lengths = || OffsetBuffer::from_lengths(files().map(|file| file.groups.len()));
        let narrow = |value: fn(&RowGroup) -> u32| {
            let values: UInt32Array = self.groups.iter().map(value).collect::<Vec<_>>().into();
            list(lengths(), values)
        };
        let wide = |value: fn(&RowGroup) -> u64| {
            let values: UInt64Array = self.groups.iter().map(value).collect::<Vec<_>>().into();
            list(lengths(), values)
        };
        RecordBatch::try_from_iter([
            (
                "location",
                Arc::new(UInt32Array::from_iter_values(files().map(|file| file.location))) as ArrayRef,
            ),
            ("path", Arc::new(StringArray::from_iter_values(files().map(|file| &file.path)))),
            ("size", Arc::new(UInt64Array::from_iter_values(files().map(|file| file.size)))),
            ("etag", Arc::new(StringArray::from_iter_values(files().map(|file| &file.etag)))),
            ("stored", narrow(|group| group.stored)),
            ("rows", narrow(|group| group.rows)),
            ("offset", wide(|group| group.offset)),
            ("bytes", wide(|group| group.bytes)),
        ])
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. `name` is for messages. No input makes this panic.
    ///
    /// # Errors
    /// [`Error::Index`] for anything else.
    pub fn from_bytes(bytes: Bytes, name: &str) -> Result<Self> {
        // The reader of parquet is other people's code, and the bytes may come from anywhere.
        let read = catch_unwind(|| read(bytes)).unwrap_or_else(|_| Err("its reader panicked".into()));
        read.map_err(|reason| Error::Index { file: name.into(), reason })
    }
}

fn list<T: ArrowPrimitiveType>(lengths: OffsetBuffer<i32>, values: PrimitiveArray<T>) -> ArrayRef {
    let field = Arc::new(Field::new("element", T::DATA_TYPE, false));
    Arc::new(ListArray::new(field, lengths, Arc::new(values), None))
}

fn read(bytes: Bytes) -> std::result::Result<Manifest, String> {
    let text = |e: &dyn Display| e.to_string();
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| text(&e))?;
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    let entry = |key: &str| {
        let found = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == key)?.value.as_deref());
        found.ok_or_else(|| format!("it has no entry `{key}`"))
    };
    let head = entry(KEY)?;
    // The version first: another one may have other fields.
    let fields: serde_json::Value = serde_json::from_str(head).map_err(|e| text(&e))?;
    let version = fields.get("version").cloned().unwrap_or_default();
    if version != VERSION {
        return Err(format!("its version is {version}, this Tandem reads {VERSION}"));
    }
    let (length, sealed) = entry(SEAL)?.split_once(' ').unwrap_or_default();
    let pages = length.parse().ok().and_then(|length: usize| bytes.get(..length)).unwrap_or_default();
    if digest(pages) != sealed {
        return Err("it is damaged: its bytes do not have the digest in it".into());
    }
    let head: Head = serde_json::from_value(fields).map_err(|e| text(&e))?;
    let mut manifest = Manifest { sources: head.sources, locations: head.locations, ..Manifest::default() };
    for batch in builder.with_batch_size(BATCH).build().map_err(|e| text(&e))? {
        manifest.add(&batch.map_err(|e| text(&e))?)?;
    }
    Ok(manifest)
}

impl Manifest {
    /// Adds the files of a part of the table.
    fn add(&mut self, batch: &RecordBatch) -> std::result::Result<(), String> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .filter(|column| column.null_count() == 0)
                .ok_or_else(|| format!("its column {name} is missing or has nulls"))
        };
        let mistyped = |name: &str| format!("its column {name} is of another type");
        let numbers =
            |name: &str| column(name)?.as_primitive_opt::<UInt32Type>().ok_or_else(|| mistyped(name));
        let sizes = |name: &str| column(name)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| mistyped(name));
        let texts = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(|| mistyped(name));
        let lists = |name: &str| column(name)?.as_list_opt::<i32>().ok_or_else(|| mistyped(name));
        let (location, path, size, etag) =
            (numbers("location")?, texts("path")?, sizes("size")?, texts("etag")?);
        let [stored, rows, offset, bytes] = ["stored", "rows", "offset", "bytes"].map(lists);
        let (stored, rows, offset, bytes) = (stored?, rows?, offset?, bytes?);
        for at in 0..batch.num_rows() {
            if location.value(at) as usize >= self.locations.len() {
                return Err(format!("it has no location {}", location.value(at)));
            }
            let [stored, rows] = [stored, rows].map(|list| values::<UInt32Type>(list, at));
            let [offset, bytes] = [offset, bytes].map(|list| values::<UInt64Type>(list, at));
            let (stored, rows, offset, bytes) = (stored?, rows?, offset?, bytes?);
            if [rows.len(), offset.len(), bytes.len()] != [stored.len(); 3] {
                return Err(format!("the row groups of {} are of different numbers", path.value(at)));
            }
            if rows.iter().zip(&stored).any(|(rows, stored)| rows > stored) {
                return Err(format!("a row group of {} has more rows that pass than rows", path.value(at)));
            }
            let start = self.groups.len() as u32;
            let groups = stored.iter().zip(&rows).zip(offset.iter().zip(&bytes));
            self.groups.extend(groups.map(|((stored, rows), (offset, bytes))| RowGroup {
                stored: *stored,
                rows: *rows,
                offset: *offset,
                bytes: *bytes,
            }));
            self.files.push(File {
                location: location.value(at),
                path: path.value(at).into(),
                size: size.value(at),
                etag: etag.value(at).into(),
                groups: start..self.groups.len() as u32,
            });
        }
        Ok(())
    }
}

fn values<T: ArrowPrimitiveType>(list: &ListArray, at: usize) -> std::result::Result<Vec<T::Native>, String> {
    let values = list.value(at);
    let values = values.as_primitive_opt::<T>().filter(|values| values.null_count() == 0);
    values
        .map(|values| values.values().to_vec())
        .ok_or_else(|| "a list is of another type or has nulls".into())
}
