//! A block as it lies on the disk: a header that says of what it is, with a checksum over everything, and the content.

use super::Key;
use bytes::Bytes;

/// What a block begins with.
const MAGIC: [u8; 8] = *b"tandemB1";
/// Bytes before the content: magic, key, number, length, checksum.
pub(super) const HEADER: usize = 8 + 32 + 8 + 8 + 4;

/// The header of a block.
pub(super) fn header(key: &Key, block: u64, content: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..40].copy_from_slice(&key.0);
    header[40..48].copy_from_slice(&block.to_le_bytes());
    header[48..56].copy_from_slice(&(content.len() as u64).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..56]), content);
    header[56..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The content of a block; none if a byte of it is not as it was written.
pub(super) fn content(bytes: Vec<u8>, key: &Key, block: u64, length: u64) -> Option<Bytes> {
    let (found, content) = bytes.split_at_checked(HEADER)?;
    let right = content.len() as u64 == length && *found == header(key, block, content);
    right.then(|| Bytes::from(bytes).slice(HEADER..))
}
