//! How many bytes lie in the cache's folder, over all processes, and which go when there have to be fewer.
//!
//! Under the lock of one file, room is made and a file of the full length appears before its bytes are written. So the number in that
//! file is never below what lies there, whoever is killed when; where it is above, the next count mends it.

use std::{
    fs::{self, DirEntry, File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

/// The file with the number, in little-endian bytes, which is also the lock.
const USED: &str = "used";
/// What names of files that are being written begin with.
const PARTIAL: &str = "partial-";
/// Age at which a file that is being written belongs to nobody any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Accounts of one folder.
#[derive(Debug)]
pub(super) struct Ledger {
    folder: PathBuf,
    limit: u64,
    /// The folder was counted by this process.
    counted: AtomicBool,
}

/// A file below the folder.
struct Held {
    changed: SystemTime,
    length: u64,
    path: PathBuf,
}

impl Ledger {
    /// Of `folder`, which is there.
    pub(super) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let ledger = Self { folder: folder.into(), limit, counted: AtomicBool::new(false) };
        ledger.account().map(|_| ledger)
    }

    fn account(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.folder.join(USED))
    }

    /// A new file of `length` bytes, to be written and renamed; none if there is never room for it.
    pub(super) fn reserve(&self, length: u64) -> io::Result<Option<(File, PathBuf)>> {
        if length > self.limit {
            return Ok(None);
        }
        let mut account = self.account()?;
        account.lock()?;
        let mut number = [0; 8];
        let known = account.read_exact(&mut number).is_ok() && self.counted.load(Ordering::Relaxed);
        let mut used = u64::from_le_bytes(number);
        if !known || used.saturating_add(length) > self.limit {
            used = self.shrink(length)?;
            self.counted.store(true, Ordering::Relaxed);
        }
        if used.saturating_add(length) > self.limit {
            return Ok(None);
        }
        account.seek(SeekFrom::Start(0))?;
        account.write_all(&(used + length).to_le_bytes())?;
        // By chance: process ids are no names where containers share a folder.
        let path = self.folder.join(format!("{PARTIAL}{:016x}", RandomState::new().hash_one(length)));
        let file = File::create_new(&path)?;
        if let Err(error) = file.set_len(length) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Some((file, path)))
    }

    /// Gives a written file its name. Under the lock: a file that moves while others count would be seen twice, or not at all.
    pub(super) fn publish(&self, partial: &Path, path: &Path) -> io::Result<()> {
        let account = self.account()?;
        account.lock()?;
        match fs::rename(partial, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
                fs::rename(partial, path)
            }
            renamed => renamed,
        }
    }

    /// Counts, and if `length` more do not fit, removes what was not used for longest until they do and a sixteenth is free.
    fn shrink(&self, length: u64) -> io::Result<u64> {
        let mut held = Vec::new();
        let mut used = 0;
        let old = SystemTime::now().checked_sub(ABANDONED).unwrap_or(SystemTime::UNIX_EPOCH);
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                for inner in fs::read_dir(entry.path())? {
                    held.extend(weighed(&inner?)?);
                }
            } else if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                match weighed(&entry)? {
                    Some(partial) if partial.changed < old => fs::remove_file(partial.path)?,
                    partial => used += partial.map_or(0, |partial| partial.length),
                }
            }
        }
        used += held.iter().map(|file| file.length).sum::<u64>();
        if used.saturating_add(length) <= self.limit {
            return Ok(used);
        }
        held.sort_unstable_by(|a, b| b.changed.cmp(&a.changed).then_with(|| b.path.cmp(&a.path)));
        let aim = (self.limit - self.limit / 16).min(self.limit - length);
        while used > aim
            && let Some(oldest) = held.pop()
        {
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => used -= oldest.length,
            }
        }
        Ok(used)
    }
}

/// Length and time of a file; none if it went away meanwhile.
fn weighed(entry: &DirEntry) -> io::Result<Option<Held>> {
    match entry.metadata() {
        Ok(found) => Ok(Some(Held { changed: found.modified()?, length: found.len(), path: entry.path() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
