//! Which rows have to travel so that every rank has those that it wants, as pure bookkeeping over slots.

use std::ops::Range;

/// One rank's part of an exchange: what it sends, what it gets, and where it then finds what.
///
/// A rank's rows are its own, in slot order, followed by those that came, in slot order. A row that several of its own want
/// travels once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    own: Range<i64>,
    /// Which of the own rows are sent, those for rank 0 first.
    pub sent: Vec<i64>,
    /// How many go to each rank.
    pub send: Vec<i64>,
    /// The slots of the rows that come, ascending, so those of rank 0 first.
    pub received: Vec<i64>,
    /// How many come from each rank.
    pub receive: Vec<i64>,
    /// Rows that travel between any two ranks.
    pub travelling: usize,
}

impl Plan {
    /// The part of `rank`, where each rank holds `counts` slots, in order, and wants the slots in `wanted`.
    pub fn new(rank: usize, counts: &[i64], wanted: &[Vec<i64>]) -> Self {
        let owned = owned(counts);
        let missing: Vec<Vec<i64>> =
            owned.iter().zip(wanted).map(|(own, wanted)| missing(own, wanted)).collect();
        let own = owned.get(rank).cloned().unwrap_or_default();
        let from = |range: &Range<i64>, slots: &[i64]| {
            slots.iter().filter(|slot| range.contains(slot)).count() as i64
        };
        let asked = |slots: &Vec<i64>| {
            slots.iter().filter(|slot| own.contains(slot)).map(|slot| slot - own.start).collect::<Vec<_>>()
        };
        let received = missing.get(rank).cloned().unwrap_or_default();
        Self {
            sent: missing.iter().flat_map(asked).collect(),
            send: missing.iter().map(|slots| from(&own, slots)).collect(),
            receive: owned.iter().map(|range| from(range, &received)).collect(),
            travelling: missing.iter().map(Vec::len).sum(),
            received,
            own,
        }
    }

    /// The row at which this rank finds a slot that it holds or wanted.
    pub fn row(&self, slot: i64) -> Option<i64> {
        if self.own.contains(&slot) {
            return Some(slot - self.own.start);
        }
        let place = self.received.binary_search(&slot).ok()?;
        Some(self.own.end - self.own.start + place as i64)
    }
}

/// The slots of each rank.
fn owned(counts: &[i64]) -> Vec<Range<i64>> {
    let mut start = 0;
    let range = |count: &i64| {
        start += count;
        start - count..start
    };
    counts.iter().map(range).collect()
}

/// What of `wanted` others hold: ascending, each once.
fn missing(own: &Range<i64>, wanted: &[i64]) -> Vec<i64> {
    let mut slots: Vec<i64> = wanted.iter().copied().filter(|slot| !own.contains(slot)).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn worlds() -> impl Strategy<Value = (Vec<i64>, Vec<Vec<i64>>)> {
        prop::collection::vec(1i64..5, 1..6).prop_flat_map(|counts| {
            let total: i64 = counts.iter().sum();
            let wanted = counts.iter().map(|_| prop::collection::vec(0..total, 0..8)).collect::<Vec<_>>();
            (Just(counts), wanted)
        })
    }

    proptest! {
        #[test]
        fn every_rank_gets_what_it_wants_once((counts, wanted) in worlds()) {
            let plans: Vec<Plan> = (0..counts.len()).map(|rank| Plan::new(rank, &counts, &wanted)).collect();
            let starts: Vec<i64> = counts.iter().scan(0, |sum, count| { *sum += count; Some(*sum - count) }).collect();
            for (rank, plan) in plans.iter().enumerate() {
                // What the others put on the wire for this rank, in the order in which all-to-all delivers it.
                let mut came = Vec::new();
                for (peer, other) in plans.iter().enumerate() {
                    prop_assert_eq!(other.send[rank], plan.receive[peer]);
                    let before: i64 = other.send[..rank].iter().sum();
                    let rows = &other.sent[before as usize..(before + other.send[rank]) as usize];
                    came.extend(rows.iter().map(|row| starts[peer] + row));
                }
                let mine: Vec<i64> = (starts[rank]..starts[rank] + counts[rank]).chain(came).collect();
                for slot in &wanted[rank] {
                    prop_assert_eq!(mine[plan.row(*slot).unwrap() as usize], *slot);
                }
                prop_assert!(plan.received.iter().all(|slot| wanted[rank].contains(slot)));
                prop_assert!(plan.received.windows(2).all(|two| two[0] < two[1]));
                prop_assert_eq!(plan.travelling, plans.iter().map(|plan| plan.received.len()).sum::<usize>());
            }
        }
    }
}
