//! Writing to a store: whole files, tried again, in parts where they are large.

use super::{
    error::StoreError,
    open::Kind,
    patience::Fault,
    remote::{Ask, Remote},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use std::time::Duration;

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
