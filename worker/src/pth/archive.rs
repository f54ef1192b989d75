//! The zip around a file's pickle and storages.

use super::PthError;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive};

/// An opened file: its pickle, and the storages by key.
pub(super) struct Archive {
    pickle: Vec<u8>,
    storages: HashMap<String, Vec<u8>>,
}

impl Archive {
    pub(super) fn open(bytes: &[u8]) -> Result<Self, PthError> {
        if !bytes.starts_with(b"PK") {
            let what = if bytes.starts_with(&[0x80]) { "it is a bare pickle" } else { "it is no zip" };
            return Err(PthError::Format(what.into()));
        }
        let broken = |e: zip::result::ZipError| PthError::Archive(e.to_string());
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        let (mut pickle, mut storages, mut held) = (None, HashMap::new(), 0);
        for index in 0..zip.len() {
            let entry = zip.by_index(index).map_err(broken)?;
            let name = entry.name().to_owned();
            if entry.compression() != CompressionMethod::Stored || entry.size() != entry.compressed_size() {
                return Err(PthError::Format(format!("{name} is compressed")));
            }
            held = u64::saturating_add(held, entry.size());
            if held > bytes.len() as u64 {
                return Err(PthError::Archive(format!(
                    "up to {name} its entries have more bytes than the file"
                )));
            }
            let size = entry.size();
            let mut content = Vec::with_capacity(size as usize);
            // One byte more than there should be: the checksum is compared only where the end is met.
            let read = entry.take(size + 1).read_to_end(&mut content);
            let read = read.map_err(|e| PthError::Archive(format!("{name}: {e}")))?;
            if read as u64 != size {
                return Err(PthError::Archive(format!("{name} has {read} bytes instead of {size}")));
            }
            let Some((_, inside)) = name.split_once('/') else { continue };
            match inside.strip_prefix("data/") {
                Some(key) => drop(storages.insert(key.to_owned(), content)),
                None if inside == "data.pkl" => pickle = Some(content),
                None if inside == "byteorder" && content != b"little" => {
                    return Err(PthError::Format("its numbers are big-endian".into()));
                }
                None => {}
            }
        }
        let pickle = pickle.ok_or_else(|| PthError::Format("it has no data.pkl".into()))?;
        Ok(Self { pickle, storages })
    }

    pub(super) fn pickle(&self) -> &[u8] {
        &self.pickle
    }

    /// The bytes of a storage.
    pub(super) fn storage(&self, key: &str) -> Option<&[u8]> {
        self.storages.get(key).map(Vec::as_slice)
    }
}
