//! Numbers and bytes that ranks tell each other outside of the step.

use crate::error::{Error, Result};
use c10d::Group;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Elements that travel in one piece: 64 MiB of f32.
const PIECE: usize = 1 << 24;

/// The rows of every rank, `width` numbers each, in the order of the ranks; a rank may have any number of them. A collective.
///
/// # Errors
/// Those of the group.
pub fn collect(group: &mut Group, rows: &[i64], width: usize) -> Result<Vec<i64>> {
    let (device, world) = (group.device(), group.world_size() as usize);
    let count = (rows.len() / width.max(1)) as i64;
    let counts = Tensor::from_slice(&[count]).to_device(device);
    let counts = Vec::<i64>::try_from(group.all_gather_rows(&counts, &vec![1; world])?)?;
    let rows = Tensor::from_slice(rows).view([count, width as i64]).to_device(device);
    Ok(group.all_gather_rows(&rows, &counts)?.flatten(0, -1).try_into()?)
}

/// What the rank `leader` gives, on every rank. A collective; what the others give does not count.
///
/// # Errors
/// Those of the group.
pub(crate) fn spread(group: &mut Group, leader: u32, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let device = group.device();
    let length = Tensor::from_slice(&[bytes.len() as i64]).to_device(device);
    group.broadcast(&length, leader)?;
    let length = length.int64_value(&[0]);
    if length == 0 {
        return Ok(Vec::new());
    }
    let all = match group.rank() == leader {
        true => Tensor::from_slice(&bytes).to_device(device),
        false => Tensor::f_zeros([length], (Kind::Uint8, device))?,
    };
    group.broadcast(&all, leader)?;
    Ok(Vec::<u8>::try_from(all)?)
}

/// The leader's tensors, written over those of the ranks that `receive`. A collective over tensors of the same names, shapes and
/// kinds; they travel in large pieces.
///
/// # Errors
/// Those of the group.
pub(crate) fn transfer(
    group: &mut Group,
    leader: u32,
    tensors: &BTreeMap<String, Tensor>,
    receive: bool,
) -> Result<()> {
    let _guard = tch::no_grad_guard();
    let device = group.device();
    for kind in [Kind::Float, Kind::Double, Kind::Int64] {
        let mut rest: Vec<&Tensor> = tensors.values().filter(|tensor| tensor.kind() == kind).collect();
        while !rest.is_empty() {
            let sizes = rest.iter().scan(0, |sum, tensor| {
                *sum += tensor.numel();
                Some(*sum)
            });
            let fit = sizes.take_while(|sum| *sum <= PIECE).count().max(1);
            let now: Vec<&Tensor> = rest.drain(..fit).collect();
            let counts: Vec<i64> = now.iter().map(|tensor| tensor.numel() as i64).collect();
            let flat = match group.rank() == leader {
                true => Tensor::f_cat(&now.iter().map(|tensor| tensor.reshape([-1])).collect::<Vec<_>>(), 0)?,
                false => Tensor::f_zeros([counts.iter().sum::<i64>()], (kind, device))?,
            };
            group.broadcast(&flat, leader)?;
            if receive {
                for (tensor, came) in now.iter().zip(flat.split_with_sizes(&counts, 0)) {
                    tensor.shallow_clone().f_copy_(&came.view_as(tensor)).map_err(Error::from)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;

    #[test]
    fn what_the_leader_gives_arrives_everywhere_and_only_receivers_are_changed() {
        let tensors = |rank: i64| {
            let ring = Tensor::full([3, 2], rank, (Kind::Int64, tch::Device::Cpu));
            let weight = Tensor::full([2, 5], rank as f64, (Kind::Float, tch::Device::Cpu));
            let none = Tensor::zeros([0, 4], (Kind::Float, tch::Device::Cpu));
            BTreeMap::from([("a".to_owned(), weight), ("b".to_owned(), ring), ("c".to_owned(), none)])
        };
        let given = (0..3).map(|rank| (tensors(rank), vec![rank as u8; 2 + rank as usize])).collect();
        let all = toy::ranks(given, |mut group, (tensors, bytes)| {
            let spread = spread(&mut group, 1, bytes).unwrap();
            let receives = group.rank() == 2;
            transfer(&mut group, 1, &tensors, receives).unwrap();
            (spread, tensors["a"].double_value(&[1, 4]), tensors["b"].int64_value(&[2, 1]))
        });
        let told = vec![1u8; 3];
        assert_eq!(all, [(told.clone(), 0.0, 0), (told.clone(), 1.0, 1), (told, 1.0, 1)]);
    }
}
