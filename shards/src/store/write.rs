//! Writing to a store: whole files, tried again, in parts where they are large.

use super::{
    error::{StoreError, Trouble},
    open::{DISK, Kind},
    patience::{Fault, seconds},
    remote::{Ask, Remote},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    local::LocalFileSystem, path::Path,
};
use std::{fs, io, time::Duration};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// Larger files are uploaded in parts of this many bytes.
const UPLOAD_PART: usize = 16 << 20;
/// Parts of a file that is written slowly have so many bytes: the fewest that s3 takes.
const PACED_PART: usize = 5 << 20;
/// Most parts of one file that s3 takes.
const MOST_PARTS: usize = 10_000;
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
            return self.operation(&ask, self.upload(path, &bytes, None)).await;
        }
        let put = |_| async { Ok(self.once.put(path, bytes.clone().into()).await.map(drop)?) };
        self.request(&ask, allowance(bytes.len()), put).await
    }

    /// Writes a file, over one that is there, at this many bytes a second.
    pub(super) async fn put_paced(&self, path: &Path, bytes: Bytes, rate: f64) -> Result<(), StoreError> {
        if bytes.len() <= PACED_PART {
            return self.put(path, bytes).await;
        }
        let ask = self.writing("writing", path);
        self.operation(&ask, self.upload(path, &bytes, Some(rate))).await
    }

    async fn upload(&self, path: &Path, bytes: &Bytes, rate: Option<f64>) -> Result<(), Error> {
        let mut upload = self.steady.put_multipart(path).await?;
        let sent = match rate {
            None => send(&mut *upload, bytes).await,
            Some(rate) => send_paced(&mut *upload, bytes, rate).await,
        };
        let done = match sent {
            Ok(()) => upload.complete().await.map(drop),
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

/// The file in pieces of so many bytes.
fn pieces(bytes: &Bytes, size: usize) -> impl Iterator<Item = (usize, PutPayload)> {
    let starts = (0..bytes.len()).step_by(size);
    starts.map(move |start| (start, bytes.slice(start..bytes.len().min(start + size)).into()))
}

async fn send(upload: &mut dyn MultipartUpload, bytes: &Bytes) -> Result<(), Error> {
    let parts: Vec<_> = pieces(bytes, UPLOAD_PART).map(|(_, piece)| upload.put_part(piece)).collect();
    futures::stream::iter(parts).buffer_unordered(UPLOADS).try_collect().await
}

/// One piece after the other, each not before the rate allows for those before it.
async fn send_paced(upload: &mut dyn MultipartUpload, bytes: &Bytes, rate: f64) -> Result<(), Error> {
    let begun = Instant::now();
    for (before, piece) in pieces(bytes, PACED_PART.max(bytes.len().div_ceil(MOST_PARTS))) {
        sleep(seconds(before as f64 / rate).saturating_sub(begun.elapsed())).await;
        upload.put_part(piece).await?;
    }
    Ok(())
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
