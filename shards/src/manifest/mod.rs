//! What a dataset consists of, made once from the footers of its parquet files and frozen for a run.
//!
//! A row group takes 24 bytes here. Rows that the filter leaves out are counted in a row group's `stored` and not in its `rows`: all row
//! numbers of Tandem are of rows that pass.

mod difference;
mod file;
mod footer;
mod index;
mod listing;

pub use file::{FROZEN, INDEX};
pub(crate) use footer::{object, options};
pub use index::Progress;
pub use listing::Place;

use proto::{RowGroupId, config::Source};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The files of a dataset, by source, location and path, with their row groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    sources: Vec<Source>,
    /// Each with the number of its source.
    locations: Vec<(u32, String)>,
    files: Vec<File>,
    groups: Vec<RowGroup>,
}

/// One parquet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Number of its location.
    pub location: u32,
    /// Relative to the location, parts parted by `/`; empty where the location is the file.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The store's etag; on a local disk, whose etags do not survive a copy, the time of the last change.
    pub etag: String,
    /// Its row groups, as [`RowGroupId`]s.
    pub groups: Range<u32>,
}

/// One row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// Rows in the file.
    pub stored: u32,
    /// Rows that pass the filter.
    pub rows: u32,
    /// Where it starts in the file.
    pub offset: u64,
    /// Stored bytes of all its columns.
    pub bytes: u64,
}

/// Row groups that are shuffled together: of one weighted source, or of all sources where none has a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its row groups.
    pub groups: Range<u32>,
    /// Its share of the slots.
    pub weight: u32,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowPlace<'a> {
    /// The file.
    pub file: &'a File,
    /// The row group.
    pub group: RowGroupId,
    /// The row group's number inside the file.
    pub number: u32,
    /// The row among those of the row group that pass the filter.
    pub row: u32,
}

impl Manifest {
    /// A manifest of one source, whose only location holds these files.
    pub fn of_files(source: Source, files: impl IntoIterator<Item = (File, Vec<RowGroup>)>) -> Self {
        let location = source.location.to_string();
        let mut manifest = Self { sources: vec![source], locations: vec![(0, location)], ..Self::default() };
        for (file, groups) in files {
            manifest.push(File { location: 0, ..file }, &groups);
        }
        manifest
    }

    /// Where its pairs come from.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The files.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// All row groups in the order of their [`RowGroupId`]s.
    pub fn row_groups(&self) -> &[RowGroup] {
        &self.groups
    }

    /// Rows that pass, of all files.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.rows)).sum()
    }

    /// Rows of all files, with those that the filters leave out.
    pub fn stored_rows(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.stored)).sum()
    }

    /// The locations, each with its source.
    pub fn locations(&self) -> impl Iterator<Item = (&Source, &str)> {
        self.locations
            .iter()
            .filter_map(|(source, location)| Some((self.sources.get(*source as usize)?, location.as_str())))
    }

    /// A file as people know it.
    pub fn name(&self, file: &File) -> String {
        let location = self.locations.get(file.location as usize).map_or("", |(_, location)| location);
        let folder = listing::folder(location);
        let folder = if folder.is_empty() { "." } else { folder };
        if file.path.is_empty() {
            folder.into()
        } else {
            format!("{}/{}", folder.trim_end_matches('/'), file.path)
        }
    }

    /// The number of the file that row group `group` is in.
    pub fn file_of(&self, group: RowGroupId) -> Option<usize> {
        let at = self.files.partition_point(|file| file.groups.end <= group.0);
        self.files.get(at).filter(|file| file.groups.contains(&group.0)).map(|_| at)
    }

    /// Where the dataset's row number `row` is; none past the end. O(row groups): for messages.
    pub fn place(&self, row: u64) -> Option<RowPlace<'_>> {
        let mut before = 0;
        for (id, group) in (0..).zip(&self.groups) {
            if row < before + u64::from(group.rows) {
                let group = RowGroupId(id);
                let file = self.files.get(self.file_of(group)?)?;
                return Some(RowPlace {
                    file,
                    group,
                    number: id - file.groups.start,
                    row: (row - before) as u32,
                });
            }
            before += u64::from(group.rows);
        }
        None
    }

    /// What is shuffled together: each weighted source by itself, or all sources as one.
    pub fn pools(&self) -> Vec<Pool> {
        if self.sources.iter().all(|source| source.weight == 0) {
            return vec![Pool { groups: 0..self.groups.len() as u32, weight: 1 }];
        }
        let pool = |(number, source): (u32, &Source)| {
            let of_source = |file: &&File| {
                self.locations.get(file.location as usize).is_some_and(|(source, _)| *source == number)
            };
            let start = self.files.iter().find(of_source).map_or(0, |file| file.groups.start);
            let end = self.files.iter().rev().find(of_source).map_or(0, |file| file.groups.end);
            Pool { groups: start..end, weight: source.weight }
        };
        (0..).zip(&self.sources).map(pool).collect()
    }

    /// SHA-256 over weights, filters, files and row groups, hex: two datasets with the same fingerprint hold the same rows.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        let mut text = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        };
        for source in &self.sources {
            text(&source.weight.to_string());
            source.filter.iter().for_each(|condition| text(condition));
        }
        for file in &self.files {
            text(&format!("{} {} {:?}", file.location, file.size, file.groups));
            text(&file.path);
            text(&file.etag);
        }
        for group in &self.groups {
            let RowGroup { stored, rows, offset, bytes } = *group;
            digest.update(stored.to_le_bytes());
            digest.update(rows.to_le_bytes());
            digest.update(offset.to_le_bytes());
            digest.update(bytes.to_le_bytes());
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds a file behind the others.
    fn push(&mut self, file: File, groups: &[RowGroup]) {
        let start = self.groups.len() as u32;
        self.groups.extend_from_slice(groups);
        self.files.push(File { groups: start..self.groups.len() as u32, ..file });
    }

    /// The row groups of one of its files.
    fn groups_of(&self, file: &File) -> &[RowGroup] {
        self.groups.get(file.groups.start as usize..file.groups.end as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
