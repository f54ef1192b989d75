//! Whole runs: to the end, stopped, killed, gone on with.
#![allow(clippy::unwrap_used)]

use e2e::run::{Place, Running, Told, alive, signal, tandem};
use std::{
    fs,
    time::{Duration, Instant},
};

/// Steps that no run of a test reaches before it is ended.
const FOREVER: &str = "optimizer.steps=100000";

fn kill_all(run: Running, workers: &[u64]) {
    let all: Vec<u64> = workers.iter().copied().chain([run.pid()]).collect();
    signal("KILL", &all);
    assert_eq!(run.end().code, None, "it was killed");
    let start = Instant::now();
    while workers.iter().any(|pid| alive(*pid)) {
        assert!(start.elapsed() < Duration::from_secs(20), "a worker outlives SIGKILL");
        std::thread::yield_now();
    }
}

fn training(run: &mut Running) -> Vec<u64> {
    run.committed(4);
    let workers = run.workers();
    assert_eq!(workers.len(), 2, "{}", run.status());
    workers
}

/// The losses that a run reported, step by step.
fn losses(place: &Place, output: &str) -> Vec<f64> {
    let of = |line: &serde_json::Value| {
        ["loss_itc", "loss_itm", "loss_mlm"].map(|name| line[name].as_f64().unwrap())
    };
    place.metrics(output).iter().flat_map(of).collect()
}

#[test]
fn the_number_of_workers_changes_no_loss() {
    let place = Place::new();
    let run = |output: &str, workers: &str, more: &[&str]| {
        let sets = [&["model.dropout=0", "optimizer.steps=50", "metrics.every=1"], more].concat();
        let told = place.run(output, &sets, &["--workers", workers]);
        assert_eq!(told.code, Some(0), "{told:?}");
        losses(&place, output)
    };
    let one = run("one", "1", &[]);
    assert_eq!(one.len(), 150);
    // Batches of 16 pairs in 4 lanes: three workers have 4, 4 and 8 of them.
    for (output, workers, more) in [("three", "3", &[][..]), ("small", "2", &["optimizer.micro_batch=3"])] {
        let other = run(output, workers, more);
        let apart = one.iter().zip(&other).map(|(a, b)| (a - b).abs() / a.abs()).fold(0.0, f64::max);
        assert!(one.len() == other.len() && apart < 1e-4, "{output}: losses are {apart:e} apart");
        assert!(apart > 0.0, "{output}: is it the same run?");
    }
}

#[test]
fn a_run_ends_with_its_checkpoint_its_metrics_and_a_summary_and_is_scored() {
    let place = Place::new();
    let Told { code, out, err } = place.run("out", &[], &["--workers", "2"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("all 12 steps are done") && out.contains("loss_itc"), "{out}");
    assert!(err.contains("coordinator at http://127.0.0.1:"), "{err}");
    let steps: Vec<u64> = place.metrics("out").iter().filter_map(|line| line["step"].as_u64()).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    for file in ["curves.png", "config.toml", "dataset.index", "tensorboard", "logs/worker-1.log"] {
        assert!(fs::exists(place.path(&format!("out/{file}"))).unwrap(), "{file} is missing");
    }
    assert!(image::open(place.path("out/curves.png")).unwrap().width() > 300);

    let again = place.run("out", &[], &[]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("--resume"), "{again:?}");
    let done = place.run("out", &[], &["--resume"]);
    assert_eq!((done.code, place.metrics("out").len()), (Some(0), 12), "{done:?}");
    let other = place.run("out", &["run.seed=5"], &["--resume"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.err.contains("run.seed was 0") && other.err.contains("is 5 now"), "{other:?}");

    let (output, data, grid) = (place.path("out"), place.path("data"), place.path("grid.png"));
    let eval = [
        "eval",
        "retrieval",
        "--checkpoint",
        &output,
        "--data",
        &data,
        "--rerank",
        "8",
        "--json",
        "--grid",
        &grid,
    ];
    let scored = tandem(&eval);
    assert_eq!(scored.code, Some(0), "{scored:?}");
    let report: serde_json::Value = serde_json::from_str(&scored.out).unwrap();
    assert_eq!((report["pairs"].as_u64(), report["step"].as_u64()), (Some(96), Some(12)), "{report}");
    for score in ["itc", "itm"] {
        let recall = &report[score]["text_to_image"];
        let at = |k: &str| recall[k].as_f64().unwrap();
        assert!(at("r1") <= at("r5") && at("r5") <= at("r10") && at("r10") <= 100.0, "{report}");
    }
    assert!(image::open(grid).unwrap().height() > 500);
}

#[test]
fn a_run_whose_processes_are_all_killed_goes_on_bit_for_bit() {
    let place = Place::new();
    let whole = place.run("whole", &["optimizer.steps=150"], &[]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let mut run = place.start("killed", &["optimizer.steps=150"]);
    let workers = training(&mut run);
    kill_all(run, &workers);
    let before = place.digests("killed", 150);
    assert!(before.is_empty(), "it was killed too late");
    let resumed = place.run("killed", &["optimizer.steps=150"], &["--resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let digests = place.digests("whole", 150);
    assert_eq!(digests.len(), 2);
    assert_eq!(digests, place.digests("killed", 150), "every tensor, to the last bit");
    let losses = |output: &str| -> Vec<(u64, String)> {
        let lines = place.metrics(output);
        lines.iter().map(|line| (line["step"].as_u64().unwrap(), line["loss"].to_string())).collect()
    };
    assert_eq!(losses("whole"), losses("killed"), "each step once, with the same loss");
}

#[test]
fn ctrl_c_stops_with_a_checkpoint_from_which_the_run_goes_on() {
    let place = Place::new();
    let mut run = place.start("out", &[FOREVER, "checkpoint.every=4"]);
    training(&mut run);
    signal("INT", &[run.pid()]);
    let Told { code, out, err } = run.end();
    assert_eq!(code, Some(75), "{out}{err}");
    let last = place.metrics("out").last().unwrap()["step"].as_u64().unwrap();
    assert!(!place.digests("out", last).is_empty(), "step {last} is committed: {out}");
    let steps = format!("optimizer.steps={}", last + 3);
    let resumed = place.run("out", &[&steps], &["--resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let steps: Vec<u64> = place.metrics("out").iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=last + 3).collect::<Vec<_>>(), "no step is missing or there twice");
}

#[test]
fn operators_see_the_run_ask_for_a_checkpoint_and_stop_it() {
    let place = Place::new();
    let mut run = place.start("out", &[FOREVER, "checkpoint.every=4", "checkpoint.keep=1000000"]);
    training(&mut run);
    let folder = run.folder().display().to_string();
    let status = tandem(&["status", "--run", &folder]);
    assert!(status.code == Some(0) && status.out.contains("trains on 2 workers"), "{status:?}");
    let asked = tandem(&["checkpoint", "now", "--run", &folder]);
    assert!(asked.code == Some(0) && asked.out.contains("is committed"), "{asked:?}");
    let stopped = tandem(&["stop", "--run", &folder, "--no-checkpoint"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert_eq!(run.end().code, Some(75));
    let gone = tandem(&["status", "--run", &folder]);
    assert_eq!(gone.code, Some(69), "{gone:?}");

    // What lies there is looked at and thinned out without a coordinator.
    let committed = || -> Vec<u64> {
        let told = tandem(&["checkpoint", "list", "--json", "--run", &folder]);
        let list: serde_json::Value = serde_json::from_str(&told.out).unwrap();
        let whole = |one: &&serde_json::Value| one["committed"] == true && one["damage"].is_null();
        let whole = list["checkpoints"].as_array().unwrap().iter().filter(whole);
        whole.map(|one| one["step"].as_u64().unwrap()).collect()
    };
    let before = committed();
    let newest = *before.last().unwrap();
    assert!(before.len() >= 2 && before[0] == 4, "{before:?}");
    let shown = tandem(&["checkpoint", "show", "--run", &folder]);
    let told = format!("run run, step {newest}, generation ");
    assert!(shown.out.contains(&told) && shown.out.contains("model.image_size = 16"), "{shown:?}");
    let verified = tandem(&["checkpoint", "verify", "--all", "--run", &folder]);
    assert!(verified.code == Some(0) && verified.out.lines().count() == before.len(), "{verified:?}");
    let pruned = tandem(&["checkpoint", "prune", "--keep", "1", "--run", &folder]);
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    assert_eq!(committed(), [newest]);
}

#[test]
fn workers_started_by_hand_join_a_coordinator() {
    use std::process::{Command, Stdio};
    let place = Place::new();
    let arguments = place.arguments("out", &[]);
    let mut coordinator = Command::new(e2e::program("tandem"));
    coordinator.arg("coordinator").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let coordinator = coordinator.spawn().unwrap();
    let url = place.path("out/coordinator.url");
    let start = Instant::now();
    while fs::read_to_string(&url).unwrap_or_default().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "no URL");
        std::thread::yield_now();
    }
    let url = fs::read_to_string(url).unwrap();
    let worker = || {
        Command::new(e2e::program("tandem-worker"))
            .args(["--coordinator", &url])
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let ends = [worker(), worker()].map(|mut worker| worker.wait().unwrap().code());
    assert_eq!(ends, [Some(0), Some(0)]);
    let told = Told::from(coordinator.wait_with_output().unwrap());
    assert!(told.code == Some(0) && told.out.contains("all 12 steps are done"), "{told:?}");
}
