//! Reads row groups of a dataset in a shuffled order, epoch after epoch, and tells how fast; memory over time into a file. For
//! `scripts/bench/read.sh`.
//!
//! Arguments are `name=value`: location, rows (at least so many are read), ahead (row groups fetched at once), cache and cache_gib, and
//! memory (a file that gets a line of seconds, rows and resident KiB each second).

use futures::StreamExt;
use proto::{
    RowGroupId,
    config::{DataSection, StoreSection},
};
use rand::seq::SliceRandom;
use shards::{keyed, manifest::Manifest, reader::Reader};
use std::{
    collections::HashMap,
    error::Error,
    fs::{self, File},
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

/// What was read since `start`, and how much memory that takes.
struct Progress {
    start: Instant,
    rows: u64,
    bytes: u64,
    memory: Option<File>,
    told: Duration,
}

impl Progress {
    /// Counts a row group; once a second, tells.
    fn add(&mut self, rows: u64, bytes: u64) -> std::io::Result<()> {
        self.rows += rows;
        self.bytes += bytes;
        let elapsed = self.start.elapsed();
        if elapsed < self.told + Duration::from_secs(1) {
            return Ok(());
        }
        self.told = elapsed;
        if let Some(file) = &mut self.memory {
            writeln!(file, "{:.1}\t{}\t{}", elapsed.as_secs_f64(), self.rows, resident())?;
        }
        Ok(())
    }
}

/// KiB of memory that the process holds; 0 where the system does not say.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.split_once('=').map(|(name, value)| (name.into(), value.into())))
        .collect();
    let given = |name: &str, default: &str| arguments.get(name).cloned().unwrap_or(default.into());
    let location = given("location", "");
    let rows: u64 = given("rows", "0").parse()?;
    let ahead: usize = given("ahead", "8").parse()?;
    let spec = StoreSection {
        cache: given("cache", ""),
        cache_gib: given("cache_gib", "64").parse()?,
        ..StoreSection::default()
    };
    let memory = given("memory", "");
    let memory = if memory.is_empty() { None } else { Some(File::create(memory)?) };

    let data = DataSection { train: location.as_str().into(), ..DataSection::default() };
    let reader = Reader::new(Arc::new(Manifest::open(&data, &spec).await?), &spec)?;
    let counts: Vec<u32> = reader.manifest().row_groups().iter().map(|group| group.rows).collect();
    let mut progress = Progress { start: Instant::now(), rows: 0, bytes: 0, memory, told: Duration::ZERO };
    let mut epoch = 0;
    while epoch == 0 || progress.rows < rows {
        let mut order: Vec<(RowGroupId, u32)> = (0..).map(RowGroupId).zip(counts.iter().copied()).collect();
        order.shuffle(&mut keyed::rng("bench", &[epoch]));
        let fetch = order.into_iter().map(|(group, count)| {
            let reader = &reader;
            async move { reader.fetch(group, 0..count).await.map(|rows| (rows, count)) }
        });
        let mut fetched = futures::stream::iter(fetch).buffered(ahead);
        while let Some(read) = fetched.next().await {
            let (rows, count) = read?;
            let found = (0..count).filter_map(|row| rows.get(row));
            let length = |row: shards::reader::Row<'_>| {
                row.image.map_or(0, <[u8]>::len) + row.captions.first().map_or(0, str::len)
            };
            progress.add(count.into(), found.map(length).sum::<usize>() as u64)?;
        }
        epoch += 1;
    }
    let seconds = progress.start.elapsed().as_secs_f64();
    println!(
        "{} rows, {epoch} epochs, {seconds:.2} s: {:.0} rows/s, {:.1} MB/s of images and captions, {} MiB resident",
        progress.rows,
        progress.rows as f64 / seconds,
        progress.bytes as f64 / 1e6 / seconds,
        resident() >> 10
    );
    Ok(())
}
