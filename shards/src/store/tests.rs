//! Folders of memory and of disks, and what is told of trouble.

#![allow(clippy::single_range_in_vec_init)]

use super::*;
use crate::object::Object;
use std::io;

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
