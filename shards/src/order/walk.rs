//! Along one lane, slot by slot.

use super::{Order, Slot, Stream};
use proto::LaneId;

/// The slots of one lane from some position on, without end: the lane's streams, mixed by weight.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    order: &'a Order,
    lane: LaneId,
    position: u64,
    /// By pool.
    streams: Vec<Stream<'a>>,
    /// The cycle that the position is in, and its pools.
    cycle: (u64, Vec<u32>),
}

impl<'a> Walk<'a> {
    pub(super) fn new(order: &'a Order, lane: LaneId, position: u64) -> Self {
        let counts = order.mix().counts(lane.0, position);
        let streams = (0..).zip(counts).map(|(pool, count)| order.stream(pool, lane, count));
        let cycle = position / order.mix().cycle_length();
        let pools = order.mix().order(lane.0, cycle);
        Self { order, lane, position, streams: streams.collect(), cycle: (cycle, pools) }
    }

    /// The stream that the next slot comes from, which stands at that slot's row.
    pub fn stream(&mut self) -> Option<&mut Stream<'a>> {
        if self.streams.len() == 1 {
            return self.streams.first_mut();
        }
        let length = self.order.mix().cycle_length();
        let cycle = self.position / length;
        if self.cycle.0 != cycle {
            self.cycle = (cycle, self.order.mix().order(self.lane.0, cycle));
        }
        let pool = *self.cycle.1.get((self.position % length) as usize)?;
        self.streams.get_mut(pool as usize)
    }

    /// The streams, by pool.
    pub fn streams(&self) -> &[Stream<'a>] {
        &self.streams
    }

    /// See [`Stream::substitute`].
    pub fn substitute(&self, slot: &Slot, attempt: u64) -> Option<Slot> {
        self.streams.get(slot.pool as usize)?.substitute(slot, attempt)
    }
}

impl Iterator for Walk<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let slot = self.stream()?.next();
        self.position += 1;
        slot
    }
}
