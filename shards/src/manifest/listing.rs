//! From a location of the configuration to the parquet files there, without opening one.

use super::File;
use crate::{
    error::{Error, Result},
    store::{Folder, local_path},
};
use glob::{MatchOptions, Pattern};
use object_store::ObjectMeta;
use proto::config::StoreSection;

/// A folder, file or glob of the configuration.
#[derive(Clone, Debug)]
pub struct Place {
    /// As configured.
    pub location: String,
    /// What its files' paths are relative to.
    pub folder: Folder,
    pattern: Option<Pattern>,
}

/// The part of a location before its first wildcard's name: what paths are relative to.
pub(super) fn folder(location: &str) -> &str {
    match location.find(['*', '?', '[']).filter(|_| !is_web_address(location)) {
        None => location,
        Some(wildcard) => location[..wildcard].rsplit_once('/').map_or("", |(folder, _)| folder),
    }
}

/// The address on a web server may hold a question mark, which is no wildcard.
fn is_web_address(location: &str) -> bool {
    location.starts_with("http://") || location.starts_with("https://")
}

impl Place {
    /// Understands a location.
    ///
    /// # Errors
    /// A URL that no store serves, a glob that can't be understood.
    pub fn new(location: &str, store: &StoreSection) -> Result<Self> {
        let folder = folder(location);
        // A local file may have a wildcard in its name.
        let literal =
            folder.len() == location.len() || local_path(location).is_some_and(|path| path.exists());
        if literal {
            return Ok(Self {
                location: location.into(),
                folder: Folder::open_with(location, store)?,
                pattern: None,
            });
        }
        let pattern =
            Pattern::new(location[folder.len()..].trim_start_matches('/')).map_err(|e| Error::Value {
                name: "data.train",
                value: location.into(),
                reason: format!("the glob can't be understood: {e}"),
            })?;
        let folder = if folder.is_empty() && !location.starts_with('/') { "." } else { folder };
        let folder = if folder.is_empty() { "/" } else { folder };
        Ok(Self {
            location: location.into(),
            folder: Folder::open_with(folder, store)?,
            pattern: Some(pattern),
        })
    }

    /// Its parquet files by path, without their row groups; names that begin with `_` or `.` are passed over.
    ///
    /// # Errors
    /// A location without parquet files, a store that refuses.
    pub(super) async fn files(&self, location: u32) -> Result<Vec<File>> {
        let all = self.folder.objects().await?;
        let found: Vec<&ObjectMeta> = all.iter().filter(|object| self.takes(object)).collect();
        match (all.first(), found.is_empty()) {
            (None, _) => Err(Error::Missing { location: self.location.clone() }),
            (Some(other), true) => Err(Error::NoParquet {
                location: self.location.clone(),
                files: all.len(),
                example: name(other).into(),
            }),
            _ => Ok(found.into_iter().map(|object| self.stored(object, location)).collect()),
        }
    }

    /// Whether the location is a file of its own.
    pub(super) async fn is_file(&self) -> Result<bool> {
        // An object at the location itself; a folder of a disk is none.
        let path = self.folder.path_of("");
        let plain = path.ends_with(".parquet") && self.pattern.is_none();
        Ok(plain && self.folder.size("").await?.is_some())
    }

    /// On a server that can't be asked what files there are.
    pub(super) fn is_web(&self) -> bool {
        is_web_address(&self.location)
    }

    /// Whether the path, relative to the folder, is one of those that the location names.
    pub(super) fn matches(&self, path: &str) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches_with(path, options))
    }

    fn takes(&self, object: &ObjectMeta) -> bool {
        let named = self.folder.relative(object).is_empty();
        let visible = !name(object).starts_with(['_', '.']);
        let parquet = name(object).ends_with(".parquet");
        (named || visible && parquet) && self.matches(&self.folder.relative(object))
    }

    /// What the store says of a file.
    fn stored(&self, object: &ObjectMeta, location: u32) -> File {
        let changed = || object.last_modified.timestamp_millis().to_string();
        let etag = object.e_tag.clone().filter(|_| !self.folder.is_local()).unwrap_or_else(changed);
        File { location, path: self.folder.relative(object), size: object.size, etag, groups: 0..0 }
    }
}

fn name(object: &ObjectMeta) -> &str {
    object.location.filename().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_a_folder_and_a_pattern() {
        for (location, wanted) in [
            ("a/b", "a/b"),
            ("s3://bucket/set/part-*.parquet", "s3://bucket/set"),
            ("/data/*/x.parquet", "/data"),
            ("*.parquet", ""),
            ("https://host/file.parquet?token=1", "https://host/file.parquet?token=1"),
        ] {
            assert_eq!(folder(location), wanted, "{location}");
        }
        let place = |location: &str| Place::new(location, &StoreSection::default());
        let some = place("set/part-[0-3]*.parquet").unwrap();
        assert!(some.matches("part-0001.parquet") && !some.matches("part-4.parquet"));
        assert!(!some.matches("part-1/x.parquet"), "a star does not cross folders");
        assert!(place("set/**/x.parquet").unwrap().matches("a/b/x.parquet"));
        let error = place("set/[.parquet").unwrap_err().to_string();
        assert!(error.contains("set/[.parquet") && error.contains("glob"), "{error}");
    }
}
