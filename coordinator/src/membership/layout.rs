//! What follows from who has a seat: computed once for a generation, since every worker asks for it.

use super::{MemberId, Membership, Seat};
use proto::Rank;
use shards::order::lanes_by_weight;
use std::collections::{BTreeMap, HashMap};

impl Membership {
    /// How many lanes each rank of the generation has.
    pub fn lanes(&self) -> Vec<u32> {
        self.layout.lanes()
    }
}

/// Places of the members of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    ranks: BTreeMap<MemberId, Rank>,
    /// How many ranks in a row have as many lanes, and how many lanes these are.
    pub(super) alike: (Vec<u32>, Vec<u32>),
    /// Of each rank: its number among those on its host, and how many these are.
    local: Vec<(u32, u32)>,
}

impl Layout {
    /// Of these seats, by rank, which share out `lanes`.
    pub(super) fn of(seats: &[Seat], lanes: u32) -> Self {
        let ranks = (0..).map(Rank).zip(seats).map(|(rank, seat)| (seat.member, rank)).collect();
        let weights: Vec<u32> = seats.iter().map(|seat| seat.weight).collect();
        let mut hosts: HashMap<&str, u32> = HashMap::new();
        let mut numbers = Vec::with_capacity(seats.len());
        for seat in seats {
            let neighbours = hosts.entry(&seat.host).or_default();
            numbers.push(*neighbours);
            *neighbours += 1;
        }
        let world = |seat: &Seat| hosts.get(seat.host.as_str()).copied().unwrap_or_default();
        let local = seats.iter().zip(numbers).map(|(seat, number)| (number, world(seat))).collect();
        let lanes = lanes_by_weight(&weights, lanes);
        let rows = lanes.chunk_by(|a, b| a == b);
        let alike = rows.filter_map(|row| Some((row.len() as u32, *row.first()?))).unzip();
        Self { ranks, alike, local }
    }

    /// How many lanes each rank has.
    fn lanes(&self) -> Vec<u32> {
        let (ranks, lanes) = &self.alike;
        ranks.iter().zip(lanes).flat_map(|(count, lanes)| vec![*lanes; *count as usize]).collect()
    }

    pub(super) fn rank(&self, id: MemberId) -> Option<Rank> {
        self.ranks.get(&id).copied()
    }

    /// A rank's number among those on its host, and how many these are.
    pub(super) fn local(&self, rank: Rank) -> (u32, u32) {
        self.local.get(rank.index()).copied().unwrap_or_default()
    }
}
