//! Folders of memory and of disks, and what is told of trouble.

use super::*;
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
