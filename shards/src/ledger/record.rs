//! What one rank was trained on in one step.

use super::{StandIn, Stood, digest};
use crate::{loader::Batch, order::OrderSpec};

/// A rank's share of an [`Entry`](super::Entry).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of each of its lanes, in order.
    pub digests: Vec<u64>,
    /// Rows that others stood in for.
    pub stand_ins: Vec<StandIn>,
}

impl Record {
    /// Of what the batch holds, whatever the order says that it should hold.
    pub fn of(batch: &Batch, order: &OrderSpec) -> Self {
        let stand_in = |one: &crate::loader::Substitution| StandIn {
            step: batch.step.next(),
            slot: one.slot.into(),
            row: one.row,
            substitute: one.substitute,
        };
        let stand_ins: Vec<StandIn> = batch.substitutions.iter().map(stand_in).collect();
        let per_lane = order.per_lane();
        let mut first_slot = u64::from(batch.first_slot);
        let lane = |rows: &[(u64, u64)]| {
            let stood = (first_slot..).zip(rows).map(|(slot, &(epoch, row))| {
                let other = stand_ins.iter().find(|one| one.slot == slot);
                Stood { epoch, row, trained: other.map_or(row, |one| one.substitute) }
            });
            let digest = digest(batch.step.0 * per_lane, first_slot, stood);
            first_slot += per_lane;
            digest
        };
        let digests = batch.rows.chunks(per_lane.max(1) as usize).map(lane).collect();
        Self { digests, stand_ins }
    }
}
