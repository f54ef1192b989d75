//! One contrastive loss with queue and soft targets, forward and backward, and the memory that it took beyond its inputs.
//!
//! `itc PAIRS QUEUE TILE` prints peak MiB and seconds. scripts/bench/itc_memory.sh compares tile sizes.

use proto::config::Duplicates;
use std::fs;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use worker::models::layers::normalise;
use worker::objective::itc::{Features, Keys, Setting, loss};

/// The published width of the shared space.
const EMBED: i64 = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<i64>());
    let mut next = || arguments.next().ok_or("usage: itc PAIRS QUEUE TILE")?.map_err(|e| e.to_string());
    let (pairs, queue, tile) = (next()?, next()?, next()?);
    let unit = |rows: i64| normalise(&Tensor::randn([rows, EMBED], (Kind::Float, Device::Cpu)));
    let side = |rows: i64| Features { image: unit(rows), text: unit(rows) };
    let numbers = Tensor::arange_start(1, pairs + queue + 1, (Kind::Int64, Device::Cpu)).unsqueeze(1);
    let keys = Keys { features: side(pairs + queue), identities: numbers.repeat([1, 2]) };
    let student =
        Features { image: unit(pairs).set_requires_grad(true), text: unit(pairs).set_requires_grad(true) };
    let (teacher, identities) = (side(pairs), keys.identities.narrow(0, 0, pairs));
    let temp = Tensor::from(0.07f32).set_requires_grad(true);
    let setting = Setting { temp: &temp, first: 0, alpha: 0.4, duplicates: Duplicates::Masked, tile };

    // Peak memory counts from here.
    fs::write("/proc/self/clear_refs", "5")?;
    let before = peak_mib()?;
    let start = Instant::now();
    (loss(&student, &teacher, &identities, &keys, &setting) / pairs as f64).backward();
    println!("{:.0} {:.2}", peak_mib()? - before, start.elapsed().as_secs_f64());
    Ok(())
}

/// Largest resident memory since the last reset, in MiB.
fn peak_mib() -> Result<f64, Box<dyn std::error::Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
