//! Runs that lose, gain and replace workers and coordinators while they train: nothing is lost, and nothing is learned otherwise.
#![allow(clippy::unwrap_used)]

use e2e::program;
use e2e::run::{Place, Running, alive, signal, tandem};
use e2e::worker::Worker;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Steps that no run of a test reaches before it is ended.
const FOREVER: &str = "optimizer.steps=100000";
/// What makes losses comparable over numbers of workers.
const EXACT: &str = "model.dropout=0";
/// The learning rate does not depend on how many steps the run would have.
const CONSTANT: &str = "optimizer.min_learning_rate=1e-3";

/// The run's losses are those of a run that nothing happened to, and its ledger proves that each row was seen once.
fn assert_undisturbed(place: &Place, output: &str, sets: &[&str]) {
    let found = place.losses(output);
    let steps = format!("optimizer.steps={}", found.len());
    let told = place.run("undisturbed", &[sets, &[&steps, "run.workers=1"]].concat(), &[]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let expected = place.losses("undisturbed");
    let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / b.abs()).fold(0.0, f64::max);
    assert!(apart < 1e-4, "losses are {apart:e} apart");
    let proof = tandem(&["data", "verify-ledger", "--run", &place.path(output)]);
    assert!(proof.code == Some(0) && proof.out.contains("proven"), "{proof:?}");
}

fn step(run: &Running) -> u64 {
    run.status()["step"].as_u64().unwrap_or_default()
}

/// Processes of the workers that have a seat, by rank.
fn seated(run: &Running) -> Vec<u64> {
    let status = run.status();
    let members = status["members"].as_array().cloned().unwrap_or_default();
    let mut seats: Vec<(u64, u64)> =
        members.iter().filter_map(|m| Some((m["rank"].as_u64()?, m["pid"].as_u64()?))).collect();
    seats.sort_unstable();
    seats.into_iter().map(|(_, pid)| pid).collect()
}

/// Ends a run with a checkpoint.
fn stop(run: Running) {
    let told = tandem(&["stop", "--run", &run.folder().display().to_string()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let ended = run.end();
    assert_eq!(ended.code, Some(75), "{ended:?}");
}

#[test]
fn a_killed_worker_is_replaced_while_the_other_goes_on_from_memory() {
    let place = Place::new();
    let sets = [FOREVER, CONSTANT, EXACT, "checkpoint.every=1000000"];
    let mut run = place.start("out", &sets);
    run.trains_on(2);
    let first = seated(&run);
    for _ in 0..2 {
        let victim = seated(&run)[1];
        signal("KILL", &[victim]);
        run.until("the loss to be seen", || !alive(victim));
        run.trains_on(2);
    }
    let last = seated(&run);
    assert_eq!(first[0], last[0], "the survivor is the same process");
    assert!(first[1] != last[1] && run.status()["generation"].as_u64() > Some(2), "{}", run.status());
    stop(run);
    assert_undisturbed(&place, "out", &sets);
}

#[test]
fn rank_zero_may_be_killed_too_and_so_may_all() {
    let place = Place::new();
    let sets = [FOREVER, CONSTANT, EXACT, "checkpoint.every=4"];
    let mut run = place.start("out", &sets);
    run.trains_on(2);
    signal("KILL", &seated(&run)[..1]);
    run.trains_on(2);
    let all = seated(&run);
    signal("KILL", &all);
    run.until("their end", || !all.iter().any(|pid| alive(*pid)));
    run.trains_on(2);
    stop(run);
    assert_undisturbed(&place, "out", &sets);
}

#[test]
fn workers_join_wait_as_spares_and_go_when_told() {
    let place = Place::new();
    let sets = [FOREVER, CONSTANT, EXACT, "run.workers=2", "run.max_workers=3", "cluster.lost_after=5"];
    let (mut run, url) = place.serve("out", &sets);
    let start = |name: &str, more: &[&str]| Worker::start(&url, &place.path(name), more);
    let (one, two) = (start("one", &[]), start("two", &["--weight", "2"]));
    run.trains_on(2);
    let spare = start("spare", &["--spare"]);
    run.until("a spare that is ready", || spare_waits(&place, "out"));
    assert!(!seated(&run).contains(&spare.pid()), "{}", run.status());
    let three = start("three", &[]);
    run.trains_on(3);
    assert!(seated(&run).contains(&three.pid()));
    three.signal("TERM");
    assert_eq!(three.end(), Some(75), "it was told to go, and the run goes on");
    run.trains_on(2);
    one.signal("KILL");
    run.trains_on(2);
    assert!(seated(&run).contains(&spare.pid()), "{}", run.status());
    let told = tandem(&["stop", "--run", &run.folder().display().to_string()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!([two.end(), spare.end()], [Some(75); 2]);
    assert_eq!(run.end().code, Some(75));
    assert_undisturbed(&place, "out", &sets);
}

#[test]
fn a_worker_that_was_stopped_comes_back_as_new() {
    let place = Place::new();
    let sets = [FOREVER, CONSTANT, EXACT, "cluster.lost_after=1"];
    let (mut run, url) = place.serve("out", &sets);
    let start = |name: &str| Worker::start(&url, &place.path(name), &[]);
    let (one, two) = (start("one"), start("two"));
    run.trains_on(2);
    one.signal("STOP");
    run.trains_on(1);
    assert_eq!(seated(&run), [two.pid()]);
    one.signal("CONT");
    run.trains_on(2);
    assert_eq!(seated(&run), [two.pid(), one.pid()], "it has the last rank, as a newcomer has");
    let told = tandem(&["stop", "--run", &run.folder().display().to_string()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!([one.end(), two.end(), run.end().code], [Some(75); 3]);
    assert_undisturbed(&place, "out", &sets);
}

#[test]
fn training_does_not_stop_without_a_coordinator_and_the_next_one_takes_over() {
    let place = Place::new();
    let sets = [FOREVER, CONSTANT, EXACT];
    let (mut run, url) = place.serve("out", &sets);
    let start = |name: &str| Worker::start(&url, &place.path(name), &[]);
    let (one, two) = (start("one"), start("two"));
    run.trains_on(2);
    let (before, generation, seats) = (step(&run), run.status()["generation"].clone(), seated(&run));
    signal("KILL", &[run.pid()]);
    drop(run);
    // It listens on another port: the workers find it in the run's journal.
    let (mut run, _) = place.serve_more("out", &sets, &["--resume"]);
    run.trains_on(2);
    assert_eq!(run.status()["generation"], generation, "the generation was not disturbed");
    assert_eq!(seated(&run), seats);
    assert!(step(&run) > before);
    // The next one does not wait for the death of this one: it is fenced.
    let (mut next, _) = place.serve_more("out", &sets, &["--resume"]);
    next.trains_on(2);
    let fenced = run.end();
    assert!(fenced.code.is_some_and(|code| code != 0), "{fenced:?}");
    let told = tandem(&["stop", "--run", &next.folder().display().to_string()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!([one.end(), two.end(), next.end().code], [Some(75); 3]);
    assert_undisturbed(&place, "out", &sets);
}

#[test]
fn a_signal_to_the_run_writes_a_checkpoint_and_a_second_ends_it_at_once() {
    let place = Place::new();
    for name in ["TERM", "USR1"] {
        let mut run = place.start(name, &[FOREVER, "checkpoint.every=1000000"]);
        run.trains_on(2);
        signal(name, &[run.pid()]);
        let ended = run.end();
        assert_eq!(ended.code, Some(75), "{ended:?}");
        let last = place.metrics(name).last().unwrap()["step"].as_u64().unwrap();
        assert!(!place.digests(name, last).is_empty(), "step {last} is committed");
    }
    let mut run = place.start("twice", &[FOREVER]);
    run.trains_on(2);
    let workers = seated(&run);
    signal("STOP", &workers[..1]);
    signal("TERM", &[run.pid()]);
    run.until("the stop", || run_state(&place, "twice") == "stopping");
    signal("TERM", &[run.pid()]);
    assert_eq!(run.end().code, Some(76));
    assert!(!workers.iter().any(|pid| alive(*pid)), "the workers are gone as well");
}

/// Whether a spare is ready, and has no seat.
fn spare_waits(place: &Place, output: &str) -> bool {
    let told = tandem(&["status", "--json", "--run", &place.path(output)]);
    let status: Value = serde_json::from_str(&told.out).unwrap_or_default();
    let members = status["members"].as_array().cloned().unwrap_or_default();
    members.iter().any(|m| m["spare"] == true && m["rank"].is_null() && m["phase"] == "waiting")
}

fn run_state(place: &Place, output: &str) -> String {
    let told = tandem(&["status", "--json", "--run", &place.path(output)]);
    let status: Value = serde_json::from_str(&told.out).unwrap_or_default();
    status["state"].as_str().unwrap_or_default().into()
}

#[test]
fn anomalies_are_skipped_or_rolled_back_alike_on_all_workers_and_stand_in_the_ledger() {
    let place = Place::new();
    for policy in ["skip", "rollback"] {
        let policy_set = format!("optimizer.on_anomaly={policy}");
        // A bound so narrow that ordinary steps go over it.
        let sets = [
            &policy_set,
            "optimizer.steps=80",
            "optimizer.learning_rate=1e-2",
            "optimizer.spike_bound=1.005",
            "optimizer.anomalies=1000",
        ];
        let told = place.run(policy, &sets, &[]);
        assert_eq!(told.code, Some(0), "{told:?}");
        place.losses(policy);
        let proof = tandem(&["data", "verify-ledger", "--json", "--run", &place.path(policy)]);
        let proof: Value = serde_json::from_str(&proof.out).unwrap();
        let (skipped, undone) = (&proof["report"]["skipped"], &proof["report"]["undone"]);
        assert!(proof["proven"] == true && skipped.as_u64() > Some(0), "{proof}");
        assert_eq!(undone.as_u64() > Some(0), policy == "rollback", "{proof}");
    }
}

#[test]
fn a_run_is_steered_while_it_trains_and_its_journal_tells_of_it() {
    let place = Place::new();
    // A worker that stands still would not count as lost for long enough to see who sends it away.
    let sets = [FOREVER, CONSTANT, EXACT, "cluster.lost_after=600"];
    let (mut run, url) = place.serve("out", &sets);
    let start = |name: &str| Worker::start(&url, &place.path(name), &[]);
    let (one, two) = (start("one"), start("two"));
    run.trains_on(2);
    let mut watch = Command::new(program("tandem"))
        .args(["watch", "--json", "--coordinator", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (send, watched) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map(|line| send.send(line)).find(Result::is_err));
    let ask = |verb: &[&str]| tandem(&[verb, &["--coordinator", &url]].concat());

    let told = ask(&["pause"]);
    assert!(told.code == Some(0) && told.out.contains("paused at step"), "{told:?}");
    let is_paused = |line: &String| line.contains(r#""state":"paused""#);
    assert!(watched.iter().any(|line| is_paused(&line)), "the watch ends before it tells of the pause");
    let at = step(&run);
    assert_eq!((run_state(&place, "out").as_str(), ask(&["checkpoint", "now"]).code), ("paused", Some(69)));
    let told = ask(&["resume"]);
    assert!(told.code == Some(0) && told.out.starts_with("training in generation 2"), "{told:?}");
    assert!(step(&run) >= at);
    run.trains_on(2);

    let last = seated(&run)[1];
    let (still, other) = if last == one.pid() { (one, two) } else { (two, one) };
    still.signal("STOP");
    let told = ask(&["kick", "1"]);
    assert!(told.code == Some(0) && told.out.contains("is sent away"), "{told:?}");
    run.trains_on(1);
    still.signal("CONT");
    assert_eq!(still.end(), Some(75), "it was sent away");

    let told = ask(&["scale", "--workers", "1", "--max", "2", "--json"]);
    assert_eq!(told.out.trim(), r#"{"max_workers":2,"min_workers":1,"workers":1}"#, "{told:?}");
    let third = start("three");
    run.trains_on(2);
    assert_eq!(ask(&["scale", "--min", "3"]).code, Some(69), "more than there may be");
    let told = ask(&["drain", "0", "--generation", "1"]);
    assert!(told.code == Some(69) && told.err.contains("expected 1"), "{told:?}");
    assert_eq!(ask(&["drain", "0"]).code, Some(0));
    assert_eq!(other.end(), Some(75), "it was told to go");
    run.trains_on(1);
    assert!(ask(&["workers"]).out.contains(&third.pid().to_string()));

    assert_eq!(ask(&["stop"]).code, Some(0));
    assert_eq!((third.end(), run.end().code), (Some(75), Some(75)));
    let last: Value = serde_json::from_str(&watched.iter().last().unwrap()).unwrap();
    assert_eq!((watch.wait().unwrap().code(), &last["state"]), (Some(75), &"finished".into()));
    let told = tandem(&["events", "--json", "--run", &place.path("out")]);
    let events: Vec<Value> = told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked: Vec<&str> = events
        .iter()
        .filter(|event| event["kind"] == "asked")
        .filter_map(|event| event["text"].as_str()?.split("asks: ").nth(1))
        .collect();
    let all = ["pause", "resume", "kick worker 1", "scale to 1, at most 2 workers", "drain worker 0"];
    assert_eq!(asked, [&all[..], &["stop with a checkpoint"]].concat());
    assert_eq!(events.last().unwrap()["kind"], "ended");
    assert_undisturbed(&place, "out", &sets);
}
