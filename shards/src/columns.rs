//! Which columns of a parquet file hold image and caption, and which tells equal images: found by looking at the schema, unless they
//! are named.

use crate::error::{Error, Result};
use arrow_schema::{DataType, Schema};
use proto::config::Source;

/// The names under which img2dataset, Hugging Face and others keep the image, in the order in which they are looked for, in any case.
const IMAGE_NAMES: [&str; 9] =
    ["jpg", "jpeg", "png", "webp", "image", "img", "image_bytes", "bytes", "features"];

/// The names of captions, likewise: img2dataset's, DataComp's and LAION's, and those of captioning datasets.
const CAPTION_NAMES: [&str; 8] =
    ["caption", "captions", "text", "texts", "alt_text", "sentence", "sentences", "raw"];

/// The names of columns with a digest of the image, likewise: a perceptual hash also finds copies that were encoded anew; img2dataset's
/// sha256 is that of the original.
const IDENTITY_NAMES: [&str; 4] = ["phash", "image_phash", "sha256", "md5"];

/// The field of Hugging Face's image struct that holds the encoded image.
pub(crate) const BYTES: &str = "bytes";

/// Indices of the columns among the top-level ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) image: usize,
    pub(crate) caption: usize,
    pub(crate) identity: Option<usize>,
}

impl Columns {
    /// Those that are there.
    pub(crate) fn all(&self) -> impl Iterator<Item = usize> {
        [Some(self.image), Some(self.caption), self.identity].into_iter().flatten()
    }
}

/// Finds the columns that `source` names, or else those with one of the usual names, or else the only one of its type; and a digest of
/// the image where there is one.
///
/// # Errors
/// [`Error::Column`] for one that is not there or has another type; `file` is for the message.
pub(crate) fn find(schema: &Schema, source: &Source, file: &str) -> Result<Columns> {
    let one =
        |kind: &'static str, given: &str, usual: &[&str], fits: fn(&DataType) -> bool, knob: &'static str| {
            let names = if given.is_empty() { usual } else { &[given] };
            let only = || if given.is_empty() { only(schema, fits) } else { None };
            named(schema, names, fits).or_else(only).ok_or_else(|| Error::Column {
                file: file.into(),
                kind,
                wanted: names.join(", "),
                found: described(schema),
                knob,
            })
        };
    let image = one("binary image", &source.image_column, &IMAGE_NAMES, is_image, "data.image_column")?;
    let caption =
        one("text caption", &source.caption_column, &CAPTION_NAMES, is_caption, "data.caption_column")?;
    Ok(Columns { image, caption, identity: named(schema, &IDENTITY_NAMES, is_text) })
}

/// Names and types, for messages.
pub(crate) fn described(schema: &Schema) -> String {
    let found = schema.fields().iter().map(|field| format!("{} ({})", field.name(), field.data_type()));
    found.collect::<Vec<_>>().join(", ")
}

/// An exact name wins over one in another case.
fn named(schema: &Schema, names: &[&str], fits: fn(&DataType) -> bool) -> Option<usize> {
    let place = |same: fn(&str, &str) -> bool| {
        let found = |name: &&str| {
            let fits = |field: &arrow_schema::FieldRef| same(field.name(), name) && fits(field.data_type());
            schema.fields().iter().position(fits)
        };
        names.iter().find_map(found)
    };
    place(|a, b| a == b).or_else(|| place(str::eq_ignore_ascii_case))
}

fn only(schema: &Schema, fits: fn(&DataType) -> bool) -> Option<usize> {
    let mut found = (0..).zip(schema.fields()).filter(|(_, field)| fits(field.data_type()));
    let first = found.next().map(|(index, _)| index);
    if found.next().is_some() { None } else { first }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8)
}

/// Encoded bytes, bare or in Hugging Face's struct, or numbers that were made of an image before.
fn is_image(kind: &DataType) -> bool {
    match kind {
        DataType::Binary => true,
        DataType::Struct(fields) => {
            fields.find(BYTES).is_some_and(|(_, field)| matches!(field.data_type(), DataType::Binary))
        }
        other => is_features(other),
    }
}

/// Lists of floats, also nested.
pub(crate) fn is_features(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => {
            matches!(item.data_type(), DataType::Float32 | DataType::Float64) || is_features(item.data_type())
        }
        _ => false,
    }
}

/// One caption, or several.
fn is_caption(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => is_text(item.data_type()),
        other => is_text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{Field, Fields};
    use std::sync::Arc;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(
            columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>(),
        )
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("element", item, true)))
    }

    fn found(columns: &[(&str, DataType)]) -> Result<Columns> {
        find(&schema(columns), &Source::default(), "x.parquet")
    }

    #[test]
    fn the_usual_names_are_found_and_a_given_one_wins() {
        let columns = [
            ("caption", DataType::Utf8),
            ("png", DataType::Utf8),
            ("webp", DataType::Binary),
            ("thumbnail", DataType::Binary),
        ];
        assert_eq!(found(&columns).unwrap(), Columns { image: 2, caption: 0, identity: None });
        let source = Source { image_column: "thumbnail".into(), ..Source::default() };
        assert_eq!(find(&schema(&columns), &source, "f").unwrap().image, 3);
    }

    #[test]
    fn datasets_as_they_are_in_the_world() {
        let hugging_face = DataType::Struct(Fields::from(vec![
            Field::new("bytes", DataType::Binary, true),
            Field::new("path", DataType::Utf8, true),
        ]));
        for (columns, image, caption) in [
            // Hugging Face: an image struct, a list of captions.
            (vec![("image", hugging_face), ("sentences", list(DataType::Utf8))], 0, 1),
            // LAION's metadata beside the image.
            (
                vec![
                    ("URL", DataType::Utf8),
                    ("TEXT", DataType::Utf8),
                    ("similarity", DataType::Float32),
                    ("jpg", DataType::Binary),
                ],
                3,
                1,
            ),
            // Region features, flat and nested.
            (vec![("features", list(DataType::Float32)), ("caption", DataType::Utf8)], 0, 1),
            (vec![("regions", list(list(DataType::Float32))), ("caption", DataType::Utf8)], 0, 1),
            // Names that nobody knows, but only one column of each type.
            (
                vec![
                    ("what_it_says", DataType::Utf8),
                    ("size", DataType::Int32),
                    ("what_is_seen", DataType::Binary),
                ],
                2,
                0,
            ),
        ] {
            let found = found(&columns).unwrap();
            assert_eq!((found.image, found.caption), (image, caption), "{columns:?}");
        }
    }

    #[test]
    fn a_perceptual_hash_wins_over_a_digest() {
        let image = ("jpg", DataType::Binary);
        let text = ["caption", "sha256", "phash"].map(|name| (name, DataType::Utf8));
        let all: Vec<_> = text.into_iter().chain([image]).collect();
        assert_eq!(found(&all).unwrap().identity, Some(2));
        let without: Vec<_> = all.into_iter().filter(|(name, _)| *name != "phash").collect();
        assert_eq!(found(&without).unwrap().identity, Some(1));
    }

    #[test]
    fn a_missing_or_doubtful_column_is_named_with_those_that_are_there() {
        for (columns, knob) in [
            (
                vec![("jpg", DataType::Binary), ("a", DataType::Utf8), ("b", DataType::Utf8)],
                "data.caption_column",
            ),
            (
                vec![("a", DataType::Binary), ("b", DataType::Binary), ("text", DataType::Utf8)],
                "data.image_column",
            ),
            (vec![("text", DataType::Utf8), ("image", list(DataType::Int8))], "data.image_column"),
        ] {
            let error = found(&columns).unwrap_err().to_string();
            assert!(
                error.contains("x.parquet") && error.contains("(Utf8)") && error.contains(knob),
                "{error}"
            );
        }
        let source = Source { image_column: "text".into(), ..Source::default() };
        let error = find(&schema(&[("text", DataType::Utf8)]), &source, "x").unwrap_err().to_string();
        assert!(error.contains("image column text"), "{error}");
    }
}
