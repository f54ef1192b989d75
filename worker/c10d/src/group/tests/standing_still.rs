//! A peer whose process stands still, or whose machine is gone without a word: it takes nothing any more.

use super::*;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

const NAME: &str = "group::tests::standing_still::an_abort_ends_a_send_to_a_peer_that_stands_still";
/// In the peer's environment: where the two meet.
const FOLDER: &str = "C10D_TEST_FOLDER";
/// More than the kernel takes on its way to a peer.
const VALUES: i64 = 16 << 20;
/// In which some collective would end, if any did.
const NEWS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// A file per key.
struct Files(PathBuf);

impl Store for Files {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let (file, draft) = (self.file(key), self.file(&format!("{key} {}", std::process::id())));
        let written = fs::write(&draft, value).and_then(|()| fs::rename(draft, file));
        written.map_err(|error| StoreError(error.to_string()))
    }
    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        self.wait(&[key], timeout)?;
        fs::read(self.file(key)).map_err(|error| StoreError(error.to_string()))
    }
    fn add(&self, _: &str, _: i64) -> Result<i64, StoreError> {
        Err(StoreError("not of use here".into()))
    }
    fn compare_set(&self, _: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>, StoreError> {
        Err(StoreError("not of use here".into()))
    }
    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        Ok(keys.iter().all(|key| self.file(key).exists()))
    }
    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        Ok(fs::remove_file(self.file(key)).is_ok())
    }
    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        let start = Instant::now();
        while !self.check(keys)? {
            if start.elapsed() > timeout {
                return Err(StoreError(format!("{keys:?} did not come")));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Files {
    fn file(&self, key: &str) -> PathBuf {
        self.0.join(key.replace('/', "-"))
    }
}

/// Sends from rank 0, as often as it goes; counts.
fn send(mut group: Group, done: &AtomicUsize) -> Error {
    let tensor = Tensor::ones([VALUES], (Dtype::Float, CPU));
    loop {
        match group.broadcast(&tensor, 0) {
            Ok(()) => done.fetch_add(1, Ordering::Relaxed),
            Err(error) => return error,
        };
    }
}

#[test]
fn an_abort_ends_a_send_to_a_peer_that_stands_still() {
    if let Some(folder) = env::var_os(FOLDER) {
        let group = Group::new(spec(1, 2, LONG), Arc::new(Files(folder.into()))).unwrap();
        send(group, &AtomicUsize::new(0));
        return;
    }
    let folder = env::temp_dir().join(format!("c10d-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut peer = Command::new(env::current_exe().unwrap());
    let peer = peer.args(["--exact", NAME]).env(FOLDER, &folder).stdout(Stdio::null());
    let mut peer = peer.spawn().unwrap();
    let group = Group::new(spec(0, 2, LONG), Arc::new(Files(folder.clone()))).unwrap();
    let handle = group.abort_handle().unwrap();
    let done = AtomicUsize::new(0);
    let (error, ended, freed) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let error = send(group, &done);
            (error, Instant::now())
        });
        while done.load(Ordering::Relaxed) < 2 {
            thread::yield_now();
        }
        // SAFETY: a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(peer.id() as i32, libc::SIGSTOP) }, 0);
        let (mut before, mut since) = (done.load(Ordering::Relaxed), Instant::now());
        while since.elapsed() < NEWS {
            thread::sleep(LOOK);
            let now = done.load(Ordering::Relaxed);
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        let aborted = Instant::now();
        handle.abort().unwrap();
        let (error, ended) = sending.join().unwrap();
        // With its group, which the thread has dropped.
        (error, ended.duration_since(aborted), aborted.elapsed())
    });
    peer.kill().unwrap();
    peer.wait().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(error.kind, Kind::Peer, "{error}");
    assert!(ended < LONG / 6 && freed < LONG / 6, "{ended:?}, {freed:?}");
}
