//! What operators change and look into while a run goes on: its knobs, its workers' logs, its steps, its past.
#![allow(clippy::unwrap_used)]

use e2e::run::{Place, Running, tandem};
use e2e::worker::Worker;
use serde_json::Value;
use std::{collections::BTreeMap, io::Read, path::Path};

/// Steps that no run of a test reaches before it is ended.
const FOREVER: &str = "optimizer.steps=100000";
/// The learning rate does not depend on how many steps the run would have.
const CONSTANT: &str = "optimizer.min_learning_rate=1e-3";

/// Steps of the committed checkpoints.
fn committed(place: &Place) -> Vec<u64> {
    let folders = std::fs::read_dir(place.path("out/checkpoints")).into_iter().flatten().flatten();
    let whole = folders.map(|folder| folder.path()).filter(|folder| folder.join("COMMITTED").exists());
    let step = |folder: std::path::PathBuf| folder.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
    let mut steps: Vec<u64> = whole.filter_map(step).collect();
    steps.sort_unstable();
    steps
}

/// A run of two workers, and how it is asked.
struct Live {
    place: Place,
    run: Running,
    url: String,
    workers: Vec<Worker>,
}

impl Live {
    fn begin(sets: &[&str]) -> Self {
        let place = Place::new();
        let (mut run, url) = place.serve("out", &[&[FOREVER, CONSTANT], sets].concat());
        let workers = ["one", "two"].map(|name| Worker::start(&url, &place.path(name), &[]));
        run.trains_on(2);
        Self { place, run, url, workers: workers.into() }
    }

    /// A verb's output; it has to succeed.
    fn ask(&self, verb: &[&str]) -> String {
        let told = tandem(&[verb, &["--coordinator", &self.url]].concat());
        assert_eq!(told.code, Some(0), "{verb:?}: {told:?}");
        told.out
    }

    /// A verb's error; it has to be refused with this exit code.
    fn refused(&self, verb: &[&str], code: i32) -> String {
        let told = tandem(&[verb, &["--coordinator", &self.url]].concat());
        assert_eq!(told.code, Some(code), "{verb:?}: {told:?}");
        told.err
    }

    fn step(&self) -> u64 {
        self.run.status()["step"].as_u64().unwrap()
    }

    /// Waits until a step is reported.
    fn reaches(&mut self, step: u64) {
        let newest = || self.place.metrics("out").pop().and_then(|line| line["step"].as_u64());
        self.run.until("a step", || newest() >= Some(step));
    }

    /// Of each step, the value of a metric.
    fn metric(&self, name: &str) -> BTreeMap<u64, f64> {
        let of = |line: &Value| Some((line["step"].as_u64()?, line[name].as_f64()?));
        self.place.metrics("out").iter().filter_map(of).collect()
    }

    fn events(&self, kind: &str) -> Vec<String> {
        let told = tandem(&["events", "--json", "--run", &self.place.path("out")]);
        let events = told.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["kind"] == kind).map(|event| event["text"].to_string()).collect()
    }

    /// Ends it with a checkpoint.
    fn stop(self) -> Place {
        assert!(self.ask(&["stop"]).contains("as asked"));
        assert_eq!(self.run.end().code, Some(75));
        assert!(self.workers.into_iter().all(|worker| worker.end() == Some(75)));
        self.place
    }
}

#[test]
fn knobs_are_turned_while_a_run_goes_on_and_hold_after_its_end() {
    let mut live = Live::begin(&["checkpoint.every=0"]);
    let told = live.ask(&["set", "learning_rate_scale", "0.25", "--json"]);
    let set: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&set["learning_rate_scale"], &set["checkpoint_every"]), (&0.25.into(), &0.into()), "{told}");
    live.run.trains_on(2);
    live.ask(&["set", "checkpoint_every", "7"]);
    let from = live.step();
    live.run.until("a checkpoint of the new interval", || !committed(&live.place).is_empty());
    let first = committed(&live.place)[0];
    assert!(first.is_multiple_of(7) && first >= from, "{first} after {from}");
    assert!(live.refused(&["set", "learning_rate_scale", "-1"], 2).contains("from 0 to 100"));
    assert!(live.refused(&["set", "checkpoint_every", "often"], 2).contains("\"often\""));
    assert!(live.refused(&["set", "log", "worker=loud"], 2).contains("RUST_LOG"));
    assert!(live.refused(&["set", "momentum", "1"], 2).contains("learning_rate_scale"));

    let rates = live.metric("learning_rate");
    let steady: Vec<f64> = rates.range(3..).map(|(_, rate)| *rate).collect();
    let turn = steady.partition_point(|rate| (rate - 1e-3).abs() < 1e-12);
    assert!(turn > 0 && turn < steady.len(), "{steady:?}");
    assert!(steady[turn..].iter().all(|rate| (rate - 2.5e-4).abs() < 1e-12), "{steady:?}");
    assert_eq!(live.events("set").len(), 2, "{:?}", live.events("set"));
    assert!(live.events("asked")[0].contains("set learning_rate_scale=0.25"));

    // The same run file goes on with what was set; another one does not.
    let place = live.stop();
    for (sets, scale) in
        [([FOREVER, CONSTANT, "checkpoint.every=0"], 0.25), ([FOREVER, CONSTANT, "checkpoint.every=9"], 1.0)]
    {
        let (mut run, url) = place.serve_more("out", &sets, &["--resume"]);
        let workers = ["three", "four"].map(|name| Worker::start(&url, &place.path(name), &[]));
        run.trains_on(2);
        assert_eq!(run.status()["settings"]["learning_rate_scale"], scale);
        let last = place.metrics("out").pop().unwrap()["learning_rate"].as_f64().unwrap();
        assert!((last - 1e-3 * scale).abs() < 1e-12, "{last}");
        assert_eq!(tandem(&["stop", "--coordinator", &url]).code, Some(0));
        assert_eq!((run.end().code, workers.map(Worker::end)), (Some(75), [Some(75); 2]));
    }
}

#[test]
fn a_workers_log_is_read_through_the_coordinator() {
    let mut live = Live::begin(&[]);
    let log = live.ask(&["logs", "1"]);
    assert!(log.contains("rank 1 of 2 in generation 1") && log.contains("INFO"), "{log}");
    assert!(!log.contains("DEBUG"), "{log}");
    live.ask(&["set", "log", "debug"]);
    // Somebody follows until the worker has gone; numbers are without gaps.
    let follower = std::thread::spawn({
        let url = live.url.clone();
        move || tandem(&["logs", "0", "--follow", "--json", "--coordinator", &url])
    });
    live.reaches(live.step() + 20);
    assert!(live.refused(&["logs", "7"], 69).contains("no worker \"7\""));
    live.stop();
    let followed = follower.join().unwrap();
    assert_eq!(followed.code, Some(0), "{}", followed.err);
    let lines: Vec<Value> = followed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let committed = |line: &&Value| line["text"].as_str().unwrap().starts_with("committed step");
    let committed: Vec<&Value> = lines.iter().filter(committed).collect();
    assert!(committed.len() > 10 && committed[0]["level"] == "DEBUG", "{}", followed.out);
}

#[test]
fn the_same_steps_are_profiled_on_every_worker() {
    let live = Live::begin(&[]);
    let told = live.ask(&["profile", "--steps", "2"]);
    assert!(told.contains("2 traces of 2 steps"), "{told}");
    let told = live.ask(&["profile", "--steps", "1"]);
    assert!(told.contains("2 traces of 1 steps"), "{told}");
    assert!(live.refused(&["profile", "--steps", "0"], 2).contains("1..=100"));
    let place = live.stop();
    let mut folders: Vec<_> =
        std::fs::read_dir(place.path("out/profiles")).unwrap().map(|folder| folder.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len(), 2);
    for (folder, steps) in folders.iter().zip([2, 1]) {
        for rank in 0..2 {
            let events = trace(&folder.join(format!("g000000001-rank-{rank:05}.json.gz")));
            for phase in ["data", "encode", "vote", "update"] {
                let spans =
                    events.iter().filter(|event| event["cat"] == "user_annotation" && event["name"] == phase);
                assert_eq!(spans.count(), steps, "{phase} on rank {rank} in {}", folder.display());
            }
            assert!(
                events
                    .iter()
                    .any(|event| event["name"] == "aten::addmm" && event["dur"].as_f64() > Some(0.0))
            );
        }
    }
}

/// The events of a packed trace.
fn trace(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    let packed = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let trace: Value = serde_json::from_str(&text).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

#[test]
fn a_run_goes_back_to_an_older_checkpoint_and_learns_the_same_again() {
    let mut live = Live::begin(&["checkpoint.keep=100"]);
    live.run.committed(12);
    live.reaches(14);
    let before = live.metric("loss");
    assert!(live.refused(&["rollback", "5"], 69).contains("no committed checkpoint of step 5"));
    let told = live.ask(&["rollback", "4"]);
    assert!(told.contains("from the checkpoint of step 4"), "{told}");
    live.run.trains_on(2);
    live.reaches(16);
    let after = live.metric("loss");
    for step in 1..=14 {
        let (one, other) = (before[&step], after[&step]);
        assert!((one - other).abs() < 1e-6 * one.abs(), "step {step}: {one} and then {other}");
    }
    assert_eq!(live.events("rewound").len(), 1);
    let asked = live.events("asked");
    assert!(asked.iter().any(|asked| asked.contains("roll back to step 4")), "{asked:?}");
    // Also while it is paused, and to the newest one.
    live.ask(&["pause"]);
    let newest = *committed(&live.place).last().unwrap();
    live.ask(&["rollback", &newest.to_string()]);
    assert_eq!(live.run.status()["state"], "paused");
    live.ask(&["resume"]);
    live.run.trains_on(2);
    let place = live.stop();
    let proof = tandem(&["data", "verify-ledger", "--run", &place.path("out")]);
    assert!(proof.code == Some(0) && proof.out.contains("proven"), "{proof:?}");
}
