//! Writing to a store: whole files, tried again, in parts where they are large.

use super::{
    error::{StoreError, Trouble},
    open::{DISK, Kind},
    patience::Fault,
    remote::{Ask, Remote},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem, path::Path,
};
use std::{fs, io, time::Duration};
use tokio::task::spawn_blocking;

/// Larger files are uploaded in parts of this many bytes.
const UPLOAD_PART: usize = 16 << 20;
/// Parts of one file that are on their way at the same time.
const UPLOADS: usize = 4;

/// What a write of so many bytes may take beyond the timeout: a second per MiB.
fn allowance(bytes: usize) -> Duration {
    Duration::from_secs((bytes >> 20) as u64)
}

impl Remote {
    fn writing(&self, action: &'static str, path: &Path) -> Ask {
        Ask { writing: true, ..self.ask(action, path) }
    }

    /// Writes a file, over one that is there.
    pub(super) async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        let ask = self.writing("writing", path);
        if self.kind == Kind::Cloud && bytes.len() > UPLOAD_PART {
            return self.operation(&ask, self.upload(path, bytes)).await;
        }
        let put = |_| async { Ok(self.once.put(path, bytes.clone().into()).await.map(drop)?) };
        self.request(&ask, allowance(bytes.len()), put).await
    }

    async fn upload(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        let mut upload = self.steady.put_multipart(path).await?;
        let starts = (0..bytes.len()).step_by(UPLOAD_PART);
        let part = |start: usize| bytes.slice(start..bytes.len().min(start + UPLOAD_PART));
        let parts: Vec<_> = starts.map(|start| upload.put_part(part(start).into())).collect();
        let sent = futures::stream::iter(parts).buffer_unordered(UPLOADS).try_collect::<Vec<_>>().await;
        let done = match sent {
            Ok(_) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        if done.is_err() {
            // The store keeps the parts of an upload that nobody ends; the error that counts is the first.
            let _ = upload.abort().await;
        }
        done
    }

    /// Writes a file unless there is one; says whether it wrote.
    pub(super) async fn put_if_absent(&self, path: &Path, bytes: Bytes) -> Result<bool, StoreError> {
        let ask = self.writing("writing", path);
        let bytes = &bytes;
        self.request(&ask, allowance(bytes.len()), |tries| async move {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.once.put_opts(path, bytes.clone().into(), options).await {
                Ok(_) => Ok(true),
                // A try that seemed to fail may have arrived: then the file that is there is ours.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if tries > 0 => {
                    Ok(self.once.get(path).await?.bytes().await? == *bytes)
                }
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
                Err(error) => Err(Fault::from(error)),
            }
        })
        .await
    }

    /// Removes the files that broken writes left in a folder of this machine's disk, and the folder if nothing else is in it.
    pub(super) async fn remove_unfinished(&self, folder: &Path) -> Result<(), StoreError> {
        if self.kind != Kind::Local || self.root != DISK {
            return Ok(());
        }
        let ask = self.writing("tidying", folder);
        let path = LocalFileSystem::new().path_to_filesystem(folder);
        let path = path.map_err(|e| ask.error(e.to_string(), Trouble::Refused))?;
        let done = spawn_blocking(move || tidy(&path)).await;
        let done = done.unwrap_or_else(|lost| Err(io::Error::other(lost)));
        done.map_err(|e| ask.error(e.to_string(), Trouble::Refused))
    }

    /// Removes a file, if it is there.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), StoreError> {
        let ask = self.writing("removing", path);
        self.request(&ask, Duration::ZERO, |_| async {
            match self.once.delete(path).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(Fault::from(error)),
            }
        })
        .await
    }
}

/// The disk's store first writes a file beside its place, under its name with `#` and a number.
fn is_unfinished(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn tidy(folder: &std::path::Path) -> io::Result<()> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(folder) {
        Err(error) if gone(&error) => return Ok(()),
        entries => entries?,
    };
    let mut left = 0;
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_unfinished) {
            left += 1;
            continue;
        }
        match fs::remove_file(entry.path()) {
            Err(error) if !gone(&error) => return Err(error),
            _ => {}
        }
    }
    if left == 0 {
        // Whoever begins to write there meanwhile wins.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}
