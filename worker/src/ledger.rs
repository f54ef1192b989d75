//! What the run was trained on since the newest segment of the ledger that is safe in the store, the same on every rank: each vote
//! tells what stood in all lanes, so that the entry of a step outlives every rank but the last. A segment is closed by all ranks
//! alike and written by rank 0.

use crate::error::{Error, Result};
use crate::step::Outcome;
use crate::vote::Votes;
use proto::checkpoint::Part;
use proto::{Generation, GlobalStep, RunConfig};
use serde::{Deserialize, Serialize};
use shards::committed::digest;
use shards::ledger::{Entry, Header, Outcome as Recorded, Segment, StandIn, VERSION, segment_name};
use shards::order::{OrderSpec, order_spec};
use std::sync::Arc;

/// Digests of all lanes that a segment holds before it is closed without a checkpoint: 32 MiB.
const FULL: u64 = 1 << 22;

/// The segments that are not safe yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ledger {
    run: String,
    dataset: String,
    order: OrderSpec,
    /// The step before the open segment's first.
    from: GlobalStep,
    entries: Vec<Entry>,
    stand_ins: Vec<StandIn>,
    /// The newest closed segment.
    newest: Option<Part>,
    /// Closed, and not known to be in the store.
    closed: Vec<Closed>,
}

/// A segment as a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Closed {
    /// What names it.
    pub(crate) part: Part,
    /// Its last step.
    pub(crate) to: GlobalStep,
    /// The file.
    pub(crate) bytes: Arc<Vec<u8>>,
}

/// A ledger as it travels, before its files.
#[derive(Serialize, Deserialize)]
struct Travels {
    from: GlobalStep,
    newest: Option<Part>,
    closed: Vec<(Part, GlobalStep)>,
    /// Bytes of the open segment.
    open: usize,
}

impl Ledger {
    /// Goes on after the committed step `from`, whose checkpoint names the segment `newest`.
    pub(crate) fn new(config: &RunConfig, dataset: &str, from: GlobalStep, newest: Option<Part>) -> Self {
        let (run, order) = (config.run.name.clone(), order_spec(config));
        let (entries, stand_ins, closed) = (Vec::new(), Vec::new(), Vec::new());
        Self { run, dataset: dataset.into(), order, from, entries, stand_ins, newest, closed }
    }

    /// Enters a committed step.
    pub(crate) fn enter(&mut self, generation: Generation, outcome: &Outcome, votes: &Votes) {
        let digests = outcome.verdict.digests.clone();
        let entry = Entry { generation, step: outcome.step, outcome: outcome.recorded(), digests };
        self.entries.push(entry);
        self.stand_ins.extend(&votes.stand_ins);
    }

    /// The updates up to the newest step were taken back, as far as the checkpoint of step `to`.
    pub(crate) fn roll_back(&mut self, to: GlobalStep) {
        if let Some(entry) = self.entries.last_mut() {
            entry.outcome = Recorded::RolledBack { to };
        }
    }

    /// Whether the segment is large enough to be closed without a checkpoint; the same on all ranks.
    pub(crate) fn full(&self) -> bool {
        self.entries.len() as u64 * u64::from(self.order.lanes) >= FULL
    }

    /// Ends the segment, if steps are in it.
    ///
    /// # Errors
    /// Entries that lack lanes, which is a defect.
    pub(crate) fn close(&mut self) -> Result<()> {
        let (Some(first), Some(to)) = (self.entries.first(), self.entries.last().map(|last| last.step))
        else {
            return Ok(());
        };
        let name = segment_name(self.from, to, first.generation);
        let bytes = self.open(to).encode().map_err(|bad| Error::System(format!("the ledger: {bad}")))?;
        let part = Part { name, size: bytes.len() as u64, sha256: digest(&bytes) };
        self.newest = Some(part.clone());
        self.closed.push(Closed { part, to, bytes: Arc::new(bytes) });
        self.from = to;
        self.entries.clear();
        self.stand_ins.clear();
        Ok(())
    }

    fn open(&self, to: GlobalStep) -> Segment {
        let (run, dataset) = (self.run.clone(), self.dataset.clone());
        let (from, order, previous) = (self.from, self.order, self.newest.clone());
        let header = Header { version: VERSION, run, from, to, dataset, order, previous };
        Segment { header, entries: self.entries.clone(), stand_ins: self.stand_ins.clone() }
    }

    /// The newest closed segment, which the next checkpoint names.
    pub(crate) fn newest(&self) -> Option<&Part> {
        self.newest.as_ref()
    }

    /// Closed segments that are not known to be in the store, the oldest first.
    pub(crate) fn closed(&self) -> &[Closed] {
        &self.closed
    }

    /// Closed segments up to `step` are in the store.
    pub(crate) fn safe(&mut self, step: GlobalStep) {
        self.closed.retain(|closed| closed.to > step);
    }

    /// As bytes, for ranks that lack it.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let bad = |reason: String| Error::System(format!("the ledger: {reason}"));
        let open = match self.entries.last() {
            Some(last) => self.open(last.step).encode().map_err(|e| bad(e.to_string()))?,
            None => Vec::new(),
        };
        let closed = self.closed.iter().map(|closed| (closed.part.clone(), closed.to)).collect();
        let travels = Travels { from: self.from, newest: self.newest.clone(), closed, open: open.len() };
        let mut bytes = serde_json::to_vec(&travels).map_err(|e| bad(e.to_string()))?;
        bytes.push(b'\n');
        self.closed.iter().for_each(|closed| bytes.extend_from_slice(&closed.bytes));
        bytes.extend(open);
        Ok(bytes)
    }

    /// Takes over what [`to_bytes`](Self::to_bytes) of another rank gave.
    ///
    /// # Errors
    /// Anything else.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let bad = |reason: &str| Error::System(format!("the ledger that came from another rank: {reason}"));
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| bad("it has no end"))?;
        let travels: Travels =
            serde_json::from_slice(&bytes[..end]).map_err(|error| bad(&error.to_string()))?;
        let mut rest = &bytes[end + 1..];
        let mut cut = |length: usize| {
            let (piece, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(piece)
        };
        let mut closed = Vec::new();
        for (part, to) in travels.closed {
            let bytes = cut(part.size as usize).ok_or_else(|| bad("a segment is cut off"))?;
            closed.push(Closed { part, to, bytes: Arc::new(bytes.to_vec()) });
        }
        let open = cut(travels.open).ok_or_else(|| bad("the open segment is cut off"))?;
        (self.entries, self.stand_ins) = match open {
            [] => Default::default(),
            open => {
                let Segment { entries, stand_ins, .. } =
                    Segment::decode(open).map_err(|error| bad(&error.to_string()))?;
                (entries, stand_ins)
            }
        };
        (self.from, self.newest, self.closed) = (travels.from, travels.newest, closed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
