//! A run's state as files: which rank writes which tensors, and from bytes to state again. Formats of others end here:
//! everything on disk is safetensors.

use crate::error::{Error, Result};
use crate::state::{Counters, State};
use proto::checkpoint::{Manifest, part_name};
use proto::{Generation, GlobalStep, Rank, WorldSize};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use shards::committed::{self, CommittedError};
use shards::store::Folder;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// This rank's share of a state at one step, apart from the live tensors.
#[derive(Debug)]
pub struct Snapshot {
    /// Committed updates.
    pub step: GlobalStep,
    /// File name of the part.
    pub name: String,
    /// The small state, JSON; of rank 0 only.
    pub counters: String,
    tensors: Vec<Stored>,
}

/// A tensor as bytes.
#[derive(Debug)]
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The dtypes that a state consists of.
const DTYPES: [(Kind, Dtype); 2] = [(Kind::Float, Dtype::F32), (Kind::Int64, Dtype::I64)];

/// Copies this rank's share of `state`.
///
/// # Errors
/// A tensor that is neither f32 nor i64.
pub fn snapshot(state: &State, generation: Generation, rank: Rank, world: WorldSize) -> Result<Snapshot> {
    let all = state.tensors();
    let sizes: Vec<(&str, usize)> =
        all.iter().map(|(name, tensor)| (name.as_str(), tensor.numel())).collect();
    let mine = share(&sizes, world.index(), rank.index());
    let tensors = mine.into_iter().filter_map(|name| Some((name, all.get(name)?)));
    let counters = match rank {
        Rank(0) => {
            serde_json::to_string(&state.counters()).map_err(|e| unusable(state.step, e.to_string()))?
        }
        _ => String::new(),
    };
    Ok(Snapshot {
        step: state.step,
        name: part_name(generation, rank.index()),
        counters,
        tensors: tensors.map(|(name, tensor)| bytes(state.step, name, tensor)).collect::<Result<_>>()?,
    })
}

impl Snapshot {
    /// The file.
    ///
    /// # Errors
    /// None in practice: shapes and bytes come from tensors.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let failed = |e: safetensors::SafeTensorError| unusable(self.step, e.to_string());
        let views = self.tensors.iter().map(|Stored { name, dtype, shape, bytes }| {
            TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.clone(), view))
        });
        let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(failed)?;
        safetensors::serialize(views, None).map_err(failed)
    }
}

/// Reads a committed checkpoint back, verified: its tensors by name, of those that pass, and its counters.
///
/// # Errors
/// A store that refuses; bytes that are not what was committed or can't be understood.
pub async fn read(
    folder: &Folder,
    manifest: &Manifest,
    keep: impl Fn(&str) -> bool,
) -> Result<(BTreeMap<String, Tensor>, Counters)> {
    let step = manifest.step;
    let counters = serde_json::from_value(manifest.state.clone())
        .map_err(|e| unusable(step, format!("its state: {e}")))?;
    let mut tensors = BTreeMap::new();
    for part in &manifest.parts {
        let bytes = committed::part(folder, part).await?;
        let failed = |reason: String| unusable(step, format!("{}: {reason}", part.name));
        let file = SafeTensors::deserialize(&bytes).map_err(|e| failed(e.to_string()))?;
        for (name, view) in file.iter().filter(|(name, _)| keep(name)) {
            let Some((kind, _)) = DTYPES.iter().find(|(_, dtype)| *dtype == view.dtype()) else {
                return Err(failed(format!("{name} is {:?}, expected F32 or I64", view.dtype())));
            };
            let shape: Vec<i64> = view.shape().iter().map(|side| *side as i64).collect();
            tensors.insert(name.to_owned(), Tensor::f_from_data_size(view.data(), &shape, *kind)?);
        }
    }
    Ok((tensors, counters))
}

/// The committed manifest of `step` below the folder of all checkpoints.
///
/// # Errors
/// As [`committed::manifest`], and a step that is not committed.
pub async fn manifest(checkpoints: &Folder, step: GlobalStep) -> Result<(Folder, Manifest)> {
    let folder = checkpoints.step(step);
    match committed::manifest(&folder).await? {
        Some(manifest) => Ok((folder, manifest)),
        None => Err(CommittedError::Missing { path: folder.path_of("") }.into()),
    }
}

/// The names that part `index` of `parts` holds: the largest first, each to the part that holds least so far.
fn share<'a>(sizes: &[(&'a str, usize)], parts: usize, index: usize) -> Vec<&'a str> {
    let mut order: Vec<&(&str, usize)> = sizes.iter().collect();
    order.sort_by_key(|(name, size)| (Reverse(*size), *name));
    let mut held = vec![0; parts.max(1)];
    let mut mine = Vec::new();
    for (name, size) in order {
        let least = (0..held.len()).min_by_key(|part| held[*part]).unwrap_or(0);
        held[least] += size.max(&1);
        if least == index {
            mine.push(*name);
        }
    }
    mine.sort_unstable();
    mine
}

fn bytes(step: GlobalStep, name: &str, tensor: &Tensor) -> Result<Stored> {
    let Some((kind, dtype)) = DTYPES.iter().find(|(kind, _)| *kind == tensor.kind()) else {
        return Err(unusable(step, format!("{name} is {:?}, only f32 and i64 are written", tensor.kind())));
    };
    let shape = tensor.size().iter().map(|side| *side as usize).collect();
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    tensor.to_device(tch::Device::Cpu).contiguous().f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(Stored { name: name.into(), dtype: *dtype, shape, bytes })
}

fn unusable(step: GlobalStep, reason: String) -> Error {
    Error::Checkpoint { step, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_hold_every_tensor_once_and_are_even(sizes in prop::collection::vec(0usize..1000, 0..40), parts in 1usize..6) {
            let names: Vec<String> = (0..sizes.len()).map(|i| format!("t{i}")).collect();
            let sized: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
            let shares: Vec<Vec<&str>> = (0..parts).map(|part| share(&sized, parts, part)).collect();
            let mut all: Vec<&str> = shares.concat();
            all.sort_unstable();
            let mut expected: Vec<&str> = names.iter().map(String::as_str).collect();
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
            let of = |name: &&str| sized.iter().find(|(known, _)| known == name).unwrap().1.max(1);
            let held: Vec<usize> = shares.iter().map(|share| share.iter().map(of).sum()).collect();
            let largest = sizes.iter().copied().max().unwrap_or(0).max(1);
            prop_assert!(held.iter().max().unwrap() - held.iter().min().unwrap() <= largest, "{:?}", held);
        }
    }
}
