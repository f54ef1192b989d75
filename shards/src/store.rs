//! A folder of an object store (a disk, s3, gs, az, http), with the few operations that datasets and checkpoints need and errors
//! that name path and mend.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem, path::Path,
};
use proto::{GlobalStep, checkpoint};
use std::{path::PathBuf, sync::Arc};
use url::Url;

/// The object store refused.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {reason}")]
pub struct StoreError {
    /// What was tried.
    pub action: &'static str,
    /// On which object.
    pub path: String,
    /// Why it did not work, and the mend where it is known.
    pub reason: String,
    /// It was a write: the output is at fault.
    pub writing: bool,
}

impl StoreError {
    /// The program's exit code for it.
    pub fn exit(&self) -> proto::Exit {
        if self.writing { proto::Exit::Output } else { proto::Exit::Data }
    }
}

/// A folder of an object store, or a file seen as one.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

/// A location of the configuration with its place made absolute: a URL as it is, a path from the present folder on.
///
/// # Errors
/// An empty location, or a present folder that is gone.
pub fn absolute(location: &str) -> Result<String, StoreError> {
    let failed =
        |reason: String| StoreError { action: "opening", path: location.into(), reason, writing: false };
    if location.is_empty() {
        return Err(failed("the location is empty; give a path or a URL".into()));
    }
    if location.contains("://") {
        return Ok(location.into());
    }
    let path = std::path::absolute(location).map_err(|e| failed(e.to_string()))?;
    Ok(path.to_string_lossy().trim_end_matches('/').to_owned())
}

/// The path on this machine's disk that a location names, if it is one.
pub fn local_path(location: &str) -> Option<PathBuf> {
    if !location.contains("://") {
        return Some(PathBuf::from(location));
    }
    Url::parse(location).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

impl Folder {
    /// The folder at `path` of `store`.
    pub fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { store, path }
    }

    /// The folder that a path or a URL names (file, s3, gs, az, http; credentials as the cloud's own tools read them from the
    /// environment). It need not exist. What is written on a local disk is synced before it counts as written.
    ///
    /// # Errors
    /// A URL that no store serves.
    pub fn open(location: &str) -> Result<Self, StoreError> {
        let location = absolute(location)?;
        let failed =
            |reason: String| StoreError { action: "opening", path: location.clone(), reason, writing: false };
        if let Some(path) = local_path(&location) {
            let path = Path::from_absolute_path(path).map_err(|e| failed(e.to_string()))?;
            let disk = LocalFileSystem::new().with_fsync(true).with_automatic_cleanup(true);
            return Ok(Self::new(Arc::new(disk), path));
        }
        let url = Url::parse(&location).map_err(|e| failed(e.to_string()))?;
        let variables = std::env::vars().map(|(key, value)| (key.to_lowercase(), value));
        let (store, path) = object_store::parse_url_opts(&url, variables).map_err(|e| failed(explain(&e)))?;
        Ok(Self::new(store.into(), path))
    }

    /// The store, and the path in it of the object at `relative` (its parts parted by `/`), for readers that fetch ranges.
    pub fn object(&self, relative: &str) -> (Arc<dyn ObjectStore>, Path) {
        let parts = relative.split('/').filter(|part| !part.is_empty());
        (self.store.clone(), parts.fold(self.path.clone(), |path, part| path.join(part)))
    }

    /// The path of an object below this folder, relative to it, its parts parted by `/`; empty for the folder's own.
    pub fn relative(&self, object: &ObjectMeta) -> String {
        let parts =
            object.location.prefix_match(&self.path).map(|parts| parts.map(|p| p.as_ref().to_owned()));
        parts.map(|parts| parts.collect::<Vec<_>>().join("/")).unwrap_or_default()
    }

    /// A folder of a disk of this machine, where etags name the file and not what is in it.
    pub fn is_local(&self) -> bool {
        self.store.to_string().starts_with("LocalFileSystem")
    }

    /// All objects below it, by path; itself if it is a file.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn objects(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        match self.store.head(&self.path).await {
            Ok(meta) => return Ok(vec![meta]),
            Err(object_store::Error::NotFound { .. }) => {}
            // A folder of a disk is no object; other stores know no folders.
            Err(_) if self.is_local() => {}
            Err(e) => return Err(self.failed("looking at", "", false, &e)),
        }
        let mut found = self.list().await?;
        found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    async fn list(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        match self.store.list(Some(&self.path)).try_collect().await {
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            other => other.map_err(|e| self.failed("listing", "", false, &e)),
        }
    }

    /// A folder below this one.
    pub fn below(&self, name: &str) -> Self {
        Self { store: self.store.clone(), path: self.path.clone().join(name) }
    }

    /// The folder of one step.
    pub fn step(&self, step: GlobalStep) -> Self {
        self.below(&checkpoint::folder(step))
    }

    /// The path of a file in it, for messages.
    pub fn path_of(&self, name: &str) -> String {
        self.at(name).to_string()
    }

    fn at(&self, name: &str) -> Path {
        if name.is_empty() { self.path.clone() } else { self.path.clone().join(name) }
    }

    /// The steps that have a folder, ascending.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn steps(&self) -> Result<Vec<GlobalStep>, StoreError> {
        let listed = self.store.list_with_delimiter(Some(&self.path)).await;
        let listed = match listed {
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            other => other.map_err(|e| self.failed("listing", "", false, &e))?,
        };
        let name = |prefix: &Path| prefix.filename().and_then(checkpoint::step_of);
        let mut steps: Vec<GlobalStep> = listed.common_prefixes.iter().filter_map(name).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// The names of the files in it, sorted.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn files(&self) -> Result<Vec<String>, StoreError> {
        let found = self.list().await?;
        let mut names: Vec<String> =
            found.iter().filter_map(|meta| meta.location.filename().map(String::from)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The size of a file in bytes; none when it is not there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        match self.store.head(&self.at(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed("looking at", name, false, &e)),
        }
    }

    /// A whole file; none when it is not there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let found = match self.store.get(&self.at(name)).await {
            Ok(found) => found.bytes().await,
            Err(e) => Err(e),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed("reading", name, false, &e)),
        }
    }

    /// Writes a file, over one that is there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let put = self.store.put(&self.at(name), bytes.into()).await;
        put.map(drop).map_err(|e| self.failed("writing", name, true, &e))
    }

    /// Writes a file unless there is one; says whether it wrote.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn put_if_absent(&self, name: &str, bytes: Vec<u8>) -> Result<bool, StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.at(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(e) => Err(self.failed("writing", name, true, &e)),
        }
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self.store.delete(&self.at(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed("removing", name, true, &e)),
        }
    }

    /// Removes all files in it.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn remove_all(&self) -> Result<(), StoreError> {
        for name in self.files().await? {
            self.remove(&name).await?;
        }
        Ok(())
    }

    fn failed(
        &self,
        action: &'static str,
        name: &str,
        writing: bool,
        error: &object_store::Error,
    ) -> StoreError {
        StoreError { action, path: self.path_of(name), reason: explain(error), writing }
    }
}

/// The innermost cause, which names the real trouble, and the mend for the one that every operator meets.
fn explain(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        if let Some(io) = next.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        {
            return format!("the disk is full ({io}); free space, then start again with --resume");
        }
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_full_disk_is_told_with_path_and_mend() {
        let source = Box::new(io::Error::from(io::ErrorKind::StorageFull));
        let error = object_store::Error::Generic { store: "LocalFileSystem", source };
        let folder = Folder::new(Arc::new(object_store::memory::InMemory::new()), Path::from("out"));
        let text = folder.step(GlobalStep(3)).failed("writing", "COMMITTED", true, &error).to_string();
        assert!(text.starts_with("writing out/step-000000003/COMMITTED: the disk is full"), "{text}");
        assert!(text.contains("--resume"), "{text}");
    }
}
