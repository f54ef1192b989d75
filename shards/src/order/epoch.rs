//! One epoch's sequence of row groups.

use crate::keyed;
use proto::RowGroupId;
use rand::RngExt;
use std::ops::Range;

/// The row groups of a pool in an epoch's shuffled order, laid end to end.
#[derive(Clone, Debug)]
pub struct Epoch {
    number: u64,
    groups: Vec<RowGroupId>,
    /// `starts[i]` is the number of rows before the i-th group of the sequence; one more entry holds the total.
    starts: Vec<u64>,
}

/// Some rows of one row group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The row group.
    pub group: RowGroupId,
    /// Rows inside it.
    pub rows: Range<u32>,
}

impl Epoch {
    /// Shuffles the row groups `groups` (Fisher and Yates) with draws keyed by `key`: seed, pool, epoch. `rows[g]` is the number of rows
    /// before row group `g`.
    pub(super) fn new(rows: &[u64], groups: Range<u32>, key: [u64; 3]) -> Self {
        let mut groups: Vec<RowGroupId> = groups.map(RowGroupId).collect();
        let mut rng = keyed::rng("row groups", &key);
        for last in (1..groups.len()).rev() {
            groups.swap(last, rng.random_range(0..=last));
        }
        let mut starts = Vec::with_capacity(groups.len() + 1);
        let mut total = 0;
        starts.push(0);
        starts.extend(groups.iter().map(|group| {
            total += rows[group.index() + 1] - rows[group.index()];
            total
        }));
        Self { number: key[2], groups, starts }
    }

    /// Which epoch it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where in the sequence the group with row `position` stands. O(log row groups).
    pub(super) fn group_at(&self, position: u64) -> usize {
        self.starts.partition_point(|start| *start <= position).saturating_sub(1)
    }

    /// The parts of the groups `groups` of the sequence that lie in the rows `range` of the sequence, in order.
    pub(super) fn pieces(&self, groups: Range<usize>, range: &Range<u64>) -> Vec<Piece> {
        let pieces = groups.filter_map(|index| {
            let (start, end) = (self.starts[index], self.starts[index + 1]);
            let (from, to) = (start.max(range.start), end.min(range.end));
            let rows = (from.saturating_sub(start)) as u32..(to.saturating_sub(start)) as u32;
            (from < to).then_some(Piece { group: self.groups[index], rows })
        });
        pieces.collect()
    }

    /// Rows of the sequence before its `index`-th group.
    pub(super) fn start(&self, index: usize) -> u64 {
        self.starts[index.min(self.starts.len() - 1)]
    }
}
