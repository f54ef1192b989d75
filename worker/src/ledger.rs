//! What this run's lanes were trained on since the newest segment of the ledger. An entry is made when its step is committed, from
//! the rows that were in the batch; nothing is told to other ranks before a segment is closed.

use crate::error::Result;
use crate::step::Trainer;
use proto::{Generation, GlobalStep, Rank, RunConfig};
use shards::ledger::{Entry, Header, Record, Segment, StandIn, VERSION};
use shards::loader::Batch;
use shards::order::OrderSpec;
use shards::order::order_spec;

/// Digests of all lanes that a segment holds before it is closed without a checkpoint: 32 MiB.
const FULL: u64 = 1 << 22;
/// Numbers of a substitution on the wire.
const STAND_IN: usize = 4;

/// This rank's part of the segment that is being made.
#[derive(Debug)]
pub(crate) struct Ledger {
    rank: Rank,
    run: String,
    dataset: String,
    generation: Generation,
    order: OrderSpec,
    /// The step before the segment's first.
    from: GlobalStep,
    steps: Vec<GlobalStep>,
    /// Of each step, the digests of this rank's lanes.
    digests: Vec<Vec<u64>>,
    stand_ins: Vec<StandIn>,
}

impl Ledger {
    /// Goes on after the committed step `from`.
    pub(crate) fn new(
        config: &RunConfig,
        rank: Rank,
        dataset: &str,
        generation: Generation,
        from: GlobalStep,
    ) -> Self {
        let (run, order) = (config.run.name.clone(), order_spec(config));
        let (steps, digests, stand_ins) = (Vec::new(), Vec::new(), Vec::new());
        Self { rank, run, dataset: dataset.into(), generation, order, from, steps, digests, stand_ins }
    }

    /// What the batch holds.
    pub(crate) fn read(&self, batch: &Batch) -> Record {
        Record::of(batch, &self.order)
    }

    /// Enters a committed step.
    pub(crate) fn enter(&mut self, step: GlobalStep, record: Record) {
        self.steps.push(step);
        self.digests.push(record.digests);
        self.stand_ins.extend(record.stand_ins);
    }

    /// Whether the segment is large enough to be closed without a checkpoint; the same on all ranks.
    pub(crate) fn full(&self) -> bool {
        self.steps.len() as u64 * u64::from(self.order.lanes) >= FULL
    }

    /// Ends the segment, and returns it on rank 0. A collective.
    ///
    /// # Errors
    /// Those of the group.
    pub(crate) fn close(&mut self, trainer: &mut Trainer) -> Result<Option<Segment>> {
        let (steps, digests) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.digests));
        let stand_ins = std::mem::take(&mut self.stand_ins);
        // A row for each lane: ranks have as many as they have lanes, and in the order of the lanes.
        let own = digests.first().map_or(0, Vec::len);
        let lanes = (0..own).flat_map(|lane| digests.iter().map(move |step| step[lane] as i64));
        let lanes = trainer.collect(&lanes.collect::<Vec<_>>(), steps.len())?;
        let numbers = |one: &StandIn| [one.step.0, one.slot, one.row, one.substitute].map(|n| n as i64);
        let mine: Vec<i64> = stand_ins.iter().flat_map(numbers).collect();
        let replaced = trainer.collect(&mine, STAND_IN)?;
        let Some(to) = steps.last().copied() else { return Ok(None) };
        let from = std::mem::replace(&mut self.from, to);
        if self.rank != Rank(0) {
            return Ok(None);
        }
        Ok(Some(Segment {
            header: Header {
                version: VERSION,
                run: self.run.clone(),
                from,
                to,
                dataset: self.dataset.clone(),
                order: self.order,
                previous: None,
            },
            entries: entries(self.generation, &steps, &lanes),
            stand_ins: sorted(&replaced),
        }))
    }
}

/// An entry a step, of the digests of all steps of the first lane, then of the second, and so on.
fn entries(generation: Generation, steps: &[GlobalStep], lanes: &[i64]) -> Vec<Entry> {
    let of = |at: usize| lanes.iter().skip(at).step_by(steps.len()).map(|digest| *digest as u64).collect();
    let entry = |(at, step): (usize, &GlobalStep)| Entry { generation, step: *step, digests: of(at) };
    steps.iter().enumerate().map(entry).collect()
}

/// The substitutions of all ranks, by step and slot.
fn sorted(numbers: &[i64]) -> Vec<StandIn> {
    let stand_in = |one: &[i64; STAND_IN]| {
        let [step, slot, row, substitute] = one.map(|number| number as u64);
        StandIn { step: GlobalStep(step), slot, row, substitute }
    };
    let (whole, _) = numbers.as_chunks::<STAND_IN>();
    let mut stand_ins: Vec<StandIn> = whole.iter().map(stand_in).collect();
    stand_ins.sort_unstable_by_key(|one| (one.step, one.slot));
    stand_ins
}

#[cfg(test)]
mod tests;
