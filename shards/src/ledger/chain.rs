//! A run's segments in the store: each names the one before it by its digest, so none can be missing or altered in silence.

#[cfg(test)]
mod tests;

use super::{Segment, report::Finding};
use crate::{
    committed::digest,
    store::{Folder, StoreError},
};
use proto::{GlobalStep, checkpoint::Part};

/// Largest segment that is read, in bytes. A worker closes its segments long before.
const MAX_SEGMENT: u64 = 1 << 30;

/// The segments of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Those that are whole, the oldest first.
    pub links: Vec<Part>,
    /// Where the chain does not hold.
    pub broken: Vec<Finding>,
}

/// Follows the chain from its newest segment, which has to end with step `last`, to the run's first. `progress` hears how many
/// steps are left.
///
/// # Errors
/// A store that refuses. What is missing or altered is in the chain.
pub async fn trace(
    folder: &Folder,
    newest: &Part,
    last: GlobalStep,
    mut progress: impl FnMut(GlobalStep),
) -> Result<Chain, StoreError> {
    let (mut links, mut broken) = (Vec::new(), Vec::new());
    let mut next = Some(newest.clone());
    let mut end = last;
    while let Some(part) = next.take() {
        let segment = part.name.clone();
        match read(folder, &part).await? {
            Err(reason) => broken.push(Finding::Segment { segment, reason }),
            Ok(found) => {
                let header = found.header;
                if links.is_empty() && header.to != end {
                    let reason = format!("it ends with step {}, the checkpoint is of step {end}", header.to);
                    broken.push(Finding::Segment { segment, reason });
                }
                end = header.from;
                progress(end);
                links.push(part);
                next = header.previous;
            }
        }
    }
    links.reverse();
    Ok(Chain { links, broken })
}

/// The segment that `part` names; why it is not that one, if it is not.
///
/// # Errors
/// A store that refuses.
pub async fn read(folder: &Folder, part: &Part) -> Result<Result<Segment, String>, StoreError> {
    let Part { name, size, sha256 } = part;
    if name.contains('/') || *size > MAX_SEGMENT {
        return Ok(Err(format!("a segment of {size} bytes with this name can't be")));
    }
    match folder.size(name).await? {
        Some(found) if found == *size => {}
        Some(found) => return Ok(Err(format!("it has {found} bytes, committed were {size}"))),
        None => return Ok(Err("it is missing".into())),
    }
    let bytes = folder.get(name).await?.unwrap_or_default();
    if digest(&bytes) != *sha256 {
        return Ok(Err("it does not have the digest that was committed".into()));
    }
    Ok(Segment::decode(&bytes).map_err(|bad| bad.to_string()))
}
