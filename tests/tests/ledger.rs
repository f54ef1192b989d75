//! The ledger of real runs: killed, gone on with by another number of workers, with rows that can't be used, and damaged.
#![allow(clippy::unwrap_used)]

use e2e::run::{Place, Told, alive, signal, tandem};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

/// Rows that can't be used.
const BROKEN: [u64; 3] = [7, 20, 33];
const ROWS: u64 = 40;

fn png(side: u32, shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(side, side, image::Rgb([shade, 90, 200]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Imports 40 pairs in row groups of 8, a few of them over the limit of pixels.
fn dataset(place: &Place) -> String {
    let (folder, list, out) = (place.path("images"), place.path("list.tsv"), place.path("holes"));
    fs::create_dir(&folder).unwrap();
    let mut captions = String::new();
    for row in 0..ROWS {
        let side = if BROKEN.contains(&row) { 300 } else { 24 };
        fs::write(format!("{folder}/{row}.png"), png(side, row as u8 * 6)).unwrap();
        captions += &format!("{row}.png\tpicture number {row}\n");
    }
    fs::write(&list, captions).unwrap();
    let import = ["data", "import", "--images", &folder, "--captions", &list, "--out", &out];
    let told = tandem(&[&import[..], &["--group-rows", "8"]].concat());
    assert_eq!(told.code, Some(0), "{told:?}");
    out
}

fn verify(place: &Place, more: &[&str]) -> Told {
    tandem(&[&["data", "verify-ledger", "--run", &place.path("out")], more].concat())
}

fn json(told: &Told) -> Value {
    serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {told:?}"))
}

fn segments(place: &Place) -> Vec<String> {
    let files = fs::read_dir(place.path("out/ledger")).unwrap();
    let mut names: Vec<String> =
        files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The number of a sort of rows, over all epochs.
fn sum(report: &Value, key: &str) -> u64 {
    let epochs = report["report"]["epochs"].as_array().unwrap();
    epochs.iter().map(|epoch| epoch[key]["count"].as_u64().or(epoch[key].as_u64()).unwrap()).sum()
}

#[test]
fn a_run_that_was_killed_and_went_on_with_other_workers_is_proven_and_damage_is_named() {
    let place = Place::new();
    let data = format!("data.train={}", dataset(&place));
    let fixed = [data.as_str(), "data.max_pixels=10000", "data.substitution_budget=0.2", "metrics.every=5"];
    let sets = |steps: &'static str| [&fixed[..], &[steps]].concat();
    let mut run = place.start("out", &sets("optimizer.steps=100000"));
    run.committed(8);
    let workers = run.workers();
    assert_eq!(workers.len(), 2);
    let all: Vec<u64> = workers.iter().copied().chain([run.pid()]).collect();
    signal("KILL", &all);
    assert_eq!(run.end().code, None);
    let start = Instant::now();
    while workers.iter().any(|pid| alive(*pid)) {
        assert!(start.elapsed() < Duration::from_secs(20), "a worker outlives SIGKILL");
        std::thread::yield_now();
    }
    let killed = json(&verify(&place, &["--json"]));
    let from = killed["report"]["steps"].as_u64().unwrap();
    assert!(killed["proven"] == true && from >= 8, "what was committed before the kill is proven: {killed}");

    let steps: &'static str = format!("optimizer.steps={}", from + 21).leak();
    let resumed = place.run("out", &sets(steps), &["--resume", "--workers", "3"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let told = verify(&place, &[]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.contains("proven: each row was committed once in each of"), "{told:?}");
    let whole = json(&verify(&place, &["--json", "--names", "1000"]));
    let slots = (from + 21) * 16;
    assert_eq!((sum(&whole, "due"), sum(&whole, "committed_once")), (slots, slots), "{whole}");
    let replaced = whole["report"]["stand_ins"].as_array().unwrap();
    let rows: BTreeSet<u64> = replaced.iter().map(|one| one["row"].as_u64().unwrap()).collect();
    assert_eq!(rows, BTreeSet::from(BROKEN), "{whole}");
    assert!(told.out.contains("can't be used, row "), "{told:?}");
    let complete = whole["report"]["epochs"].as_array().unwrap();
    assert!(complete.iter().filter(|epoch| epoch["complete"] == true).count() >= 10, "{whole}");
    let quarantine = fs::read_to_string(place.path("out/quarantine.jsonl")).unwrap();
    assert_eq!(replaced.len(), quarantine.lines().count(), "the ledger has what the quarantine list has");

    damage(&place, from);
}

/// Plants what a disk or a person may do to a whole ledger of a run that went on from `from`.
fn damage(place: &Place, from: u64) {
    let names = segments(place);
    let of_from =
        |name: &&String| name.starts_with(&format!("segment-{from:09}-")) && name.contains("-g000000002");
    let middle = names.iter().find(of_from).unwrap();
    let path = place.path(&format!("out/ledger/{middle}"));
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let lost = verify(place, &["--names", "5"]);
    assert_eq!(lost.code, Some(65), "{lost:?}");
    assert!(lost.out.contains(&format!("segment {middle}: it is missing")), "{lost:?}");
    assert!(lost.out.contains(&format!("steps 1 to {} are in no segment", from + 4 - from % 4)), "{lost:?}");
    assert!(lost.out.contains("not proven to be committed: rows ") && lost.out.contains(" more"), "{lost:?}");
    assert!(lost.err.contains("does not prove"), "{lost:?}");

    let mut flipped = bytes.clone();
    let last = flipped.len() - 9;
    flipped[last] ^= 4;
    for (bad, part) in [(flipped, "does not have the digest"), (bytes[..last].to_vec(), "committed were")] {
        fs::write(&path, bad).unwrap();
        let told = verify(place, &["--json"]);
        assert_eq!(told.code, Some(65), "{told:?}");
        let finding = &json(&told)["report"]["findings"][0];
        assert!(finding["reason"].as_str().unwrap().contains(part), "{finding}");
        assert_eq!(finding["segment"].as_str(), Some(middle.as_str()));
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(verify(place, &[]).code, Some(0), "put back as it was");

    // Another dataset's index, which the run did not freeze.
    let other = tandem(&[
        "data",
        "index",
        &place.path("data/00000.parquet"),
        "--out",
        &place.path("out/dataset.index"),
    ]);
    assert_eq!(other.code, Some(0), "{other:?}");
    let told = verify(place, &[]);
    assert!(told.code == Some(65) && told.err.contains("dataset.index changed: its fingerprint"), "{told:?}");
    fs::remove_file(place.path("out/dataset.index")).unwrap();
    let told = verify(place, &[]);
    assert!(told.code == Some(65) && told.err.contains("the file is gone"), "{told:?}");
}

#[test]
fn a_run_on_weighted_sources_is_proven_for_each_of_them() {
    let place = Place::new();
    let (other, whole) = (place.path("other"), place.path("data"));
    let synth = [
        "data",
        "synth",
        "--pairs",
        "60",
        "--size",
        "16",
        "--group-rows",
        "7",
        "--seed",
        "9",
        "--out",
        &other,
    ];
    assert_eq!(tandem(&synth).code, Some(0));
    let sources = format!(
        "data.source=[{{ location = '{other}', weight = 3, filter = ['width >= 9'] }}, {{ location = '{whole}', weight = 1 }}]"
    );
    let told = place.run("out", &["data.train=", &sources, "optimizer.steps=30"], &["--workers", "3"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let told = verify(&place, &["--json"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let told = json(&told);
    let due = |pool: u64| -> u64 {
        let epochs = told["report"]["epochs"].as_array().unwrap().iter();
        epochs.filter(|epoch| epoch["pool"] == pool).map(|epoch| epoch["due"].as_u64().unwrap()).sum()
    };
    assert_eq!((due(0), due(1)), (30 * 16 * 3 / 4, 30 * 16 / 4), "{told}");
    let resumed = place.run(
        "out",
        &["data.train=", &sources.replace("weight = 1", "weight = 2"), "optimizer.steps=31"],
        &["--resume"],
    );
    assert!(resumed.code == Some(65) && resumed.err.contains("weight 1, now 2"), "{resumed:?}");
}

#[test]
fn a_run_without_a_checkpoint_has_no_ledger_to_prove() {
    let place = Place::new();
    let told = verify(&place, &[]);
    assert_eq!(told.code, Some(65), "{told:?}");
    assert!(
        told.err.contains("no committed checkpoint at") && told.err.contains("out/checkpoints"),
        "{told:?}"
    );
}
