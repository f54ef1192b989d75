//! How a lane shares its slots out among weighted pools.

use crate::keyed;
use rand::RngExt;

/// Shares positions out among pools, exactly by weight: with weights `w` (divided by their greatest common divisor) and `P` their sum,
/// every `P` positions of a lane, from a multiple of `P` on, hold pool `i` exactly `w[i]` times, in an order keyed by (seed, lane, cycle).
/// How often a pool came before a position is known without going there.
#[derive(Clone, Debug)]
pub struct Mix {
    seed: u64,
    /// Each pool as often as it comes in a cycle.
    cycle: Vec<u32>,
    weights: Vec<u64>,
}

impl Mix {
    pub(super) fn new(seed: u64, weights: &[u32]) -> Self {
        let divisor =
            weights.iter().fold(0, |divisor, weight| greatest_common_divisor(divisor, *weight)).max(1);
        let weights: Vec<u32> = weights.iter().map(|weight| weight / divisor).collect();
        let times = (0..).zip(&weights).flat_map(|(pool, weight)| (0..*weight).map(move |_| pool));
        Self {
            seed,
            cycle: times.collect(),
            weights: weights.iter().map(|weight| u64::from(*weight)).collect(),
        }
    }

    /// The pool of a lane's position, and how often it came before in that lane.
    pub fn at(&self, lane: u32, position: u64) -> (u32, u64) {
        let (cycle, within) = self.split(position);
        let order = self.order(lane, cycle);
        let Some(&pool) = order.get(within) else { return (0, position) };
        (pool, self.before(&order, cycle, within, pool))
    }

    /// How often each pool came in a lane before a position.
    pub fn counts(&self, lane: u32, position: u64) -> Vec<u64> {
        let (cycle, within) = self.split(position);
        let order = self.order(lane, cycle);
        (0..self.weights.len() as u32).map(|pool| self.before(&order, cycle, within, pool)).collect()
    }

    fn before(&self, order: &[u32], cycle: u64, within: usize, pool: u32) -> u64 {
        let here = order.iter().take(within).filter(|other| **other == pool).count() as u64;
        cycle * self.weights.get(pool as usize).copied().unwrap_or(0) + here
    }

    fn split(&self, position: u64) -> (u64, usize) {
        let length = self.cycle.len().max(1) as u64;
        (position / length, (position % length) as usize)
    }

    /// The pools of one cycle, in order.
    pub(super) fn order(&self, lane: u32, cycle: u64) -> Vec<u32> {
        let mut order = self.cycle.clone();
        if self.weights.len() > 1 {
            let mut rng = keyed::rng("mix", &[self.seed, lane.into(), cycle]);
            for last in (1..order.len()).rev() {
                order.swap(last, rng.random_range(0..=last));
            }
        }
        order
    }

    /// Positions of a cycle.
    pub(super) fn cycle_length(&self) -> u64 {
        self.cycle.len().max(1) as u64
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
