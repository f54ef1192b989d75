//! Is every row usable? Decodes all of them.

use crate::{
    error::Result,
    image::{ImageLimits, check},
    manifest::Manifest,
    reader::{Reader, Row},
    scan::{Scanned, scan},
    text::clean,
};
use proto::config::DataSection;
use rayon::prelude::*;

/// Rows that can't be used, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The manifest's number of the first of them.
    pub row: u64,
    /// How many: one, or those of a row group that can't be read.
    pub rows: u32,
    /// The file.
    pub file: String,
    /// The row group's number inside the file.
    pub row_group: usize,
    /// The row inside the row group.
    pub row_in_group: u32,
    /// Why.
    pub reason: String,
}

/// Decodes every image of the dataset and looks at every caption, as the training would, and returns what can't be used.
/// `progress` hears the number of rows done.
///
/// # Errors
/// A dataset that can't be opened; files and rows that are broken are what is returned.
pub async fn verify(
    location: &str,
    data: &DataSection,
    manifest: &Manifest,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Broken>> {
    let reader = Reader::new(location, data, manifest)?;
    reader.columns().await?;
    let mut broken = Vec::new();
    let visit = |group: Scanned| {
        let at = |row_in_group: u32, rows: u32, reason: String| Broken {
            row: group.first_row + u64::from(row_in_group),
            rows,
            file: group.file.clone(),
            row_group: group.row_group,
            row_in_group,
            reason,
        };
        match &group.rows {
            Err(error) => broken.push(at(0, group.count, error.to_string())),
            Ok(_) => {
                let check = |(number, row): (u32, Row<'_>)| Some(at(number, 1, fault(row, data.into())?));
                let found: Vec<Option<Broken>> = group.rows().into_par_iter().map(check).collect();
                broken.extend(found.into_iter().flatten());
            }
        }
        progress(group.first_row + u64::from(group.count));
        Ok(())
    };
    scan(&reader, manifest, visit).await?;
    Ok(broken)
}

/// Why training can't use the row, if it can't.
fn fault(row: Row<'_>, limits: ImageLimits) -> Option<String> {
    let image = row.image.map(|bytes| check(bytes, limits));
    match (image, row.caption.map(clean)) {
        (None, _) => Some("its image is null".into()),
        (Some(Err(error)), _) => Some(error.to_string()),
        (_, None) => Some("its caption is null".into()),
        (_, Some(words)) => words.is_empty().then(|| "its caption has no words".into()),
    }
}
