//! Process groups and their collectives.

use std::sync::Arc;
use std::time::Duration;

use tch::{Device, Tensor};

use crate::{Error, Kind, Result, Store, cuda, ffi};

/// How values of several ranks become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceOp {
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// Who meets whom, and how long they wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// This member's number, below `world_size`.
    pub rank: u32,
    /// The number of members.
    pub world_size: u32,
    /// Where the tensors of the collectives live: `Cpu` (Gloo) or `Cuda(i)` (NCCL; after [`cuda::load`]).
    pub device: Device,
    /// The address or host name of the network interface that carries Gloo's traffic. Not used by NCCL.
    pub interface: String,
    /// How long meeting may take before it is an error.
    pub meeting: Duration,
    /// How long each collective may take before it is an error.
    pub timeout: Duration,
}

/// One member's end of a process group.
///
/// Every rank must enter the same collectives in the same order, those of a [`crate::Reducer`] among them. A collective
/// returns when its result is there. After an error the group is broken for good, here and soon at the peers: drop it
/// and what was made from it, and meet again at a store with another key space.
///
/// Dropping a group closes its connections. A rank that may leave while others are still in a collective should enter a
/// [`Group::barrier`] first.
#[derive(Debug)]
pub struct Group {
    handle: ffi::Group,
    spec: GroupSpec,
}

impl Group {
    /// Meets the other ranks at `store` and connects to all of them. Blocks until all are there.
    ///
    /// # Errors
    /// `Shape` for a spec that cannot be; `Store` if the store fails or a rank does not come within the timeout; `Cuda`
    /// where CUDA is not loaded or has no such device; `Other` for an interface that cannot be bound.
    pub fn new(spec: GroupSpec, store: Arc<dyn Store>) -> Result<Self> {
        if spec.rank >= spec.world_size {
            return Err(Error::shape(format!("rank {} in a group of {}", spec.rank, spec.world_size)));
        }
        let store = ffi::Store::new(store, spec.meeting)?;
        let handle = match spec.device {
            Device::Cpu => ffi::Group::gloo(&store, &spec)?,
            Device::Cuda(index) => {
                let backend = cuda::nccl()?.backend(&store, &spec, index)?;
                ffi::Group::cuda(&store, &spec, backend)?
            }
            other => return Err(Error::shape(format!("no collectives on {other:?}: use the CPU or CUDA"))),
        };
        Ok(Self { handle, spec })
    }

    /// This member's number.
    pub fn rank(&self) -> u32 {
        self.spec.rank
    }

    /// The number of members.
    pub fn world_size(&self) -> u32 {
        self.spec.world_size
    }

    /// Where the tensors of the collectives live.
    pub fn device(&self) -> Device {
        self.spec.device
    }

    /// Reduces `tensor` over the ranks, in place: contiguous, of the same shape and kind on every rank.
    pub fn all_reduce(&mut self, tensor: &Tensor, op: ReduceOp) -> Result<()> {
        self.check("all_reduce", tensor)?;
        self.handle.all_reduce(tensor, op)
    }

    /// Overwrites `tensor` with that of the rank `root`: contiguous, of the same shape and kind on every rank.
    pub fn broadcast(&mut self, tensor: &Tensor, root: u32) -> Result<()> {
        self.check("broadcast", tensor)?;
        if root >= self.spec.world_size {
            return Err(Error::shape(format!("broadcast from rank {root} of {}", self.spec.world_size)));
        }
        self.handle.broadcast(tensor, root)
    }

    /// The rows of every rank, in the order of the ranks: `[sum of counts, ...]`, detached from the graph.
    ///
    /// `local` is `[counts[rank], ...]`; its other dimensions and its kind are the same on every rank, and so is
    /// `counts`, which holds each rank's number of rows. Shorter ranks are padded to the longest on the wire.
    pub fn all_gather_rows(&mut self, local: &Tensor, counts: &[i64]) -> Result<Tensor> {
        let local = local.detach();
        let longest = self.check_rows(&local, counts)?;
        if self.spec.world_size == 1 || longest == 0 {
            return Ok(local.f_detach_copy()?);
        }
        let padded = padded(&local, longest)?;
        self.check("all_gather_rows", &padded)?;
        let shape: Vec<i64> = std::iter::once(counts.len() as i64).chain(padded.size()).collect();
        let gathered = Tensor::f_empty(&shape, (local.kind(), local.device()))?;
        self.handle.all_gather(&gathered, &padded.f_unsqueeze(0)?)?;
        let rows =
            counts.iter().zip(0i64..).map(|(&count, rank)| gathered.f_get(rank)?.f_narrow(0, 0, count));
        Ok(Tensor::f_cat(&rows.collect::<Result<Vec<_>, _>>()?, 0)?)
    }

    /// Sends rows to every rank and returns those that came, with gradient: backward sends each row's gradient back to where
    /// the row came from, and is then a collective too, which all ranks enter.
    ///
    /// `rows` is `[sum of send, ...]`, the rows for rank 0 first; returns `[sum of receive, ...]`, those of rank 0 first. What rank `a` sends
    /// to rank `b` is what `b` receives from `a`; the other dimensions and the kind are the same on every rank.
    ///
    /// # Errors
    /// `Shape` if `send` does not fit `rows` or the group; the kinds of all collectives, also from backward.
    pub fn all_to_all_rows(&mut self, rows: &Tensor, send: &[i64], receive: &[i64]) -> Result<Tensor> {
        let world_size = self.spec.world_size as usize;
        let fits = |counts: &[i64]| counts.len() == world_size && counts.iter().all(|&count| count >= 0);
        let found = rows.size().first().copied();
        if !fits(send) || !fits(receive) || found != Some(send.iter().sum()) {
            let shape = rows.size();
            return Err(Error::shape(format!(
                "all_to_all_rows: a tensor {shape:?}, sending {send:?} and receiving {receive:?} in a group of {world_size}"
            )));
        }
        let rows = rows.f_contiguous()?;
        self.check("all_to_all_rows", &rows)?;
        self.handle.all_to_all(&rows, send, receive)
    }

    /// Returns when every rank has entered it.
    pub fn barrier(&mut self) -> Result<()> {
        self.handle.barrier()
    }

    /// A handle that other threads may use to end this group's collectives.
    pub fn abort_handle(&self) -> Result<AbortHandle> {
        Ok(AbortHandle { handle: self.handle.abort_handle()? })
    }

    pub(crate) fn handle(&self) -> &ffi::Group {
        &self.handle
    }

    fn check(&self, what: &str, tensor: &Tensor) -> Result<()> {
        if tensor.device() != self.spec.device {
            let (is, wanted) = (tensor.device(), self.spec.device);
            return Err(Error::shape(format!("{what}: the tensor is on {is:?}, the group on {wanted:?}")));
        }
        if !tensor.is_contiguous() {
            let (shape, strides) = (tensor.size(), tensor.stride());
            return Err(Error::shape(format!(
                "{what}: a tensor {shape:?} with strides {strides:?}: make it contiguous"
            )));
        }
        Ok(())
    }

    /// Checks the arguments of [`Group::all_gather_rows`] and returns the largest count.
    fn check_rows(&self, local: &Tensor, counts: &[i64]) -> Result<i64> {
        let GroupSpec { rank, world_size, .. } = self.spec;
        let longest = counts.iter().copied().max().unwrap_or(0);
        let own = counts.get(rank as usize).copied();
        if counts.len() != world_size as usize || counts.iter().any(|&count| count < 0) {
            return Err(Error::shape(format!(
                "all_gather_rows: counts {counts:?} in a group of {world_size}"
            )));
        }
        if local.size().first().copied() != own {
            let shape = local.size();
            return Err(Error::shape(format!(
                "all_gather_rows: a tensor {shape:?} on rank {rank}, counts {counts:?}"
            )));
        }
        Ok(longest)
    }
}

/// `local` with rows of zeros after it, up to `rows`, and contiguous.
fn padded(local: &Tensor, rows: i64) -> Result<Tensor> {
    let missing = rows - local.size().first().copied().unwrap_or(0);
    if missing == 0 {
        return Ok(local.f_contiguous()?);
    }
    let mut shape = local.size();
    if let Some(first) = shape.first_mut() {
        *first = missing;
    }
    Ok(Tensor::f_cat(&[local, &Tensor::f_zeros(&shape, (local.kind(), local.device()))?], 0)?)
}

/// Ends the collectives of a [`Group`] from any thread: they return an error of kind `Peer`, a running backward too.
///
/// It may outlive its group and then does nothing.
#[derive(Debug)]
pub struct AbortHandle {
    handle: ffi::AbortHandle,
}

impl AbortHandle {
    /// Ends what runs, here and soon at the peers, and all that comes.
    pub fn abort(&self) -> Result<()> {
        self.handle.abort()
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        // libtorch's text goes on with a C++ backtrace.
        let text = error.to_string();
        Self::new(Kind::Other, text.lines().next().unwrap_or_default())
    }
}

#[cfg(test)]
pub(crate) mod tests;
