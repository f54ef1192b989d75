//! Ranks on threads of this process, over Gloo.

mod standing_still;

use std::sync::mpsc;
use std::time::Instant;

use tch::Kind as Dtype;

use super::*;
use crate::memory_store::MemoryStore;
use crate::store::StoreError;

const CPU: Device = Device::Cpu;
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn spec(rank: u32, world_size: u32, timeout: Duration) -> GroupSpec {
    GroupSpec { rank, world_size, device: CPU, interface: "127.0.0.1".into(), meeting: timeout, timeout }
}

/// Runs `member` on one thread per rank and returns what they return, by rank.
pub(crate) fn with_ranks<T: Send>(
    world_size: u32,
    timeout: Duration,
    member: impl Fn(Group) -> T + Sync,
) -> Vec<T> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    std::thread::scope(|scope| {
        let start = |rank| {
            let (store, member) = (Arc::clone(&store), &member);
            scope.spawn(move || {
                let spec = GroupSpec { meeting: LONG, ..spec(rank, world_size, timeout) };
                member(Group::new(spec, store).unwrap())
            })
        };
        let ranks: Vec<_> = (0..world_size).map(start).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Dtype::Double).reshape([-1])).unwrap()
}

#[test]
fn all_reduce_of_every_kind() {
    for world_size in [1, 2, 3] {
        with_ranks(world_size, LONG, |mut group| {
            let w = f64::from(world_size);
            let rank = f64::from(group.rank());
            for kind in [Dtype::Float, Dtype::Double, Dtype::BFloat16, Dtype::Int64] {
                let reduced = |group: &mut Group, op| {
                    let tensor = (Tensor::arange(5, (Dtype::Float, CPU)) * (rank + 1.0)).to_kind(kind);
                    group.all_reduce(&tensor, op).unwrap();
                    values(&tensor)
                };
                let times = |factor: f64| (0..5).map(|i| f64::from(i) * factor).collect::<Vec<_>>();
                assert_eq!(reduced(&mut group, ReduceOp::Sum), times(w * (w + 1.0) / 2.0), "{kind:?}");
                assert_eq!(reduced(&mut group, ReduceOp::Max), times(w), "{kind:?}");
                assert_eq!(reduced(&mut group, ReduceOp::Min), times(1.0), "{kind:?}");
            }
        });
    }
}

#[test]
fn broadcast_comes_from_the_root() {
    with_ranks(3, LONG, |mut group| {
        for root in 0..3 {
            for kind in [Dtype::Float, Dtype::Double, Dtype::BFloat16, Dtype::Int64, Dtype::Uint8] {
                let tensor = Tensor::full([2, 2], i64::from(group.rank()) + 7, (kind, CPU));
                group.broadcast(&tensor, root).unwrap();
                assert_eq!(values(&tensor), [f64::from(root) + 7.0; 4], "{kind:?}");
            }
        }
        group.barrier().unwrap();
    });
}

/// Each row tells its rank and its number: a row lost, moved or padded in is seen.
#[test]
fn all_gather_rows_of_uneven_ranks() {
    let cases: [&[i64]; 6] = [&[4], &[2, 2], &[3, 1], &[0, 2, 1], &[1, 5, 0], &[0, 0, 0]];
    for counts in cases {
        let expected: Vec<f64> = (0u32..)
            .zip(counts)
            .flat_map(|(rank, &count)| (0..count).map(move |row| f64::from(rank) * 10.0 + row as f64))
            .flat_map(|value| [value, value])
            .collect();
        with_ranks(counts.len() as u32, LONG, |mut group| {
            for kind in [Dtype::Float, Dtype::Double, Dtype::BFloat16, Dtype::Int64] {
                let rank = group.rank();
                let rows = Tensor::arange(counts[rank as usize], (Dtype::Int64, CPU)) + i64::from(rank) * 10;
                let local = rows.to_kind(kind).unsqueeze(1).expand([-1, 2], false);
                let gathered = group.all_gather_rows(&local, counts).unwrap();
                assert_eq!(gathered.size(), [counts.iter().sum(), 2]);
                assert_eq!(gathered.kind(), kind);
                assert_eq!(values(&gathered), expected, "{counts:?} {kind:?}");
            }
        });
    }
}

/// Rank r sends `counts[r][p]` rows to rank p; each row tells where it comes from and goes to, and its gradient where it was.
#[test]
fn rows_go_to_every_rank_and_their_gradients_come_back() {
    let cases: [&[&[i64]]; 4] =
        [&[&[2]], &[&[0, 3], &[1, 2]], &[&[0, 0], &[0, 0]], &[&[1, 0, 2], &[0, 0, 3], &[4, 1, 0]]];
    for counts in cases {
        with_ranks(counts.len() as u32, LONG, |mut group| {
            let rank = group.rank() as usize;
            let sent = |from: usize, to: usize| {
                (0..counts[from][to]).map(move |row| (from * 100 + to * 10) as f64 + row as f64)
            };
            let ranks = 0..counts.len();
            let local: Vec<f64> = ranks.clone().flat_map(|to| sent(rank, to)).collect();
            let expected: Vec<f64> = ranks.clone().flat_map(|from| sent(from, rank)).collect();
            let receive: Vec<i64> = ranks.map(|from| counts[from][rank]).collect();
            for kind in [Dtype::Float, Dtype::Double] {
                let rows = Tensor::from_slice(&local).to_kind(kind).unsqueeze(1).repeat([1, 2]);
                let rows = rows.set_requires_grad(true);
                let came = group.all_to_all_rows(&rows, counts[rank], &receive).unwrap();
                assert_eq!(values(&came.select(1, 0)), expected);
                // The gradient of a row is its own value, times 3.
                (&came * &came.detach() * 3.0).sum(kind).f_backward().unwrap();
                assert_eq!(
                    values(&rows.grad().select(1, 1)),
                    local.iter().map(|v| v * 3.0).collect::<Vec<_>>()
                );
            }
        });
    }
}

#[test]
fn a_gather_is_a_copy_outside_of_the_graph() {
    let mut group = Group::new(spec(0, 1, LONG), Arc::new(MemoryStore::new())).unwrap();
    let local = Tensor::ones([2, 3], (Dtype::Float, CPU)).set_requires_grad(true);
    let gathered = group.all_gather_rows(&local, &[2]).unwrap();
    assert!(!gathered.requires_grad());
    assert_ne!(gathered.data_ptr(), local.data_ptr());
}

#[test]
fn repeated_sums_are_bitwise_equal_on_all_ranks() {
    let sums = with_ranks(3, LONG, |mut group| {
        let scale = f64::from(group.rank() + 1);
        let sum = |group: &mut Group| {
            let tensor = (Tensor::arange(10_007, (Dtype::Float, CPU)) * 0.37 * scale).sin();
            group.all_reduce(&tensor, ReduceOp::Sum).unwrap();
            Vec::<f32>::try_from(tensor).unwrap()
        };
        let first = sum(&mut group);
        assert_eq!(first, sum(&mut group));
        first
    });
    assert!(sums.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_sent() {
    let store = || Arc::new(MemoryStore::new());
    let mut group = Group::new(spec(0, 1, LONG), store()).unwrap();
    let matrix = Tensor::zeros([2, 3], (Dtype::Float, CPU));
    let refused = |result: Result<()>| assert_eq!(result.unwrap_err().kind, Kind::Shape);
    refused(group.all_reduce(&matrix.transpose(0, 1), ReduceOp::Sum));
    refused(group.broadcast(&matrix, 1));
    refused(group.all_gather_rows(&matrix, &[3]).map(drop));
    refused(group.all_gather_rows(&matrix, &[2, 2]).map(drop));
    refused(group.all_gather_rows(&Tensor::zeros([0; 0], (Dtype::Float, CPU)), &[1]).map(drop));
    refused(group.all_to_all_rows(&matrix, &[1], &[1]).map(drop));
    refused(group.all_to_all_rows(&matrix, &[2, 0], &[2]).map(drop));
    refused(Group::new(spec(2, 2, LONG), store()).map(drop));
    refused(Group::new(GroupSpec { device: Device::Mps, ..spec(0, 1, LONG) }, store()).map(drop));
}

#[test]
fn an_interface_that_is_not_here_is_an_error() {
    let spec = GroupSpec { interface: "203.0.113.7".into(), ..spec(0, 1, LONG) };
    let error = Group::new(spec, Arc::new(MemoryStore::new())).unwrap_err();
    assert!(error.text.contains("203.0.113.7"), "{error}");
}

/// Rank 2 leaves while the others wait for it: they learn it long before the timeout, and their later calls fail at once.
#[test]
fn a_peer_that_goes_away_ends_the_collective() {
    let started = Instant::now();
    let errors = with_ranks(3, LONG, |mut group| {
        group.barrier().unwrap();
        if group.rank() == 2 {
            return None;
        }
        let tensor = Tensor::ones([1 << 20], (Dtype::Float, CPU));
        let first = group.all_reduce(&tensor, ReduceOp::Sum).unwrap_err();
        let second = group.all_reduce(&tensor, ReduceOp::Sum).unwrap_err();
        Some((first, second))
    });
    assert!(started.elapsed() < LONG / 2);
    for (first, second) in errors.into_iter().flatten() {
        assert_eq!(first.kind, Kind::Peer, "{first}");
        assert_eq!(second.kind, Kind::Peer, "{second}");
    }
}

/// Rank 1 stays but never comes.
#[test]
fn a_peer_that_hangs_ends_in_a_timeout() {
    let timeout = Duration::from_secs(2);
    let (done, until_done) = mpsc::channel();
    let until_done = std::sync::Mutex::new(until_done);
    let errors = with_ranks(2, timeout, |mut group| {
        group.barrier().unwrap();
        if group.rank() == 1 {
            until_done.lock().unwrap().recv().unwrap();
            return None;
        }
        let started = Instant::now();
        let error = group.all_reduce(&Tensor::ones([4], (Dtype::Float, CPU)), ReduceOp::Sum).unwrap_err();
        assert!(started.elapsed() < LONG / 2);
        done.send(()).unwrap();
        Some(error)
    });
    let error = errors[0].as_ref().unwrap();
    assert_eq!(error.kind, Kind::Timeout, "{error}");
}

#[test]
fn an_abort_from_another_thread_ends_the_collective() {
    let (send, receive) = mpsc::channel();
    let aborter = std::thread::spawn(move || {
        let (handle, ready): (AbortHandle, mpsc::Receiver<()>) = receive.recv().unwrap();
        ready.recv().unwrap();
        handle.abort().unwrap();
        handle
    });
    let started = Instant::now();
    let ready = std::sync::Mutex::new(Vec::new());
    let errors = with_ranks(2, LONG, |mut group| {
        group.barrier().unwrap();
        if group.rank() == 1 {
            let (sender, receiver) = mpsc::channel();
            send.send((group.abort_handle().unwrap(), receiver)).unwrap();
            // Alive, but not in the collective, until rank 0 has its error.
            ready.lock().unwrap().push(sender);
            let error = group.all_reduce(&Tensor::ones([4], (Dtype::Float, CPU)), ReduceOp::Sum);
            return error.err();
        }
        // Rank 0 lets the abort of rank 1 happen, then finds its own end closed.
        loop {
            if let Some(sender) = ready.lock().unwrap().pop() {
                sender.send(()).unwrap();
                break;
            }
            std::thread::yield_now();
        }
        let mut result = Ok(());
        while result.is_ok() {
            result = group.all_reduce(&Tensor::ones([4], (Dtype::Float, CPU)), ReduceOp::Sum);
        }
        result.err()
    });
    assert!(started.elapsed() < LONG / 2);
    for error in errors.iter().flatten() {
        assert_eq!(error.kind, Kind::Peer, "{error}");
    }
    assert!(errors[0].is_some());
    // The groups are gone: the handle does nothing more.
    aborter.join().unwrap().abort().unwrap();
}

#[test]
fn survivors_meet_again() {
    let again: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let sums = with_ranks(3, LONG, |mut group| {
        group.barrier().unwrap();
        let rank = group.rank();
        if rank == 1 {
            return 0.0;
        }
        let tensor = Tensor::ones([8], (Dtype::Float, CPU));
        group.all_reduce(&tensor, ReduceOp::Sum).unwrap_err();
        drop(group);
        let mut group = Group::new(spec(rank / 2, 2, LONG), Arc::clone(&again)).unwrap();
        let tensor = Tensor::full([8], f64::from(rank), (Dtype::Float, CPU));
        group.all_reduce(&tensor, ReduceOp::Sum).unwrap();
        group.barrier().unwrap();
        tensor.double_value(&[0])
    });
    assert_eq!(sums, [2.0, 0.0, 2.0]);
}

/// A store that fails as it is told.
struct Broken(fn() -> StoreError);

impl Store for Broken {
    fn set(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Err(self.0())
    }
    fn get(&self, _: &str, _: Duration) -> Result<Vec<u8>, StoreError> {
        Err(self.0())
    }
    fn add(&self, _: &str, _: i64) -> Result<i64, StoreError> {
        Err(self.0())
    }
    fn compare_set(&self, _: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>, StoreError> {
        Err(self.0())
    }
    fn check(&self, _: &[&str]) -> Result<bool, StoreError> {
        Err(self.0())
    }
    fn delete(&self, _: &str) -> Result<bool, StoreError> {
        Err(self.0())
    }
    fn wait(&self, _: &[&str], _: Duration) -> Result<(), StoreError> {
        Err(self.0())
    }
}

#[test]
fn errors_and_panics_of_the_store_come_back() {
    for (fail, words) in [
        ((|| StoreError("the coordinator is gone".into())) as fn() -> StoreError, "the coordinator is gone"),
        (|| panic!("store bug {}", 7), "store bug 7"),
    ] {
        let error = Group::new(spec(0, 2, LONG), Arc::new(Broken(fail))).unwrap_err();
        assert_eq!(error.kind, Kind::Store, "{error}");
        assert!(error.text.contains(words), "{error}");
    }
}

#[test]
fn a_rank_that_never_comes_is_an_error() {
    let started = Instant::now();
    let spec = spec(0, 2, Duration::from_millis(200));
    let error = Group::new(spec, Arc::new(MemoryStore::new())).unwrap_err();
    assert_eq!(error.kind, Kind::Store, "{error}");
    assert!(started.elapsed() < LONG / 2);
}
