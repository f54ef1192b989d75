//! Do all ranks hold the same state, bit for bit? Two 64-bit sums of each tensor's bits are compared.

use crate::error::{Error, Result};
use crate::state::{Counters, State};
use c10d::Group;
use proto::GlobalStep;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Columns over which bits are summed before the columns are weighed.
const COLUMNS: i64 = 1024;
/// Differing tensors that an error names.
const NAMED: usize = 8;

/// Compares the states of all ranks, which were the same after step `good`. A collective.
///
/// # Errors
/// [`Error::Drift`], alike on every rank, naming rank and tensor; those of the group.
pub fn compare(state: &State, good: GlobalStep, group: &mut Group) -> Result<()> {
    let tensors = state.tensors();
    let sums = tensors.values().map(sums).collect::<Result<Vec<_>>>()?;
    let counters = state.counters();
    let Counters { step, optimizer_step, queue_pointer, queue_filled, loss_average, loss_updates, anomalies } =
        counters;
    let counters =
        [step.0, optimizer_step, loss_average, loss_updates, anomalies.into()].map(|count| count as i64);
    let counters = [counters.as_slice(), &[queue_pointer, queue_filled]].concat();
    let counters = Tensor::from_slice(&counters).to_device(group.device());
    let mine = Tensor::cat(&[Tensor::cat(&sums, 0), counters], 0).unsqueeze(0);
    let world = group.world_size() as usize;
    let all = group.all_gather_rows(&mine, &vec![1; world])?.to_device(Device::Cpu);
    let all: Vec<i64> = all.flatten(0, 1).try_into()?;
    let names: Vec<&str> =
        tensors.keys().flat_map(|name| [name.as_str(); 2]).chain(["counters"; 7]).collect();
    let ranks: Vec<&[i64]> = all.chunks(names.len()).collect();
    match differences(&names, &ranks) {
        None => Ok(()),
        Some(differences) => Err(Error::Drift { step: state.step, good, differences }),
    }
}

/// Two sums of a tensor's bits as integers, `[2]` i64, wrapping: one plain, so that any single bit shows, and one in which each
/// column weighs differently, so that what moves or cancels shows too. Sums of integers do not depend on their order.
fn sums(tensor: &Tensor) -> Result<Tensor> {
    let as_integers = match tensor.kind() {
        Kind::Float => Kind::Int,
        Kind::Double | Kind::Int64 => Kind::Int64,
        other => return Err(Error::Tensor(format!("no fingerprint of a tensor of {other:?}"))),
    };
    let bits = tensor.contiguous().f_view_dtype(as_integers)?.reshape([-1]);
    let count = bits.numel() as i64;
    let whole = count / COLUMNS * COLUMNS;
    let columns =
        bits.narrow(0, 0, whole).view([-1, COLUMNS]).sum_dim_intlist([0i64].as_slice(), false, Kind::Int64);
    let rest = bits.narrow(0, whole, count - whole).to_kind(Kind::Int64);
    let columns = Tensor::cat(&[columns, rest], 0);
    // Odd weights lose no bit; the multiplier is that of splitmix64, made odd.
    let weights = Tensor::arange_start(1, columns.numel() as i64 + 1, (Kind::Int64, tensor.device()));
    let weights = weights * 0x1e37_79b9_7f4a_7c15i64 * 2 + 1;
    Ok(Tensor::stack(&[columns.sum(Kind::Int64), (columns * weights).sum(Kind::Int64)], 0))
}

/// Who differs from most ranks (from rank 0 where there is no majority) in what, if anybody.
fn differences(names: &[&str], ranks: &[&[i64]]) -> Option<String> {
    let mut found: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let value = |rank: usize| ranks.get(rank).and_then(|sums| sums.get(index));
        let votes = |rank: usize| (0..ranks.len()).filter(|other| value(*other) == value(rank)).count();
        let trusted = (0..ranks.len()).rev().max_by_key(|rank| votes(*rank)).unwrap_or(0);
        for rank in (0..ranks.len()).filter(|rank| value(*rank) != value(trusted)) {
            let tensors = found.entry(rank).or_default();
            if tensors.last() != Some(name) {
                tensors.push(name);
            }
        }
    }
    let told = found.iter().map(|(rank, tensors)| {
        let more = tensors.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("rank {rank} has another {}{more}", tensors[..tensors.len().min(NAMED)].join(", "))
    });
    let told = told.collect::<Vec<_>>().join("; ");
    (!found.is_empty()).then(|| format!("{told} than {}", if ranks.len() > 2 { "most" } else { "rank 0" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_single_bit_shows(count in 1i64..3000, at: prop::sample::Index, bit in 0u32..32, seed: i64) {
            tch::manual_seed(seed);
            let tensor = Tensor::randn([count], tch::kind::FLOAT_CPU);
            let before: Vec<i64> = sums(&tensor).unwrap().try_into().unwrap();
            let mut values: Vec<f32> = (&tensor).try_into().unwrap();
            let place = at.index(values.len());
            values[place] = f32::from_bits(values[place].to_bits() ^ (1 << bit));
            let after: Vec<i64> = sums(&Tensor::from_slice(&values)).unwrap().try_into().unwrap();
            prop_assert!(before[0] != after[0] && before[1] != after[1]);
        }
    }

    #[test]
    fn the_minority_is_named() {
        let names = ["a", "a", "b", "b"];
        let told = |ranks: &[&[i64]]| differences(&names, ranks);
        assert_eq!(told(&[&[1, 1, 1, 1], &[1, 1, 1, 1]]), None);
        assert_eq!(told(&[&[1, 1, 1, 1], &[1, 1, 2, 1]]).unwrap(), "rank 1 has another b than rank 0");
        let three = told(&[&[5, 1, 1, 7], &[1, 1, 1, 1], &[1, 1, 1, 1]]).unwrap();
        assert_eq!(three, "rank 0 has another a, b than most");
    }

    #[test]
    fn what_moves_inside_a_tensor_shows() {
        let of =
            |values: [f64; 3]| Vec::<i64>::try_from(sums(&Tensor::from_slice(&values)).unwrap()).unwrap();
        assert_ne!(of([1.0, 2.0, 3.0]), of([2.0, 1.0, 3.0]));
    }
}
