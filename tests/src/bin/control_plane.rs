//! Loads a coordinator with workers that train nothing: how long they take to come together, how soon their heartbeats are answered,
//! and how long the others need after some of them died. `scripts/bench/control_plane.sh` starts it.

use clap::Parser;
use e2e::load::{Fleet, Percentiles};
use e2e::run::Place;
use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Loads a coordinator with simulated workers and prints what that costs.
#[derive(Parser)]
struct Load {
    /// Simulated workers
    #[arg(long, default_value_t = 4096)]
    workers: u32,
    /// Seconds over which heartbeats are measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Milliseconds of a step, each of which rank 0 reports
    #[arg(long, default_value_t = 500)]
    step_ms: u64,
    /// How many die at once, one trial after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 512])]
    deaths: Vec<usize>,
    /// What is run in a shell while all train, with the coordinator's URL in TANDEM_PAGE
    #[arg(long, value_name = "COMMAND")]
    then: Option<String>,
}

fn main() -> ExitCode {
    let load = Load::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(measure(&load))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("control_plane: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(load: &Load) -> Result<(), String> {
    let place = Place::drawn(2 * load.workers);
    let count = load.workers;
    let sets = [
        format!("run.workers={count}"),
        "run.min_workers=1".into(),
        format!("data.lanes={count}"),
        format!("optimizer.batch={count}"),
        "optimizer.steps=1000000000".into(),
        "checkpoint.every=0".into(),
        "cluster.heartbeat_ms=1000".into(),
        "cluster.grace=0".into(),
        "data.window=1".into(),
    ];
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let (run, url) = place.serve("out", &sets);
    let pid = run.pid();

    let start = Instant::now();
    let mut fleet = Fleet::join(&url, count as usize, Duration::from_millis(load.step_ms));
    fleet.all_train(count as usize).await?;
    println!("join storm: {count} workers train after {:.2} s", start.elapsed().as_secs_f64());

    if let Some(command) = &load.then {
        let run = tokio::process::Command::new("sh").args(["-c", command]).env("TANDEM_PAGE", &url).status();
        let status = run.await.map_err(|error| format!("{command}: {error}"))?;
        if !status.success() {
            return Err(format!("{command}: {status}"));
        }
    }
    let before = cpu_seconds(pid);
    fleet.measure(true);
    tokio::time::sleep(Duration::from_secs(load.seconds)).await;
    let latencies = fleet.measure(false);
    let busy = (cpu_seconds(pid) - before) / load.seconds as f64;
    let Percentiles { count, p50, p99, max } =
        Percentiles::of(latencies).ok_or("no heartbeat was answered")?;
    println!(
        "heartbeats: {count} in {} s, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; the coordinator uses {busy:.2} of a core",
        load.seconds,
        p50 * 1e3,
        p99 * 1e3,
        max * 1e3
    );
    for dead in &load.deaths {
        let start = Instant::now();
        let left = fleet.kill(*dead);
        fleet.all_train(left).await?;
        println!("{dead} die: the other {left} train after {:.2} s", start.elapsed().as_secs_f64());
    }
    println!("memory of the coordinator: {:.0} MB at most", peak_bytes(pid) as f64 / 1e6);
    Ok(())
}

/// The most memory that a process ever had.
fn peak_bytes(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kib * 1024
}

/// The processor time of a process so far.
fn cpu_seconds(pid: u64) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    // Hundredths of a second, on every Linux of today.
    (ticks(11) + ticks(12)) / 100.0
}
