//! Which row stands in which slot of which global batch: a pure function of (row groups, seed, step), whatever the number of
//! workers.
//!
//! For epoch `e` the row groups are shuffled with a permutation keyed by (seed, e) and laid end to end; that sequence is cut into
//! `L` row ranges, the lanes. Inside a lane, windows of a few row groups are shuffled row by row, keyed by (seed, e, lane, window).
//! Slot `l * b + j` of step `s` is position `s * b + j` of lane `l`. A new epoch costs O(row groups), a seek O(log row groups) and
//! one window; no table of rows exists.

mod epoch;
mod walk;

pub use epoch::{Epoch, Piece};
pub use walk::Walk;

use proto::{GlobalStep, LaneId, Rank, RowGroupId, WorldSize};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What the order depends on beside the dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderSpec {
    /// The run's seed.
    pub seed: u64,
    /// Number of lanes.
    pub lanes: u32,
    /// Row groups of one window.
    pub window: u32,
    /// Pairs of a global batch; a multiple of `lanes`.
    pub batch: u32,
}

impl OrderSpec {
    /// Slots that a lane fills in every global batch.
    pub fn per_lane(&self) -> u64 {
        u64::from(self.batch / self.lanes.max(1))
    }
}

/// Where a slot's pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The lane that fills the slot.
    pub lane: LaneId,
    /// The lane's epoch; lanes roll over by themselves.
    pub epoch: u64,
    /// Position inside the lane's epoch.
    pub offset: u64,
    /// Window inside the lane's epoch.
    pub window: u64,
    /// The row group.
    pub row_group: RowGroupId,
    /// The row inside the row group.
    pub row_in_group: u32,
    /// The row's number in the manifest, counted over all files.
    pub row: u64,
}

/// The order of a dataset.
#[derive(Clone, Debug)]
pub struct Order {
    spec: OrderSpec,
    /// `starts[g]` is the number of rows before row group `g`; one more entry holds the total.
    starts: Vec<u64>,
}

impl Order {
    /// The order of row groups with these numbers of rows.
    pub fn new(rows: &[u32], spec: OrderSpec) -> Self {
        let mut starts = Vec::with_capacity(rows.len() + 1);
        starts.push(0);
        let mut total = 0;
        starts.extend(rows.iter().map(|count| {
            total += u64::from(*count);
            total
        }));
        Self { spec, starts }
    }

    /// Rows of the dataset.
    pub fn rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// What the order was made with.
    pub fn spec(&self) -> OrderSpec {
        self.spec
    }

    /// Steps in which the lanes go once through the dataset; not whole, since lanes roll over by themselves.
    pub fn steps_per_epoch(&self) -> f64 {
        self.rows() as f64 / f64::from(self.spec.batch.max(1))
    }

    /// The rows of the epoch's sequence that lane `lane` reads.
    pub fn lane_range(&self, lane: LaneId) -> Range<u64> {
        let cut =
            |lane: u64| (u128::from(lane) * u128::from(self.rows()) / u128::from(self.spec.lanes)) as u64;
        cut(lane.0.into())..cut(u64::from(lane.0) + 1)
    }

    /// The epoch's sequence of row groups. O(row groups).
    pub fn epoch(&self, epoch: u64) -> Epoch {
        Epoch::new(&self.starts, self.spec.seed, epoch)
    }

    /// A reader's walk along one lane, from the first slot that the lane fills in `step`.
    pub fn walk(&self, lane: LaneId, step: GlobalStep) -> Walk<'_> {
        Walk::new(self, lane, step.0 * self.spec.per_lane())
    }

    /// Rows before row group `group`.
    fn start(&self, group: RowGroupId) -> u64 {
        self.starts[group.index()]
    }
}

/// The lanes of rank `rank` among `world`: neighbouring ranks hold neighbouring lanes, so what is gathered by rank stands in slot
/// order, for any world size up to the number of lanes.
pub fn lanes_of(rank: Rank, world: WorldSize, lanes: u32) -> Range<u32> {
    let cut = |rank: u64| (rank * u64::from(lanes) / u64::from(world.0.max(1))) as u32;
    cut(rank.0.into())..cut(u64::from(rank.0) + 1)
}

#[cfg(test)]
mod tests;
