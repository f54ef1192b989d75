//! Rows as they came from the store.

use crate::columns::BYTES;
use arrow_array::{
    Array, ArrayRef, ListArray,
    cast::AsArray,
    types::{Float32Type, Float64Type},
};
use arrow_schema::DataType;

/// Some rows of one row group.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    first: u32,
    pieces: Vec<Part>,
}

/// What was read, or why a row can't be.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Read(Piece),
    Broken(String),
}

/// Columns of equal length.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) images: ArrayRef,
    pub(super) captions: ArrayRef,
    pub(super) identities: Option<ArrayRef>,
}

/// One row; a column that is null there is none.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The encoded image.
    pub image: Option<&'a [u8]>,
    /// Numbers that were made of the image before.
    pub features: Option<Features<'a>>,
    /// The captions.
    pub captions: Captions<'a>,
    /// A digest of the image, from the dataset's column of such.
    pub identity: Option<&'a str>,
    /// Why the row can't be read.
    pub broken: Option<&'a str>,
}

/// The captions of one image.
#[derive(Clone, Copy, Debug)]
pub struct Captions<'a> {
    column: Option<(&'a ArrayRef, usize)>,
}

/// Numbers that were made of one image before: `list<float>`, also nested, of any lengths.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    column: &'a ListArray,
    at: usize,
}

impl Rows {
    /// Rows from number `first` of their row group on.
    pub(super) fn new(first: u32, pieces: Vec<Piece>) -> Self {
        Self { first, pieces: pieces.into_iter().map(Part::Read).collect() }
    }

    /// As [`new`](Self::new), with rows that can't be read.
    pub(super) fn of(first: u32, pieces: Vec<Part>) -> Self {
        Self { first, pieces }
    }

    /// The row with this number inside its row group; none outside of what was fetched.
    pub fn get(&self, row_in_group: u32) -> Option<Row<'_>> {
        let mut at = row_in_group.checked_sub(self.first)? as usize;
        for part in &self.pieces {
            if at < part.len() {
                return Some(part.row(at));
            }
            at -= part.len();
        }
        None
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Part::len).sum()
    }
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Read(piece) => piece.images.len(),
            Self::Broken(_) => 1,
        }
    }

    fn row(&self, at: usize) -> Row<'_> {
        match self {
            Self::Read(Piece { images, captions, identities }) => Row {
                image: bytes(images, at),
                features: features(images, at),
                captions: Captions { column: (!captions.is_null(at)).then_some((captions, at)) },
                identity: identities.as_ref().and_then(|column| text(column, at)),
                broken: None,
            },
            Self::Broken(reason) => Row {
                image: None,
                features: None,
                captions: Captions { column: None },
                identity: None,
                broken: Some(reason),
            },
        }
    }
}

impl Row<'_> {
    /// Why there is no image.
    pub fn no_image(&self) -> &'static str {
        if self.features.is_some() { "it holds features instead of an image" } else { "its image is null" }
    }
}

impl<'a> Captions<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self.column {
            None => 0,
            Some((column, at)) => {
                column.as_list_opt::<i32>().map_or(1, |list| list.value_length(at) as usize)
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one with this number; none past the end, and where it is null.
    pub fn get(&self, number: usize) -> Option<&'a str> {
        let (column, at) = self.column?;
        match column.as_list_opt::<i32>() {
            None => text(column, at).filter(|_| number == 0),
            Some(list) if number < self.len() => {
                text(list.values(), *list.value_offsets().get(at)? as usize + number)
            }
            Some(_) => None,
        }
    }

    /// The first.
    pub fn first(&self) -> Option<&'a str> {
        self.get(0)
    }

    /// All of them that are not null.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).filter_map(move |number| self.get(number))
    }
}

impl Features<'_> {
    /// The lengths from the outermost list inwards, such as `[36, 2048]` of regions and their numbers; none where lists differ in length.
    pub fn shape(&self) -> Option<Vec<usize>> {
        shape(&self.column.value(self.at))
    }

    /// The numbers, row after row, as f32; none if one is null.
    pub fn values(&self) -> Option<Vec<f32>> {
        flat(&self.column.value(self.at))
    }
}

fn shape(values: &ArrayRef) -> Option<Vec<usize>> {
    let Some(list) = values.as_list_opt::<i32>() else { return Some(vec![values.len()]) };
    let mut inner = (0..list.len()).map(|at| shape(&list.value(at)));
    let first = inner.next().unwrap_or(Some(Vec::new()))?;
    let same = inner.all(|other| other.as_ref() == Some(&first));
    same.then(|| [vec![list.len()], first].concat())
}

fn flat(values: &ArrayRef) -> Option<Vec<f32>> {
    if values.null_count() > 0 {
        return None;
    }
    match values.data_type() {
        DataType::Float32 => Some(values.as_primitive::<Float32Type>().values().to_vec()),
        DataType::Float64 => {
            Some(values.as_primitive::<Float64Type>().values().iter().map(|value| *value as f32).collect())
        }
        DataType::List(_) => {
            let list = values.as_list::<i32>();
            let parts: Option<Vec<Vec<f32>>> = (0..list.len()).map(|at| flat(&list.value(at))).collect();
            parts.map(|parts| parts.concat())
        }
        _ => None,
    }
}

fn features(column: &ArrayRef, at: usize) -> Option<Features<'_>> {
    let column = column.as_list_opt::<i32>()?;
    column.is_valid(at).then_some(Features { column, at })
}

fn bytes(column: &ArrayRef, at: usize) -> Option<&[u8]> {
    if column.is_null(at) {
        return None;
    }
    match column.data_type() {
        DataType::Binary => Some(column.as_binary::<i32>().value(at)),
        DataType::Struct(_) => bytes(column.as_struct().column_by_name(BYTES)?, at),
        _ => None,
    }
}

fn text(column: &ArrayRef, at: usize) -> Option<&str> {
    let column = column.as_string_opt::<i32>()?;
    column.is_valid(at).then(|| column.value(at))
}
