//! Is every row usable? Decodes all of them.

use crate::{
    error::{Error, Result},
    image::{ImageLimits, check},
    reader::{Features, Reader, Row},
    scan::{Scanned, scan},
    store::Trouble,
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
    reader: &Reader,
    data: &DataSection,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Broken>> {
    reader.columns().await?;
    let mut broken = Vec::new();
    let visit = |group: Scanned| {
        // A store that does not answer says nothing of the rows.
        if matches!(&group.rows, Err(Error::Store(error)) if error.trouble == Trouble::Unreachable) {
            return group.whole().map(drop);
        }
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
    scan(reader, visit).await?;
    Ok(broken)
}

/// Why training can't use the row, if it can't.
fn fault(row: Row<'_>, limits: ImageLimits) -> Option<String> {
    if let Some(reason) = row.broken {
        return Some(reason.into());
    }
    let seen = match (row.image, row.features) {
        (Some(bytes), _) => check(bytes, limits).map_err(|e| e.to_string()),
        (None, Some(features)) => whole(&features),
        (None, None) => Err("its image is null".into()),
    };
    // Each of several captions comes in some epoch.
    let words = |number| match row.captions.get(number).map(clean) {
        None => Some("its caption is null"),
        Some(words) => words.is_empty().then_some("its caption has no words"),
    };
    let said = (0..row.captions.len().max(1)).find_map(words);
    seen.err().or_else(|| said.map(str::to_owned))
}

fn whole(features: &Features<'_>) -> std::result::Result<(), String> {
    if features.shape().is_none() {
        return Err("its features are lists of different lengths".into());
    }
    match features.values() {
        None => Err("one of its features is null".into()),
        Some(values) if values.is_empty() => Err("it has no features".into()),
        Some(values) if !values.iter().all(|value| value.is_finite()) => {
            Err("one of its features is not finite".into())
        }
        Some(_) => Ok(()),
    }
}
