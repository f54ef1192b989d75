//! Datasets written, indexed, read, changed and broken, on a real disk.

use super::*;
use crate::{
    Error,
    reader::Reader,
    store::Folder,
    write::{Pair, WriteSpec, Writer},
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use proto::config::{DataSection, Locations, StoreSection};
use std::{fs, path::Path, sync::Arc};

const ROWS: u32 = 23;

fn pair(number: u32) -> Pair {
    let caption = (number % 7 != 3).then(|| format!("caption {number}"));
    Pair {
        key: format!("{number:05}"),
        caption,
        image: vec![number as u8; 1 + number as usize],
        size: (number, 1),
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

fn at(location: &str) -> DataSection {
    DataSection { train: location.into(), ..DataSection::default() }
}

fn filtered(location: &str, filter: &str) -> DataSection {
    DataSection { filter: vec![filter.into()], ..at(location) }
}

async fn opened(data: &DataSection) -> crate::Result<Manifest> {
    Manifest::open(data, &StoreSection::default()).await
}

async fn indexed(data: &DataSection) -> Manifest {
    Manifest::index(&data.sources(), &StoreSection::default(), None, async |_, _: &Manifest| Ok(()))
        .await
        .unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn rows(manifest: &Manifest) -> Vec<u32> {
    manifest.row_groups().iter().map(|group| group.rows).collect()
}

#[tokio::test]
async fn what_is_written_is_indexed_and_the_index_is_used_while_it_fits() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let manifest = indexed(&at(&location)).await;
    assert_eq!(rows(&manifest), [5, 5, 5, 5, 3]);
    let place = |row| {
        manifest.place(row).map(|place| (place.file.path.as_str(), place.number, place.group, place.row))
    };
    assert_eq!(place(22), Some(("00002.parquet", 0, RowGroupId(4), 2)));
    assert_eq!(place(17), Some(("00001.parquet", 1, RowGroupId(3), 2)));
    assert_eq!(place(23), None);
    fs::write(disk.path().join(INDEX), manifest.to_bytes().unwrap()).unwrap();
    let same = opened(&at(&location)).await.unwrap();
    assert_eq!((same.fingerprint(), &same), (manifest.fingerprint(), &manifest));
    fs::copy(disk.path().join("00000.parquet"), disk.path().join("00003.parquet")).unwrap();
    let error = opened(&at(&location)).await.unwrap_err().to_string();
    assert!(error.contains("00003.parquet is new") && error.contains("tandem data index"), "{error}");
    let single = opened(&at(&format!("{location}/00002.parquet"))).await.unwrap();
    assert_eq!((single.rows(), single.files()[0].path.as_str()), (3, ""));
    assert_eq!(single.name(&single.files()[0]), format!("{location}/00002.parquet"));
}

#[tokio::test]
async fn a_glob_takes_its_part_of_a_folder_and_of_the_folders_index() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let some = at(&format!("{location}/0000[12].parquet"));
    let fresh = opened(&some).await.unwrap();
    assert_eq!(rows(&fresh), [5, 5, 3]);
    let whole = indexed(&at(&location)).await;
    fs::write(disk.path().join(INDEX), whole.to_bytes().unwrap()).unwrap();
    assert_eq!(opened(&some).await.unwrap(), fresh);
    let none = opened(&at(&format!("{location}/x*.parquet"))).await.unwrap_err();
    assert!(matches!(none, Error::NoParquet { files: 4, .. }), "{none}");
}

#[tokio::test]
async fn several_locations_are_one_dataset_and_weighted_sources_are_pools() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let places = [dataset(one.path()).await, format!("{}/0000[01].parquet", dataset(two.path()).await)];
    let list = DataSection { train: Locations::Many(places.to_vec()), ..DataSection::default() };
    let manifest = opened(&list).await.unwrap();
    assert_eq!(rows(&manifest), [5, 5, 5, 5, 3, 5, 5, 5, 5]);
    assert_eq!(manifest.pools(), [Pool { groups: 0..9, weight: 1 }]);
    let source = |number: usize, weight| Source {
        location: places[number].as_str().into(),
        weight,
        ..Source::default()
    };
    let weighted = DataSection { source: vec![source(0, 7), source(1, 3)], ..DataSection::default() };
    let manifest = opened(&weighted).await.unwrap();
    assert_eq!(manifest.pools(), [Pool { groups: 0..5, weight: 7 }, Pool { groups: 5..9, weight: 3 }]);
    let reader = Reader::new(Arc::new(manifest), &StoreSection::default()).unwrap();
    let fetched = reader.fetch(RowGroupId(8), 1..3).await.unwrap();
    assert_eq!(fetched.get(2).unwrap().captions.first(), pair(17).caption.as_deref());
}

#[tokio::test]
async fn a_filter_leaves_rows_out_and_what_is_left_is_numbered_through() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let data = filtered(&location, "width >= 7");
    let manifest = indexed(&data).await;
    assert_eq!(rows(&manifest), [0, 3, 5, 5, 3]);
    assert_eq!((manifest.rows(), manifest.stored_rows()), (16, 23));
    let reader = Reader::new(Arc::new(manifest.clone()), &StoreSection::default()).unwrap();
    for row in 0..16 {
        let place = manifest.place(row).unwrap();
        let fetched = reader.fetch(place.group, place.row..place.row + 1).await.unwrap();
        let wanted = pair(7 + row as u32);
        assert_eq!(fetched.get(place.row).unwrap().image, Some(wanted.image.as_slice()));
    }
    let error = opened(&filtered(&location, "width > 1000")).await.unwrap_err().to_string();
    assert!(error.contains("23 are stored") && error.contains("data.filter"), "{error}");
    fs::write(disk.path().join(INDEX), manifest.to_bytes().unwrap()).unwrap();
    assert_eq!(opened(&data).await.unwrap(), manifest);
    let error = opened(&at(&location)).await.unwrap_err().to_string();
    assert!(error.contains("width >= 7") && error.contains("tandem data index"), "{error}");
}

#[tokio::test]
async fn an_index_is_made_anew_from_what_is_known_and_what_changed() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let sources = at(&location).sources();
    // Broken off after two files.
    let mut kept = Manifest::default();
    Manifest::index(
        &sources,
        &StoreSection::default(),
        None,
        async |progress: Progress, so_far: &Manifest| {
            if progress.files == 2 {
                kept = so_far.clone();
            }
            Ok(())
        },
    )
    .await
    .unwrap();
    let whole = indexed(&at(&location)).await;
    // What is known is not read again: it would be found out to be no parquet.
    let path = disk.path().join("00000.parquet");
    let (bytes, modified) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    fs::write(&path, vec![b'x'; bytes.len()]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(
        Manifest::index(&sources, &StoreSection::default(), Some(&kept), async |_, _: &Manifest| Ok(()))
            .await
            .unwrap(),
        whole
    );
    fs::write(&path, bytes).unwrap();
    let again =
        Manifest::index(&sources, &StoreSection::default(), Some(&kept), async |_, _: &Manifest| Ok(()))
            .await
            .unwrap();
    assert_eq!(
        (again.row_groups(), again.files()[1].clone()),
        (whole.row_groups(), whole.files()[1].clone())
    );
    assert!(whole.difference(&again).unwrap().contains("00000.parquet was written anew"));
}

#[tokio::test]
async fn every_change_of_a_dataset_is_named() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let frozen = indexed(&at(&location)).await;
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut now = frozen.clone();
        change(&mut now);
        frozen.difference(&now).unwrap_or_default()
    };
    assert_eq!(with(&|_| ()), "");
    assert_eq!(with(&|now| drop(now.files.remove(1))), format!("{location}/00001.parquet is gone"));
    assert!(with(&|now| now.files[2].size += 1).contains("00002.parquet has"));
    assert!(with(&|now| now.files[0].etag.push('x')).ends_with("00000.parquet was written anew"));
    assert!(with(&|now| now.groups[1].rows = 4).ends_with("00000.parquet was written anew"));
    assert!(with(&|now| now.sources[0].filter.push("width > 1".into())).contains("width > 1"));
    assert!(with(&|now| now.sources[0].weight = 2).contains("weight 0, now 2"));
    assert!(with(&|now| drop(now.sources.pop())).contains("1 sources"));
}

#[tokio::test]
async fn what_is_no_dataset_is_told() {
    let disk = tempfile::tempdir().unwrap();
    let empty = disk.path().to_str().unwrap().to_owned();
    let told = async |location: &str| {
        let error = opened(&at(location)).await.unwrap_err();
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
async fn another_version_and_another_parquet_file_are_no_index() {
    let disk = tempfile::tempdir().unwrap();
    let location = dataset(disk.path()).await;
    let data = fs::read(format!("{location}/00000.parquet")).unwrap();
    let error = Manifest::from_bytes(data.into(), "x").unwrap_err().to_string();
    assert!(error.contains("`tandem.manifest`"), "{error}");
    let whole = indexed(&at(&location)).await.to_bytes().unwrap();
    let text = br#"{"version":3"#;
    let found = whole.windows(text.len()).position(|part| part == text).unwrap();
    let mut other = whole.clone();
    other[found + text.len() - 1] = b'9';
    let error = Manifest::from_bytes(other.into(), "x").unwrap_err().to_string();
    assert!(error.contains("its version is 9"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_rows_of_any_group_are_the_ones_that_were_written(group in 0_u32..5, from in 0_u32..5, count in 1_u32..6) {
        let disk = tempfile::tempdir().unwrap();
        block_on(async {
            let location = dataset(disk.path()).await;
            let manifest = Arc::new(indexed(&at(&location)).await);
            let reader = Reader::new(manifest.clone(), &StoreSection::default()).unwrap();
            let held = manifest.row_groups()[group as usize].rows;
            let rows = from.min(held - 1)..(from + count).min(held).max(from.min(held - 1) + 1);
            let fetched = reader.fetch(RowGroupId(group), rows.clone()).await.unwrap();
            for row in 0..held {
                let (found, wanted) = (fetched.get(row), pair(group * 5 + row));
                let seen = found.map(|row| (row.image.map(<[u8]>::to_vec), row.captions.first().map(str::to_owned)));
                assert_eq!(seen, rows.contains(&row).then_some((Some(wanted.image), wanted.caption)));
            }
        });
    }

    #[test]
    fn a_file_gives_the_manifest_back(files in prop::collection::vec((any::<u64>(), "[a-z/]{0,9}", prop::collection::vec((any::<u32>(), any::<u64>(), any::<u64>()), 0..20)), 0..9)) {
        let source = Source { location: "x".into(), filter: vec!["a > 1".into()], weight: 3, ..Source::default() };
        let mut manifest = Manifest { sources: vec![source], locations: vec![(0, "x".into())], ..Manifest::default() };
        for (size, path, groups) in files {
            let groups: Vec<RowGroup> = groups.into_iter().map(|(stored, offset, bytes)| RowGroup { stored, rows: stored / 2, offset, bytes }).collect();
            manifest.push(File { location: 0, etag: path.clone(), path, size, groups: 0..0 }, &groups);
        }
        let bytes = Bytes::from(manifest.to_bytes().unwrap());
        prop_assert_eq!(Manifest::from_bytes(bytes, "x").unwrap(), manifest);
    }

    #[test]
    fn a_damaged_file_is_an_error_or_a_manifest(at in any::<prop::sample::Index>(), flip in 1..=255u8, keep in 0.1..2.0f64) {
        let mut manifest = Manifest { sources: vec![Source::default()], locations: vec![(0, "x".into())], ..Manifest::default() };
        manifest.push(File { location: 0, path: "p".into(), size: 9, etag: "e".into(), groups: 0..0 }, &[RowGroup { stored: 2, rows: 1, offset: 4, bytes: 7 }]);
        let mut bytes = manifest.to_bytes().unwrap();
        let footer = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.clone())).unwrap();
        let entries = footer.metadata().file_metadata().key_value_metadata().unwrap();
        let seal = entries.iter().find(|entry| entry.key == "tandem.seal").unwrap().value.clone().unwrap();
        let pages: usize = seal.split(' ').next().unwrap().parse().unwrap();
        prop_assert!((100..bytes.len()).contains(&pages), "{} bytes of pages", pages);
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        match Manifest::from_bytes(bytes.into(), "x") {
            Err(error) => prop_assert!(error.to_string().contains("the index x"), "{}", error),
            Ok(_) => prop_assert!(at >= pages, "a flipped byte of a page at {} passes", at),
        }
    }
}
