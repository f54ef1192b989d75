//! Where tensors live, and how many threads work on them.

use crate::error::{Error, Result};
use c10d::cuda;
use proto::config::{Device as Wanted, RunSection};
use std::thread::available_parallelism;

/// The device of the worker with number `local_rank` on its machine. Asked for CUDA it loads the CUDA libraries, which has to be
/// the first use of libtorch in the process; it never falls back.
///
/// # Errors
/// What is missing for CUDA.
pub fn choose(wanted: Wanted, local_rank: u32) -> Result<tch::Device> {
    match wanted {
        Wanted::Cpu => Ok(tch::Device::Cpu),
        Wanted::Cuda => {
            cuda::load(None)?;
            let devices = tch::Cuda::device_count();
            if i64::from(local_rank) >= devices {
                let text = format!(
                    "worker {local_rank} of this machine has none of its {devices}; start one worker per device"
                );
                return Err(Error::Cuda(cuda::CudaError::Device(text)));
            }
            Ok(tch::Device::Cuda(local_rank as usize))
        }
    }
}

/// Threads of a worker's tensor kernels: as told, else its share of this machine's cores.
pub fn threads(run: &RunSection, local_world_size: u32) -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    match run.threads {
        0 => (cores / local_world_size.max(1) as usize).max(1),
        told => told as usize,
    }
}

/// Gives libtorch that many threads.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_unless_told() {
        let cores = available_parallelism().unwrap().get();
        let told = |threads| RunSection { threads, ..RunSection::default() };
        assert_eq!(threads(&told(0), 1), cores);
        assert_eq!(threads(&told(0), cores as u32), 1);
        assert_eq!(threads(&told(0), 10_000), 1, "there is always one");
        assert_eq!(threads(&told(3), 2), 3);
    }
}
