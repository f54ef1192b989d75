//! Which columns of a parquet file hold image and caption, and which tells equal images.

use crate::error::{Error, Result};
use arrow_schema::{DataType, Schema};

/// The names under which img2dataset and others keep the encoded image, in the order in which they are looked for.
const IMAGE_NAMES: [&str; 4] = ["jpg", "png", "webp", "image"];

/// The names of columns with a digest of the image, in the order in which they are looked for: a perceptual hash also finds copies that
/// were encoded anew; img2dataset's sha256 is that of the original.
const IDENTITY_NAMES: [&str; 2] = ["phash", "sha256"];

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

/// Finds the columns named `image` (empty: the first of the usual names that is there) and `caption`, and a digest of the image where there is one.
///
/// # Errors
/// [`Error::Column`] for one that is not there or has another type; `file` is for the message.
pub(crate) fn find(schema: &Schema, image: &str, caption: &str, file: &str) -> Result<Columns> {
    let usual = if image.is_empty() { IMAGE_NAMES.to_vec() } else { vec![image] };
    let position = |names: &[&str], fits: fn(&DataType) -> bool| {
        let named = names.iter().filter_map(|name| schema.column_with_name(name));
        named.into_iter().find(|(_, field)| fits(field.data_type())).map(|(index, _)| index)
    };
    let missing = |kind: &'static str, wanted: String, knob: &'static str| {
        let found = schema.fields().iter().map(|field| format!("{} ({})", field.name(), field.data_type()));
        let found = found.collect::<Vec<_>>().join(", ");
        Error::Column { file: file.into(), kind, wanted, found, knob }
    };
    let bytes =
        |kind: &DataType| matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let image = position(&usual, bytes)
        .ok_or_else(|| missing("binary image", usual.join(", "), "data.image_column"))?;
    let caption = position(&[caption], text)
        .ok_or_else(|| missing("text caption", caption.into(), "data.caption_column"))?;
    Ok(Columns { image, caption, identity: position(&IDENTITY_NAMES, text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Field;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(
            columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_usual_names_are_found_and_a_given_one_wins() {
        let columns = [
            ("caption", DataType::LargeUtf8),
            ("png", DataType::Utf8),
            ("webp", DataType::Binary),
            ("thumbnail", DataType::BinaryView),
        ];
        let schema = schema(&columns);
        assert_eq!(
            find(&schema, "", "caption", "f").unwrap(),
            Columns { image: 2, caption: 0, identity: None }
        );
        assert_eq!(find(&schema, "thumbnail", "caption", "f").unwrap().image, 3);
    }

    #[test]
    fn a_perceptual_hash_wins_over_a_digest() {
        let image = ("jpg", DataType::Binary);
        let text = ["caption", "sha256", "phash"].map(|name| (name, DataType::Utf8));
        let all: Vec<_> = text.into_iter().chain([image]).collect();
        let identity =
            |columns: &[(&str, DataType)]| find(&schema(columns), "", "caption", "f").unwrap().identity;
        assert_eq!(identity(&all), Some(2));
        let without: Vec<_> = all.into_iter().filter(|(name, _)| *name != "phash").collect();
        assert_eq!(identity(&without), Some(1));
    }

    #[test]
    fn a_missing_column_is_named_with_those_that_are_there() {
        let schema = schema(&[("jpg", DataType::Binary), ("text", DataType::Utf8)]);
        let told =
            |image: &str, caption: &str| find(&schema, image, caption, "x.parquet").unwrap_err().to_string();
        for (error, knob) in
            [(told("", "caption"), "data.caption_column"), (told("text", "text"), "data.image_column")]
        {
            assert!(
                error.contains("x.parquet") && error.contains("text (Utf8)") && error.contains(knob),
                "{error}"
            );
        }
    }
}
