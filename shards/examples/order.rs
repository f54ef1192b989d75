//! The order at the size that it was made for: a simulated dataset's manifest, epochs, seeks, and the proof that an epoch holds each row
//! once while the number of workers changes.
//!
//! `order ROWS FILES GROUP_ROWS` prints a table; scripts/bench/order.sh calls it.

use proto::{GlobalStep, LaneId, Rank, WorldSize, config::Source};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shards::manifest::{File, Manifest, RowGroup};
use shards::order::{Order, OrderSpec, lanes_of};
use std::{fs, hint::black_box, time::Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const LANES: u32 = 4096;
const SPEC: OrderSpec = OrderSpec { seed: 1, lanes: LANES, window: 8, batch: 8 * LANES };
const SEEKS: usize = 2_000;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.replace('_', "").parse::<u64>());
    let mut next =
        || arguments.next().ok_or("usage: order ROWS FILES GROUP_ROWS")?.map_err(|e| e.to_string());
    let (rows, files, group_rows) = (next()?, next()?, next()?);

    let before = resident()?;
    let manifest = simulated(rows, files, group_rows);
    let groups = manifest.row_groups().len() as f64;
    println!("{rows} rows, {files} files, {groups} row groups of {group_rows}");
    tell("manifest in memory", resident()? - before, groups);
    let before = resident()?;
    let start = Instant::now();
    let order = Order::of(&manifest, SPEC);
    println!("{:32} {:10.0} ms", "order of the manifest", milliseconds(start));
    tell("order in memory", resident()? - before, groups);
    let before = resident()?;
    let start = Instant::now();
    order.epoch(0, 0);
    println!("{:32} {:10.0} ms", "starting an epoch", milliseconds(start));
    tell("an epoch in memory", resident()? - before, groups);

    let bytes = manifest.to_bytes()?;
    tell("manifest on disk", bytes.len() as f64, groups);
    let start = Instant::now();
    let loaded = Manifest::from_bytes(bytes.into(), "simulated")?;
    println!("{:32} {:10.0} ms", "loading the manifest", milliseconds(start));
    let start = Instant::now();
    let same = loaded.fingerprint() == manifest.fingerprint();
    println!("{:32} {:10.0} ms", "fingerprint", milliseconds(start) / 2.0);
    assert!(same && loaded == manifest, "a manifest has to come back as it was");
    drop(loaded);

    seeks(&order, rows);
    workers(&order, rows);
    covered(&order, rows);
    Ok(())
}

/// A dataset of `rows` rows in `files` files; the last row group of each file is shorter.
fn simulated(rows: u64, files: u64, group_rows: u64) -> Manifest {
    let file = |number: u64| {
        let held = (number + 1) * rows / files - number * rows / files;
        let sizes =
            (0..held.div_ceil(group_rows)).map(|group| group_rows.min(held - group * group_rows) as u32);
        let mut offset = 4;
        let groups = sizes.map(|stored| {
            // Bytes that vary as those of images do.
            let bytes = u64::from(stored) * 32_000 + ((offset + 1_000_003 * number) * 7_919) % 50_021;
            offset += bytes;
            RowGroup { stored, rows: stored, offset: offset - bytes, bytes }
        });
        let groups: Vec<RowGroup> = groups.collect();
        let etag =
            format!("{:032x}", u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        (
            File { location: 0, path: format!("part-{number:06}.parquet"), size: offset, etag, groups: 0..0 },
            groups,
        )
    };
    Manifest::of_files(
        Source { location: "s3://bucket/pairs".into(), ..Source::default() },
        (0..files).map(file),
    )
}

/// The time from a random step and lane to its first slot, in an epoch that is known.
fn seeks(order: &Order, rows: u64) {
    let mut draw = ChaCha8Rng::seed_from_u64(7);
    let steps = rows / u64::from(SPEC.batch);
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..SEEKS {
        let (lane, step) = (LaneId(draw.random_range(0..LANES)), GlobalStep(draw.random_range(0..steps)));
        let start = Instant::now();
        black_box(order.walk(lane, step).next());
        times.push(milliseconds(start));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{:32} {:10.3} ms (p99 {:.3}, longest {:.3})",
        "seek of a lane, median",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// What a worker does to be at a random step: an epoch, and a seek of each of its lanes.
fn workers(order: &Order, rows: u64) {
    let step = GlobalStep(rows / u64::from(SPEC.batch) / 3);
    for world in [1, 8, 64, 512, 4096] {
        let start = Instant::now();
        for lane in lanes_of(Rank(world / 2), WorldSize(world), LANES) {
            black_box(order.walk(LaneId(lane), step).next());
        }
        println!("{:32} {:10.2} ms", format!("seek of a worker of {world}"), milliseconds(start));
    }
}

/// Goes through a whole epoch, with another number of workers again and again, and marks each row in a bitmap.
fn covered(order: &Order, rows: u64) {
    let mut draw = ChaCha8Rng::seed_from_u64(9);
    let mut seen = vec![0u64; rows.div_ceil(64) as usize];
    let (mut step, mut marked, mut repeated, mut changes) = (0, 0u64, 0u64, 0);
    let longest =
        (0..LANES).map(|lane| order.lane_range(0, LaneId(lane))).map(|range| range.end - range.start);
    let steps = longest.max().unwrap_or(0).div_ceil(SPEC.per_lane());
    let start = Instant::now();
    while step < steps {
        let world = WorldSize(draw.random_range(1..=LANES));
        let until = steps.min(step + draw.random_range(1..=steps / 4));
        changes += 1;
        for rank in (0..world.0).map(Rank) {
            for lane in lanes_of(rank, world, LANES).map(LaneId) {
                let slots = (until - step) * SPEC.per_lane();
                for slot in
                    order.walk(lane, GlobalStep(step)).take(slots as usize).filter(|slot| slot.epoch == 0)
                {
                    let (word, bit) = ((slot.row / 64) as usize, 1 << (slot.row % 64));
                    repeated += u64::from(seen[word] & bit != 0);
                    marked += u64::from(seen[word] & bit == 0);
                    seen[word] |= bit;
                }
            }
        }
        step = until;
    }
    println!(
        "{:32} {:10.1} s: {marked} rows once, {repeated} repeated, {} missing, {changes} numbers of workers",
        "a whole epoch",
        start.elapsed().as_secs_f64(),
        rows - marked
    );
    assert!(marked == rows && repeated == 0, "an epoch has to hold each row once");
}

fn tell(what: &str, bytes: f64, groups: f64) {
    println!("{what:32} {:10.1} MB, {:.1} bytes a row group", bytes / 1e6, bytes / groups);
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Resident memory, in bytes.
fn resident() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}
