//! What is in a dataset, for a person to look at.

use crate::{
    error::Result,
    image::{RgbImage, decode},
    manifest::Manifest,
    reader::Reader,
};
use proto::config::DataSection;

/// A dataset at a glance.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Names and types of the columns of the first file.
    pub columns: Vec<(String, String)>,
    /// Rows of the smallest and of the largest row group.
    pub group_rows: (u32, u32),
    /// Bytes of all files.
    pub bytes: u64,
    /// Some rows, evenly spread.
    pub samples: Vec<Sample>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The manifest's number of the row.
    pub row: u64,
    /// The caption; none when it is null.
    pub caption: Option<String>,
    /// The image, or why there is none.
    pub image: std::result::Result<RgbImage, String>,
}

/// Looks at the schema and at `samples` rows.
///
/// # Errors
/// A dataset that can't be opened or read, and missing columns. An image that can't be decoded is told in its sample.
pub async fn inspect(
    location: &str,
    data: &DataSection,
    manifest: &Manifest,
    samples: u32,
) -> Result<Inspection> {
    let reader = Reader::new(location, data, manifest)?;
    let columns = reader.columns().await?;
    let count = u64::from(samples).min(manifest.rows());
    let mut shown = Vec::new();
    for number in 0..count {
        let row = number * manifest.rows() / count;
        let Some((_, _, group, at)) = manifest.place(row) else { continue };
        let fetched = reader.fetch(group, at..at + 1).await?;
        let found = fetched.get(at);
        let bytes = found.and_then(|row| row.image).ok_or_else(|| "the image is null".to_owned());
        let image = bytes.and_then(|bytes| decode(bytes, data.into()).map_err(|e| e.to_string()));
        shown.push(Sample { row, caption: found.and_then(|row| row.caption).map(str::to_owned), image });
    }
    let rows = || manifest.row_groups().map(|(_, _, group)| group.rows);
    Ok(Inspection {
        columns,
        group_rows: (rows().min().unwrap_or(0), rows().max().unwrap_or(0)),
        bytes: manifest.files().iter().map(|file| file.size).sum(),
        samples: shown,
    })
}
