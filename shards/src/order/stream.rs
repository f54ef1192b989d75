//! A lane's rows of one pool, one after the other.

use super::epoch::{Epoch, Piece};
use super::{Order, Slot};
use crate::keyed;
use proto::LaneId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::{ops::Range, sync::Arc};

/// The rows of one pool that a lane reads, from some position on, without end. Holds one window's rows, and shares an epoch's row groups
/// with the other streams in it.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    order: &'a Order,
    pool: u32,
    lane: LaneId,
    /// The rows of each epoch that are this lane's.
    range: Range<u64>,
    position: u64,
    epoch: Option<Arc<Epoch>>,
    window: Option<Window>,
}

/// The rows of one window of a stream, in their shuffled order.
#[derive(Clone, Debug)]
pub struct Window {
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Its number inside the stream's epoch.
    pub number: u64,
    /// Offset in the stream's epoch of its first row.
    pub first: u64,
    /// What it is made of, in the order of the epoch's sequence.
    pub pieces: Vec<Piece>,
    rows: Vec<(u32, u32)>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(order: &'a Order, pool: u32, lane: LaneId, position: u64) -> Self {
        let range = order.lane_range(pool, lane);
        Self { order, pool, lane, range, position, epoch: None, window: None }
    }

    /// The window that the next row lies in, or none for a stream without rows. What a reader has to fetch.
    pub fn window(&mut self) -> Option<&Window> {
        let length = self.range.end - self.range.start;
        let (number, offset) = (self.position.checked_div(length)?, self.position.checked_rem(length)?);
        let inside =
            |w: &Window| w.epoch == number && (w.first..w.first + w.rows.len() as u64).contains(&offset);
        if !self.window.as_ref().is_some_and(inside) {
            let held = self.epoch.take().filter(|epoch| epoch.number() == number);
            let epoch = held.unwrap_or_else(|| self.order.epoch(self.pool, number));
            self.window = Some(self.shuffle(&epoch, offset));
            self.epoch = Some(epoch);
        }
        self.window.as_ref()
    }

    /// The epoch of the next row, or none for a stream without rows.
    pub fn epoch(&self) -> Option<u64> {
        self.position.checked_div(self.range.end - self.range.start)
    }

    /// Goes on to the first row of the window after this one. What a reader fetches ahead of the stream that it follows.
    pub fn skip_window(&mut self) {
        let end = self.window().map(|window| (window.epoch, window.first + window.rows.len() as u64));
        if let Some((epoch, end)) = end {
            self.position = epoch * (self.range.end - self.range.start) + end;
        }
    }

    /// A row to stand in for `slot`, which is of this stream, on the `attempt`-th try (from 1): another one of the same window, a function
    /// of (seed, pool, epoch, lane, offset, attempt). None in a window of one row.
    pub fn substitute(&self, slot: &Slot, attempt: u64) -> Option<Slot> {
        let mut there = self.clone();
        there.position = slot.epoch * (self.range.end - self.range.start) + slot.offset;
        let window = there.window()?;
        let (first, count) = (window.first, window.rows.len() as u64);
        let own = slot.offset - first;
        let seed = self.order.spec.seed;
        let key = [seed, self.pool.into(), slot.epoch, slot.lane.0.into(), slot.offset, attempt];
        let step = (count > 1).then(|| 1 + keyed::rng("substitute", &key).random_range(0..count - 1))?;
        there.slot(first + (own + step) % count, slot.epoch)
    }

    fn shuffle(&self, sequence: &Epoch, offset: u64) -> Window {
        let (spec, range) = (self.order.spec, &self.range);
        let size = spec.window.max(1) as usize;
        let first_group = sequence.group_at(range.start);
        let number = (sequence.group_at(range.start + offset) - first_group) / size;
        let groups = first_group + number * size..first_group + (number + 1) * size;
        let last_group = sequence.group_at(range.end - 1) + 1;
        let pieces = sequence.pieces(groups.start..groups.end.min(last_group), range);
        let mut rows: Vec<(u32, u32)> = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            rows.extend(piece.rows.clone().map(|row| (index as u32, row)));
        }
        let key = [spec.seed, self.pool.into(), sequence.number(), self.lane.0.into(), number as u64];
        permute(&mut rows, &mut keyed::rng("window", &key));
        let first = sequence.start(groups.start).max(range.start) - range.start;
        Window { epoch: sequence.number(), number: number as u64, first, pieces, rows }
    }

    fn slot(&self, offset: u64, epoch: u64) -> Option<Slot> {
        let window = self.window.as_ref()?;
        let (piece, row_in_group) = *window.rows.get((offset - window.first) as usize)?;
        let row_group = window.pieces.get(piece as usize)?.group;
        let row = self.order.start(row_group) + u64::from(row_in_group);
        let (lane, pool, window) = (self.lane, self.pool, window.number);
        Some(Slot { lane, pool, epoch, offset, window, row_group, row_in_group, row })
    }
}

impl Iterator for Stream<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let epoch = self.window()?.epoch;
        let slot = self.slot(self.position % (self.range.end - self.range.start), epoch);
        self.position += 1;
        slot
    }
}

fn permute(rows: &mut [(u32, u32)], rng: &mut ChaCha8Rng) {
    for last in (1..rows.len()).rev() {
        rows.swap(last, rng.random_range(0..=last));
    }
}
