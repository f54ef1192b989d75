//! The journal: a run's decisions in the object store, so that a coordinator that takes over knows what was decided and the one
//! before it can decide nothing more.
//!
//! `journal/000000001.json` and so on are made with put-if-absent, without gaps. Whoever opens the journal writes the next entry;
//! a coordinator that finds the number taken which it was about to write is fenced by who took it, for good. An entry says
//! what all decisions up to it add up to, so only the newest is read.

mod entry;
mod past;
mod trail;

#[cfg(test)]
mod tests;

pub use past::{Asked, Backwards, Committed, End, Event, Opening, Past, Scale, Seat};
pub use trail::{Told, Trail};

use entry::{BadEntry, Entry};
use proto::Exit;
use shards::store::{Folder, StoreError};
use std::{
    hash::{BuildHasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Mutex, watch};

/// Folder below a run's output that holds the entries.
pub const FOLDER: &str = "journal";

/// Why the journal can't be read, or takes no more.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store refuses. Whether an entry was written is not known; it is settled by the next.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another coordinator has opened the journal.
    #[error(
        "the run is led by another coordinator since {path} (its opening {}): {} (process {} on {}); this one decides nothing any more",
        by.epoch, by.by.url, by.by.pid, by.by.host
    )]
    Fenced {
        /// The entry.
        path: String,
        /// What the journal says there.
        by: Box<Past>,
    },
    /// An entry is not what was written.
    #[error(
        "{path} is damaged: {reason}; put it back as it was, or, when no process of this run is left on any machine, remove it to go on from the entry before it"
    )]
    Damaged {
        /// The entry.
        path: String,
        /// What was found.
        reason: String,
    },
    /// Another Tandem wrote it.
    #[error(
        "{path} has `version` {found}, this Tandem reads 2 and {}; use the Tandem that wrote it",
        entry::VERSION
    )]
    Version {
        /// The entry.
        path: String,
        /// Its version.
        found: String,
    },
    /// A number is not there: a fenced coordinator could write it.
    #[error(
        "{path} is missing, although there are later entries; put it back, or, when no process of this run is left on any machine, move the folder of the journal away and start with --resume"
    )]
    Missing {
        /// The entry.
        path: String,
    },
    /// A decision that can't follow.
    #[error(transparent)]
    Backwards(#[from] Backwards),
}

impl JournalError {
    /// The program's exit code for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(error) => error.exit(),
            Self::Fenced { .. } => Exit::Fenced,
            Self::Damaged { .. } | Self::Version { .. } | Self::Missing { .. } => Exit::Data,
            Self::Backwards(_) => Exit::Internal,
        }
    }
}

impl Opening {
    /// By this process.
    pub fn here(run: &str, url: &str, config: String) -> Self {
        let (run, url, pid) = (run.into(), url.into(), std::process::id());
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        // Seeded anew in every process.
        Self { run, url, host, pid, config, nonce: RandomState::new().hash_one(pid) }
    }
}

/// A journal that this process has opened.
pub struct Journal {
    folder: Folder,
    epoch: u64,
    head: Mutex<Head>,
    /// The number of the newest entry that is known.
    newest: watch::Sender<u64>,
}

/// The newest entry that is known.
struct Head {
    number: u64,
    past: Past,
    /// Who took over, once somebody did, and with which entry.
    fence: Option<(String, Past)>,
}

impl Journal {
    /// Opens the journal of the run in `output`, which fences whoever had it open, and tells what it said before.
    ///
    /// # Errors
    /// A store that refuses; entries that are missing, damaged, or of another version.
    pub async fn open(output: &Folder, by: Opening) -> Result<(Self, Past), JournalError> {
        let folder = output.below(FOLDER);
        let event = Event::Opened(by);
        loop {
            let number = last(&folder).await?;
            let before = match number {
                0 => Past::default(),
                _ => read(&folder, number).await?.ok_or_else(|| missing(&folder, number))?.past,
            };
            let entry = Entry::new(number + 1, now(), event.clone(), before.apply(&event)?);
            // Where somebody else wrote meanwhile, that is a part of the past as well.
            if write(&folder, &entry).await? {
                let (epoch, newest) = (entry.past.epoch, watch::Sender::new(entry.number));
                let head = Mutex::new(Head::at(entry));
                return Ok((Self { folder, epoch, head, newest }, before));
            }
        }
    }

    /// What the journal of the run in `output` says, without opening it; nothing where there is none.
    ///
    /// # Errors
    /// A store that refuses; entries that are missing, damaged, or of another version.
    pub async fn look(output: &Folder) -> Result<Option<Past>, JournalError> {
        let folder = output.below(FOLDER);
        match last(&folder).await? {
            0 => Ok(None),
            number => Ok(read(&folder, number).await?.map(|entry| entry.past)),
        }
    }

    /// All entries, as they are written.
    pub fn trail(&self) -> Trail {
        Trail::new(self.folder.clone(), self.newest.subscribe())
    }

    /// How many have opened the journal, this process being the last.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Writes a decision. It counts when this returns, and not before. After a failure it may be in the journal or not: the same
    /// decision may be written again, or another one instead. One that changes nothing, such as one that
    /// has been written, is not written again.
    ///
    /// # Errors
    /// [`JournalError::Fenced`], then and for ever, when another coordinator has opened the journal; a store that refuses.
    #[tracing::instrument(target = "spans", level = "trace", name = "journal", skip_all)]
    pub async fn append(&self, event: Event) -> Result<(), JournalError> {
        let mut head = self.head.lock().await;
        loop {
            head.check()?;
            let next = head.past.apply(&event)?;
            if next == head.past {
                return Ok(());
            }
            let entry = Entry::new(head.number + 1, now(), event.clone(), next);
            if write(&self.folder, &entry).await? {
                self.advance(&mut head, entry);
                return Ok(());
            }
            self.follow(&mut head).await?;
        }
    }

    /// Looks whether another coordinator has opened the journal, and fails if so.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn check(&self) -> Result<(), JournalError> {
        let mut head = self.head.lock().await;
        while head.fence.is_none() && self.follow(&mut head).await? {}
        head.check()
    }

    /// Takes note of the entry after the newest known one, if there is one: a write of ours whose answer was lost, or a fence.
    async fn follow(&self, head: &mut Head) -> Result<bool, JournalError> {
        let number = head.number + 1;
        let Some(entry) = read(&self.folder, number).await? else { return Ok(false) };
        let path = self.folder.path_of(&entry::name(number));
        match entry.past.epoch {
            own if own == self.epoch => self.advance(head, entry),
            newer if newer > self.epoch => head.fence = Some((path, entry.past)),
            older => {
                let reason =
                    format!("it is of opening {older}, although opening {} came before it", self.epoch);
                return Err(JournalError::Damaged { path, reason });
            }
        }
        Ok(true)
    }

    fn advance(&self, head: &mut Head, entry: Entry) {
        self.newest.send_replace(entry.number);
        *head = Head::at(entry);
    }
}

impl Head {
    fn at(Entry { number, past, .. }: Entry) -> Self {
        Self { number, past, fence: None }
    }

    fn check(&self) -> Result<(), JournalError> {
        match &self.fence {
            None => Ok(()),
            Some((path, past)) => {
                Err(JournalError::Fenced { path: path.clone(), by: Box::new(past.clone()) })
            }
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The number of the newest entry; 0 for none.
async fn last(folder: &Folder) -> Result<u64, JournalError> {
    let files = folder.files().await?;
    let mut numbers: Vec<u64> = files.iter().filter_map(|file| entry::number(file)).collect();
    numbers.sort_unstable();
    match (1..).zip(&numbers).find(|(due, found)| due != *found) {
        Some((due, _)) => Err(missing(folder, due)),
        None => Ok(numbers.len() as u64),
    }
}

fn missing(folder: &Folder, number: u64) -> JournalError {
    JournalError::Missing { path: folder.path_of(&entry::name(number)) }
}

async fn read(folder: &Folder, number: u64) -> Result<Option<Entry>, JournalError> {
    let name = entry::name(number);
    let Some(bytes) = folder.get(&name).await? else { return Ok(None) };
    let path = folder.path_of(&name);
    Entry::decode(number, &bytes).map(Some).map_err(|bad| match bad {
        BadEntry::Version(found) => JournalError::Version { path, found },
        BadEntry::Other(reason) => JournalError::Damaged { path, reason },
    })
}

/// Writes an entry unless its number is taken by another one; says whether it is there.
async fn write(folder: &Folder, entry: &Entry) -> Result<bool, JournalError> {
    let (name, bytes) = (entry::name(entry.number), entry.encode());
    if folder.put_if_absent(&name, bytes.clone()).await? {
        return Ok(true);
    }
    // A retry may meet its own first attempt: what counts is the content.
    Ok(folder.get(&name).await?.is_some_and(|held| held == bytes))
}
