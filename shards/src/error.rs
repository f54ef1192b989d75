//! What can be wrong with a dataset, a tokenizer or the place that holds them, and the exit code that each means.

use crate::{image::UnknownOperation, store::StoreError};
use proto::Exit;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why data can't be read or written. The text names the value, the file or the knob, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing at the location.
    #[error(
        "no dataset at {location}: there is no file there; mend data.train (or --data), or make one with `tandem data import`"
    )]
    Missing {
        /// As configured.
        location: String,
    },
    /// There are files, but none of parquet.
    #[error(
        "no parquet file at {location}: {files} other files are there, such as {example}; datasets are folders of *.parquet"
    )]
    NoParquet {
        /// As configured.
        location: String,
        /// How many files there are.
        files: usize,
        /// One of them.
        example: String,
    },
    /// Parquet files without a row.
    #[error(
        "the dataset at {location} has no rows that can be used: {stored} are stored, and data.filter lets none pass"
    )]
    NoRows {
        /// As configured.
        location: String,
        /// Rows in the files.
        stored: u64,
    },
    /// A file that is no parquet, or a broken one.
    #[error(
        "{file} can't be read as parquet: {reason}; remove it or fetch it anew, then run `tandem data index`"
    )]
    Parquet {
        /// The file.
        file: String,
        /// What the reader says.
        reason: String,
    },
    /// A column that is not there or has another type.
    #[error("{file} has no {kind} column {wanted}; its columns are {found}; name the right one with {knob}")]
    Column {
        /// The file.
        file: String,
        /// image or caption.
        kind: &'static str,
        /// The names that were looked for.
        wanted: String,
        /// The names and types that are there.
        found: String,
        /// The knob that names the column.
        knob: &'static str,
    },
    /// Features where a model wants images.
    #[error(
        "column {column} of {file} holds features, and the models here train on images; name a column of images with data.image_column"
    )]
    Features {
        /// The file.
        file: String,
        /// The column.
        column: String,
    },
    /// The dataset is not the one that was indexed or frozen.
    #[error("the dataset at {location} changed: {difference}; {mend}")]
    Changed {
        /// As configured.
        location: String,
        /// The first file that differs, and how.
        difference: String,
        /// What to do.
        mend: &'static str,
    },
    /// An index that was made with another filter.
    #[error(
        "the index of {location} was made with the filter {was:?}, data.filter is {is:?}; ask for the same, or make it anew with `tandem data index`"
    )]
    Filtered {
        /// As configured.
        location: String,
        /// The index's conditions.
        was: Vec<String>,
        /// Those of the configuration.
        is: Vec<String>,
    },
    /// An index that can't be understood.
    #[error("the index {file} is no index of this Tandem: {reason}; make it anew with `tandem data index`")]
    Index {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too many rows had to be replaced.
    #[error(
        "{replaced} of {seen} rows can't be used, more than data.substitution_budget = {budget} allows; the last one is row {row}: {reason}; `tandem data verify` lists all"
    )]
    Budget {
        /// Rows replaced by this worker.
        replaced: u64,
        /// Rows seen by this worker.
        seen: u64,
        /// The knob.
        budget: f64,
        /// The manifest's number of the last row.
        row: u64,
        /// Why it can't be used.
        reason: String,
    },
    /// A captions file that can't be imported.
    #[error("{file}, line {line}: {reason}")]
    Captions {
        /// The captions file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// A local file.
    #[error("{action} {file}: {reason}")]
    File {
        /// reading or writing.
        action: &'static str,
        /// The file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A thread of the reader broke off.
    #[error("the data loader broke off: {0}; this is a defect of tandem, please report it")]
    Thread(String),
    /// No row of a window can stand in for one that can't be used.
    #[error(
        "row {row} can't be used ({reason}), and none of the {tries} rows tried in its place can; `tandem data verify` lists all"
    )]
    Hopeless {
        /// The manifest's number of the row.
        row: u64,
        /// Why the last one can't be used.
        reason: String,
        /// How many were tried.
        tries: u64,
    },
    /// An unknown operation of RandAugment.
    #[error(transparent)]
    Operation(#[from] UnknownOperation),
    /// A tokenizer that can't be used.
    #[error("the tokenizer {file} can't be used: {reason}")]
    Tokenizer {
        /// The file.
        file: String,
        /// Why, and the mend.
        reason: String,
    },
    /// Pairs that can't be encoded as parquet.
    #[error("pairs can't be written as parquet: {0}")]
    Write(String),
    /// A wrong value of a knob or an argument.
    #[error("{name} = {value} can't be used: {reason}")]
    Value {
        /// The knob or argument.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why, and the mend.
        reason: String,
    },
}

impl Error {
    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(error) => error.exit(),
            Self::File { action: "writing", .. } => Exit::Output,
            Self::Write(_) | Self::Thread(_) => Exit::Internal,
            Self::Value { .. } | Self::Operation(_) => Exit::Usage,
            _ => Exit::Data,
        }
    }
}
