//! A folder of an object store (a disk, s3, gs, az, http), with the few operations that datasets and checkpoints need and errors
//! that name path and mend.

mod error;
mod open;
mod patience;
mod pieces;
mod read;
mod remote;
mod write;

pub use error::{StoreError, Trouble};
pub(crate) use read::File;
pub use remote::Remote;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{Error, ObjectMeta, ObjectStore, path::Path};
use open::{DISK, Kind, Opened};
use proto::{GlobalStep, checkpoint, config::StoreSection};
use std::{path::PathBuf, sync::Arc, time::Duration};
use url::Url;

/// A folder of an object store, or a file seen as one.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Arc<Remote>,
    path: Path,
}

/// A location of the configuration with its place made absolute: a URL as it is, a path from the present folder on.
///
/// # Errors
/// An empty location, or a present folder that is gone.
pub fn absolute(location: &str) -> Result<String, StoreError> {
    let failed = |reason: String| StoreError {
        action: "opening",
        path: location.into(),
        reason,
        writing: false,
        trouble: Trouble::Refused,
    };
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
    /// The folder at `path` of `store`, with the defaults of all knobs.
    pub fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self::on(store, path, &StoreSection::default())
    }

    /// The folder at `path` of `store`, which leaves it to us to try again.
    pub fn on(store: Arc<dyn ObjectStore>, path: Path, spec: &StoreSection) -> Self {
        let told = store.to_string();
        let kind = if told.starts_with("LocalFileSystem") { Kind::Local } else { Kind::Cloud };
        // Where its paths are those of the whole disk.
        let root = if told == "LocalFileSystem(file:///)" { DISK.into() } else { String::new() };
        let opened = Opened { steady: store.clone(), once: store, path: path.clone(), root, kind };
        Self { store: Arc::new(Remote::new(opened, spec)), path }
    }

    /// The folder that a path or a URL names, with the defaults of all knobs. See [`open_with`](Self::open_with).
    ///
    /// # Errors
    /// A URL that no store serves.
    pub fn open(location: &str) -> Result<Self, StoreError> {
        Self::open_with(location, &StoreSection::default())
    }

    /// The folder that a path or a URL names (file, s3, gs, az, http; credentials as the cloud's own tools read them from the
    /// environment). It need not exist. What is written on a local disk is synced before it counts as written.
    ///
    /// # Errors
    /// A URL that no store serves.
    pub fn open_with(location: &str, spec: &StoreSection) -> Result<Self, StoreError> {
        let opened = open::open(location, spec)?;
        let path = opened.path.clone();
        Ok(Self { store: Arc::new(Remote::new(opened, spec)), path })
    }

    /// The store, and the path in it of the object at `relative` (its parts parted by `/`), for readers that fetch ranges.
    pub fn object(&self, relative: &str) -> (Arc<Remote>, Path) {
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
        self.store.kind == Kind::Local
    }

    /// All objects below it, by path; itself if it is a file.
    ///
    /// # Errors
    /// A store that refuses. Plain web servers do not list ([`Trouble::Unlisted`]).
    pub async fn objects(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        // A folder of a disk is no object; other stores know no folders.
        let own = match self.store.look(&self.path).await {
            Err(_) if self.is_local() => None,
            found => found?,
        };
        if let Some((meta, false)) = own {
            return Ok(vec![meta]);
        }
        let mut found = self.list().await?;
        found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// What the store says of the object at `relative`; none when it is not there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn meta(&self, relative: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let (store, path) = self.object(relative);
        Ok(store.look(&path).await?.map(|(meta, _)| meta))
    }

    async fn list(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        let ask = self.store.ask("listing", &self.path);
        if self.store.kind == Kind::Web {
            let listed = self.store.request(&ask, Duration::ZERO, |_| async {
                Ok(self.store.once.list(Some(&self.path)).try_collect().await?)
            });
            return listed.await.map_err(|error| match error.trouble {
                Trouble::Refused => {
                    let reason = format!("this web server does not list its folders ({}); give the URLs of the files one by one, or of a folder with an index, which `tandem data index` makes of a copy that can be listed", error.reason);
                    ask.error(reason, Trouble::Unlisted)
                }
                _ => error,
            });
        }
        let listed = async {
            match self.store.steady.list(Some(&self.path)).try_collect().await {
                Err(Error::NotFound { .. }) => Ok(Vec::new()),
                listed => listed,
            }
        };
        self.store.operation(&ask, listed).await
    }

    /// A folder below this one.
    pub fn below(&self, name: &str) -> Self {
        Self { store: self.store.clone(), path: self.path.clone().join(name) }
    }

    /// The folder of one step.
    pub fn step(&self, step: GlobalStep) -> Self {
        self.below(&checkpoint::folder(step))
    }

    /// The path or URL of a file in it, for messages.
    pub fn path_of(&self, name: &str) -> String {
        self.store.name(&self.at(name))
    }

    fn at(&self, name: &str) -> Path {
        if name.is_empty() { self.path.clone() } else { self.path.clone().join(name) }
    }

    /// The steps that have a folder, ascending.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn steps(&self) -> Result<Vec<GlobalStep>, StoreError> {
        let listed = async {
            match self.store.steady.list_with_delimiter(Some(&self.path)).await {
                Err(Error::NotFound { .. }) => Ok(Vec::new()),
                listed => listed.map(|listed| listed.common_prefixes),
            }
        };
        let prefixes = self.store.operation(&self.store.ask("listing", &self.path), listed).await?;
        let name = |prefix: &Path| prefix.filename().and_then(checkpoint::step_of);
        let mut steps: Vec<GlobalStep> = prefixes.iter().filter_map(name).collect();
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
        Ok(self.store.look(&self.at(name)).await?.map(|(meta, _)| meta.size))
    }

    /// A whole file; none when it is not there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.store.whole(&self.at(name)).await
    }

    /// Writes a file, over one that is there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.store.put(&self.at(name), bytes.into()).await
    }

    /// Writes a file, over one that is there, at no more than so many MiB a second; 0 sets no limit.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn put_paced(&self, name: &str, bytes: Vec<u8>, mib_per_second: f64) -> Result<(), StoreError> {
        if mib_per_second <= 0.0 {
            return self.put(name, bytes).await;
        }
        let rate = mib_per_second * f64::from(1 << 20);
        self.store.put_paced(&self.at(name), bytes.into(), rate).await
    }

    /// Writes a file unless there is one; says whether it wrote.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn put_if_absent(&self, name: &str, bytes: Vec<u8>) -> Result<bool, StoreError> {
        self.store.put_if_absent(&self.at(name), bytes.into()).await
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.store.remove(&self.at(name)).await
    }

    /// Removes all files in it, also what writes left that were broken off.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn remove_all(&self) -> Result<(), StoreError> {
        for name in self.files().await? {
            self.remove(&name).await?;
        }
        self.remove_unfinished().await
    }

    /// Removes what writes into it left that were broken off by a kill: on a disk, files that are never listed. Other stores keep
    /// that to themselves. A write that goes on meanwhile fails.
    ///
    /// # Errors
    /// A disk that refuses.
    pub async fn remove_unfinished(&self) -> Result<(), StoreError> {
        self.store.remove_unfinished(&self.path).await
    }
}

#[cfg(test)]
mod tests;
