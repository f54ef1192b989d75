//! `tandem data`: datasets made, indexed, shown and checked.

mod index;
mod ledger;
mod make;
mod order;
#[cfg(test)]
mod tests;

use super::say;
use crate::{
    Error, Result,
    args::{Data, Inspect, Source, Vocabulary},
};
use indicatif::{ProgressBar, ProgressStyle};
use proto::{
    RunConfig,
    config::{self, DataSection},
};
use shards::{
    inspect::{Inspection, Sample, inspect},
    manifest::Manifest,
    picture::{contact_sheet, write_png},
    reader::Reader,
    scan::{Scanned, scan},
    text::{Tokenizer, train},
    verify::verify,
};
use std::{fs, io::Write, sync::Arc};

/// Pictures in a row of a contact sheet.
const SHEET_COLUMNS: u32 = 6;

/// Does what was asked for and tells it on `out`.
///
/// # Errors
/// Those of the verb.
pub(super) async fn act(verb: Data, out: &mut impl Write) -> Result<()> {
    match verb {
        Data::Import(arguments) => make::import(&arguments, out).await,
        Data::Synth(arguments) => make::synth(&arguments, out).await,
        Data::Index(arguments) => index::index(&arguments, out).await,
        Data::Order(arguments) => order::order(&arguments, out).await,
        Data::Inspect(arguments) => look(&arguments, out).await,
        Data::Verify(source) => check(&source, out).await,
        Data::VerifyLedger(arguments) => ledger::verify(&arguments, out).await,
        Data::Tokenizer(arguments) => vocabulary(&arguments, out).await,
    }
}

/// The knobs of a dataset that is only read: the dataset's own location, and what `--set` gives.
fn knobs(location: &str, sets: &[String]) -> Result<RunConfig> {
    let mut config = config::resolve(
        "defaults",
        "",
        &[sets, &["data.train=.".into(), "text.tokenizer=none".into()]].concat(),
    )?;
    config.data.train = location.into();
    Ok(config)
}

/// A reader of the dataset, and how it is read.
async fn open(source: &Source) -> Result<(Reader, DataSection)> {
    let RunConfig { data, store, .. } = knobs(&source.location, &source.sets)?;
    let manifest = Manifest::open(&data, &store).await?;
    Ok((Reader::new(Arc::new(manifest), &store)?, data))
}

async fn look(arguments: &Inspect, out: &mut impl Write) -> Result<()> {
    let (reader, data) = open(&arguments.source).await?;
    let found = inspect(&reader, &data, arguments.samples).await?;
    say(out, &described(reader.manifest(), &found))?;
    if let Some(path) = &arguments.sheet {
        let shown = |sample: &Sample| Some((sample.image.clone().ok()?, sample.captions.join(" / ")));
        let items: Vec<_> = found.samples.iter().filter_map(shown).collect();
        write_png(path, &contact_sheet(&items, SHEET_COLUMNS))?;
        say(out, &format!("written: {}\n", path.display()))?;
    }
    Ok(())
}

fn described(manifest: &Manifest, found: &Inspection) -> String {
    let mut text = format!(
        "{}, {:.1} MB, {} to {} rows each\n\ncolumns\n",
        summary(manifest),
        found.bytes as f64 / 1e6,
        found.group_rows.0,
        found.group_rows.1
    );
    for (name, kind) in &found.columns {
        text += &format!("  {name:<18} {kind}\n");
    }
    text += "\nrows\n";
    for sample in &found.samples {
        let image = match &sample.image {
            Ok(image) => format!("{}x{}", image.width(), image.height()),
            Err(reason) => reason.clone(),
        };
        let captions = if sample.captions.is_empty() { "(null)".into() } else { sample.captions.join(" / ") };
        text += &format!("  {:>10}  {image:<10} {captions}\n", sample.row);
    }
    text
}

async fn check(source: &Source, out: &mut impl Write) -> Result<()> {
    let (reader, data) = open(source).await?;
    let manifest = reader.manifest();
    let progress = bar("checking", manifest.rows());
    let broken = verify(&reader, &data, |rows| progress.set_position(rows)).await?;
    progress.finish_and_clear();
    for one in &broken {
        let rows =
            if one.rows == 1 { String::new() } else { format!(" and the {} rows after it", one.rows - 1) };
        let place = format!("{}, row group {}, row {}", one.file, one.row_group, one.row_in_group);
        say(out, &format!("row {}{rows} ({place}): {}\n", one.row, one.reason))?;
    }
    match broken.iter().map(|one| u64::from(one.rows)).sum() {
        0 => say(out, &format!("{}: every row can be used\n", summary(manifest))),
        broken => Err(Error::Broken { broken, rows: manifest.rows() }),
    }
}

async fn vocabulary(arguments: &Vocabulary, out: &mut impl Write) -> Result<()> {
    let (reader, _) = open(&arguments.source).await?;
    let mut captions = Vec::new();
    let progress = bar("reading captions", reader.manifest().rows());
    let visit = |group: Scanned| {
        let group = group.whole()?;
        captions.extend(group.rows().iter().flat_map(|(_, row)| row.captions.iter().map(str::to_owned)));
        progress.inc(group.count.into());
        Ok(())
    };
    scan(&reader, visit).await?;
    progress.finish_and_clear();
    let bytes = train(captions.into_iter(), arguments.size)?;
    let path = &arguments.out;
    let entries = Tokenizer::from_bytes(&bytes, &path.display().to_string())?.vocabulary();
    fs::write(path, bytes).map_err(|source| Error::Write { path: path.clone(), source })?;
    say(out, &format!("written: {}; set model.vocabulary={entries}\n", path.display()))
}

fn summary(manifest: &Manifest) -> String {
    let (files, groups) = (manifest.files().len(), manifest.row_groups().len());
    format!("{} rows in {files} files, {groups} row groups", manifest.rows())
}

/// Progress on standard error; nothing where that is no terminal.
fn bar(what: &'static str, total: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec}, {eta} left");
    ProgressBar::new(total)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
