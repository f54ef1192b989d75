//! The journal for those who read along: what was decided, when, and in words.

use super::{Event, FOLDER, JournalError, last, read};
use proto::v1;
use shards::store::Folder;
use tokio::sync::watch;

/// An entry, as people are told of it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written, milliseconds since 1970.
    pub unix_millis: u64,
    /// The decision.
    pub event: Event,
}

/// All entries of a journal, also those that are still to come.
#[derive(Clone)]
pub struct Trail {
    folder: Folder,
    /// The number of the newest entry.
    newest: watch::Receiver<u64>,
}

impl Trail {
    pub(super) fn new(folder: Folder, newest: watch::Receiver<u64>) -> Self {
        Self { folder, newest }
    }

    /// The entries so far of the run in `output`, whether or not it goes on.
    ///
    /// # Errors
    /// A store that refuses; entries that are missing.
    pub async fn look(output: &Folder) -> Result<Self, JournalError> {
        let folder = output.below(FOLDER);
        let (_, newest) = watch::channel(last(&folder).await?);
        Ok(Self { folder, newest })
    }

    /// The entry after `number`. Where there is none yet, waits for it if `follow`; none when none will come.
    ///
    /// # Errors
    /// A store that refuses; entries that are missing, damaged, or of another version.
    pub async fn after(&mut self, number: u64, follow: bool) -> Result<Option<Told>, JournalError> {
        let there = if follow {
            self.newest.wait_for(|newest| *newest > number).await.is_ok()
        } else {
            *self.newest.borrow() > number
        };
        if !there {
            return Ok(None);
        }
        let entry = read(&self.folder, number + 1).await?;
        let entry = entry.ok_or_else(|| super::missing(&self.folder, number + 1))?;
        Ok(Some(Told { number: entry.number, unix_millis: entry.unix_millis, event: entry.event }))
    }
}

impl Told {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match &self.event {
            Event::Opened(_) => "opened",
            Event::Generation { .. } => "generation",
            Event::Committed(_) => "committed",
            Event::Rewound(_) => "rewound",
            Event::Drained { .. } => "drained",
            Event::Asked(_) => "asked",
            Event::Paused { .. } => "paused",
            Event::Resumed => "resumed",
            Event::Scaled(_) => "scaled",
            Event::Set(_) => "set",
            Event::Stopping { .. } => "stopping",
            Event::Ended(_) => "ended",
        }
    }

    /// It in one sentence.
    pub fn text(&self) -> String {
        match &self.event {
            Event::Opened(by) => {
                format!("process {} on {} coordinates run {} at {}", by.pid, by.host, by.run, by.url)
            }
            Event::Generation { generation, seats } => {
                let place =
                    |seat: &super::Seat| format!("{} (process {} on {})", seat.member, seat.pid, seat.host);
                let places: Vec<String> = seats.iter().take(NAMED).map(place).collect();
                let more = seats.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("generation {generation} of {}: {}{more}", seats.len(), places.join(", "))
            }
            Event::Committed(new) => format!("the checkpoint of step {} is committed", new.step),
            Event::Rewound(None) => "no checkpoint is left".into(),
            Event::Rewound(Some(newest)) => format!("the newest checkpoint is that of step {}", newest.step),
            Event::Drained { member } => format!("worker {member} is to leave at the next step boundary"),
            Event::Asked(asked) => format!("{} asks: {}", asked.by, asked.what),
            Event::Paused { by } => format!("no generation begins until the run is resumed, as {by} asked"),
            Event::Resumed => "the run goes on".into(),
            Event::Scaled(scale) => format!(
                "{} workers, at least {} and at most {}",
                scale.workers, scale.min_workers, scale.max_workers
            ),
            Event::Set(settings) => settings.to_string(),
            Event::Stopping { checkpoint } => {
                let how = if *checkpoint { "with" } else { "without" };
                format!("the run stops at its next step boundary, {how} a checkpoint")
            }
            Event::Ended(end) => format!("{} (exit code {})", end.reason, end.code),
        }
    }

    /// For the wire.
    pub fn to_wire(&self) -> v1::Event {
        let (number, unix_millis) = (self.number, self.unix_millis);
        v1::Event { number, unix_millis, kind: self.kind().into(), text: self.text() }
    }
}

/// Workers of a generation that are named in a sentence.
const NAMED: usize = 16;
