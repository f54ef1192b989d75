//! What changed between two looks at a dataset.

use super::{File, Manifest};
use std::collections::HashMap;

impl Manifest {
    /// The first file in which `now` differs from this, and how, or another way in which the datasets differ; none when they are the same.
    pub fn difference(&self, now: &Self) -> Option<String> {
        if let Some(difference) = self.other_sources(now) {
            return Some(difference);
        }
        let found = by_path(now);
        let changed = |file: &File| match found.get(&(file.location, file.path.as_str())) {
            None => Some(format!("{} is gone", self.name(file))),
            Some(seen) if seen.size != file.size => {
                Some(format!("{} has {} bytes, it had {}", self.name(file), seen.size, file.size))
            }
            Some(seen) if seen.etag != file.etag || now.groups_of(seen) != self.groups_of(file) => {
                Some(format!("{} was written anew", self.name(file)))
            }
            Some(_) => None,
        };
        let known = by_path(self);
        let new = |file: &&File| !known.contains_key(&(file.location, file.path.as_str()));
        let difference = self.files.iter().find_map(changed);
        difference.or_else(|| now.files.iter().find(new).map(|file| format!("{} is new", now.name(file))))
    }

    fn other_sources(&self, now: &Self) -> Option<String> {
        if self.sources.len() != now.sources.len() {
            return Some(format!(
                "it had {} sources, now there are {}",
                self.sources.len(),
                now.sources.len()
            ));
        }
        for (was, is) in self.sources.iter().zip(&now.sources) {
            if was.filter != is.filter {
                return Some(format!(
                    "{} was filtered by {:?}, now by {:?}",
                    is.location, was.filter, is.filter
                ));
            }
            if was.weight != is.weight {
                return Some(format!("{} had the weight {}, now {}", is.location, was.weight, is.weight));
            }
        }
        None
    }
}

fn by_path(manifest: &Manifest) -> HashMap<(u32, &str), &File> {
    manifest.files.iter().map(|file| ((file.location, file.path.as_str()), file)).collect()
}
