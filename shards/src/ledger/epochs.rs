//! Which rows of which epoch were committed: one bit a row, so that the proof does not rest on the order being a permutation.

use super::report::{EpochReport, Named};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// One bit a row.
struct Bits {
    words: Vec<AtomicU64>,
}

impl Bits {
    fn new(rows: u64) -> Self {
        Self { words: (0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Sets the row's bit; says whether it was set before. A row that is none is passed over.
    fn set(&self, row: u64) -> bool {
        let bit = 1 << (row % 64);
        self.words.get((row / 64) as usize).is_some_and(|word| word.fetch_or(bit, Relaxed) & bit != 0)
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Relaxed))
    }
}

/// What is known of one epoch of one pool.
pub(super) struct Tally {
    /// The pool's rows, as the manifest numbers them.
    range: Range<u64>,
    seen: Bits,
    /// Rows committed more than once, where there are any.
    again: OnceLock<Bits>,
    /// Rows that were due and of which no commit is proven at their place, where there are any.
    lost: OnceLock<Bits>,
    due: AtomicU64,
    substituted: AtomicU64,
}

impl Tally {
    fn new(range: Range<u64>) -> Self {
        Self {
            seen: Bits::new(range.end - range.start),
            range,
            again: OnceLock::new(),
            lost: OnceLock::new(),
            due: AtomicU64::new(0),
            substituted: AtomicU64::new(0),
        }
    }

    /// A slot of this row is among the run's steps.
    pub(super) fn due(&self) {
        self.due.fetch_add(1, Relaxed);
    }

    /// The row was committed.
    pub(super) fn commit(&self, row: u64, substituted: bool) {
        let row = row.wrapping_sub(self.range.start);
        if self.seen.set(row) {
            self.again.get_or_init(|| Bits::new(self.rows())).set(row);
        }
        self.substituted.fetch_add(substituted.into(), Relaxed);
    }

    /// The row was due, and its commit is not proven there.
    pub(super) fn lose(&self, row: u64) {
        self.lost.get_or_init(|| Bits::new(self.rows())).set(row.wrapping_sub(self.range.start));
    }

    fn rows(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// What there is to say of the epoch: of a complete one, all rows have to be committed; else those that were due.
    fn report(&self, (pool, epoch): (u32, u64), complete: bool, names: usize) -> EpochReport {
        let (mut committed, mut missing, mut repeated) = (0, Named::default(), Named::default());
        for at in 0..self.seen.words.len() {
            let first = at as u64 * 64;
            let seen = self.seen.word(at);
            let all = if self.rows() - first < 64 { (1 << (self.rows() - first)) - 1 } else { u64::MAX };
            let wanted = if complete { all } else { self.lost.get().map_or(0, |lost| lost.word(at)) };
            let again = self.again.get().map_or(0, |again| again.word(at));
            committed += u64::from((seen & !again).count_ones());
            missing.add(self.range.start + first, wanted & !seen, names);
            repeated.add(self.range.start + first, again, names);
        }
        EpochReport {
            pool,
            epoch,
            complete,
            rows: self.rows(),
            due: self.due.load(Relaxed),
            committed_once: committed,
            substituted: self.substituted.load(Relaxed),
            missing,
            repeated,
        }
    }
}

impl Named {
    /// Adds the rows of the set bits, the lowest for row `first`.
    fn add(&mut self, first: u64, mut bits: u64, names: usize) {
        self.count += u64::from(bits.count_ones());
        while bits != 0 && self.first.len() < names {
            self.first.push(first + u64::from(bits.trailing_zeros()));
            bits &= bits - 1;
        }
    }
}

/// The epochs that are open, and the reports of those that all lanes have left.
pub(super) struct Epochs {
    names: usize,
    /// By pool, its rows, and the epoch below which all are closed.
    pools: Vec<(Range<u64>, u64)>,
    /// By pool and epoch.
    open: Mutex<BTreeMap<(u32, u64), Arc<Tally>>>,
    closed: Vec<EpochReport>,
}

impl Epochs {
    /// Of pools with these rows; reports name `names` rows of each sort.
    pub(super) fn new(pools: impl Iterator<Item = Range<u64>>, names: usize) -> Self {
        let pools = pools.map(|range| (range, 0)).collect();
        Self { names, pools, open: Mutex::default(), closed: Vec::new() }
    }

    /// The tally of an epoch; none for a closed one.
    pub(super) fn of(&self, pool: u32, epoch: u64) -> Option<Arc<Tally>> {
        let (range, floor) = self.pools.get(pool as usize)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let tally =
            || open.entry((pool, epoch)).or_insert_with(|| Arc::new(Tally::new(range.clone()))).clone();
        (epoch >= *floor).then(tally)
    }

    /// All lanes have left the pool's epochs below `floor`.
    pub(super) fn close_below(&mut self, pool: u32, floor: u64) {
        let Some((_, held)) = self.pools.get_mut(pool as usize) else { return };
        *held = floor.max(*held);
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        let left: Vec<(u32, u64)> = open.range((pool, 0)..(pool, floor)).map(|(key, _)| *key).collect();
        for key in left {
            let tally = open.remove(&key);
            self.closed.extend(tally.map(|tally| tally.report(key, true, self.names)));
        }
    }

    /// The reports of all epochs that were begun.
    pub(super) fn finish(mut self) -> Vec<EpochReport> {
        let open = self.open.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.closed.extend(open.iter().map(|(key, tally)| tally.report(*key, false, self.names)));
        self.closed.sort_by_key(|report| (report.pool, report.epoch));
        self.closed
    }
}
