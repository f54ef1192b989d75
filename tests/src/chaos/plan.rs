//! Which faults strike, when and whom: a function of the seed, so that what failed can be done again.

use std::time::Duration;

/// What happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL of a worker that has a seat.
    KillWorker,
    /// SIGKILL of the coordinator.
    KillCoordinator,
    /// SIGKILL of the coordinator and of a worker at the same time.
    KillBoth,
    /// SIGKILL of all workers.
    KillWorkers,
    /// SIGKILL of the coordinator and of all workers.
    KillAll,
    /// SIGSTOP of a worker for less than `cluster.lost_after`.
    StopBriefly,
    /// SIGSTOP of a worker until long after it counts as lost.
    StopLong,
    /// SIGSTOP of the coordinator.
    StopCoordinator,
    /// SIGTERM of a worker.
    Drain,
    /// One worker more than wanted, for a while.
    Join,
    /// No packet passes between a worker and the coordinator.
    CutCoordinator,
    /// No packet passes between a worker and the others.
    CutPeers,
    /// No packet passes between a worker and anybody.
    CutAll,
    /// All that a worker tells its peers comes late.
    Delay,
    /// The disk of the run's output is full.
    DiskFull,
    /// The disk of the run's output does not answer.
    DiskStalls,
}

impl Fault {
    /// All.
    pub const ALL: [Self; 16] = [
        Self::KillWorker,
        Self::KillCoordinator,
        Self::KillBoth,
        Self::KillWorkers,
        Self::KillAll,
        Self::StopBriefly,
        Self::StopLong,
        Self::StopCoordinator,
        Self::Drain,
        Self::Join,
        Self::CutCoordinator,
        Self::CutPeers,
        Self::CutAll,
        Self::Delay,
        Self::DiskFull,
        Self::DiskStalls,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "kill-worker",
            Self::KillCoordinator => "kill-coordinator",
            Self::KillBoth => "kill-both",
            Self::KillWorkers => "kill-workers",
            Self::KillAll => "kill-all",
            Self::StopBriefly => "stop-briefly",
            Self::StopLong => "stop-long",
            Self::StopCoordinator => "stop-coordinator",
            Self::Drain => "drain",
            Self::Join => "join",
            Self::CutCoordinator => "cut-coordinator",
            Self::CutPeers => "cut-peers",
            Self::CutAll => "cut-all",
            Self::Delay => "delay",
            Self::DiskFull => "disk-full",
            Self::DiskStalls => "disk-stalls",
        }
    }

    /// Whether it needs network namespaces or a disk of its own, and so root.
    pub(super) fn needs_root(self) -> bool {
        matches!(
            self,
            Self::CutCoordinator
                | Self::CutPeers
                | Self::CutAll
                | Self::Delay
                | Self::DiskFull
                | Self::DiskStalls
        )
    }

    /// Whether it takes workers away at once.
    pub(super) fn takes_away(self) -> bool {
        matches!(self, Self::KillWorker | Self::KillBoth | Self::KillWorkers | Self::KillAll | Self::StopLong)
    }

    /// How often it comes, against the others.
    fn weight(self) -> u64 {
        match self {
            Self::KillWorker => 8,
            Self::KillCoordinator | Self::StopLong => 3,
            Self::KillWorkers | Self::KillAll | Self::DiskFull | Self::DiskStalls => 1,
            _ => 2,
        }
    }

    /// The shortest and the longest that it lasts, in milliseconds. Workers count as lost after two seconds.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::StopBriefly => (100, 1_000),
            Self::StopLong => (2_600, 5_000),
            Self::StopCoordinator | Self::CutCoordinator | Self::CutAll => (300, 6_000),
            // Collectives end after three seconds, and so does the meeting that follows.
            Self::CutPeers => (300, 9_000),
            Self::Delay => (1_000, 4_000),
            Self::DiskFull | Self::DiskStalls => (1_000, 6_000),
            Self::Join => (4_000, 8_000),
            _ => (0, 0),
        }
    }
}

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    /// Time between the end of what was before, or its beginning if this one `overlaps`, and this one.
    pub(super) pause: Duration,
    /// Does not wait until training has recovered from the one before.
    pub(super) overlaps: bool,
    /// What.
    pub(super) fault: Fault,
    /// Whom: the remainder by the number of those whom it can hit.
    pub(super) victim: u64,
    /// How long, where it has an end.
    pub(super) lasts: Duration,
    /// How long a launcher takes to start each process again that ends meanwhile.
    pub(super) absence: Duration,
}

/// Faults without end: first each of `faults` once, in any order, then by their weights.
pub(super) fn plan(seed: u64, faults: &[Fault]) -> impl Iterator<Item = Strike> + use<> {
    let mut draws = Draws(seed);
    let mut first = faults.to_vec();
    (1..first.len()).rev().for_each(|last| first.swap(last, draws.below(last as u64 + 1) as usize));
    let bag: Vec<Fault> = faults.iter().flat_map(|fault| (0..fault.weight()).map(move |_| *fault)).collect();
    let mut count = 0;
    std::iter::from_fn(move || {
        let drawn = *bag.get(draws.below(bag.len() as u64) as usize)?;
        let fault = first.get(count).copied().unwrap_or(drawn);
        let overlaps = draws.below(6) == 0 && count > 0;
        count += 1;
        let (shortest, longest) = fault.lasts();
        let longest_pause = if overlaps { 600 } else { 2_000 };
        Some(Strike {
            pause: Duration::from_millis(draws.below(longest_pause)),
            overlaps,
            fault,
            victim: draws.below(u64::MAX),
            lasts: Duration::from_millis(shortest + draws.below(longest - shortest + 1)),
            absence: Duration::from_millis(draws.below(1_000)),
        })
    })
}

/// SplitMix64: small, and the same everywhere.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_plan_is_a_function_of_its_seed() {
        let of = |seed| plan(seed, &Fault::ALL).take(200).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn each_fault_comes_before_any_comes_again() {
        for seed in 0..50 {
            let first: BTreeSet<Fault> =
                plan(seed, &Fault::ALL).take(Fault::ALL.len()).map(|strike| strike.fault).collect();
            assert_eq!(first.len(), Fault::ALL.len(), "seed {seed}");
        }
        assert_eq!(plan(1, &[]).count(), 0);
    }

    #[test]
    fn strikes_last_as_long_as_their_fault_may_and_the_first_overlaps_nothing() {
        for (count, strike) in plan(3, &Fault::ALL).take(2_000).enumerate() {
            let (shortest, longest) = strike.fault.lasts();
            let lasts = strike.lasts.as_millis() as u64;
            assert!((shortest..=longest).contains(&lasts) && strike.pause < Duration::from_secs(2));
            assert!(count > 0 || !strike.overlaps);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
    }
}
