//! Files as others write them, whole and broken.

use super::*;
use arrow_array::{
    ArrayRef, BinaryArray, Float32Array, ListArray, RecordBatch, StringArray, StructArray,
    builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder, StringDictionaryBuilder},
    types::Int32Type,
};
use arrow_schema::{DataType, Field};
use parquet::{
    arrow::ArrowWriter,
    basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel},
    data_type::{ByteArray, ByteArrayType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use proto::config::DataSection;
use std::{fs, path::Path};

fn write(folder: &Path, batch: &RecordBatch, properties: WriterProperties) {
    let file = fs::File::create(folder.join("0.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn grouped(rows: usize) -> WriterProperties {
    WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build()
}

async fn open(folder: &Path) -> Result<Reader> {
    let data = DataSection { train: folder.to_str().unwrap().into(), ..DataSection::default() };
    let store = StoreSection::default();
    Reader::new(Arc::new(Manifest::open(&data, &store).await?), &store)
}

/// Caption and image of each row of a row group.
async fn pairs(reader: &Reader, group: u32) -> Vec<(Option<String>, Option<Vec<u8>>)> {
    let count = reader.manifest().row_groups()[group as usize].rows;
    let rows = reader.fetch(RowGroupId(group), 0..count).await.unwrap();
    let row = |at| rows.get(at).unwrap();
    (0..count)
        .map(|at| (row(at).captions.first().map(str::to_owned), row(at).image.map(<[u8]>::to_vec)))
        .collect()
}

fn pair(caption: &str, image: &[u8]) -> (Option<String>, Option<Vec<u8>>) {
    (Some(caption.into()), Some(image.into()))
}

fn binary(values: Vec<Option<&[u8]>>) -> ArrayRef {
    Arc::new(BinaryArray::from(values))
}

fn text(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

#[tokio::test]
async fn img2datasets_failed_rows_are_no_part_of_the_dataset() {
    let disk = tempfile::tempdir().unwrap();
    let batch = RecordBatch::try_from_iter([
        ("jpg", binary(vec![Some(b"0"), None, Some(b"2"), None, Some(b"4")])),
        ("caption", text(vec![Some("zero"), Some("one"), Some("two"), Some("three"), Some("four")])),
        (
            "status",
            text(vec![
                Some("success"),
                Some("failed_to_download"),
                Some("success"),
                Some("failed_to_resize"),
                Some("success"),
            ]),
        ),
    ])
    .unwrap();
    write(disk.path(), &batch, grouped(3));
    let reader = open(disk.path()).await.unwrap();
    assert!(reader.check_images().await.is_ok());
    assert_eq!((reader.manifest().rows(), reader.manifest().stored_rows()), (3, 5));
    assert_eq!(pairs(&reader, 0).await, [pair("zero", b"0"), pair("two", b"2")]);
    assert_eq!(pairs(&reader, 1).await, [pair("four", b"4")]);
    let second = reader.fetch(RowGroupId(0), 1..2).await.unwrap();
    assert_eq!(second.get(1).unwrap().image, Some(&b"2"[..]));
    assert!(second.get(0).is_none() && second.get(2).is_none());
}

#[tokio::test]
async fn hugging_faces_images_and_lists_of_captions() {
    let disk = tempfile::tempdir().unwrap();
    let image = StructArray::from(vec![
        (Arc::new(Field::new("bytes", DataType::Binary, true)), binary(vec![Some(b"0"), None])),
        (Arc::new(Field::new("path", DataType::Utf8, true)), text(vec![Some("a.jpg"), Some("b.jpg")])),
    ]);
    let mut captions = ListBuilder::new(StringBuilder::new());
    captions.append_value([Some("first"), None, Some("third")]);
    captions.append_value(Vec::<Option<&str>>::new());
    let captions: ListArray = captions.finish();
    let columns = [("image", Arc::new(image) as ArrayRef), ("captions", Arc::new(captions))];
    write(disk.path(), &RecordBatch::try_from_iter(columns).unwrap(), grouped(9));
    let rows = open(disk.path()).await.unwrap().fetch(RowGroupId(0), 0..2).await.unwrap();
    let (one, two) = (rows.get(0).unwrap(), rows.get(1).unwrap());
    assert_eq!((one.image, one.captions.len()), (Some(&b"0"[..]), 3));
    assert_eq!([0, 1, 2, 3].map(|at| one.captions.get(at)), [Some("first"), None, Some("third"), None]);
    assert_eq!(one.captions.iter().collect::<Vec<_>>(), ["first", "third"]);
    assert!(two.image.is_none() && two.captions.is_empty() && two.no_image() == "its image is null");
}

#[tokio::test]
async fn precomputed_features_of_any_depth() {
    let disk = tempfile::tempdir().unwrap();
    let mut fixed = FixedSizeListBuilder::new(Float32Builder::new(), 4);
    fixed.values().append_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    fixed.append(true);
    fixed.append(true);
    let mut nested = ListBuilder::new(ListBuilder::new(Float32Builder::new()));
    for regions in [vec![vec![1.0, 2.0], vec![3.0, 4.0]], vec![vec![5.0]]] {
        for region in regions {
            nested.values().append_value(region.into_iter().map(Some));
        }
        nested.append(true);
    }
    nested.values().append_value([Some(1.0), Some(2.0)]);
    nested.values().append_value([Some(3.0)]);
    nested.append(true);
    for (column, wanted, shapes) in [
        (
            Arc::new(fixed.finish()) as ArrayRef,
            [vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0]],
            [Some(vec![4]), Some(vec![4])],
        ),
        (
            Arc::new(nested.finish()),
            [vec![1.0, 2.0, 3.0, 4.0], vec![5.0]],
            [Some(vec![2, 2]), Some(vec![1, 1])],
        ),
    ] {
        let ragged = column.len() == 3;
        let columns = [("caption", text(vec![Some("c"); column.len()])), ("features", column)];
        write(disk.path(), &RecordBatch::try_from_iter(columns).unwrap(), grouped(9));
        let reader = open(disk.path()).await.unwrap();
        let told = reader.check_images().await.unwrap_err().to_string();
        assert!(told.contains("features") && told.contains("data.image_column"), "{told}");
        let rows = reader.fetch(RowGroupId(0), 0..2).await.unwrap();
        let values = [0, 1].map(|at| rows.get(at).unwrap().features.unwrap().values().unwrap());
        assert_eq!(values, wanted);
        assert_eq!([0, 1].map(|at| rows.get(at).unwrap().features.unwrap().shape()), shapes);
        if ragged {
            let rows = reader.fetch(RowGroupId(0), 2..3).await.unwrap();
            assert_eq!(rows.get(2).unwrap().features.unwrap().shape(), None);
        }
        assert!(rows.get(0).unwrap().no_image().contains("features"));
    }
}

#[tokio::test]
async fn every_compression_and_dictionaries() {
    let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
    ["again", "again", "other"].iter().for_each(|word| dictionary.append_value(word));
    let caption: ArrayRef = Arc::new(dictionary.finish());
    let image = binary(vec![Some(b"abcabcabc"), Some(b"abcabcabc"), None]);
    let batch = RecordBatch::try_from_iter([("image", image), ("caption", caption)]).unwrap();
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        for dictionary in [true, false] {
            let disk = tempfile::tempdir().unwrap();
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_dictionary_enabled(dictionary)
                .set_data_page_row_count_limit(1)
                .build();
            write(disk.path(), &batch, properties);
            let found = pairs(&open(disk.path()).await.unwrap(), 0).await;
            let (again, other) = (pair("again", b"abcabcabc"), (Some("other".to_owned()), None));
            assert_eq!(found, [again.clone(), again, other], "{compression:?}, dictionary {dictionary}");
        }
    }
}

/// One row group of three rows; the caption of the second is no UTF-8.
fn write_raw(path: &Path, dictionary: bool) {
    let schema = "message pairs { optional binary jpg; optional binary caption (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_dictionary_enabled(dictionary).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in [["0", "1", "2"].map(str::as_bytes), [b"zero", b"\xff\xfe", b"two"]] {
        let values = values.map(|value: &[u8]| ByteArray::from(value.to_vec()));
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&[1, 1, 1]), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn a_caption_that_is_no_text_costs_its_row() {
    let disk = tempfile::tempdir().unwrap();
    write_raw(&disk.path().join("0.parquet"), false);
    let reader = open(disk.path()).await.unwrap();
    let rows = reader.fetch(RowGroupId(0), 0..3).await.unwrap();
    assert_eq!([0, 2].map(|at| rows.get(at).unwrap().captions.first()), [Some("zero"), Some("two")]);
    let broken = rows.get(1).unwrap().broken.unwrap();
    assert!(broken.to_lowercase().contains("utf"), "{broken}");
    // A dictionary is read as a whole.
    write_raw(&disk.path().join("0.parquet"), true);
    let rows = open(disk.path()).await.unwrap().fetch(RowGroupId(0), 0..3).await.unwrap();
    assert!((0..3).all(|at| rows.get(at).is_some_and(|row| row.broken.is_some() || row.captions.len() == 1)));
    assert!(rows.get(1).unwrap().broken.is_some());
}

#[tokio::test]
async fn a_broken_page_costs_the_rows_that_are_on_it() {
    let disk = tempfile::tempdir().unwrap();
    let images: Vec<Vec<u8>> = (0..6u8).map(|row| vec![row; 40]).collect();
    let batch = RecordBatch::try_from_iter([
        ("jpg", binary(images.iter().map(|image| Some(image.as_slice())).collect())),
        ("caption", text(vec![Some("c"); 6])),
    ])
    .unwrap();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(2)
        .set_write_batch_size(2)
        .build();
    write(disk.path(), &batch, properties);
    let path = disk.path().join("0.parquet");
    let manifest_before = open(disk.path()).await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The length of row 4, the first of the third page, reaches far beyond the page.
    let at = bytes.windows(40).position(|part| part == [4; 40]).unwrap();
    assert_eq!(bytes[at - 4..at], [40, 0, 0, 0]);
    bytes[at - 4..at].fill(0x7f);
    fs::write(&path, bytes).unwrap();
    let rows = manifest_before.fetch(RowGroupId(0), 0..6).await.unwrap();
    let whole: Vec<u32> = (0..6).filter(|at| rows.get(*at).unwrap().broken.is_none()).collect();
    assert_eq!(whole, [0, 1, 2, 3]);
    assert_eq!(rows.get(3).unwrap().image, Some(images[3].as_slice()));
}

#[tokio::test]
async fn what_has_no_pairs_in_it_is_told_with_what_is_there() {
    let number: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    let inner =
        StructArray::from(vec![(Arc::new(Field::new("bytes", DataType::Float32, true)), number.clone())]);
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("inner", arrow_array::Array::data_type(&inner).clone(), true)),
        Arc::new(inner) as ArrayRef,
    )]);
    let cases: [(&str, ArrayRef); 2] = [("jpg", number), ("image", Arc::new(nested))];
    for (name, column) in cases {
        let disk = tempfile::tempdir().unwrap();
        let columns = [(name, column), ("caption", text(vec![Some("a")]))];
        write(disk.path(), &RecordBatch::try_from_iter(columns).unwrap(), grouped(9));
        let error = open(disk.path()).await.unwrap().columns().await.unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(name) && told.contains("caption (Utf8)") && told.contains("data.image_column"),
            "{told}"
        );
        assert_eq!(error.exit(), proto::Exit::Data);
    }
}

#[tokio::test]
async fn a_file_that_is_another_one_now_is_refused() {
    let disk = tempfile::tempdir().unwrap();
    let batch = |rows: usize| {
        RecordBatch::try_from_iter([
            ("jpg", binary(vec![Some(b"0"); rows])),
            ("text", text(vec![Some("c"); rows])),
        ])
        .unwrap()
    };
    write(disk.path(), &batch(4), grouped(9));
    let reader = open(disk.path()).await.unwrap();
    write(disk.path(), &batch(3), grouped(9));
    let told = reader.fetch(RowGroupId(0), 0..4).await.unwrap_err().to_string();
    assert!(told.contains("0.parquet"), "{told}");
    let unknown = reader.fetch(RowGroupId(7), 0..1).await.unwrap_err().to_string();
    assert!(unknown.contains("row group = 7"), "{unknown}");
}
