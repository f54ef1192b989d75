//! What is in a dataset, for a person to look at.

use crate::{
    error::Result,
    image::{RgbImage, decode},
    manifest::RowPlace,
    reader::{Reader, Row},
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
    /// The captions; none when it is null.
    pub captions: Vec<String>,
    /// The image, or why there is none.
    pub image: std::result::Result<RgbImage, String>,
}

/// Looks at the schema and at `samples` rows.
///
/// # Errors
/// A dataset that can't be opened or read, and missing columns. An image that can't be decoded is told in its sample.
pub async fn inspect(reader: &Reader, data: &DataSection, samples: u32) -> Result<Inspection> {
    let manifest = reader.manifest();
    let columns = reader.columns().await?;
    let count = u64::from(samples).min(manifest.rows());
    let mut shown = Vec::new();
    for number in 0..count {
        let row = number * manifest.rows() / count;
        let Some(RowPlace { group, row: at, .. }) = manifest.place(row) else { continue };
        let fetched = reader.fetch(group, at..at + 1).await?;
        let found = fetched.get(at);
        let captions = found.iter().flat_map(|row| row.captions.iter().map(str::to_owned));
        shown.push(Sample { row, captions: captions.collect(), image: picture(found, data) });
    }
    let rows = || manifest.row_groups().iter().map(|group| group.rows);
    Ok(Inspection {
        columns,
        group_rows: (rows().min().unwrap_or(0), rows().max().unwrap_or(0)),
        bytes: manifest.files().iter().map(|file| file.size).sum(),
        samples: shown,
    })
}

/// The row's image, or what there is instead.
fn picture(row: Option<Row<'_>>, data: &DataSection) -> std::result::Result<RgbImage, String> {
    let row = row.ok_or("the row is not where its row group's footer says")?;
    if let Some(reason) = row.broken {
        return Err(reason.into());
    }
    if let Some(features) = row.features {
        let sides = |shape: Vec<usize>| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        return Err(format!("{} features", features.shape().map_or("ragged".into(), sides)));
    }
    let bytes = row.image.ok_or("the image is null")?;
    decode(bytes, data.into()).map_err(|e| e.to_string())
}
