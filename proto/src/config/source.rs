//! Where pairs come from.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One or more folders, files, globs or URLs: a string or a list of strings in a run file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a location or a list of locations")]
pub enum Locations {
    /// A single one; empty for none.
    One(String),
    /// Several, read as one dataset.
    Many(Vec<String>),
}

impl Locations {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) if one.is_empty() => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// All of them, to be changed.
    pub fn all_mut(&mut self) -> &mut [String] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }
}

impl Default for Locations {
    fn default() -> Self {
        Self::One(String::new())
    }
}

impl From<&str> for Locations {
    fn from(location: &str) -> Self {
        Self::One(location.into())
    }
}

impl fmt::Display for Locations {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.all() {
            [first, others @ ..] if others.len() > 2 => write!(out, "{first} and {} others", others.len()),
            few => out.write_str(&few.join(", ")),
        }
    }
}

/// Some of the pairs of a run, with the names that their columns have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Folders, files, globs or URLs.
    pub location: Locations,
    /// Its share of the slots, in proportion to the other sources' weights; 0, for all of them, mixes by size.
    pub weight: u32,
    /// As `data.image_column`.
    pub image_column: String,
    /// As `data.caption_column`.
    pub caption_column: String,
    /// As `data.filter`.
    pub filter: Vec<String>,
}

impl super::DataSection {
    /// A dataset at another place, with the same names of columns. The filter was for this one.
    pub fn at(&self, location: &str) -> Self {
        let (source, filter, index) = (Vec::new(), Vec::new(), String::new());
        Self { train: location.into(), source, filter, index, ..self.clone() }
    }

    /// Where the training pairs come from: `data.source`, or the one that `data.train` names. What a source does not say, the
    /// section says.
    pub fn sources(&self) -> Vec<Source> {
        let filled = |source: &Source| {
            let or = |own: &String, general: &String| if own.is_empty() { general } else { own }.clone();
            Source {
                image_column: or(&source.image_column, &self.image_column),
                caption_column: or(&source.caption_column, &self.caption_column),
                filter: if source.filter.is_empty() { &self.filter } else { &source.filter }.clone(),
                ..source.clone()
            }
        };
        if self.source.is_empty() {
            return vec![filled(&Source { location: self.train.clone(), ..Source::default() })];
        }
        self.source.iter().map(filled).collect()
    }
}
