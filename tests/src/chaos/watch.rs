//! What a run does, from what its workers say, and what follows from it for the time that a fault cost.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// What a line of a worker's log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It has committed a step in a generation.
    Committed { step: u64, generation: u64 },
    /// It has a seat.
    Seated { rank: u64, world: u64, generation: u64 },
}

impl Seen {
    /// What is of interest in a line, if anything is.
    pub(super) fn in_line(line: &str) -> Option<Self> {
        if let Some((_, rest)) = line.split_once("committed step ") {
            let [step, generation] = numbers(rest)?;
            return Some(Self::Committed { step, generation });
        }
        let (_, rest) = line.split_once("rank ").filter(|_| line.contains(": meeting on "))?;
        let [rank, world, generation] = numbers(rest)?;
        Some(Self::Seated { rank, world, generation })
    }
}

/// The first numbers of a text.
fn numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let all = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    all.take(N).map(|digits| digits.parse().ok()).collect::<Option<Vec<u64>>>()?.try_into().ok()
}

/// A step's first commit by any rank of a generation, in time since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// When.
    pub(super) at: Duration,
    /// Committed updates.
    pub(super) step: u64,
    /// In which generation.
    pub(super) generation: u64,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    commits: Vec<Commit>,
    /// Steps and generations of them.
    known: HashSet<(u64, u64)>,
    /// The newest step, and the newest generation that anybody told of.
    step: u64,
    generation: u64,
    /// The newest seat of each process: generation, rank, world size.
    seats: BTreeMap<u64, (u64, u64, u64)>,
}

impl Watch {
    /// A process said something.
    pub(super) fn note(&mut self, pid: u64, at: Duration, seen: Seen) {
        match seen {
            Seen::Seated { rank, world, generation } => {
                self.seats.insert(pid, (generation, rank, world));
                self.generation = self.generation.max(generation);
            }
            Seen::Committed { step, generation } => {
                if self.known.insert((step, generation)) {
                    self.commits.push(Commit { at, step, generation });
                    self.step = self.step.max(step);
                }
            }
        }
    }

    /// A process ended.
    pub(super) fn ended(&mut self, pid: u64) {
        self.seats.remove(&pid);
    }

    /// The commits so far, in the order in which they came.
    pub(super) fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The newest step, 0 before the first.
    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// The newest generation that anybody told of.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The processes of the newest generation that are there, by rank.
    pub(super) fn seated(&self) -> Vec<u64> {
        let newest = self.generation;
        let of_newest = self.seats.iter().filter(|(_, seat)| seat.0 == newest);
        let by_rank: BTreeMap<u64, u64> = of_newest.map(|(pid, seat)| (seat.1, *pid)).collect();
        by_rank.into_values().collect()
    }

    /// Whether all ranks of the newest generation are there, at least `wanted`, and it has committed a step after `since`.
    pub(super) fn is_whole(&self, wanted: usize, since: Duration) -> bool {
        let newest = self.generation;
        let seated = self.seated();
        let world = seated.first().and_then(|pid| self.seats.get(pid)).map_or(0, |seat| seat.2);
        let commits = self.commits.last().is_some_and(|last| last.generation == newest && last.at > since);
        seated.len() as u64 == world && seated.len() >= wanted && commits
    }
}

/// What a fault cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Of a fault that takes a worker away at once: from then to the first commit that shows that training goes on, in a newer
    /// generation if one followed, else of a newer step. A step that was past its vote, and is committed by the survivors right after
    /// the fault, is no recovery. Of other faults: the `pause`. Less an ordinary step; none if nothing came.
    pub(super) recovery: Option<Duration>,
    /// The longest time without a commit from the fault on, less an ordinary step.
    pub(super) pause: Duration,
    /// Steps that had been committed and were made again.
    pub(super) redone: u64,
    /// Generations that began.
    pub(super) generations: u64,
}

/// What a fault at `at` cost until `until`, if it took a worker `away` or not.
pub(super) fn cost(
    commits: &[Commit],
    at: Duration,
    until: Duration,
    ordinary: Duration,
    away: bool,
) -> Cost {
    let mut tip = Tip::default();
    commits.iter().filter(|commit| commit.at < at).for_each(|commit| _ = tip.pass(commit));
    let after: Vec<&Commit> = commits.iter().filter(|commit| (at..until).contains(&commit.at)).collect();
    let newer = after.iter().find(|commit| commit.generation > tip.generation);
    let next = newer.or_else(|| after.iter().find(|commit| commit.step > tip.step));
    let times = std::iter::once(at).chain(after.iter().map(|commit| commit.at));
    let gaps = times.clone().zip(times.skip(1)).map(|(from, to)| to.saturating_sub(from));
    let pause = gaps.max().unwrap_or(until.saturating_sub(at)).saturating_sub(ordinary);
    let recovery = |commit: &&Commit| if away { (commit.at - at).saturating_sub(ordinary) } else { pause };
    let mut cost = Cost { recovery: next.map(recovery), pause, ..Cost::default() };
    for commit in after {
        cost.generations += u64::from(commit.generation > tip.generation);
        cost.redone += tip.pass(commit);
    }
    cost
}

/// How far the run is: after a loss of all, a newer generation goes on from an earlier step.
#[derive(Default)]
struct Tip {
    step: u64,
    generation: u64,
}

impl Tip {
    /// Goes on; says how many committed steps are made again from here on.
    fn pass(&mut self, commit: &Commit) -> u64 {
        let again = (self.step + 1).saturating_sub(commit.step);
        let newer = commit.generation > self.generation;
        self.step = if newer { commit.step } else { self.step.max(commit.step) };
        self.generation = self.generation.max(commit.generation);
        if newer { again } else { 0 }
    }
}

/// The time of an ordinary step: the median between two commits of one generation.
pub(super) fn ordinary(commits: &[Commit]) -> Duration {
    let pairs = commits.iter().zip(commits.iter().skip(1));
    let same = pairs.filter(|(one, next)| one.generation == next.generation);
    percentile(&same.map(|(one, next)| next.at.saturating_sub(one.at)).collect::<Vec<_>>(), 0.5)
}

/// The smallest of `times` that at least a `share` of them do not exceed (nearest rank); zero of none.
pub(super) fn percentile(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn commits(all: &[(u64, u64, u64)]) -> Vec<Commit> {
        all.iter().map(|&(at, step, generation)| Commit { at: ms(at), step, generation }).collect()
    }

    #[test]
    fn lines_tell_of_seats_and_commits() {
        let seen = |line: &str| Seen::in_line(line);
        let stamp = "2026-01-02T03:04:05.678901Z";
        assert_eq!(
            seen(&format!("{stamp} DEBUG committed step 12 in generation 3")),
            Some(Seen::Committed { step: 12, generation: 3 })
        );
        assert_eq!(
            seen(&format!("{stamp}  INFO rank 1 of 4 in generation 7: meeting on 10.77.1.2")),
            Some(Seen::Seated { rank: 1, world: 4, generation: 7 })
        );
        assert_eq!(seen(&format!("{stamp}  INFO joined run x as worker 1-2")), None);
    }

    #[test]
    fn recovery_is_from_the_death_to_the_next_generation_less_a_step() {
        // A death at 105; the step in flight is committed at 110, by who survives.
        let seen = commits(&[(80, 1, 1), (90, 2, 1), (100, 3, 1), (110, 4, 1), (610, 5, 2), (620, 6, 2)]);
        let cost = cost(&seen, ms(105), ms(1_000), ms(10), true);
        assert_eq!((cost.recovery, cost.pause), (Some(ms(495)), ms(490)));
        assert_eq!((cost.redone, cost.generations), (0, 1));
        let asked = super::cost(&seen, ms(105), ms(1_000), ms(10), false);
        assert_eq!(asked.recovery, Some(ms(490)), "nobody was missing before the generation ended");
    }

    #[test]
    fn without_a_new_generation_it_is_to_the_next_step() {
        let seen = commits(&[(90, 2, 1), (100, 3, 1), (125, 4, 1), (325, 5, 1), (335, 6, 1)]);
        let cost = cost(&seen, ms(105), ms(1_000), ms(10), true);
        assert_eq!((cost.recovery, cost.pause), (Some(ms(10)), ms(190)));
        let none = super::cost(&seen, ms(340), ms(1_000), ms(10), true);
        assert_eq!((none.recovery, none.pause), (None, ms(650)), "nothing came before the next fault");
    }

    #[test]
    fn steps_that_are_committed_again_are_counted() {
        let seen = commits(&[(90, 8, 1), (100, 9, 1), (3_000, 5, 2), (3_010, 6, 2), (5_000, 4, 3)]);
        let cost = cost(&seen, ms(105), ms(9_000), ms(10), true);
        assert_eq!((cost.redone, cost.generations), (5 + 3, 2));
        let later = commits(&[(90, 9, 1), (3_000, 5, 2), (3_010, 6, 2), (3_500, 7, 3)]);
        assert_eq!(super::cost(&later, ms(3_100), ms(9_000), ms(10), true).redone, 0);
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times: Vec<Duration> = (1..=200).rev().map(ms).collect();
        assert_eq!(percentile(&times, 0.5), ms(100));
        assert_eq!(percentile(&times, 0.99), ms(198));
        assert_eq!(percentile(&times, 1.0), ms(200));
        assert_eq!(percentile(&[], 0.5), ms(0));
        assert_eq!(percentile(&[ms(7)], 0.01), ms(7));
    }

    #[test]
    fn an_ordinary_step_is_none_over_a_change_of_generation() {
        let seen = commits(&[(0, 1, 1), (10, 2, 1), (20, 3, 1), (9_000, 4, 2), (9_010, 5, 2)]);
        assert_eq!(ordinary(&seen), ms(10));
    }

    #[test]
    fn a_run_is_whole_once_all_ranks_of_the_newest_generation_train() {
        let mut watch = Watch::default();
        let seat = |rank, world, generation| Seen::Seated { rank, world, generation };
        watch.note(7, ms(1), seat(0, 2, 1));
        watch.note(8, ms(1), seat(1, 2, 1));
        assert!(!watch.is_whole(2, ms(0)));
        watch.note(7, ms(5), Seen::Committed { step: 1, generation: 1 });
        watch.note(8, ms(6), Seen::Committed { step: 1, generation: 1 });
        assert_eq!(watch.commits().len(), 1);
        assert!(watch.is_whole(2, ms(4)) && !watch.is_whole(3, ms(4)) && !watch.is_whole(2, ms(5)));
        watch.note(9, ms(7), seat(0, 1, 2));
        assert!(!watch.is_whole(1, ms(0)), "nothing is committed in it");
        assert_eq!(watch.seated(), [9]);
        watch.ended(9);
        assert_eq!((watch.generation(), watch.seated()), (2, vec![]));
    }
}
