//! The stored image of a row, as far as a browser can be trusted with it.

use shards::reader::Reader;

/// Largest image that is shown, in bytes.
const LARGEST: usize = 8 << 20;
/// How files of each type begin; a browser gets no others.
const TYPES: [(&[u8], &str); 3] =
    [(b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n", "image/png"), (b"RIFF", "image/webp")];

/// The bytes and their type; none where there is no image.
pub(super) async fn stored(reader: &Reader, row: u64) -> Option<(&'static str, Vec<u8>)> {
    let place = reader.manifest().place(row)?;
    let (group, row) = (place.group, place.row);
    let rows = reader.fetch(group, row..row + 1).await.ok()?;
    let bytes = rows.get(row)?.image.filter(|bytes| bytes.len() <= LARGEST)?;
    let kind = TYPES.iter().find(|(start, _)| bytes.starts_with(start))?.1;
    Some((kind, bytes.to_vec()))
}
