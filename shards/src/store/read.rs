//! Ranges of a file: exactly the bytes asked for, of the file that was indexed, or an error that names both.

use super::{
    error::{StoreError, Trouble},
    open::Kind,
    patience::{Fault, status},
    pieces::{PART, Pieces, plan},
    remote::{Ask, Remote},
};
use crate::cache::{self, BLOCK, Cache};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, GetOptions, GetResult, ObjectMeta, path::Path};
use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

/// A file of known size, and where it is known, of known content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File<'a> {
    pub(crate) path: &'a Path,
    pub(crate) size: u64,
    /// Its etag, or in place of one the milliseconds of its last change.
    pub(crate) etag: Option<&'a str>,
}

impl File<'_> {
    /// The etag as a condition of requests. Weak ones never match, and a time is none.
    fn condition(&self) -> Option<String> {
        let etag = self.etag.filter(|etag| !etag.starts_with("W/") && !timed(etag))?;
        // Some stores list etags without the quotes that they want to see.
        Some(format!("\"{}\"", etag.trim_matches('"')))
    }

    /// That what the store sends is of this file.
    fn check(&self, now: &ObjectMeta) -> Result<(), Fault> {
        if now.size != self.size {
            return Err(Fault::Changed(changed(&format!("it has {} bytes, it had {}", now.size, self.size))));
        }
        let Some(etag) = self.etag else { return Ok(()) };
        let same = |other: &str| other.trim_matches('"') == etag.trim_matches('"');
        let time = now.last_modified.timestamp_millis().to_string();
        match &now.e_tag {
            Some(other) if !same(other) && time != etag => {
                Err(Fault::Changed(changed(&format!("its etag is {other}, it was {etag}"))))
            }
            None if timed(etag) && time != etag => {
                Err(Fault::Changed(changed("it was written at another time")))
            }
            _ => Ok(()),
        }
    }
}

fn timed(etag: &str) -> bool {
    etag.bytes().all(|byte| byte.is_ascii_digit())
}

fn changed(how: &str) -> String {
    format!(
        "it is not the file that was indexed: {how}; put the old one back, or index the dataset anew and start a new run"
    )
}

impl Remote {
    /// The bytes of each range.
    pub(crate) async fn ranges(
        &self,
        file: &File<'_>,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        let ask = self.ask("reading", file.path);
        if let Some(range) = ranges.iter().find(|range| range.end > file.size || range.start > range.end) {
            let reason = format!("bytes {range:?} are not in its {} bytes", file.size);
            return Err(ask.error(reason, Trouble::Refused));
        }
        if self.kind == Kind::Local {
            return self.disk_ranges(&ask, file.path, ranges).await;
        }
        // Only an etag tells two contents of a file apart for sure.
        let told = file.condition().and(file.etag);
        let pieces = match (&self.cache, told) {
            (Some(cache), Some(etag)) => {
                let key = cache::Key::new(&self.root, file.path.as_ref(), etag, file.size);
                self.cached(file, ranges, cache, key).await?
            }
            _ => Pieces::new(self.parts(file, plan(ranges, self.gap, 1)).await?),
        };
        let taken: Option<Vec<Bytes>> = ranges.iter().map(|range| pieces.take(range)).collect();
        taken.ok_or_else(|| ask.error("a part of what was fetched is missing".into(), Trouble::Unreachable))
    }

    async fn disk_ranges(
        &self,
        ask: &Ask,
        path: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        let asked: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
        let read = self.request(ask, Duration::ZERO, |_| async {
            let read = self.once.get_ranges(path, &asked).await?;
            let short =
                asked.iter().zip(&read).find(|(range, bytes)| range.end - range.start != bytes.len() as u64);
            match short {
                Some((range, _)) => {
                    Err(Fault::Changed(changed(&format!("it ends before byte {}", range.end))))
                }
                None => Ok(read),
            }
        });
        let mut read = read.await?.into_iter();
        Ok(ranges
            .iter()
            .map(|range| if range.is_empty() { Bytes::new() } else { read.next().unwrap_or_default() })
            .collect())
    }

    /// Fetches parts side by side.
    async fn parts(&self, file: &File<'_>, parts: Vec<Range<u64>>) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let fetch = parts.into_iter().map(|part| async move {
            let start = part.start;
            Ok((start, self.part(file, part).await?))
        });
        let fetch: Vec<_> = fetch.collect();
        futures::stream::iter(fetch).buffer_unordered(self.requests).try_collect().await
    }

    async fn part(&self, file: &File<'_>, part: Range<u64>) -> Result<Bytes, StoreError> {
        let mut ask = self.ask("reading", file.path);
        ask.path += &format!(", bytes {}..{}", part.start, part.end);
        let wanted = part.end - part.start;
        let part = &part;
        let options = || GetOptions::new().with_range(Some(part.clone())).with_if_match(file.condition());
        self.request(&ask, Duration::ZERO, |_| async move {
            let found = self.once.get_opts(file.path, options()).await.map_err(|e| precondition(e, file))?;
            file.check(&found.meta)?;
            body(found, wanted).await
        })
        .await
    }

    /// A whole file, whatever is in it; none when it is not there.
    pub(super) async fn whole(&self, path: &Path) -> Result<Option<Bytes>, StoreError> {
        let ask = self.ask("reading", path);
        if self.kind != Kind::Local {
            let Some((meta, _)) = self.look(path).await? else { return Ok(None) };
            if meta.size > PART {
                let file = File { path, size: meta.size, etag: meta.e_tag.as_deref() };
                let all = 0..meta.size;
                let read = self.ranges(&file, std::slice::from_ref(&all)).await?;
                return Ok(read.into_iter().next());
            }
        }
        let read = self.request(&ask, Duration::ZERO, |_| async move {
            match self.once.get_opts(path, GetOptions::new()).await {
                Ok(found) if self.kind == Kind::Local => Ok(Some(found.bytes().await?)),
                Ok(found) => {
                    let size = found.meta.size;
                    body(found, size).await.map(Some)
                }
                Err(Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(e.into()),
            }
        });
        read.await
    }

    /// From the cache what is there, and the rest block by block into it.
    async fn cached(
        &self,
        file: &File<'_>,
        ranges: &[Range<u64>],
        cache: &Arc<Cache>,
        key: cache::Key,
    ) -> Result<Pieces, StoreError> {
        let asked = ranges.iter().filter(|range| !range.is_empty());
        let blocks: BTreeSet<u64> =
            asked.flat_map(|range| range.start / BLOCK..=(range.end - 1) / BLOCK).collect();
        let size = file.size;
        let place = move |block: u64| block * BLOCK..((block + 1) * BLOCK).min(size);
        let (held, wanted) = (cache.clone(), blocks.clone());
        let look = move || -> Vec<(u64, Bytes)> {
            let found = wanted.into_iter().filter_map(|block| {
                let length = place(block).end - place(block).start;
                Some((block * BLOCK, held.get(&key, block, length)?))
            });
            found.collect()
        };
        let mut pieces = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let there: BTreeSet<u64> = pieces.iter().map(|(start, _)| start / BLOCK).collect();
        let missing: Vec<_> = blocks.difference(&there).map(|block| place(*block)).collect();
        let fetched = self.parts(file, plan(&missing, 0, BLOCK)).await?;
        let (kept, keep) = (fetched.clone(), cache.clone());
        let store = move || {
            for (start, bytes) in kept {
                for (block, piece) in (start / BLOCK..).zip(bytes.chunks(BLOCK as usize)) {
                    keep.put(&key, block, piece);
                }
            }
        };
        // A cache that keeps nothing costs requests and no rows.
        if let Err(error) = tokio::task::spawn_blocking(store).await {
            tracing::warn!("the cache kept nothing of {}: {error}", file.path);
        }
        pieces.extend(fetched);
        Ok(Pieces::new(pieces))
    }
}

fn precondition(error: Error, file: &File<'_>) -> Fault {
    match error {
        Error::Precondition { .. } => {
            let was = file.etag.unwrap_or_default();
            Fault::Changed(changed(&format!("its etag is no more {was}")))
        }
        error if status(&error) == Some(416) => Fault::Changed(changed("it ends before these bytes")),
        error => error.into(),
    }
}

/// The body, which has `wanted` bytes or is refused; no more than those are held.
async fn body(found: GetResult, wanted: u64) -> Result<Bytes, Fault> {
    let mut stream = found.into_stream();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut got = 0;
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        got += bytes.len() as u64;
        if got > wanted {
            return Err(Fault::Length { wanted, got });
        }
        match (first.is_empty(), all.is_empty()) {
            (true, true) => first = bytes,
            (false, true) => {
                all.reserve(usize::try_from(wanted).unwrap_or_default());
                all.extend_from_slice(&first);
                all.extend_from_slice(&bytes);
            }
            _ => all.extend_from_slice(&bytes),
        }
    }
    if got != wanted {
        return Err(Fault::Length { wanted, got });
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strong_etag_is_a_condition_and_whatever_is_known_is_compared() {
        let path = Path::from("a");
        let now = |e_tag: Option<&str>, seconds: i64| ObjectMeta {
            location: path.clone(),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size: 10 + seconds as u64,
            e_tag: e_tag.map(str::to_owned),
            version: None,
        };
        // Known of the file, its condition, what the store says, whether that is the same file.
        for (etag, condition, said, same) in [
            (Some("\"x\""), Some("\"x\""), Some("\"x\""), true),
            (Some("\"x\""), Some("\"x\""), Some("\"y\""), false),
            (Some("0x8D"), Some("\"0x8D\""), Some("\"0x8D\""), true),
            (Some("W/\"x\""), None, Some("W/\"x\""), true),
            (Some("W/\"x\""), None, Some("W/\"y\""), false),
            (Some("0"), None, None, true),
            (Some("1000"), None, None, false),
            (Some("0"), None, Some("\"z\""), true),
            (None, None, Some("\"z\""), true),
        ] {
            let file = File { path: &path, size: 10, etag };
            assert_eq!(file.condition().as_deref(), condition);
            assert_eq!(file.check(&now(said, 0)).is_ok(), same, "{etag:?} and {said:?}");
            assert!(matches!(file.check(&now(said, 1)), Err(Fault::Changed(_))), "another size");
        }
    }
}
