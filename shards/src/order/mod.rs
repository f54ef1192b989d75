//! Which row stands in which slot of which global batch: a pure function of (row groups, weights, seed, step), whatever the number of
//! workers.
//!
//! The row groups form pools: one, or one for each weighted source. For epoch `e` a pool's row groups are shuffled with a permutation
//! keyed by (seed, pool, e) and laid end to end; that sequence is cut into `L` row ranges, one for each lane. Inside a lane, windows of a
//! few row groups are shuffled row by row, keyed by (seed, pool, e, lane, window): this is the lane's stream of that pool. With several
//! pools a lane mixes its streams exactly by weight, see [`Mix`]. Slot `l * b + j` of step `s` is position `s * b + j` of lane `l`. A new
//! epoch costs O(row groups), a seek O(log row groups) and one window; no table of rows exists.

mod epoch;
mod mix;
mod stream;
mod walk;

pub use epoch::{Epoch, Piece};
pub use mix::Mix;
pub use stream::{Stream, Window};
pub use walk::Walk;

use crate::{
    error::{Error, Result},
    manifest::{Manifest, Pool},
};
use proto::{GlobalStep, LaneId, Rank, RowGroupId, RunConfig, WorldSize};
use serde::{Deserialize, Serialize};
use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// Epochs of a pool that are kept.
const EPOCHS: usize = 2;

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

/// What the order of a run depends on, as its configuration has it.
pub fn order_spec(config: &RunConfig) -> OrderSpec {
    let (lanes, window) = (config.data.lanes, config.data.window);
    OrderSpec { seed: config.run.seed, lanes, window, batch: config.optimizer.batch }
}

/// Where a slot's pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The lane that fills the slot.
    pub lane: LaneId,
    /// The pool that the row is of.
    pub pool: u32,
    /// The epoch of the lane's stream of that pool; streams roll over by themselves.
    pub epoch: u64,
    /// Position inside the stream's epoch.
    pub offset: u64,
    /// Window inside the stream's epoch.
    pub window: u64,
    /// The row group.
    pub row_group: RowGroupId,
    /// The row inside the row group, among those that pass the filter.
    pub row_in_group: u32,
    /// The row's number in the manifest, counted over all files.
    pub row: u64,
}

/// The order of a dataset.
#[derive(Debug)]
pub struct Order {
    spec: OrderSpec,
    /// `starts[g]` is the number of rows before row group `g`; one more entry holds the total.
    starts: Vec<u64>,
    pools: Vec<Pool>,
    mix: Mix,
    /// By pool, the epochs that were used last, the latest at the end: lanes are in two at most.
    epochs: Vec<Mutex<Vec<Arc<Epoch>>>>,
}

impl Order {
    /// The order of a manifest's rows.
    pub fn of(manifest: &Manifest, spec: OrderSpec) -> Self {
        let rows = manifest.row_groups().iter().map(|group| group.rows);
        Self::new(rows, manifest.pools(), spec)
    }

    /// The order of row groups with these numbers of rows, all shuffled together.
    pub fn whole(rows: &[u32], spec: OrderSpec) -> Self {
        let pool = Pool { groups: 0..rows.len() as u32, weight: 1 };
        Self::new(rows.iter().copied(), vec![pool], spec)
    }

    /// The order of row groups with these numbers of rows, in these pools.
    pub fn new(rows: impl IntoIterator<Item = u32>, pools: Vec<Pool>, spec: OrderSpec) -> Self {
        let mut starts = vec![0];
        let mut total = 0;
        starts.extend(rows.into_iter().map(|count| {
            total += u64::from(count);
            total
        }));
        starts.shrink_to_fit();
        let weights: Vec<u32> = pools.iter().map(|pool| pool.weight).collect();
        let epochs = pools.iter().map(|_| Mutex::default()).collect();
        Self { spec, starts, mix: Mix::new(spec.seed, &weights), pools, epochs }
    }

    /// Whether each lane gets a row of each pool.
    ///
    /// # Errors
    /// [`Error::Value`] if there are more lanes than a pool has rows.
    pub fn check(&self) -> Result<()> {
        let rows = (0..self.pools.len() as u32).map(|pool| self.rows_of(pool)).min().unwrap_or(0);
        if rows >= u64::from(self.spec.lanes) {
            return Ok(());
        }
        let reason =
            format!("the dataset, or one of its weighted sources, has only {rows} rows; choose fewer lanes");
        Err(Error::Value { name: "data.lanes", value: self.spec.lanes.to_string(), reason })
    }

    /// Rows of the dataset.
    pub fn rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// What the order was made with.
    pub fn spec(&self) -> OrderSpec {
        self.spec
    }

    /// What is shuffled together.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// How lanes mix their streams.
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// The rows of a pool, as the manifest numbers them.
    pub fn range_of(&self, pool: u32) -> Range<u64> {
        let groups = self.pools.get(pool as usize).map_or(0..0, |pool| pool.groups.clone());
        self.starts[groups.start as usize]..self.starts[groups.end as usize]
    }

    /// How many rows a pool has.
    pub fn rows_of(&self, pool: u32) -> u64 {
        let range = self.range_of(pool);
        range.end - range.start
    }

    /// Steps in which the lanes go once through the dataset; not whole, since lanes roll over by themselves.
    pub fn steps_per_epoch(&self) -> f64 {
        self.rows() as f64 / f64::from(self.spec.batch.max(1))
    }

    /// The rows of a pool's epoch that lane `lane` reads, as positions in the epoch's sequence.
    pub fn lane_range(&self, pool: u32, lane: LaneId) -> Range<u64> {
        let rows = u128::from(self.rows_of(pool));
        let cut = |lane: u64| (u128::from(lane) * rows / u128::from(self.spec.lanes)) as u64;
        cut(lane.0.into())..cut(u64::from(lane.0) + 1)
    }

    /// A pool's epoch: its sequence of row groups. O(row groups), unless it is one of the two that were used last.
    pub fn epoch(&self, pool: u32, number: u64) -> Arc<Epoch> {
        let groups = self.pools.get(pool as usize).map_or(0..0, |pool| pool.groups.clone());
        let make = || Arc::new(Epoch::new(&self.starts, groups, [self.spec.seed, pool.into(), number]));
        let Some(held) = self.epochs.get(pool as usize) else { return make() };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.iter().position(|epoch| epoch.number() == number).map(|at| held.remove(at));
        if known.is_none() && held.len() >= EPOCHS {
            held.remove(0);
        }
        let epoch = known.unwrap_or_else(make);
        held.push(epoch.clone());
        epoch
    }

    /// A lane's rows of a pool, from position `position` of that stream on.
    pub fn stream(&self, pool: u32, lane: LaneId, position: u64) -> Stream<'_> {
        Stream::new(self, pool, lane, position)
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

/// How many lanes each rank has when its share is proportional to its weight: each at least one, `lanes` in all, and with equal
/// weights those of [`lanes_of`]. There are at most as many weights as lanes; a weight of 0 counts as 1.
pub fn lanes_by_weight(weights: &[u32], lanes: u32) -> Vec<u32> {
    let weights: Vec<u64> = weights.iter().map(|weight| u64::from((*weight).max(1))).collect();
    let total: u64 = weights.iter().sum();
    let (mut before, mut cut) = (0, 0);
    let share = |(rank, weight): (usize, &u64)| {
        before += weight;
        let rest = (weights.len() - rank - 1) as u32;
        let ideal = (u64::from(lanes) * before / total) as u32;
        // Room for this rank and for all after it.
        let end = ideal.clamp(cut + 1, lanes.saturating_sub(rest).max(cut + 1));
        let own = end - cut;
        cut = end;
        own
    };
    weights.iter().enumerate().map(share).collect()
}

#[cfg(test)]
mod tests;
