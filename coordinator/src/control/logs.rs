//! Workers' logs, for operators who read along. A worker sends lines with its heartbeats only while somebody reads them.

use super::{Control, lock};
use crate::membership::{MemberId, Refusal};
use proto::v1;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::watch;

/// Lines of a worker that are kept for its readers.
const KEPT: usize = 2_000;
/// Bytes of a line that are kept.
const LONGEST: usize = 4_000;
/// Workers whose logs may be read at the same time.
const MOST: usize = 32;

/// A worker whose log is read.
struct Tap {
    readers: usize,
    lines: VecDeque<v1::LogLine>,
    /// The worker has sent all up to this line.
    last: u64,
    /// Heartbeats that have come since it is read, and the newest line by the last of them.
    heard: watch::Sender<(u64, u64)>,
}

/// The workers whose logs are read.
#[derive(Default)]
pub(super) struct Taps(HashMap<MemberId, Tap>);

/// One reader of one worker's log. Dropping it ends the reading.
pub struct Reader {
    control: Arc<Control>,
    member: MemberId,
    after: u64,
    heard: watch::Receiver<(u64, u64)>,
    /// Heartbeats that had come when it began.
    before: u64,
}

impl Control {
    /// Begins to read the log of a worker.
    ///
    /// # Errors
    /// [`Refusal::Nobody`]; [`Refusal::Impossible`] where too many are read.
    pub fn read_log(self: &Arc<Self>, worker: &str) -> Result<Reader, Refusal> {
        let member = self.look(|membership| membership.find(worker))?;
        let heard = {
            let Taps(taps) = &mut *lock(&self.taps);
            if taps.len() >= MOST && !taps.contains_key(&member) {
                return Err(Refusal::Impossible(format!("the logs of {MOST} workers are read already")));
            }
            let tap = taps.entry(member).or_insert_with(|| Tap {
                readers: 0,
                lines: VecDeque::new(),
                last: 0,
                heard: watch::Sender::new((0, 0)),
            });
            tap.readers += 1;
            tap.heard.subscribe()
        };
        self.turns.send_modify(|turns| *turns += 1);
        let before = heard.borrow().0;
        Ok(Reader { control: self.clone(), member, after: 0, heard, before })
    }

    /// Takes the lines after a number that came with a heartbeat.
    pub fn take_lines(&self, id: MemberId, after: u64, lines: Vec<v1::LogLine>, newest: u64) {
        let Taps(taps) = &mut *lock(&self.taps);
        // What answers an earlier reader begins later than this one has to.
        let Some(tap) = taps.get_mut(&id).filter(|tap| after <= tap.last) else { return };
        for line in lines.into_iter().map(plain) {
            if line.number > tap.last {
                tap.last = line.number;
                tap.lines.push_back(line);
            }
        }
        let surplus = tap.lines.len().saturating_sub(KEPT);
        tap.lines.drain(..surplus);
        tap.heard.send_modify(|(beats, last)| (*beats, *last) = (*beats + 1, newest));
    }

    /// The last line of a worker that is known, while its log is read.
    pub(super) fn read_until(&self, id: MemberId) -> Option<u64> {
        lock(&self.taps).0.get(&id).map(|tap| tap.last)
    }
}

impl Reader {
    /// The lines that are next: with `follow` as they come, else up to the newest that there was when the worker was asked. None after
    /// the last one, and where the worker is gone.
    pub async fn next(&mut self, follow: bool) -> Option<Vec<v1::LogLine>> {
        let mut turns = self.control.turns();
        loop {
            turns.borrow_and_update();
            let (beats, newest) = *self.heard.borrow_and_update();
            let lines = self.fresh();
            if let Some(last) = lines.last() {
                self.after = last.number;
                return Some(lines);
            }
            let all = !follow && beats > self.before && self.after >= newest;
            if all || self.control.look(|membership| membership.member(self.member).is_none()) {
                return None;
            }
            tokio::select! {
                heard = self.heard.changed() => heard.ok()?,
                turned = turns.changed() => turned.ok()?,
            }
        }
    }

    /// The kept lines that this reader has not had.
    fn fresh(&self) -> Vec<v1::LogLine> {
        let Taps(taps) = &*lock(&self.control.taps);
        let lines = taps.get(&self.member).map(|tap| tap.lines.iter());
        lines.into_iter().flatten().filter(|line| line.number > self.after).cloned().collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Taps(taps) = &mut *lock(&self.control.taps);
        if let Some(tap) = taps.get_mut(&self.member) {
            tap.readers -= 1;
            if tap.readers == 0 {
                taps.remove(&self.member);
                self.control.turns.send_modify(|turns| *turns += 1);
            }
        }
    }
}

/// What a terminal can be shown, whatever somebody sends.
fn plain(line: v1::LogLine) -> v1::LogLine {
    let shown = |text: &str, longest: usize| -> String {
        let end = text.floor_char_boundary(longest);
        text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    v1::LogLine { level: shown(&line.level, 8), text: shown(&line.text, LONGEST), ..line }
}
