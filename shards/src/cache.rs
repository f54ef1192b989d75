//! A folder on a local disk that keeps blocks of files of object stores, for all processes of the machine and for later runs.
//!
//! Blocks, not the ranges that were fetched: a block is one aligned mebibyte of a file, so what one reader fetched serves others that
//! cut the file differently (other columns, other knobs), a torn or evicted block costs one mebibyte, and large ranges are fetched side
//! by side. Row groups of images are many blocks long, so little more is fetched than is used, and that is used by the neighbours.
//!
//! There is no index: a block's name says what it is, its time of last change when it was last used. Nobody trusts what lies there:
//! a block is served if its length, its key and its checksum are right, and removed if not. `ledger` keeps the whole below its limit,
//! over all processes.

mod block;
mod ledger;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use ledger::Ledger;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 1 << 20;
/// The folder below the given one, which holds nothing else; its number is that of the blocks' format.
const FOLDER: &str = "tandem-blocks-1";

/// What is told apart: a file of a store, with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Of a file's store, path, etag and size.
    pub(crate) fn new(root: &str, path: &str, etag: &str, size: u64) -> Self {
        let mut digest = Sha256::new();
        for part in [root, path, etag] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        digest.update(size.to_le_bytes());
        Self(digest.finalize().into())
    }
}

/// Blocks on a disk.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    ledger: Ledger,
    /// Writing failed once: nothing more is kept.
    full: AtomicBool,
}

impl Cache {
    /// The process's cache in `folder`, of at most `gib` GiB; none, with a warning, where it can't be.
    pub(crate) fn shared(folder: &str, gib: f64) -> Option<Arc<Self>> {
        type Known = HashMap<(PathBuf, u64), Weak<Cache>>;
        static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
        let limit = (gib * f64::from(1 << 30)) as u64;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        let key = (PathBuf::from(folder), limit);
        if let Some(cache) = known.get(&key).and_then(Weak::upgrade) {
            return Some(cache);
        }
        match Self::open(Path::new(folder), limit) {
            Ok(cache) => {
                let cache = Arc::new(cache);
                known.insert(key, Arc::downgrade(&cache));
                Some(cache)
            }
            Err(error) => {
                tracing::warn!("store.cache = {folder} can't be used, so nothing is kept: {error}");
                None
            }
        }
    }

    /// The cache in `folder`, which is made, of at most `limit` bytes.
    pub(crate) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let folder = folder.join(FOLDER);
        fs::create_dir_all(&folder)?;
        Ok(Self { ledger: Ledger::open(&folder, limit)?, folder, full: AtomicBool::new(false) })
    }

    fn path(&self, key: &Key, block: u64) -> PathBuf {
        let name = crate::committed::hex(&key.0);
        self.folder.join(&name[..2]).join(format!("{}-{block}", &name[2..]))
    }

    /// A block of `length` bytes, if it is there as it was put.
    pub(crate) fn get(&self, key: &Key, block: u64, length: u64) -> Option<Bytes> {
        let path = self.path(key, block);
        let file = File::open(&path).ok()?;
        let expected = block::HEADER as u64 + length;
        let mut bytes = Vec::with_capacity(usize::try_from(expected).ok()?);
        let read = (&file).take(expected + 1).read_to_end(&mut bytes);
        let content = read.ok().and_then(|_| block::content(bytes, key, block, length));
        if content.is_some() {
            // Only the order of eviction hangs on it.
            let _ = file.set_modified(SystemTime::now());
        } else {
            tracing::warn!("{} is damaged, it is removed and fetched again", path.display());
            let _ = fs::remove_file(&path);
        }
        content
    }

    /// Keeps a block, if there is room or room can be made. The first failure is told, and nothing is kept from then on.
    pub(crate) fn put(&self, key: &Key, block: u64, content: &[u8]) {
        if self.full.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.write(key, block, content)
            && !self.full.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("{} can't be written, no more is kept: {error}", self.folder.display());
        }
    }

    fn write(&self, key: &Key, block: u64, content: &[u8]) -> io::Result<()> {
        let header = block::header(key, block, content);
        let length = (header.len() + content.len()) as u64;
        let Some((mut file, partial)) = self.ledger.reserve(length)? else { return Ok(()) };
        let path = self.path(key, block);
        let mut write = || {
            file.write_all(&header)?;
            file.write_all(content)?;
            file.set_modified(SystemTime::now())?;
            self.ledger.publish(&partial, &path)
        };
        let written = write();
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
        written
    }
}
