//! The coordinator's page and metrics, asked as a browser and Prometheus ask, while a real run trains.
#![cfg(test)]

use e2e::run::{Place, Running, tandem};
use e2e::worker::Worker;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// A GET over HTTP/1.1: status, headers, body.
fn get(url: &str, path: &str) -> (u16, String, Vec<u8>) {
    ask(url, "GET", "localhost", path)
}

/// The same with another method, or under another name of the host.
fn ask(url: &str, method: &str, host: &str, path: &str) -> (u16, String, Vec<u8>) {
    let mut socket = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    write!(socket, "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

fn json(url: &str, path: &str) -> Value {
    let (status, head, body) = get(url, path);
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("content-security-policy: default-src 'self'"), "{head}");
    serde_json::from_slice(&body).unwrap()
}

/// A run whose two workers have trained for a while.
fn running(place: &Place) -> (Running, String, [Worker; 2]) {
    let sets = [
        "optimizer.steps=100000",
        "run.workers=2",
        "checkpoint.every=3",
        "checkpoint.keep=10000",
        "metrics.every=1",
    ];
    let (mut run, url) = place.serve("out", &sets);
    let workers =
        ["a", "b"].map(|name| Worker::start(&url, &place.path(name), &["--metrics", "127.0.0.1:0"]));
    run.until("checkpoints", || json(&url, "/api/run")["committed_checkpoint"].as_u64() > Some(3));
    (run, url, workers)
}

#[test]
fn a_run_is_shown_and_measured_while_it_trains() {
    let place = Place::new();
    let (run, url, workers) = running(&place);
    let now = json(&url, "/api/run");
    assert_eq!((now["state"].as_str(), now["members"].as_array().unwrap().len()), (Some("training"), 2));
    let [first, second] = [0, 1].map(|rank| now["members"][rank].clone());
    assert_eq!(first["lanes"][0], 0);
    assert_eq!(first["lanes"][1], second["lanes"][0], "lanes follow on each other");
    for phase in ["data", "encode", "learn", "vote", "update"] {
        assert!(first["seconds"][phase].as_f64().is_some(), "{phase}: {first}");
    }
    let series = json(&url, "/api/series");
    let steps = series["steps"].as_array().unwrap();
    assert!(steps.len() >= 3 && steps[0] == 1, "{steps:?}");
    for name in ["loss", "loss_itc", "temperature", "pairs_per_second"] {
        let curve = series["values"][name].as_array().unwrap();
        assert!(curve.len() == steps.len() && curve.iter().all(Value::is_number), "{name}: {curve:?}");
    }
    let events = json(&url, "/api/events");
    let kinds: Vec<&str> =
        events.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert!(kinds.starts_with(&["opened", "generation"]) && kinds.contains(&"committed"), "{kinds:?}");
    let generations = json(&url, "/api/generations");
    assert_eq!((&generations[0]["world_size"], &generations[0]["step"]), (&2.into(), &0.into()));
    assert_eq!(json(&url, "/api/quarantine"), Value::Array(Vec::new()));
    assert_eq!(get(&url, "/api/rows/0/image").0, 404, "only rows that were not used are shown");
    assert_eq!(get(&url, "/none").0, 404);

    let (status, head, body) = get(&url, "/metrics");
    assert!(status == 200 && head.contains("openmetrics-text"), "{head}");
    let text = String::from_utf8(body).unwrap();
    for line in [
        "tandem_run_info{run=\"run\"} 1",
        "tandem_world_size 2",
        "tandem_workers{phase=\"training\"} 2",
        "tandem_recoveries_total 0",
        "tandem_substituted_rows_total 0",
        "tandem_state_seconds_total{state=\"training\"}",
        "tandem_worker_step_phase_seconds{member=\"1-1\"",
        "tandem_goodput_ratio 0.",
        "tandem_loss_itc ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // What the dashboard asks for is there.
    let dashboard = include_str!("../../docs/grafana.json");
    let asked = dashboard.split("tandem_").skip(1).map(|rest| rest.split(['{', ',']).next().unwrap());
    for name in asked {
        assert!(
            text.contains(&format!("tandem_{name}{{")) || text.contains(&format!("tandem_{name} ")),
            "{name}"
        );
    }
    let [worker, _other] = &workers;
    let said = worker.said();
    let address = said.split("metrics at http://").nth(1).unwrap().split('/').next().unwrap();
    let text = String::from_utf8(get(address, "/metrics").2).unwrap();
    assert!(text.contains("tandem_step_phase_seconds{phase=\"encode\"}"), "{text}");

    assert_eq!(json(&url, "/api/evaluation"), Value::Null);
    let folder = run.folder().display().to_string();
    let mut follow = Command::new(e2e::program("tandem"));
    follow.args(["eval", "follow", "--run", &folder, "--data", &place.path("data"), "--rerank", "4"]);
    let mut follow = follow.stderr(Stdio::null()).spawn().unwrap();
    let mut run = run;
    run.until("an evaluation", || json(&url, "/api/evaluation") != Value::Null);
    follow.kill().unwrap();
    follow.wait().unwrap();
    let found = json(&url, "/api/evaluation");
    let recall = found["recall"]["text_to_image"]["10"].as_f64().unwrap();
    assert!(recall > 0.0 && recall <= 1.0 && found["history"][0]["step"].is_u64(), "{found}");
    let (status, head, picture) = get(&url, &format!("/{}", found["grid"].as_str().unwrap()));
    assert!(status == 200 && head.contains("image/png") && picture.starts_with(b"\x89PNG"), "{head}");

    let told = tandem(&["stop", "--run", &run.folder().display().to_string()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(run.end().code, Some(75));
}

#[test]
fn a_worker_does_not_show_metrics_to_other_machines() {
    let place = Place::new();
    let (_run, url) = place.serve("out", &["run.workers=1"]);
    let worker = Worker::start(&url, &place.path("a"), &["--metrics", "0.0.0.0:0"]);
    assert_eq!(worker.end(), Some(2));
}

#[test]
fn a_page_from_elsewhere_can_neither_see_nor_steer_a_run_without_credentials() {
    let place = Place::new();
    let (_run, url) = place.serve("out", &["run.workers=1"]);
    let asked = [
        ("GET", "localhost:7070", "/api/run", 200),
        ("GET", "127.0.0.1", "/metrics", 200),
        ("GET", "[::1]:80", "/", 200),
        // A name that somebody has made to point here.
        ("GET", "rebound.example", "/api/run", 403),
        ("GET", "127.0.0.1.example", "/", 403),
        ("POST", "127.0.0.1", "/tandem.v1.Operator/Stop", 403),
        ("OPTIONS", "127.0.0.1", "/tandem.v1.Operator/Stop", 403),
    ];
    for (method, host, path, expected) in asked {
        let (status, head, _) = ask(&url, method, host, path);
        assert_eq!(status, expected, "{method} {path} as {host}: {head}");
    }
    let told = tandem(&["status", "--coordinator", &url]);
    assert_eq!(told.code, Some(0), "{told:?}");
}
