//! Datasets written, indexed, read, changed and broken, on a real disk.

use super::*;
use crate::{
    reader::Reader,
    write::{Pair, WriteSpec, Writer},
};
use proptest::prelude::*;
use proto::config::DataSection;
use std::{fs, path::Path};

const ROWS: u32 = 23;

fn pair(number: u32) -> Pair {
    let caption = (number % 7 != 3).then(|| format!("caption {number}"));
    Pair {
        key: format!("{number:05}"),
        caption,
        image: vec![number as u8; 1 + number as usize],
        ..Pair::default()
    }
}

/// 23 pairs in files of two row groups of five.
async fn dataset(folder: &Path) -> String {
    let location = folder.to_str().unwrap().to_owned();
    let spec = WriteSpec { column: "png".into(), group_rows: 5, file_groups: 2 };
    let mut writer = Writer::create(Folder::open(&location).unwrap(), spec).await.unwrap();
    for number in 0..ROWS {
        writer.push(pair(number)).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), (u64::from(ROWS), 3));
    location
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[tokio::test]
async fn what_is_written_is_indexed_and_the_index_is_used_while_it_fits() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let manifest = Manifest::index(&location).await.unwrap();
    let rows: Vec<u32> = manifest.row_groups().map(|(_, _, group)| group.rows).collect();
    assert_eq!(rows, [5, 5, 5, 5, 3]);
    assert_eq!(manifest.place(22), Some(("00002.parquet", 0, RowGroupId(4), 2)));
    assert_eq!(manifest.place(17), Some(("00001.parquet", 1, RowGroupId(3), 2)));
    assert_eq!(manifest.place(23), None);
    fs::write(disk.path().join(INDEX), manifest.to_json().unwrap()).unwrap();
    let opened = Manifest::open(&location).await.unwrap();
    assert_eq!(opened.fingerprint().unwrap(), manifest.fingerprint().unwrap());
    fs::copy(disk.path().join("00000.parquet"), disk.path().join("00003.parquet")).unwrap();
    let error = Manifest::open(&location).await.unwrap_err().to_string();
    assert!(error.contains("00003.parquet is new") && error.contains("tandem data index"), "{error}");
    let single = Manifest::open(&format!("{location}/00002.parquet")).await.unwrap();
    assert_eq!((single.rows(), single.files()[0].path.as_str()), (3, ""));
}

#[tokio::test]
async fn every_change_of_a_dataset_is_named() {
    let disk = tempfile::tempdir().unwrap();
    let frozen = Manifest::index(&dataset(disk.path()).await).await.unwrap();
    let with = |change: &dyn Fn(&mut Vec<File>)| {
        let mut now = frozen.clone();
        change(&mut now.files);
        frozen.difference(&now).unwrap_or_default()
    };
    assert_eq!(with(&|_| ()), "");
    assert_eq!(with(&|files| drop(files.remove(1))), "00001.parquet is gone");
    assert!(with(&|files| files[2].size += 1).starts_with("00002.parquet has"));
    assert_eq!(with(&|files| files[0].etag.push('x')), "00000.parquet was written anew");
    assert_eq!(with(&|files| files[0].row_groups[1].rows = 4), "00000.parquet was written anew");
}

#[tokio::test]
async fn what_is_no_dataset_is_told() {
    let disk = tempfile::tempdir().unwrap();
    let empty = disk.path().to_str().unwrap().to_owned();
    let told = async |location: &str| {
        let error = Manifest::open(location).await.unwrap_err();
        assert_eq!(error.exit(), proto::Exit::Data);
        error.to_string()
    };
    assert!(told(&format!("{empty}/nowhere")).await.contains("no dataset at"));
    fs::write(disk.path().join("a.csv"), "x").unwrap();
    assert!(told(&empty).await.contains("such as a.csv"));
    fs::write(disk.path().join("a.parquet"), "").unwrap();
    assert!(told(&empty).await.contains("it is empty"));
    fs::write(disk.path().join("a.parquet"), "this is no parquet file at all").unwrap();
    assert!(told(&empty).await.contains("a.parquet can't be read as parquet"));
    fs::remove_file(disk.path().join("a.parquet")).unwrap();
    let whole = tempfile::tempdir().unwrap();
    dataset(whole.path()).await;
    let bytes = fs::read(whole.path().join("00000.parquet")).unwrap();
    fs::write(disk.path().join("cut.parquet"), &bytes[..bytes.len() - 9]).unwrap();
    assert!(told(&empty).await.contains("cut.parquet can't be read"));
    fs::write(disk.path().join(INDEX), "{}").unwrap();
    assert!(told(&empty).await.contains("is no index"));
}

#[tokio::test]
async fn a_folder_with_parquet_is_not_written_into() {
    let disk = tempfile::tempdir().unwrap();
    let folder = Folder::open(&dataset(disk.path()).await).unwrap();
    let spec = WriteSpec { column: "jpg".into(), group_rows: 1, file_groups: 1 };
    let error = Writer::create(folder, spec).await.err().unwrap();
    assert!(error.to_string().contains("00000.parquet already"), "{error}");
}

#[tokio::test]
async fn pages_that_are_overwritten_end_in_an_error_that_names_the_file() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let manifest = Manifest::index(&location).await.unwrap();
    let path = disk.path().join("00000.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4..60].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let reader = Reader::new(&location, &DataSection::default(), &manifest).unwrap();
    let error = reader.fetch(RowGroupId(0), 0..5).await.unwrap_err().to_string();
    assert!(error.contains("00000.parquet can't be read"), "{error}");
    assert!(reader.fetch(RowGroupId(2), 0..5).await.is_ok());
    assert!(reader.fetch(RowGroupId(5), 0..1).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_rows_of_any_group_are_the_ones_that_were_written(group in 0_u32..5, from in 0_u32..5, count in 1_u32..6) {
        let disk = tempfile::tempdir().unwrap();
        block_on(async {
            let location = dataset(disk.path()).await;
            let manifest = Manifest::index(&location).await.unwrap();
            let reader = Reader::new(&location, &DataSection::default(), &manifest).unwrap();
            let held = manifest.row_groups().nth(group as usize).unwrap().2.rows;
            let rows = from.min(held - 1)..(from + count).min(held).max(from.min(held - 1) + 1);
            let fetched = reader.fetch(RowGroupId(group), rows.clone()).await.unwrap();
            for row in 0..held {
                let (found, wanted) = (fetched.get(row), pair(group * 5 + row));
                let seen = found.map(|row| (row.image.map(<[u8]>::to_vec), row.caption.map(str::to_owned)));
                assert_eq!(seen, rows.contains(&row).then_some((Some(wanted.image), wanted.caption)));
            }
        });
    }
}
