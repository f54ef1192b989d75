//! The vote that ends a step: one small all-reduce after which all ranks know the same and do the same. Its return is the moment at
//! which the step is committed.

use crate::error::Result;
use crate::ranks::collect;
use c10d::{Group, ReduceOp};
use proto::GlobalStep;
use shards::ledger::{Record, StandIn};
use tch::{Kind, Tensor};

/// What somebody asked for at the next boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Write a checkpoint.
    pub checkpoint: bool,
    /// End the run.
    pub stop: bool,
    /// End the generation: another membership is waiting.
    pub regroup: bool,
}

/// What rank 0 has put where it outlives the workers: what all ranks keep until then, one of them can put there in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Safe {
    /// The coordinator has the metrics up to this step.
    pub reported: GlobalStep,
    /// The store has the ledger's closed segments up to this step.
    pub ledger: GlobalStep,
}

/// What operators have set, by what rank 0 has heard: all ranks heed it from the same step on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heeded {
    /// Factor of the learning rate, of this step already.
    pub learning_rate_scale: f64,
    /// Steps between checkpoints; 0: none but the last.
    pub checkpoint_every: u64,
    /// A request for a profile, by its number, and its steps; 0: none.
    pub profile: (u64, u32),
}

/// What a rank brings beside its losses.
#[derive(Clone, Debug, Default)]
pub struct Ballot {
    /// What this rank was asked for.
    pub wishes: Wishes,
    /// Of rank 0.
    pub safe: Safe,
    /// Of rank 0.
    pub heeded: Heeded,
    /// What stood in this rank's slots.
    pub record: Record,
    /// The first of this rank's lanes.
    pub first_lane: u32,
}

/// This rank's losses of a step whose gradients are complete.
#[derive(Debug)]
pub struct Sums {
    /// Contrastive, matching and masked-word losses, summed over this rank's rows.
    pub losses: [Tensor; 3],
    /// This rank's rows of each loss: pairs, pairs and negatives, masked tokens.
    pub rows: [f64; 3],
    /// L2 norm of the reduced gradient, a f64 scalar, the same on every rank.
    pub norm: Tensor,
}

/// Numbers before those of the lanes.
const HEAD: usize = 16;
/// Which of all numbers counts the substitutions.
const COUNT: usize = 10;
/// Of one, in the factor of the learning rate on the wire.
const MILLION: f64 = 1e6;
/// Numbers of a substitution on the wire.
const STAND_IN: usize = 4;

/// The counted votes: the same on all ranks, and all that a commit needs beside gradients and features.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Votes {
    numbers: Vec<f64>,
    /// Rows that others stood in for, of all ranks, by slot.
    pub stand_ins: Vec<StandIn>,
}

/// What follows from the votes.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What is not finite on some rank, if anything.
    pub not_finite: Option<&'static str>,
    /// Mean contrastive loss of the global batch.
    pub itc: f64,
    /// Mean matching loss.
    pub itm: f64,
    /// Mean masked-word loss.
    pub mlm: f64,
    /// L2 norm of the gradient.
    pub norm: f64,
    /// What any rank was asked for.
    pub wishes: Wishes,
    /// As rank 0 says.
    pub safe: Safe,
    /// As rank 0 says.
    pub heeded: Heeded,
    /// Of every lane, the ledger's digest of what stood in its slots.
    pub digests: Vec<u64>,
}

impl Ballot {
    /// The collective, over `lanes` lanes. It holds the step's only wait for the device. A second, rare one tells of rows that others
    /// stood in for.
    ///
    /// # Errors
    /// Those of the group.
    pub fn cast(&self, sums: &Sums, lanes: u32, group: &mut Group) -> Result<Votes> {
        let Self { wishes, safe, heeded, record, first_lane } = self;
        let device = sums.losses.each_ref().map(|loss| loss.to_kind(Kind::Double));
        let [pairs, matched, masked] = sums.rows;
        let mut host = vec![0.0; HEAD - device.len() + 2 * lanes as usize];
        let head = [
            pairs,
            matched,
            masked,
            wishes.checkpoint.into(),
            wishes.stop.into(),
            wishes.regroup.into(),
            record.stand_ins.len() as f64,
            safe.reported.0 as f64,
            safe.ledger.0 as f64,
            // Millionths more or less than one: whole numbers, and 0 from all others.
            ((heeded.learning_rate_scale - 1.0) * MILLION).round(),
            heeded.checkpoint_every as f64,
            heeded.profile.0 as f64,
            heeded.profile.1.into(),
        ];
        host[..head.len()].copy_from_slice(&head);
        let own = head.len() + 2 * *first_lane as usize;
        for (pair, digest) in host.get_mut(own..).unwrap_or_default().chunks_exact_mut(2).zip(&record.digests)
        {
            // Halves are exact in f64, and so are their sums with other ranks' zeros.
            pair.copy_from_slice(&[(digest >> 32) as f64, (digest & 0xffff_ffff) as f64]);
        }
        let host = Tensor::from_slice(&host).to_device(group.device());
        let all = Tensor::cat(&[Tensor::stack(&device, 0), host], 0);
        group.all_reduce(&all, ReduceOp::Sum)?;
        let all = Tensor::cat(&[sums.norm.to_kind(Kind::Double).reshape([1]), all], 0);
        let numbers = Vec::<f64>::try_from(all)?;
        let replaced = numbers.get(COUNT).is_some_and(|count| *count > 0.0);
        let stand_ins = if replaced { share(&record.stand_ins, group)? } else { Vec::new() };
        Ok(Votes { numbers, stand_ins })
    }
}

impl Default for Heeded {
    fn default() -> Self {
        Self { learning_rate_scale: 1.0, checkpoint_every: 0, profile: (0, 0) }
    }
}

impl Verdict {
    /// The sum of the three losses, which is trained on.
    pub fn loss(&self) -> f64 {
        self.itc + self.itm + self.mlm
    }
}

impl Votes {
    /// Votes that were counted elsewhere.
    pub fn counted(numbers: Vec<f64>) -> Self {
        Self { numbers, stand_ins: Vec::new() }
    }

    /// As they travel.
    pub fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    /// What follows from them.
    pub fn verdict(&self) -> Verdict {
        let at = |index: usize| self.numbers.get(index).copied().unwrap_or(f64::NAN);
        let [norm, itc, itm, mlm, pairs, matched, masked] = std::array::from_fn(at);
        let [checkpoint, stop, regroup, _count, reported, ledger] =
            std::array::from_fn(|index| at(7 + index));
        let [scale, every, request, steps] = std::array::from_fn(|index| at(13 + index));
        let not_finite = match () {
            () if !(itc + itm + mlm).is_finite() => Some("loss"),
            () if !norm.is_finite() => Some("gradient"),
            () => None,
        };
        let lanes = self.numbers.get(1 + HEAD..).unwrap_or_default();
        let digest = |halves: &[f64; 2]| ((halves[0] as u64) << 32) | halves[1] as u64;
        Verdict {
            not_finite,
            itc: itc / pairs,
            itm: itm / matched,
            mlm: mlm / masked.max(1.0),
            norm,
            wishes: Wishes { checkpoint: checkpoint > 0.0, stop: stop > 0.0, regroup: regroup > 0.0 },
            safe: Safe { reported: GlobalStep(reported as u64), ledger: GlobalStep(ledger as u64) },
            heeded: Heeded {
                learning_rate_scale: (MILLION + scale) / MILLION,
                checkpoint_every: every as u64,
                profile: (request as u64, steps as u32),
            },
            digests: lanes.as_chunks().0.iter().map(digest).collect(),
        }
    }
}

/// The substitutions of all ranks, by slot.
fn share(own: &[StandIn], group: &mut Group) -> Result<Vec<StandIn>> {
    let numbers = |one: &StandIn| [one.step.0, one.slot, one.row, one.substitute].map(|n| n as i64);
    let mine: Vec<i64> = own.iter().flat_map(numbers).collect();
    let all = collect(group, &mine, STAND_IN)?;
    let stand_in = |one: &[i64; STAND_IN]| {
        let [step, slot, row, substitute] = one.map(|number| number as u64);
        StandIn { step: GlobalStep(step), slot, row, substitute }
    };
    let mut stand_ins: Vec<StandIn> = all.as_chunks().0.iter().map(stand_in).collect();
    stand_ins.sort_unstable_by_key(|one| one.slot);
    Ok(stand_ins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;

    fn verdict(numbers: [f64; 17]) -> Verdict {
        Votes::counted(numbers.to_vec()).verdict()
    }

    #[test]
    fn sums_become_means_and_one_wish_is_enough() {
        let verdict = verdict([
            2.5, 8.0, 12.0, 6.0, 4.0, 12.0, 3.0, 0.0, 1.0, 2.0, 0.0, 7.0, 6.0, -900_000.0, 40.0, 3.0, 5.0,
        ]);
        assert_eq!((verdict.itc, verdict.itm, verdict.mlm, verdict.norm), (2.0, 1.0, 2.0, 2.5));
        assert_eq!(verdict.wishes, Wishes { checkpoint: false, stop: true, regroup: true });
        assert_eq!(verdict.safe, Safe { reported: GlobalStep(7), ledger: GlobalStep(6) });
        let heeded = Heeded { learning_rate_scale: 0.1, checkpoint_every: 40, profile: (3, 5) };
        assert_eq!((verdict.heeded, verdict.not_finite), (heeded, None));
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let mut numbers = [0.0; 17];
        (numbers[1], numbers[4], numbers[5], numbers[6]) = (1.0, 1.0, 1.0, 1.0);
        numbers[0] = f64::INFINITY;
        assert_eq!(verdict(numbers).not_finite, Some("gradient"));
        numbers[1] = f64::NAN;
        assert_eq!(verdict(numbers).not_finite, Some("loss"));
    }

    #[test]
    fn a_batch_without_masked_tokens_has_no_word_loss() {
        let mut numbers = [1.0; 17];
        (numbers[3], numbers[6]) = (0.0, 0.0);
        assert_eq!(verdict(numbers).mlm, 0.0);
    }

    #[test]
    fn all_ranks_learn_what_stood_in_every_lane() {
        let digests: Vec<u64> = (1..=5).map(|lane| lane * 0x1234_5678_9abc_def1).collect();
        let stand_in = |slot| StandIn { step: GlobalStep(3), slot, row: slot + 100, substitute: slot + 200 };
        let given = [(0, 2, vec![]), (2, 2, vec![]), (4, 1, vec![stand_in(9), stand_in(8)])];
        let ballots = given.map(|(first, count, stand_ins)| {
            let own = digests[first..first + count].to_vec();
            let record = Record { digests: own, stand_ins };
            let learning_rate_scale = if first == 0 { 1.3 } else { 1.0 };
            let heeded = Heeded { learning_rate_scale, ..Heeded::default() };
            Ballot { record, first_lane: first as u32, heeded, ..Ballot::default() }
        });
        let all = toy::ranks(ballots.to_vec(), |mut group, ballot| {
            let one = || Tensor::from(1.0);
            let sums = Sums { losses: [one(), one(), one()], rows: [1.0; 3], norm: one() };
            ballot.cast(&sums, 5, &mut group).unwrap()
        });
        for votes in &all {
            assert_eq!(votes.verdict().digests, digests);
            assert_eq!(votes.verdict().heeded.learning_rate_scale, 1.3);
            assert_eq!(votes.stand_ins, [stand_in(8), stand_in(9)]);
            assert_eq!(Votes::counted(votes.numbers().to_vec()).verdict(), votes.verdict());
        }
    }
}
