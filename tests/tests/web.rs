//! A dataset on a plain web server, which lists nothing.
#![allow(clippy::unwrap_used)]

use e2e::net::{
    proxy::{Fault, Proxy},
    web::{self, Skills},
};
use proto::{
    Exit, RowGroupId,
    config::{DataSection, Locations, StoreSection},
};
use shards::{
    manifest::Manifest,
    reader::Reader,
    store::Folder,
    write::{Pair, WriteSpec, Writer},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// Twelve pairs in two files.
async fn write(folder: &Path, word: &str) {
    let spec = WriteSpec { column: "jpg".into(), group_rows: 3, file_groups: 2 };
    let mut writer = Writer::create(Folder::open(folder.to_str().unwrap()).unwrap(), spec).await.unwrap();
    for row in 0..12 {
        let caption = Some(format!("{word} {row}"));
        writer
            .push(Pair { key: row.to_string(), caption, image: vec![row; 50], ..Pair::default() })
            .await
            .unwrap();
    }
    writer.finish().await.unwrap();
}

#[tokio::test]
async fn files_named_one_by_one_are_indexed_once_and_a_changed_one_is_refused_when_it_is_read() {
    let disk = tempfile::tempdir().unwrap();
    write(&disk.path().join("set"), "row").await;
    let web = web::serve(disk.path(), Skills::default()).unwrap();
    let proxy = Proxy::start(web.address).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    proxy.plan(move |_, _| {
        count.fetch_add(1, SeqCst);
        Fault::None
    });
    let store = StoreSection { retries: 2, retry_seconds: 5.0, timeout: 5.0, ..StoreSection::default() };
    let at = |location: Locations| DataSection { train: location, ..DataSection::default() };
    let folder = at(format!("{}/set", proxy.url()).as_str().into());
    let error = Manifest::open(&folder, &store).await.unwrap_err();
    assert!(error.to_string().contains("tandem data index") && error.exit() == Exit::Data, "{error}");

    let urls = [0, 1].map(|number| format!("{}/set/{number:05}.parquet", proxy.url()));
    let mut data = at(Locations::Many(urls.to_vec()));
    let manifest = Manifest::open(&data, &store).await.unwrap();
    assert_eq!((manifest.rows(), manifest.files().len()), (12, 2));
    let index = disk.path().join("web.index");
    std::fs::write(&index, manifest.to_bytes().unwrap()).unwrap();
    data.index = index.to_str().unwrap().into();
    let before = asked.load(SeqCst);
    let opened = Arc::new(Manifest::open(&data, &store).await.unwrap());
    assert_eq!((asked.load(SeqCst), opened.as_ref()), (before, &manifest), "an index asks no server");

    let reader = Reader::new(opened.clone(), &store).unwrap();
    let rows = reader.fetch(RowGroupId(3), 0..3).await.unwrap();
    assert_eq!(rows.get(1).unwrap().captions.first(), Some("row 10"));
    std::fs::remove_dir_all(disk.path().join("set")).unwrap();
    write(&disk.path().join("set"), "ROW").await;
    let error = Reader::new(opened, &store).unwrap().fetch(RowGroupId(3), 0..3).await.unwrap_err();
    assert!(error.to_string().contains("00001.parquet") && error.exit() == Exit::Data, "{error}");
}
