//! Making manifests: from the stores' listings, what indexes know already, and the footers of the rest.

use super::{File, INDEX, Manifest, Place, RowGroup, footer};
use crate::{
    error::{Error, Result},
    filter::Filter,
    store::Folder,
};
use futures::StreamExt;
use proto::config::{DataSection, Source, StoreSection};
use std::collections::HashMap;

/// Footers that are read at the same time.
const AT_ONCE: usize = 64;

/// How far the reading of footers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Files whose row groups are known.
    pub files: usize,
    /// Files in all.
    pub of: usize,
    /// Rows in them that pass the filter.
    pub rows: u64,
}

/// Locations and the files that are there.
struct Listed {
    sources: Vec<Source>,
    /// By location, each with the number of its source.
    places: Vec<(u32, Place)>,
    /// By location.
    files: Vec<File>,
}

impl Manifest {
    /// Lists the files of `sources` and reads the footers of those that `known`, from an earlier time, does not know as they are now.
    /// `heard` is told after each file, with all that is known so far: whoever keeps that loses little when it is broken off.
    ///
    /// # Errors
    /// A location without parquet files or rows, a file that is no parquet or is cut short, a store that refuses.
    pub async fn index(
        sources: &[Source],
        store: &StoreSection,
        known: Option<&Self>,
        heard: impl AsyncFnMut(Progress, &Self) -> Result<()>,
    ) -> Result<Self> {
        let mut listed = Listed::new(sources, store)?;
        for location in 0..listed.places.len() {
            let found = listed.places[location].1.files(location as u32).await?;
            listed.files.extend(found);
        }
        let known: Vec<Self> = known.into_iter().flat_map(|known| listed.parts(known)).flatten().collect();
        listed.read(&known, heard).await
    }

    /// The manifest in the file at `location`.
    ///
    /// # Errors
    /// A file that is not there or is no manifest, a store that refuses.
    pub async fn load(location: &str) -> Result<Self> {
        let found = Folder::open(location)?.get("").await?;
        let missing = || Error::Index { file: location.into(), reason: "there is no such file".into() };
        Self::from_bytes(found.ok_or_else(missing)?, location)
    }

    /// The manifest of the training set: the index that `data` names, and else those beside the files, where there are some, which have
    /// to fit the files; the rest is read from footers.
    ///
    /// # Errors
    /// As [`index`](Self::index), an index that can't be understood, and one that does not fit files or filter any more.
    pub async fn open(data: &DataSection, store: &StoreSection) -> Result<Self> {
        let mut listed = Listed::new(&data.sources(), store)?;
        let named = if data.index.is_empty() { None } else { Some(Self::load(&data.index).await?) };
        let named = named.iter().flat_map(|index| listed.parts(index)).collect::<Vec<_>>();
        let mut known = Vec::new();
        for location in 0..listed.places.len() {
            let (source, place) = &listed.places[location];
            let index = match named.get(location) {
                Some(Some(index)) => Some(index.clone()),
                _ => beside(place).await?,
            };
            if let Some(index) = &index {
                let source = &listed.sources[*source as usize];
                same_filter(index, source, &place.location)?;
            }
            let files = match &index {
                // A web server lists nothing; what was written anew there is refused when it is read.
                Some(index) if place.is_web() => index.clone().files,
                _ => place.files(location as u32).await?,
            };
            if let Some(index) = &index {
                fits(index, place, &files)?;
            }
            listed.files.extend(files.into_iter().map(|file| File { location: location as u32, ..file }));
            known.extend(index);
        }
        listed.read(&known, async |_, _: &Self| Ok(())).await
    }
}

impl Listed {
    fn new(sources: &[Source], store: &StoreSection) -> Result<Self> {
        let mut places = Vec::new();
        for (number, source) in (0..).zip(sources) {
            for location in source.location.all() {
                places.push((number, Place::new(location, store)?));
            }
        }
        Ok(Self { sources: sources.to_vec(), places, files: Vec::new() })
    }

    /// What a manifest holds of each location, if it does.
    fn parts(&self, manifest: &Manifest) -> Vec<Option<Manifest>> {
        self.places.iter().map(|(_, place)| manifest.part(&place.location)).collect()
    }

    /// Knows each file's row groups from `known`, manifests of one location each, or reads its footer.
    async fn read(
        self,
        known: &[Manifest],
        mut heard: impl AsyncFnMut(Progress, &Manifest) -> Result<()>,
    ) -> Result<Manifest> {
        let filters = self.sources.iter().map(|source| Filter::parse(&source.filter));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        let held = held(known);
        let groups = self.files.iter().map(|file| {
            let (source, place) = &self.places[file.location as usize];
            let (filter, source) = (&filters[*source as usize], &self.sources[*source as usize]);
            let found = held.get(&(place.location.as_str(), file.path.as_str()));
            let same = found.filter(|(was, _, filter)| {
                was.size == file.size && was.etag == file.etag && *filter == source.filter
            });
            let groups = same.map(|(_, groups, _)| *groups);
            async move {
                match groups {
                    Some(groups) => Ok((file.clone(), groups.to_vec())),
                    None => footer::read(place, file, filter).await.map(|groups| (file.clone(), groups)),
                }
            }
        });
        let groups: Vec<_> = groups.collect();
        let mut groups = futures::stream::iter(groups).buffered(AT_ONCE);
        let locations = self.places.iter().map(|(source, place)| (*source, place.location.clone()));
        let mut manifest =
            Manifest { sources: self.sources.clone(), locations: locations.collect(), ..Manifest::default() };
        let (of, mut rows) = (self.files.len(), 0);
        while let Some(read) = groups.next().await {
            let (file, groups) = read?;
            rows += groups.iter().map(|group| u64::from(group.rows)).sum::<u64>();
            manifest.push(file, &groups);
            heard(Progress { files: manifest.files.len(), of, rows }, &manifest).await?;
        }
        if rows == 0 {
            let locations: Vec<&str> =
                manifest.locations.iter().map(|(_, location)| location.as_str()).collect();
            return Err(Error::NoRows { location: locations.join(", "), stored: manifest.stored_rows() });
        }
        Ok(manifest)
    }
}

type Held<'a> = HashMap<(&'a str, &'a str), (&'a File, &'a [RowGroup], &'a [String])>;

/// The files of manifests of one location each, by location and path, with their row groups and filters.
fn held(known: &[Manifest]) -> Held<'_> {
    let mut held = HashMap::new();
    for manifest in known {
        let location = manifest.locations.first().map_or("", |(_, location)| location.as_str());
        let filter = manifest.sources.first().map_or(&[][..], |source| source.filter.as_slice());
        let files = manifest.files.iter();
        held.extend(
            files.map(|file| ((location, file.path.as_str()), (file, manifest.groups_of(file), filter))),
        );
    }
    held
}

impl Manifest {
    /// What it holds of one location, as a manifest of that location alone.
    fn part(&self, location: &str) -> Option<Self> {
        let at = self.locations.iter().position(|(_, known)| known == location)?;
        let source = self.sources.get(self.locations[at].0 as usize)?.clone();
        let locations = vec![(0, location.to_owned())];
        let mut part = Self { sources: vec![source], locations, ..Self::default() };
        for file in self.files.iter().filter(|file| file.location as usize == at) {
            part.push(File { location: 0, ..file.clone() }, self.groups_of(file));
        }
        Some(part)
    }
}

/// The index in a location's folder, of the files that the location names; none for a location that is a single file.
async fn beside(place: &Place) -> Result<Option<Manifest>> {
    if place.is_file().await? {
        return Ok(None);
    }
    let Some(bytes) = place.folder.get(INDEX).await? else { return Ok(None) };
    let mut index = Manifest::from_bytes(bytes, &place.folder.path_of(INDEX))?;
    // The index has come along wherever the folder was copied to.
    index.locations.iter_mut().for_each(|(_, location)| location.clone_from(&place.location));
    let (sources, locations) = (index.sources.clone(), index.locations.clone());
    let mut part = Manifest { sources, locations, ..Manifest::default() };
    for file in index.files.iter().filter(|file| place.matches(&file.path)) {
        part.push(file.clone(), index.groups_of(file));
    }
    Ok(Some(part))
}

fn same_filter(index: &Manifest, source: &Source, location: &str) -> Result<()> {
    let was = index.sources.first().map(|source| source.filter.clone()).unwrap_or_default();
    if was == source.filter {
        return Ok(());
    }
    Err(Error::Filtered { location: location.into(), was, is: source.filter.clone() })
}

/// Refuses an index that is not of these files.
fn fits(index: &Manifest, place: &Place, files: &[File]) -> Result<()> {
    let known: HashMap<&str, &File> = index.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let groups = |file: &File| known.get(file.path.as_str()).map_or(&[][..], |known| index.groups_of(known));
    let (sources, locations) = (index.sources.clone(), index.locations.clone());
    let mut now = Manifest { sources, locations, ..Manifest::default() };
    for file in files {
        now.push(File { location: 0, ..file.clone() }, groups(file));
    }
    match index.difference(&now) {
        None => Ok(()),
        Some(difference) => Err(Error::Changed {
            location: place.location.clone(),
            difference,
            mend: "make its index anew with `tandem data index`",
        }),
    }
}
