//! Along one lane, slot by slot.

use super::epoch::{Epoch, Piece};
use super::{Order, Slot};
use crate::keyed;
use proto::LaneId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The slots of one lane from some position on, without end. Holds one epoch's row groups and one window's rows.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    order: &'a Order,
    lane: LaneId,
    position: u64,
    window: Option<Window>,
    epoch: Option<Epoch>,
}

/// The rows of one window of a lane, in their shuffled order.
#[derive(Clone, Debug)]
pub struct Window {
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Its number inside the lane's epoch.
    pub number: u64,
    /// Offset in the lane of its first slot.
    pub first: u64,
    /// What it is made of, in the order of the epoch's sequence.
    pub pieces: Vec<Piece>,
    rows: Vec<(u32, u32)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(order: &'a Order, lane: LaneId, position: u64) -> Self {
        Self { order, lane, position, window: None, epoch: None }
    }

    /// The window that the next slot lies in, or none for a lane without rows. What a reader has to fetch.
    pub fn window(&mut self) -> Option<&Window> {
        let range = self.order.lane_range(self.lane);
        let length = range.end - range.start;
        let (epoch, offset) = (self.position.checked_div(length)?, self.position.checked_rem(length)?);
        let inside =
            |w: &Window| w.epoch == epoch && (w.first..w.first + w.rows.len() as u64).contains(&offset);
        if !self.window.as_ref().is_some_and(inside) {
            if self.epoch.as_ref().is_none_or(|e| e.number() != epoch) {
                self.epoch = Some(self.order.epoch(epoch));
            }
            self.window = self.epoch.as_ref().map(|sequence| self.shuffle(sequence, offset));
        }
        self.window.as_ref()
    }

    /// Goes on to the first slot of the window after this one. What a reader fetches ahead of the walk that it follows.
    pub fn skip_window(&mut self) {
        let end = self.window().map(|window| (window.epoch, window.first + window.rows.len() as u64));
        if let Some((epoch, end)) = end {
            let range = self.order.lane_range(self.lane);
            self.position = epoch * (range.end - range.start) + end;
        }
    }

    /// A row to stand in for `slot` on the `attempt`-th try (from 1): another one of the same window, a function of (seed, epoch,
    /// lane, offset, attempt). None in a window of one row.
    pub fn substitute(&mut self, slot: &Slot, attempt: u64) -> Option<Slot> {
        let spec = self.order.spec;
        let mut there = Self::new(self.order, self.lane, 0);
        there.epoch = self.epoch.take_if(|e| e.number() == slot.epoch);
        let range = self.order.lane_range(self.lane);
        there.position = slot.epoch * (range.end - range.start) + slot.offset;
        let window = there.window()?;
        let (first, count) = (window.first, window.rows.len() as u64);
        let own = slot.offset - first;
        let key = [spec.seed, slot.epoch, slot.lane.0.into(), slot.offset, attempt];
        let step = (count > 1).then(|| 1 + keyed::rng("substitute", &key).random_range(0..count - 1))?;
        let other = there.slot(first + (own + step) % count, slot.epoch);
        if self.epoch.is_none() {
            self.epoch = there.epoch;
        }
        other
    }

    fn shuffle(&self, sequence: &Epoch, offset: u64) -> Window {
        let spec = self.order.spec;
        let range = self.order.lane_range(self.lane);
        let size = spec.window.max(1) as usize;
        let first_group = sequence.group_at(range.start);
        let number = (sequence.group_at(range.start + offset) - first_group) / size;
        let groups = first_group + number * size..first_group + (number + 1) * size;
        let last_group = sequence.group_at(range.end - 1) + 1;
        let pieces = sequence.pieces(groups.start..groups.end.min(last_group), &range);
        let mut rows: Vec<(u32, u32)> = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            rows.extend(piece.rows.clone().map(|row| (index as u32, row)));
        }
        let key = [spec.seed, sequence.number(), self.lane.0.into(), number as u64];
        permute(&mut rows, &mut keyed::rng("window", &key));
        let first = sequence.start(groups.start).max(range.start) - range.start;
        Window { epoch: sequence.number(), number: number as u64, first, pieces, rows }
    }

    fn slot(&self, offset: u64, epoch: u64) -> Option<Slot> {
        let window = self.window.as_ref()?;
        let (piece, row_in_group) = *window.rows.get((offset - window.first) as usize)?;
        let row_group = window.pieces.get(piece as usize)?.group;
        let row = self.order.start(row_group) + u64::from(row_in_group);
        Some(Slot { lane: self.lane, epoch, offset, window: window.number, row_group, row_in_group, row })
    }
}

impl Iterator for Walk<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let epoch = self.window()?.epoch;
        let range = self.order.lane_range(self.lane);
        let slot = self.slot(self.position % (range.end - range.start), epoch);
        self.position += 1;
        slot
    }
}

fn permute(rows: &mut [(u32, u32)], rng: &mut ChaCha8Rng) {
    for last in (1..rows.len()).rev() {
        rows.swap(last, rng.random_range(0..=last));
    }
}
