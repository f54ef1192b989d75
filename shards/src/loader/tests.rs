//! Batches from a real disk: what stands in them, at any split of the lanes, from any step, and with broken rows.

use super::*;
use crate::{
    store::Folder,
    synth,
    text::train,
    write::{Pair, WriteSpec, Writer},
};
use arrow_array::{
    ArrayRef, RecordBatch, StringArray,
    builder::{ListBuilder, StringBuilder},
};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use proptest::prelude::*;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

const LANES: u32 = 4;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

struct Set {
    location: String,
    manifest: Arc<Manifest>,
    tokenizer: Tokenizer,
}

fn manifest(location: &str) -> Arc<Manifest> {
    let data = DataSection { train: location.into(), ..DataSection::default() };
    Arc::new(block_on(Manifest::open(&data, &StoreSection::default())).unwrap())
}

/// `rows` drawn pairs in row groups of 7; `spoil` may break them.
fn dataset(folder: &Path, rows: u64, spoil: impl Fn(u64, &mut Pair)) -> Set {
    let location = folder.to_str().unwrap().to_owned();
    let mut captions = Vec::new();
    block_on(async {
        let spec = WriteSpec { column: "jpg".into(), group_rows: 7, file_groups: 3 };
        let mut writer = Writer::create(Folder::open(&location).unwrap(), spec).await.unwrap();
        for row in 0..rows {
            let (picture, caption) = synth::pair(1, row, 24);
            captions.push(caption.clone());
            let image = synth::encode_jpeg(&picture, 80).unwrap();
            let mut pair = Pair { key: row.to_string(), caption: Some(caption), image, ..Pair::default() };
            spoil(row, &mut pair);
            writer.push(pair).await.unwrap();
        }
        writer.finish().await.unwrap();
    });
    let manifest = manifest(&location);
    let tokenizer = Tokenizer::from_bytes(&train(captions.into_iter(), 200).unwrap(), "v").unwrap();
    Set { location, manifest, tokenizer }
}

fn spec(set: &Set, lanes: Range<u32>, from: u64) -> LoaderSpec {
    let data = DataSection {
        train: set.location.as_str().into(),
        lanes: LANES,
        window: 2,
        substitution_budget: 0.2,
        ..DataSection::default()
    };
    let (augment, text) = (AugmentSection::default(), TextSection::default());
    LoaderSpec {
        data,
        store: StoreSection::default(),
        augment,
        text,
        image_size: 8,
        seed: 5,
        batch: 12,
        // Other splits decode with other numbers of threads, too.
        decode_threads: lanes.len(),
        lanes,
        from: GlobalStep(from),
    }
}

fn batches(set: &Set, lanes: Range<u32>, from: u64, count: usize) -> Vec<Batch> {
    let mut loader =
        Loader::start(spec(set, lanes, from), set.manifest.clone(), set.tokenizer.clone()).unwrap();
    (0..count).map(|_| loader.next_batch().unwrap()).collect()
}

#[test]
fn rows_with_the_same_caption_or_image_are_told() {
    let disk = tempfile::tempdir().unwrap();
    let same = synth::encode_jpeg(&synth::pair(1, 0, 24).0, 80).unwrap();
    let set = dataset(disk.path(), 24, |row, pair| {
        if row % 2 == 0 {
            pair.caption = Some(format!("Pair no, {}", if row % 4 == 0 { "one." } else { "one" }));
        }
        if row % 3 == 0 {
            pair.image = same.clone();
        }
    });
    for batch in batches(&set, 0..LANES, 0, 2) {
        let all: Vec<(u64, [i64; 2])> =
            batch.rows.iter().map(|(_, row)| *row).zip(batch.identities.clone()).collect();
        for (row, [caption, image]) in &all {
            for (other, [their_caption, their_image]) in all.iter().filter(|(other, _)| other != row) {
                let both = |of: u64| row % of == 0 && other % of == 0;
                assert!(!both(2) || caption == their_caption, "rows {row} and {other}");
                assert_eq!(image == their_image, both(3), "rows {row} and {other}");
            }
        }
    }
}

/// Writes the files of a dataset again, with a column of other values, made of the numbers of the rows.
fn rewrite(location: &str, name: &str, of: impl Fn(Range<u64>) -> ArrayRef) {
    let mut row = 0;
    let mut files: Vec<_> = fs::read_dir(location).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "parquet"));
    files.sort();
    for file in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file).unwrap()).unwrap();
        let batches: Vec<_> =
            reader.with_batch_size(7).build().unwrap().map(std::result::Result::unwrap).collect();
        let mut writer = None;
        for batch in batches {
            let rows = row..row + batch.num_rows() as u64;
            row = rows.end;
            let schema = batch.schema();
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let others = names.zip(batch.columns().iter().cloned()).filter(|(other, _)| *other != name);
            let columns = others.chain([(name, of(rows))]).map(|(name, column)| (name, column, true));
            let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
            let writer = writer.get_or_insert_with(|| {
                ArrowWriter::try_new(File::create(&file).unwrap(), batch.schema(), None).unwrap()
            });
            writer.write(&batch).unwrap();
            writer.flush().unwrap();
        }
        writer.unwrap().close().unwrap();
    }
}

#[test]
fn each_epoch_takes_one_of_several_captions_whoever_reads_it() {
    let disk = tempfile::tempdir().unwrap();
    let mut set = dataset(disk.path(), 28, |_, _| ());
    let words = |row: u64| [0, 1, 2].map(|other| synth::pair(1, row + 100 * other, 24).1);
    rewrite(&set.location, "caption", |rows| {
        let mut captions = ListBuilder::new(StringBuilder::new());
        rows.for_each(|row| captions.append_value(words(row).map(Some)));
        Arc::new(captions.finish())
    });
    set.manifest = manifest(&set.location);
    // 28 rows in batches of 12: twelve epochs.
    let whole = batches(&set, 0..LANES, 0, 28);
    let mut taken = vec![[0; 3]; 28];
    for batch in &whole {
        let width = batch.tokens.len() / 12;
        for ((line, (_, row)), length) in batch.tokens.chunks(width).zip(&batch.rows).zip(&batch.lengths) {
            let tokens = words(*row).map(|caption| set.tokenizer.encode(&caption, 30).unwrap());
            let which = tokens.iter().position(|tokens| line[..*length as usize] == **tokens);
            taken[*row as usize][which.unwrap()] += 1;
        }
    }
    assert!(
        taken.iter().all(|row| row.iter().sum::<u32>() == 12 && row.iter().all(|count| *count < 12)),
        "{taken:?}"
    );
    let parts = [batches(&set, 0..1, 9, 3), batches(&set, 1..LANES, 9, 3)];
    for (at, batch) in whole[9..12].iter().enumerate() {
        let lengths: Vec<u32> = parts.iter().flat_map(|part| part[at].lengths.clone()).collect();
        assert_eq!(lengths, batch.lengths);
    }
}

#[test]
fn a_phash_column_tells_copies_whose_bytes_differ() {
    let disk = tempfile::tempdir().unwrap();
    let same = synth::encode_jpeg(&synth::pair(1, 0, 24).0, 80).unwrap();
    let mut set = dataset(disk.path(), 24, |row, pair| {
        if row % 3 == 2 {
            pair.image = same.clone();
        }
    });
    // Of three rows, the first looks like other such rows, the second like none, and of the third only the bytes are known.
    let phash = |row: u64| match row % 3 {
        0 => Some("c3a5".into()),
        1 => Some(format!("{row:04x}")),
        _ => None,
    };
    rewrite(&set.location, "phash", |rows| Arc::new(rows.map(phash).collect::<StringArray>()));
    set.manifest = manifest(&set.location);
    for batch in batches(&set, 0..LANES, 0, 2) {
        let all: Vec<(u64, i64)> =
            batch.rows.iter().zip(&batch.identities).map(|((_, row), [_, image])| (*row, *image)).collect();
        for ((row, image), (other, theirs)) in
            all.iter().flat_map(|one| all.iter().map(move |other| (one, other)))
        {
            let alike = row == other || row % 3 == other % 3 && row % 3 != 1;
            assert_eq!(image == theirs, alike, "rows {row} and {other}");
        }
    }
}

#[test]
fn batches_hold_what_the_order_says() {
    let disk = tempfile::tempdir().unwrap();
    let set = dataset(disk.path(), 50, |_, _| ());
    let order = Order::of(&set.manifest, OrderSpec { seed: 5, lanes: LANES, window: 2, batch: 12 });
    // 20 steps of 12 pairs go almost five times through the 50 rows.
    for (step, batch) in (0..).zip(batches(&set, 0..LANES, 0, 20)) {
        let lanes = (0..LANES).map(LaneId);
        let wanted: Vec<_> = lanes.flat_map(|lane| order.walk(lane, GlobalStep(step)).take(3)).collect();
        assert_eq!(batch.step, GlobalStep(step));
        assert_eq!(batch.rows, wanted.iter().map(|slot| (slot.epoch, slot.row)).collect::<Vec<_>>());
        let width = batch.tokens.len() / 12;
        for ((line, slot), length) in batch.tokens.chunks(width).zip(&wanted).zip(&batch.lengths) {
            let tokens = set.tokenizer.encode(&synth::pair(1, slot.row, 24).1, 30).unwrap();
            assert_eq!(&line[..*length as usize], tokens);
            assert!(line[*length as usize..].iter().all(|id| *id == 0));
        }
        assert!(batch.images.iter().any(|value| *value != 0.0) && batch.images.iter().all(|v| v.is_finite()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn the_split_of_lanes_and_the_first_step_change_nothing(cut in 1..LANES, from in 0_u64..12) {
        let disk = tempfile::tempdir().unwrap();
        // One row in ten is broken, so that substitutes are compared too.
        let set = dataset(disk.path(), 40, |row, pair| if row % 10 == 3 { pair.image.truncate(20) });
        let whole = &batches(&set, 0..LANES, 0, 14)[from as usize..];
        let parts = [batches(&set, 0..cut, from, whole.len()), batches(&set, cut..LANES, from, whole.len())];
        for (at, whole) in whole.iter().enumerate() {
            let joined = |of: fn(&Batch) -> Vec<u32>| parts.iter().flat_map(|part| of(&part[at])).collect::<Vec<_>>();
            let bits = |batch: &Batch| batch.images.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(joined(bits), bits(whole));
            prop_assert_eq!(joined(|batch| batch.lengths.clone()), whole.lengths.clone());
            let rows: Vec<_> = parts.iter().flat_map(|part| part[at].rows.clone()).collect();
            prop_assert_eq!(&rows, &whole.rows);
            let replaced: Vec<_> = parts.iter().flat_map(|part| part[at].substitutions.clone()).collect();
            prop_assert_eq!(&replaced, &whole.substitutions);
            prop_assert_eq!(parts[1][at].first_slot, cut * 3);
        }
    }
}

#[test]
fn rows_that_can_not_be_used_are_replaced_named_and_counted() {
    let disk = tempfile::tempdir().unwrap();
    let set = dataset(disk.path(), 60, |row, pair| match row {
        5 => pair.image = b"no image".to_vec(),
        17 => pair.caption = None,
        29 => pair.caption = Some("?!".into()),
        _ => (),
    });
    let found: Vec<_> =
        batches(&set, 0..LANES, 0, 5).into_iter().flat_map(|batch| batch.substitutions).collect();
    let mut rows: Vec<u64> = found.iter().map(|one| one.row).collect();
    rows.sort_unstable();
    assert_eq!(rows, [5, 17, 29]);
    for one in found {
        let part = match one.row {
            5 => "format",
            17 => "null",
            _ => "no words",
        };
        assert!(one.reason.contains(part), "{one:?}");
        assert!(![5, 17, 29].contains(&one.substitute), "{one:?}");
    }
}

#[test]
fn what_is_given_is_proven_by_the_ledger_with_every_substitution() {
    use crate::ledger::{Entry, Header, Outcome, Record, Segment, VERSION, verify::Verifier};
    use proto::Generation;
    let disk = tempfile::tempdir().unwrap();
    let set = dataset(disk.path(), 40, |row, pair| {
        if row % 10 == 3 {
            pair.image.truncate(20)
        }
    });
    let spec = OrderSpec { seed: 5, lanes: LANES, window: 2, batch: 12 };
    let parts = [batches(&set, 0..1, 0, 9), batches(&set, 1..LANES, 0, 9)];
    let records = |at: usize| parts.iter().map(move |part| Record::of(&part[at], &spec));
    let entry = |at: usize| Entry {
        generation: Generation(1),
        step: GlobalStep(at as u64 + 1),
        outcome: Outcome::Applied,
        digests: records(at).flat_map(|record| record.digests).collect(),
    };
    let dataset = set.manifest.fingerprint();
    let header = Header {
        version: VERSION,
        run: "r".into(),
        from: GlobalStep(0),
        to: GlobalStep(9),
        dataset: dataset.clone(),
        order: spec,
        previous: None,
    };
    let stand_ins = (0..9).flat_map(records).flat_map(|record| record.stand_ins).collect();
    let segment = Segment { header, entries: (0..9).map(entry).collect(), stand_ins };
    let mut verifier = Verifier::new(Order::of(&set.manifest, spec), &dataset, 5);
    verifier.segment("s", &segment, &mut |_| ());
    let report = verifier.finish(GlobalStep(9), &mut |_| ());
    assert!(report.proven(), "{report:?}");
    assert_eq!((report.epochs[0].committed_once, report.epochs[0].substituted), (40, 4));
}

#[test]
fn too_many_of_them_end_the_run() {
    let disk = tempfile::tempdir().unwrap();
    let set = dataset(disk.path(), 60, |row, pair| {
        if row % 3 == 0 {
            pair.image.clear()
        }
    });
    let mut strict = spec(&set, 0..LANES, 0);
    strict.data.substitution_budget = 0.01;
    let mut loader = Loader::start(strict, set.manifest.clone(), set.tokenizer.clone()).unwrap();
    let error = std::iter::repeat_with(|| loader.next_batch()).take(10).find_map(Result::err).unwrap();
    assert!(matches!(error, Error::Budget { replaced: 11, .. }), "{error}");
    assert!(error.to_string().contains("data.substitution_budget"), "{error}");
}

#[test]
fn what_can_not_be_started_is_told_at_once() {
    let disk = tempfile::tempdir().unwrap();
    let set = dataset(disk.path(), 3, |_, _| ());
    let error =
        Loader::start(spec(&set, 0..LANES, 0), set.manifest.clone(), set.tokenizer.clone()).err().unwrap();
    assert!(error.to_string().contains("data.lanes = 4") && error.exit() == proto::Exit::Usage, "{error}");
    let gone = tempfile::tempdir().unwrap();
    let set = dataset(gone.path(), 30, |_, _| ());
    drop(gone);
    let mut loader =
        Loader::start(spec(&set, 0..LANES, 0), set.manifest.clone(), set.tokenizer.clone()).unwrap();
    let error = loader.next_batch().unwrap_err();
    assert!(error.to_string().contains(".parquet") && error.exit() == proto::Exit::Data, "{error}");
}
