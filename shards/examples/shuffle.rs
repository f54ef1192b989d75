//! How well the order shuffles, against a full shuffle and against readers of whole shards with a shuffle buffer.
//!
//! `shuffle [PICTURE.png]` prints a table, and draws how far rows travel; scripts/bench/shuffle.sh calls it.

use proto::{GlobalStep, LaneId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shards::order::{Order, OrderSpec};
use shards::picture::{Panel, Series, line_charts, write_png};
use std::{collections::HashMap, path::Path};

const GROUP: u32 = 100;
const GROUPS_OF_A_SHARD: u32 = 100;
const GROUPS: u32 = 10_000;
const ROWS: usize = (GROUP * GROUPS) as usize;
const LANES: u32 = 64;
const BATCH: u32 = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut orders = vec![("full shuffle".to_owned(), full())];
    for window in [1, 8, 32, 128] {
        orders.push((format!("lanes, windows of {window}"), lanes(window)));
    }
    for buffer in [1_000, 10_000] {
        orders.push((format!("shard readers, buffer {buffer}"), buffers(buffer)));
    }
    println!(
        "{ROWS} rows, row groups of {GROUP}, shards of {GROUPS_OF_A_SHARD} row groups, batches of {BATCH}\n"
    );
    println!("{:38} {:>12} {:>12} {:>12} {:>14}", "", "neighbours", "within", "rows of a", "pairs of one");
    println!(
        "{:38} {:>12} {:>12} {:>12} {:>14}",
        "order", "apart, med.", "a batch, %", "batch moved", "group, a batch"
    );
    let mut series = Vec::new();
    for (name, rows) in &orders {
        let apart = apart(rows);
        let near =
            apart.iter().filter(|distance| **distance < f64::from(BATCH)).count() as f64 / apart.len() as f64;
        println!(
            "{name:38} {:12.0} {:12.3} {:12.3} {:14.2}",
            apart[apart.len() / 2],
            100.0 * near,
            moved(rows),
            met(rows)
        );
        let at =
            |share: f64| (apart[((apart.len() - 1) as f64 * share) as usize].max(1.0).log10(), 100.0 * share);
        series.push(Series {
            name: name.clone(),
            points: (0..=200).map(|part| at(f64::from(part) / 200.0)).collect(),
        });
    }
    if let Some(path) = std::env::args().nth(1) {
        let panel = Panel {
            title: "Rows that were neighbours in a file".into(),
            x_label: "log10 of how far they are apart in an epoch, rows".into(),
            y_label: "share of rows, %".into(),
            series,
        };
        write_png(Path::new(&path), &line_charts("", &[panel], 1))?;
        println!("\nwritten: {path}");
    }
    Ok(())
}

/// Fisher and Yates over all rows.
fn full() -> Vec<u32> {
    let mut rows: Vec<u32> = (0..ROWS as u32).collect();
    let mut draw = ChaCha8Rng::seed_from_u64(3);
    for last in (1..rows.len()).rev() {
        rows.swap(last, draw.random_range(0..=last));
    }
    rows
}

/// Tandem's order of the first epoch, in slot order.
fn lanes(window: u32) -> Vec<u32> {
    let spec = OrderSpec { seed: 3, lanes: LANES, window, batch: BATCH };
    let order = Order::whole(&[GROUP; GROUPS as usize], spec);
    let mut walks: Vec<_> = (0..LANES).map(|lane| order.walk(LaneId(lane), GlobalStep(0))).collect();
    let mut rows = Vec::with_capacity(ROWS);
    for _ in 0..ROWS / BATCH as usize {
        for walk in &mut walks {
            rows.extend(walk.take(spec.per_lane() as usize).map(|slot| slot.row as u32));
        }
    }
    rows
}

/// Shards in random order, each read from front to end by one of several readers into a buffer, from which rows are drawn at random:
/// what loaders of tar shards do. Batches take from the readers in turn.
fn buffers(size: usize) -> Vec<u32> {
    let mut draw = ChaCha8Rng::seed_from_u64(3);
    let shard_rows = GROUP * GROUPS_OF_A_SHARD;
    let mut shards: Vec<u32> = (0..GROUPS / GROUPS_OF_A_SHARD).collect();
    for last in (1..shards.len()).rev() {
        shards.swap(last, draw.random_range(0..=last));
    }
    let mut readers: Vec<(Vec<u32>, Vec<u32>)> = (0..LANES as usize)
        .map(|reader| {
            let own = shards.iter().skip(reader).step_by(LANES as usize);
            let mut ahead: Vec<u32> =
                own.flat_map(|shard| shard * shard_rows..(shard + 1) * shard_rows).collect();
            ahead.reverse();
            (ahead, Vec::new())
        })
        .collect();
    let mut rows = Vec::with_capacity(ROWS);
    while rows.len() < ROWS {
        for (ahead, buffer) in &mut readers {
            for _ in 0..BATCH / LANES {
                while buffer.len() < size
                    && let Some(row) = ahead.pop()
                {
                    buffer.push(row);
                }
                if !buffer.is_empty() {
                    let drawn = draw.random_range(0..buffer.len());
                    rows.push(buffer.swap_remove(drawn));
                }
            }
        }
    }
    rows
}

/// How far rows that are neighbours in storage are apart in the order, sorted.
fn apart(order: &[u32]) -> Vec<f64> {
    let mut place = vec![None; ROWS];
    (0..).zip(order).for_each(|(at, row)| place[*row as usize] = Some(at));
    let distance = |pair: &[Option<i64>]| Some((pair[0]? - pair[1]?).abs() as f64);
    let mut apart: Vec<f64> = place.windows(2).filter_map(distance).collect();
    apart.sort_by(f64::total_cmp);
    apart
}

/// How far apart in storage the rows of a batch are, on average, as a share of that of a full shuffle (a third of the rows).
fn moved(order: &[u32]) -> f64 {
    let mut draw = ChaCha8Rng::seed_from_u64(5);
    let batches = order.chunks_exact(BATCH as usize);
    let mut sum = 0.0;
    let count = batches.len() * 32;
    for batch in batches {
        for _ in 0..32 {
            let [a, b] = [(); 2].map(|()| f64::from(batch[draw.random_range(0..batch.len())]));
            sum += (a - b).abs();
        }
    }
    sum / count as f64 / (ROWS as f64 / 3.0)
}

/// Pairs of rows of one row group that meet in a batch, on average.
fn met(order: &[u32]) -> f64 {
    let pairs = order.chunks_exact(BATCH as usize).map(|batch| {
        let mut counts: HashMap<u32, u64> = HashMap::new();
        batch.iter().for_each(|row| *counts.entry(row / GROUP).or_default() += 1);
        counts.values().map(|count| count * (count - 1) / 2).sum::<u64>()
    });
    let batches = order.len() / BATCH as usize;
    pairs.sum::<u64>() as f64 / batches as f64
}
