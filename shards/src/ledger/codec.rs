//! A segment as bytes: a magic word, the header as JSON, then records of fixed size. Digests do not compress, so nothing is
//! compressed. Every length is checked against the bytes that are there before anything is allocated.

use super::{Entry, Header, Outcome, Segment, StandIn};
use proto::{Generation, GlobalStep};
use serde::{Deserialize, Serialize};

/// Version of the format; another one is refused.
pub const VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"TANDEMLG";
/// Largest header, in bytes.
const MAX_HEADER: usize = 64 << 10;
/// Most steps of a segment.
const MAX_STEPS: u64 = 1 << 24;
/// Bytes of a number.
const WORD: usize = 8;
/// Numbers of a stand-in.
const STAND_IN: usize = 4;

/// Bytes that are no segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSegment(pub String);

/// What stands before the records.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preface {
    header: Header,
    entries: u64,
    stand_ins: u64,
}

impl Segment {
    /// As a file.
    ///
    /// # Errors
    /// An entry without a digest for every lane; a run's name too long for a header.
    pub fn encode(&self) -> Result<Vec<u8>, BadSegment> {
        let lanes = self.header.order.lanes as usize;
        if let Some(entry) = self.entries.iter().find(|entry| entry.digests.len() != lanes) {
            let (step, found) = (entry.step, entry.digests.len());
            return Err(BadSegment(format!("step {step} has digests of {found} lanes, there are {lanes}")));
        }
        let (entries, stand_ins) = (self.entries.len() as u64, self.stand_ins.len() as u64);
        let preface = Preface { header: self.header.clone(), entries, stand_ins };
        let preface = serde_json::to_vec(&preface).map_err(|e| BadSegment(e.to_string()))?;
        if preface.len() > MAX_HEADER {
            return Err(BadSegment(format!("its header has {} bytes", preface.len())));
        }
        let words = self.entries.len() * (3 + lanes) + self.stand_ins.len() * STAND_IN;
        let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + preface.len() + words * WORD);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(preface.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&preface);
        let mut put = |word: u64| bytes.extend_from_slice(&word.to_le_bytes());
        for entry in &self.entries {
            put(entry.generation.0);
            put(entry.step.0);
            put(word_of(entry.outcome));
            entry.digests.iter().for_each(|digest| put(*digest));
        }
        for StandIn { step, slot, row, substitute } in &self.stand_ins {
            [step.0, *slot, *row, *substitute].into_iter().for_each(&mut put);
        }
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadSegment> {
        let bad = |reason: &str| BadSegment(reason.into());
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad("it does not begin as a segment does"))?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| bad("it ends in its header"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_HEADER {
            return Err(BadSegment(format!("its header has {length} bytes, at most {MAX_HEADER} can be")));
        }
        let (preface, body) = rest.split_at_checked(length).ok_or_else(|| bad("it ends in its header"))?;
        let preface = preface_of(preface)?;
        check(&preface.header)?;
        let lanes = preface.header.order.lanes as usize;
        let size = size_of(&preface, lanes);
        if size != Some(body.len() as u64) {
            let wanted = size.map_or("too many".into(), |size| size.to_string());
            return Err(BadSegment(format!("its records have {} bytes, by its header {wanted}", body.len())));
        }
        let (entries, stand_ins) = body.split_at(preface.entries as usize * (3 + lanes) * WORD);
        let entries = entries.chunks_exact((3 + lanes) * WORD).map(|record| {
            let mut words = words(record);
            Entry {
                generation: Generation(words.next().unwrap_or_default()),
                step: GlobalStep(words.next().unwrap_or_default()),
                outcome: outcome_of(words.next().unwrap_or_default()),
                digests: words.collect(),
            }
        });
        let stand_ins = stand_ins.chunks_exact(STAND_IN * WORD).map(|record| {
            let mut words = words(record);
            let mut next = || words.next().unwrap_or_default();
            StandIn { step: GlobalStep(next()), slot: next(), row: next(), substitute: next() }
        });
        Ok(Self { entries: entries.collect(), stand_ins: stand_ins.collect(), header: preface.header })
    }
}

/// 0 for an update that was applied, 1 for one that was skipped, and from 2 on the step that was rolled back to.
fn word_of(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Applied => 0,
        Outcome::Skipped => 1,
        Outcome::RolledBack { to } => to.0.saturating_add(2),
    }
}

fn outcome_of(word: u64) -> Outcome {
    match word {
        0 => Outcome::Applied,
        1 => Outcome::Skipped,
        step => Outcome::RolledBack { to: GlobalStep(step - 2) },
    }
}

/// The version first: another one may have other fields.
fn preface_of(bytes: &[u8]) -> Result<Preface, BadSegment> {
    let failed = |e: serde_json::Error| BadSegment(format!("its header: {e}"));
    let fields: serde_json::Value = serde_json::from_slice(bytes).map_err(failed)?;
    let version = &fields["header"]["version"];
    if *version != VERSION {
        return Err(BadSegment(format!("its `version` is {version}, this Tandem reads {VERSION}")));
    }
    serde_json::from_value(fields).map_err(failed)
}

fn check(header: &Header) -> Result<(), BadSegment> {
    let Header { from, to, order, .. } = header;
    if from >= to || to.0 - from.0 > MAX_STEPS || to.0.checked_mul(order.batch.into()).is_none() {
        return Err(BadSegment(format!("it covers the steps after {from} up to {to}")));
    }
    if order.lanes == 0 || order.batch == 0 || !order.batch.is_multiple_of(order.lanes) {
        return Err(BadSegment(format!("it has batches of {} in {} lanes", order.batch, order.lanes)));
    }
    Ok(())
}

fn size_of(preface: &Preface, lanes: usize) -> Option<u64> {
    let entries = preface.entries.checked_mul((3 + lanes as u64) * WORD as u64)?;
    entries.checked_add(preface.stand_ins.checked_mul((STAND_IN * WORD) as u64)?)
}

fn words(record: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    record.chunks_exact(WORD).map(word)
}
