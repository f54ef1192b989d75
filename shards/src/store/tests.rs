//! Folders of memory and of disks, and what is told of trouble.

#![allow(clippy::single_range_in_vec_init)]

use super::*;
use crate::object::Object;
use e2e::faults::{self, Fault, Faulty};
use object_store::{local::LocalFileSystem, memory::InMemory};
use std::{io, sync::Mutex};
use tokio::time::Instant;

#[tokio::test]
async fn a_full_disk_is_told_with_path_and_mend() {
    let folder = Folder::new(Arc::new(object_store::memory::InMemory::new()), Path::from("out"));
    let ask = folder.store.ask("writing", &folder.step(GlobalStep(3)).at("COMMITTED"));
    let full = || {
        let source = Box::new(io::Error::from(io::ErrorKind::StorageFull));
        object_store::Error::Generic { store: "LocalFileSystem", source }
    };
    let local = Folder::open("/tmp").unwrap();
    let error = local.store.request::<(), _>(&ask, Duration::ZERO, |_| async { Err(full().into()) }).await;
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("writing out/step-000000003/COMMITTED: the disk is full"), "{text}");
    assert!(text.contains("--resume"), "{text}");
}

#[tokio::test]
async fn ranges_of_a_disk_come_in_any_order_and_none_past_the_end() {
    let disk = tempfile::tempdir().unwrap();
    let folder = Folder::open(disk.path().to_str().unwrap()).unwrap();
    folder.put("digits", b"0123456789".to_vec()).await.unwrap();
    let (store, path) = folder.object("digits");
    let whole = Object { store, path, size: 10, etag: Some("1".into()) };
    assert_eq!(whole.ranges(&[7..9, 3..3, 0..10, 8..10]).await.unwrap(), ["78", "", "0123456789", "89"]);
    let beyond = whole.ranges(&[5..11]).await.unwrap_err();
    assert!(beyond.to_string().contains("/digits: bytes 5..11 are not in its 10 bytes"), "{beyond}");
    let cut = Object { size: 20, ..whole };
    for range in [5..15, 12..15] {
        let error = cut.ranges(&[range]).await.unwrap_err();
        assert_eq!(error.exit(), proto::Exit::Data, "{error}");
    }
}

const MIB: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn a_paced_write_keeps_its_rate_and_arrives_whole() {
    for (mib, rate) in [(0, 2.0), (3, 2.0), (5, 0.5), (37, 2.0), (40, 1000.0)] {
        let begun = Instant::now();
        let times = Arc::new(Mutex::new(Vec::new()));
        let noted = times.clone();
        let script: faults::Script = Box::new(move |now| {
            if now.verb == "part" {
                noted.lock().unwrap().push(begun.elapsed().as_secs_f64());
            }
            // Time that sending takes counts.
            Some(Fault::Late(Duration::from_millis(40)))
        });
        let store = Faulty::new(Arc::new(InMemory::new()), script);
        let folder = Folder::new(Arc::new(store), Path::from("out"));
        let bytes: Vec<u8> = (0..mib * MIB).map(|at| (at / 1000) as u8).collect();
        folder.put_paced("part", bytes.clone(), rate).await.unwrap();
        let times = times.lock().unwrap().clone();
        assert_eq!(times.len(), if mib > 5 { mib.div_ceil(5) } else { 0 }, "a small file is one request");
        for (piece, time) in times.iter().enumerate() {
            let due = (piece * 5) as f64 / rate;
            let late = time - due;
            assert!(
                late >= 0.0 && (late < 0.2 || rate > 50.0),
                "piece {piece} of {mib} at {time}, due {due}"
            );
        }
        assert!(folder.get("part").await.unwrap().unwrap() == bytes, "{mib} MiB");
    }
}

#[tokio::test(start_paused = true)]
async fn a_paced_write_that_is_killed_anywhere_shows_no_file_and_leaves_nothing_that_is_not_removed() {
    for fault in [Fault::Refused, Fault::Unanswered, Fault::Torn, Fault::Full] {
        for (at, dies) in (1..=5).flat_map(|at| [(at, true), (at, false)]) {
            let disk = tempfile::tempdir().unwrap();
            let inner = Arc::new(LocalFileSystem::new_with_prefix(disk.path()).unwrap());
            let script = if dies { faults::dies_at(at, fault) } else { faults::during(at..at + 1, fault) };
            let store = Faulty::new(inner.clone(), script);
            let folder = Folder::new(Arc::new(store.clone()), Path::from("out"));
            let wrote = folder.put_paced("part", vec![3; 12 * MIB], 100.0).await;
            assert!(wrote.is_err(), "one file is created, has three parts, and is completed");
            let complete = at == 5 && fault == Fault::Unanswered;
            let seen = Folder::new(inner, Path::from("out")).size("part").await.unwrap();
            assert_eq!(seen, complete.then_some(12 * MIB as u64), "{fault:?} at {at}");
            let out = Folder::open(disk.path().join("out").to_str().unwrap()).unwrap();
            out.remove_unfinished().await.unwrap();
            let left = std::fs::read_dir(disk.path().join("out")).map_or(0, Iterator::count);
            assert_eq!(left, usize::from(complete), "{fault:?} at {at}");
        }
    }
}
