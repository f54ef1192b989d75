//! `tandem data index`: a dataset's footers, read once.

use super::{super::say, bar, knobs, summary};
use crate::{Result, args::Index};
use proto::{RunConfig, config::Locations};
use shards::{
    manifest::{INDEX, Manifest, Progress},
    store::{Folder, absolute},
};
use std::{
    io::Write,
    time::{Duration, Instant},
};

/// What is known is written down this often, so that little is lost when it is broken off.
const KEPT_EVERY: Duration = Duration::from_secs(10);

/// Where an index goes: a file's folder and its name there.
struct Target {
    folder: Folder,
    name: String,
}

impl Target {
    fn new(arguments: &Index) -> Result<Self> {
        let place = match (&arguments.out, arguments.locations.as_slice()) {
            (Some(out), _) => absolute(out)?,
            (None, [only]) if !only.ends_with(".parquet") && !only.contains(['*', '?', '[']) => {
                return Ok(Self { folder: Folder::open(only)?, name: INDEX.into() });
            }
            (None, _) => {
                let reason =
                    "an index lies in the folder that it is of: for files, globs and lists name a file"
                        .into();
                let value = "(none)".into();
                return Err(shards::Error::Value { name: "--out", value, reason }.into());
            }
        };
        let (folder, name) = place.rsplit_once('/').unwrap_or((".", &place));
        Ok(Self { folder: Folder::open(folder)?, name: name.into() })
    }

    fn partial(&self) -> String {
        format!("{}.partial", self.name)
    }

    /// What an earlier call knew: one that was broken off, or else one that came to its end.
    async fn known(&self) -> Result<Option<Manifest>> {
        for name in [self.partial(), self.name.clone()] {
            if let Some(bytes) = self.folder.get(&name).await? {
                match Manifest::from_bytes(bytes, &self.folder.path_of(&name)) {
                    Ok(known) => return Ok(Some(known)),
                    Err(error) => tracing::warn!("{error}; every footer is read anew"),
                }
            }
        }
        Ok(None)
    }
}

/// Reads the footers of what no earlier call has read, and writes the index.
///
/// # Errors
/// Of the dataset, and of a place that can't be written.
pub(super) async fn index(arguments: &Index, out: &mut impl Write) -> Result<()> {
    let RunConfig { mut data, store, .. } = knobs(&arguments.locations[0], &arguments.sets)?;
    let places = arguments.locations.iter().map(|place| Ok(absolute(place)?)).collect::<Result<_>>()?;
    data.train = Locations::Many(places);
    let target = Target::new(arguments)?;
    let known = target.known().await?;
    let progress = bar("reading footers", 0);
    let mut kept = Instant::now();
    let heard = async |now: Progress, so_far: &Manifest| {
        progress.set_length(now.of as u64);
        progress.set_position(now.files as u64);
        if kept.elapsed() >= KEPT_EVERY {
            target.folder.put(&target.partial(), so_far.to_bytes()?).await?;
            kept = Instant::now();
        }
        Ok(())
    };
    let manifest = Manifest::index(&data.sources(), &store, known.as_ref(), heard).await?;
    progress.finish_and_clear();
    let bytes = manifest.to_bytes()?;
    let size = bytes.len();
    target.folder.put(&target.name, bytes).await?;
    target.folder.remove(&target.partial()).await?;
    let left_out = match manifest.stored_rows() - manifest.rows() {
        0 => String::new(),
        rows => format!("{rows} of {} rows do not pass the filter\n", manifest.stored_rows()),
    };
    let path = target.folder.path_of(&target.name);
    say(out, &format!("{}\n{left_out}written: {path} ({size} bytes)\n", summary(&manifest)))
}
