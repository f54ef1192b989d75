//! Datasets from images and captions, and from nothing.

use super::{super::say, bar};
use crate::{
    Error, Result,
    args::{Import, Synth, Target},
};
use rayon::prelude::*;
use shards::{
    import,
    store::Folder,
    synth::{self, encode_jpeg},
    write::{Pair, WriteSpec, Writer},
};
use std::io::Write;

async fn writer(target: &Target, column: &str) -> Result<Writer> {
    let (group_rows, file_groups) = (target.group_rows as usize, target.file_groups as usize);
    let spec = WriteSpec { column: column.into(), group_rows, file_groups };
    Ok(Writer::create(Folder::open(&target.out)?, spec).await?)
}

async fn finish(writer: Writer, target: &Target, out: &mut impl Write) -> Result<()> {
    let (rows, files) = writer.finish().await?;
    say(out, &format!("written: {rows} pairs in {files} files below {}\n", target.out))
}

/// `tandem data import`. The image column is named after the first image; readers go by content.
pub(super) async fn import(arguments: &Import, out: &mut impl Write) -> Result<()> {
    let Import { images, captions, target } = arguments;
    let lines = import::captions(captions)?;
    let column = import::pair(images, captions, lines[0].0, &lines[0].1)?.1;
    let mut writer = writer(target, column).await?;
    let progress = bar("importing", lines.len() as u64);
    for (number, line) in &lines {
        writer.push(import::pair(images, captions, *number, line)?.0).await?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    finish(writer, target, out).await
}

/// `tandem data synth`.
pub(super) async fn synth(arguments: &Synth, out: &mut impl Write) -> Result<()> {
    let Synth { pairs, size, quality, seed, target } = arguments;
    let mut writer = writer(target, "jpg").await?;
    let progress = bar("drawing", *pairs);
    let draw = |index: u64| {
        let (picture, caption) = synth::pair(*seed, index, *size);
        let image =
            encode_jpeg(&picture, *quality).map_err(|e| Error::Data(shards::Error::Write(e.to_string())))?;
        let (key, url) = (format!("{index:09}"), format!("synth:{seed}/{index}"));
        Ok(Pair { key, url, caption: Some(caption), image, size: (*size, *size) })
    };
    let mut first = 0;
    while first < *pairs {
        let end = pairs.min(&(first + u64::from(target.group_rows))).to_owned();
        let drawn: Vec<Pair> = (first..end).into_par_iter().map(draw).collect::<Result<_>>()?;
        for pair in drawn {
            writer.push(pair).await?;
        }
        progress.set_position(end);
        first = end;
    }
    progress.finish_and_clear();
    finish(writer, target, out).await
}
