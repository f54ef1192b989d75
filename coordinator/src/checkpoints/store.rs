//! A folder of the object store, with the few operations that checkpoints need and errors that name path and mend.

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use proto::{GlobalStep, checkpoint};
use std::sync::Arc;

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

/// A folder of an object store.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl Folder {
    /// The folder at `path` of `store`.
    pub fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { store, path }
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
        let found: Result<Vec<_>, _> = self.store.list(Some(&self.path)).try_collect().await;
        let found = match found {
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            other => other.map_err(|e| self.failed("listing", "", false, &e))?,
        };
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

    /// A small file; none when it is not there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = match self.store.get(&self.at(name)).await {
            Ok(found) => found.bytes().await,
            Err(e) => Err(e),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
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
