//! Which requests fetch a set of byte ranges, and the ranges out of what came.

use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Most bytes of one request: what a slow line brings before a timeout, and large ranges come over several connections.
pub(crate) const PART: u64 = 8 << 20;

/// Ranges to request so that all of `ranges` are covered, ascending and apart: those at most `gap` bytes apart are joined, then cut
/// evenly into at most [`PART`] bytes each, at multiples of `unit` from the start.
pub(crate) fn plan(ranges: &[Range<u64>], gap: u64, unit: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    let cut = |range: Range<u64>| {
        let length = range.end - range.start;
        let step = length.div_ceil(length.div_ceil(PART)).next_multiple_of(unit.max(1));
        let starts = (range.start..range.end).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        starts.map(move |start| start..(start + step).min(range.end)).collect::<Vec<_>>()
    };
    joined.into_iter().flat_map(cut).collect()
}

/// Stretches of a file that were fetched, ascending and apart.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Vec<(u64, Bytes)>);

impl Pieces {
    /// Of stretches in any order.
    pub(crate) fn new(mut pieces: Vec<(u64, Bytes)>) -> Self {
        pieces.sort_unstable_by_key(|(start, _)| *start);
        Self(pieces)
    }

    /// The bytes of a range; none when a part of it is not there. Copies only what lies in more than one stretch.
    pub(crate) fn take(&self, range: &Range<u64>) -> Option<Bytes> {
        if range.is_empty() {
            return Some(Bytes::new());
        }
        let first = self.0.partition_point(|(start, _)| *start <= range.start).checked_sub(1)?;
        let mut taken = BytesMut::new();
        let mut at = range.start;
        for (start, bytes) in &self.0[first..] {
            let from = usize::try_from(at.checked_sub(*start)?).ok()?;
            let to = usize::try_from(range.end - start).ok()?.min(bytes.len());
            let piece = (from < to).then(|| bytes.slice(from..to))?;
            at += piece.len() as u64;
            if at == range.end && taken.is_empty() {
                return Some(piece);
            }
            taken.reserve(usize::try_from(range.end - range.start).ok()?.saturating_sub(taken.len()));
            taken.extend_from_slice(&piece);
            if at == range.end {
                return Some(taken.freeze());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_are_fetched_together_and_large_ones_in_parts() {
        assert_eq!(plan(&[10..20, 25..30, 0..5], 5, 1), [Range { start: 0, end: 30 }]);
        assert_eq!(plan(&[10..20, 26..30], 5, 1), [10..20, 26..30]);
        assert_eq!(plan(&[0..0], 5, 1), Vec::<Range<u64>>::new());
        let large = 2 * PART + 2;
        assert_eq!(plan(&[0..large], 0, 1).len(), 3);
        assert!(plan(&[0..large], 0, 1 << 20).iter().all(|part| part.start % (1 << 20) == 0));
    }

    proptest! {
        #[test]
        fn what_is_planned_covers_what_is_asked_and_little_more(
            ranges in proptest::collection::vec((0_u64..40 << 20, 0_u64..20 << 20), 0..8),
            gap in 0_u64..3 << 20,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| start..start + length).collect();
            let planned = plan(&ranges, gap, 1);
            prop_assert!(planned.windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(planned.iter().all(|part| !part.is_empty() && part.end - part.start <= PART));
            let starts_asked = |part: &Range<u64>| ranges.iter().any(|range| range.start == part.start);
            let follows = |at: usize| at > 0 && planned[at - 1].end == planned[at].start;
            prop_assert!((0..planned.len()).all(|at| starts_asked(&planned[at]) || follows(at)));
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                let inside: u64 = planned
                    .iter()
                    .map(|part| part.end.min(range.end).saturating_sub(part.start.max(range.start)))
                    .sum();
                prop_assert_eq!(inside, range.end - range.start);
            }
        }

        #[test]
        fn ranges_come_out_as_they_are_in_the_file(
            cuts in proptest::collection::btree_set(1_usize..400, 0..12),
            ranges in proptest::collection::vec((0_u64..400, 0_u64..200), 1..8),
            hole in 0_usize..20,
        ) {
            let file: Vec<u8> = (0..400_u32).map(|at| (at * 7 % 251) as u8).collect();
            let ends: Vec<usize> = cuts.into_iter().chain([400]).collect();
            let starts = [0].into_iter().chain(ends.iter().copied());
            let stretches = starts.zip(&ends).map(|(from, to)| from..*to);
            let kept: Vec<_> =
                stretches.enumerate().filter(|(at, _)| *at != hole).map(|(_, stretch)| stretch).collect();
            let there = |at: u64| kept.iter().any(|stretch| stretch.contains(&(at as usize)));
            let piece = |stretch: &Range<usize>| {
                (stretch.start as u64, Bytes::copy_from_slice(&file[stretch.clone()]))
            };
            let pieces = Pieces::new(kept.iter().rev().map(piece).collect());
            for (start, length) in ranges {
                let range = start..(start + length).min(400);
                let expected = range.clone().all(there)
                    .then(|| Bytes::copy_from_slice(&file[range.start as usize..range.end as usize]));
                prop_assert_eq!(pieces.take(&range), expected);
            }
        }
    }
}
