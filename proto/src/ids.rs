//! Ids as types: a rank can't be passed where a lane is meant.
//!
//! ```compile_fail
//! fn lane_of(_: proto::LaneId) {}
//! lane_of(proto::Rank(0));
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number as an index.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// A worker's number within one generation, `0..world size`.
    Rank(u32)
}
id! {
    /// How many workers one generation has.
    WorldSize(u32)
}
id! {
    /// One fixed membership. Grows by one at every change and never goes back; 0 is before the first.
    Generation(u64)
}
id! {
    /// Committed optimizer updates since the run began.
    GlobalStep(u64)
}
id! {
    /// One of the fixed streams of rows of a run.
    LaneId(u32)
}
id! {
    /// A row group's number in the manifest, counted over all files.
    RowGroupId(u32)
}

impl GlobalStep {
    /// The step after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Generation {
    /// The generation after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
