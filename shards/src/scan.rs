//! Every row of a dataset, once, in the order in which it is stored.

use crate::{
    error::Result,
    reader::{Reader, Row, Rows},
};
use futures::StreamExt;
use proto::RowGroupId;

/// Row groups that are fetched ahead.
const AHEAD: usize = 4;

/// One row group, where it is, and what was fetched of it.
#[derive(Debug)]
pub struct Scanned {
    /// Its file.
    pub file: String,
    /// Its number inside the file.
    pub row_group: usize,
    /// The manifest's number of its first row.
    pub first_row: u64,
    /// Its rows, as its footer says.
    pub count: u32,
    /// The rows, or why they can't be read.
    pub rows: Result<Rows>,
}

impl Scanned {
    /// Itself, or the error that kept its rows from being read.
    ///
    /// # Errors
    /// That error.
    pub fn whole(mut self) -> Result<Self> {
        let rows = std::mem::replace(&mut self.rows, Ok(Rows::default()))?;
        Ok(Self { rows: Ok(rows), ..self })
    }

    /// The rows that were fetched, with their numbers inside the row group.
    pub fn rows(&self) -> Vec<(u32, Row<'_>)> {
        let rows = self.rows.as_ref().ok();
        (0..self.count).filter_map(|row| Some((row, rows?.get(row)?))).collect()
    }
}

/// Hands every row group of the dataset to `visit`, in order, fetching some ahead. A row group that can't be read is handed over
/// with its error: whether that ends the scan is for `visit` to say.
///
/// # Errors
/// What `visit` returns.
pub async fn scan(reader: &Reader, mut visit: impl FnMut(Scanned) -> Result<()>) -> Result<()> {
    let mut first_row = 0;
    let manifest = reader.manifest();
    let groups = manifest.files().iter().flat_map(|file| file.groups.clone().map(move |id| (file, id)));
    let groups = groups.map(|(file, id)| {
        let count = manifest.row_groups()[id as usize].rows;
        let first = first_row;
        first_row += u64::from(count);
        async move {
            let rows = reader.fetch(RowGroupId(id), 0..count).await;
            let row_group = (id - file.groups.start) as usize;
            Scanned { file: manifest.name(file), row_group, first_row: first, count, rows }
        }
    });
    let mut fetched = futures::stream::iter(groups).buffered(AHEAD);
    while let Some(scanned) = fetched.next().await {
        visit(scanned)?;
    }
    Ok(())
}
