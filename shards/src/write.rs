//! Writes pairs as parquet in img2dataset's schema.

use crate::{
    committed::digest,
    error::{Error, Result},
    store::Folder,
};
use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt32Array};
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};
use std::sync::Arc;

/// How the dataset is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteSpec {
    /// Name of the image column: jpg, png or webp, after what the images are.
    pub column: String,
    /// Rows of a row group.
    pub group_rows: usize,
    /// Row groups of a file.
    pub file_groups: usize,
}

/// One pair, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Unique in the dataset.
    pub key: String,
    /// The caption; none is stored as null.
    pub caption: Option<String>,
    /// Where the image came from: a URL or a path.
    pub url: String,
    /// The encoded image.
    pub image: Vec<u8>,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// Writes files `00000.parquet`, `00001.parquet`, … into a folder.
pub struct Writer {
    folder: Folder,
    spec: WriteSpec,
    pending: Vec<Pair>,
    file: Option<ArrowWriter<Vec<u8>>>,
    groups: usize,
    files: usize,
    rows: u64,
}

impl Writer {
    /// A writer into `folder`, which holds no other parquet.
    ///
    /// # Errors
    /// A folder that already holds parquet files: they would become part of the dataset.
    pub async fn create(folder: Folder, spec: WriteSpec) -> Result<Self> {
        let held = folder.objects().await?;
        if let Some(old) = held.iter().find(|object| object.location.as_ref().ends_with(".parquet")) {
            return Err(Error::Value {
                name: "--out",
                value: folder.path_of(""),
                reason: format!("it holds {} already; give an empty folder", old.location),
            });
        }
        Ok(Self { folder, spec, pending: Vec::new(), file: None, groups: 0, files: 0, rows: 0 })
    }

    /// Adds a pair. A full file is written to the store.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn push(&mut self, pair: Pair) -> Result<()> {
        self.pending.push(pair);
        self.rows += 1;
        if self.pending.len() >= self.spec.group_rows {
            self.end_group()?;
            if self.groups >= self.spec.file_groups {
                self.end_file().await?;
            }
        }
        Ok(())
    }

    /// Writes what is left and returns the number of rows and of files.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn finish(mut self) -> Result<(u64, usize)> {
        if !self.pending.is_empty() {
            self.end_group()?;
        }
        self.end_file().await?;
        Ok((self.rows, self.files))
    }

    fn end_group(&mut self) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| Error::Write(e.to_string());
        let batch = batch(&self.spec.column, &std::mem::take(&mut self.pending)).map_err(|e| failed(&e))?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties(&self.spec.column)))
                .map_err(|e| failed(&e))?,
        };
        file.write(&batch).and_then(|()| file.flush()).map_err(|e| failed(&e))?;
        self.file = Some(file);
        self.groups += 1;
        Ok(())
    }

    async fn end_file(&mut self) -> Result<()> {
        if let Some(file) = self.file.take() {
            let bytes = file.into_inner().map_err(|e| Error::Write(e.to_string()))?;
            self.folder.put(&format!("{:05}.parquet", self.files), bytes).await?;
            self.files += 1;
            self.groups = 0;
        }
        Ok(())
    }
}

/// Encoded images do not shrink and are not searched for: stored as they are. The rest is packed.
fn properties(image: &str) -> WriterProperties {
    let image = ColumnPath::from(image);
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_column_compression(image.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(image.clone(), false)
        .set_column_statistics_enabled(image, EnabledStatistics::None)
        .build()
}

fn batch(image: &str, pairs: &[Pair]) -> std::result::Result<RecordBatch, arrow_schema::ArrowError> {
    let text = |value: fn(&Pair) -> Option<&str>| {
        Arc::new(pairs.iter().map(value).collect::<StringArray>()) as ArrayRef
    };
    let number = |value: fn(&Pair) -> u32| {
        Arc::new(pairs.iter().map(value).map(Some).collect::<UInt32Array>()) as ArrayRef
    };
    let images: BinaryArray = pairs.iter().map(|pair| Some(pair.image.as_slice())).collect();
    let digests: StringArray = pairs.iter().map(|pair| Some(digest(&pair.image))).collect();
    RecordBatch::try_from_iter_with_nullable([
        (image, Arc::new(images) as ArrayRef, true),
        ("caption", text(|pair| pair.caption.as_deref()), true),
        ("url", text(|pair| Some(&pair.url)), true),
        ("key", text(|pair| Some(&pair.key)), true),
        ("status", text(|_| Some("success")), true),
        ("error_message", text(|_| None), true),
        ("width", number(|pair| pair.size.0), true),
        ("height", number(|pair| pair.size.1), true),
        ("original_width", number(|pair| pair.size.0), true),
        ("original_height", number(|pair| pair.size.1), true),
        ("exif", text(|_| Some("{}")), true),
        ("sha256", Arc::new(digests) as ArrayRef, true),
    ])
}
