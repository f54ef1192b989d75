//! The verbs on a real disk, by their command lines.

use super::*;
use crate::{
    args::{Args, Verb},
    checkpoints::{Checkpoints, Identity, Report},
    journal::{End, Event, Journal, JournalError, Opening, Seat},
};
use clap::Parser;
use proto::{
    Exit, Generation, Rank, RunConfig,
    checkpoint::{MARKER, Part, part_name},
    config::{self, CheckpointSection},
};
use shards::{
    ledger::{Entry, Header, Outcome, Segment, VERSION},
    order::OrderSpec,
};
use std::fs;

/// A run's output on a disk, and its checkpoints.
struct Place {
    disk: tempfile::TempDir,
    output: Folder,
    checkpoints: Checkpoints,
}

fn config() -> RunConfig {
    let sets = ["data.train=/data", "text.tokenizer=/v.txt", "model.preset=albef-tiny", "run.seed=7"];
    config::resolve("defaults", "", &sets.map(String::from)).unwrap()
}

impl Place {
    fn new() -> Self {
        let disk = tempfile::tempdir().unwrap();
        let output = Folder::open(disk.path().to_str().unwrap()).unwrap();
        let identity =
            Identity { run: "demo".into(), config: config().to_toml(), dataset: "f00d".repeat(16) };
        let checkpoints = Checkpoints::new(&output, identity, &CheckpointSection::default());
        Self { disk, output, checkpoints }
    }

    /// Commits a step of one part.
    async fn commit(&self, step: u64) {
        let (generation, step) = (Generation(3), GlobalStep(step));
        let named =
            |name: String, bytes: &[u8]| Part { name, size: bytes.len() as u64, sha256: digest(bytes) };
        let order = OrderSpec { seed: 1, lanes: 1, window: 1, batch: 1 };
        let (run, dataset) = ("demo".into(), "f00d".into());
        let header =
            Header { version: VERSION, run, from: GlobalStep(0), to: step, dataset, order, previous: None };
        let entries = (1..=step.0).map(|step| Entry {
            generation,
            step: GlobalStep(step),
            digests: vec![step],
            outcome: Outcome::Applied,
        });
        let segment = Segment { header, entries: entries.collect(), stand_ins: vec![] }.encode().unwrap();
        let ledger = named(format!("s{step}"), &segment);
        self.output.below(shards::ledger::FOLDER).put(&ledger.name, segment).await.unwrap();
        let bytes = vec![7; 3000];
        let part = named(part_name(generation, 0), &bytes);
        self.output.below(FOLDER).step(step).put(&part.name, bytes).await.unwrap();
        let (state, ledger) = (r#"{"filled":3}"#.into(), Some(ledger));
        let report = Report { generation, step, rank: Rank(0), parts: 1, part, state, ledger };
        let Some(prepared) = self.checkpoints.report(report).await.unwrap() else {
            panic!("a part is missing")
        };
        self.checkpoints.commit(&prepared).await.unwrap();
    }

    async fn with(steps: &[u64]) -> Self {
        let place = Self::new();
        for step in steps {
            place.commit(*step).await;
        }
        place
    }

    fn run(&self) -> &str {
        self.disk.path().to_str().unwrap()
    }

    fn path(&self, step: u64, name: &str) -> std::path::PathBuf {
        self.disk.path().join(format!("checkpoints/step-{step:09}/{name}"))
    }

    async fn say(&self, line: &str) -> (Result<()>, String) {
        let words = line.split(' ').chain(["--run", self.run()]);
        let Verb::Checkpoint(verb) = Args::parse_from(["tandem", "checkpoint"].into_iter().chain(words)).verb
        else {
            unreachable!()
        };
        let mut out = Vec::new();
        let done = act(verb, &mut out).await;
        (done, String::from_utf8(out).unwrap())
    }

    async fn told(&self, line: &str) -> String {
        let (done, out) = self.say(line).await;
        done.unwrap();
        out
    }

    async fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.say(&format!("{line} --json")).await.1).unwrap()
    }
}

#[tokio::test]
async fn a_list_has_every_folder_and_says_what_is_wrong_with_it() {
    let place = Place::with(&[5, 10, 15, 20]).await;
    fs::create_dir(place.path(12, "")).unwrap();
    fs::write(place.path(12, "g000000003-part-00000.safetensors"), [0; 9]).unwrap();
    fs::remove_file(place.path(10, "g000000003-part-00000.safetensors")).unwrap();
    fs::write(place.path(15, "g000000003-manifest.json"), "{}").unwrap();
    let out = place.told("list").await;
    let line = |step: &str| out.lines().find(|line| line.trim_start().starts_with(step)).unwrap().to_owned();
    assert!(line("20 ").ends_with("newest") && line("20 ").contains("5.8"), "{out}");
    assert!(line("5 ").contains(&config().hash()[..SHORT]) && line("5 ").contains("old"), "{out}");
    assert!(line("10 ").contains("damaged: g000000003-part-00000.safetensors is missing"), "{out}");
    assert!(line("12 ").ends_with("not committed"), "{out}");
    assert!(line("15 ").contains("damaged: ") && line("15 ").contains("does not have the digest"), "{out}");
    let all = place.json("list").await;
    assert_eq!(all["run"], "demo");
    let of = |at: usize, key: &str| all["checkpoints"][at][key].clone();
    assert_eq!((of(0, "step"), of(0, "generation"), of(0, "parts")), (json!(5), json!(3), json!(1)));
    assert_eq!((of(0, "config_hash"), of(2, "committed")), (json!(config().hash()), json!(false)));
    assert_eq!((of(3, "newest"), of(4, "newest")), (json!(false), json!(true)));
    assert!(of(1, "damage").is_string() && of(4, "damage").is_null());
}

#[tokio::test]
async fn a_checkpoint_shows_its_files_its_counters_and_the_knobs_that_were_turned() {
    let place = Place::with(&[5, 10]).await;
    let out = place.told("show").await;
    for part in
        ["run demo, step 10, generation 3", "step-000000010", "part-00000", "ledger   s10", "\"filled\":3"]
    {
        assert!(out.contains(part), "{part} in {out}");
    }
    let knobs: Vec<&str> = out.split("defaults\n").nth(1).unwrap().lines().map(str::trim).collect();
    let expected = [
        "run.seed = 7",
        "data.train = \"/data\"",
        "text.tokenizer = \"/v.txt\"",
        "model.preset = \"albef-tiny\"",
        "objective.semantics = \"global\"",
    ];
    assert_eq!(knobs, expected);
    let shown = place.json("show --step 5").await;
    assert_eq!(
        (shown["manifest"]["step"].clone(), shown["knobs"]["run.seed"].clone()),
        (json!(5), json!("7"))
    );
    let (none, _) = place.say("show --step 7").await;
    let error = none.unwrap_err();
    assert_eq!(error.exit(), Exit::Data);
    assert!(
        error.to_string().contains("no committed checkpoint at ") && error.to_string().contains("000007")
    );
}

#[tokio::test]
async fn a_flipped_byte_of_anything_that_is_committed_is_named() {
    let place = Place::with(&[5, 10]).await;
    let out = place.told("verify --all").await;
    assert!(out.contains("step 5: ") && out.contains("step 10: 3."), "{out}");
    let segment = place.disk.path().join("ledger/s10");
    for (path, told) in [
        (
            place.path(10, "g000000003-part-00000.safetensors"),
            "g000000003-part-00000.safetensors does not have",
        ),
        (place.path(10, "g000000003-manifest.json"), "g000000003-manifest.json does not have the digest"),
        (place.path(10, MARKER), "does not have the digest in COMMITTED"),
        (segment, "segment s10 of the ledger: it does not have the digest"),
    ] {
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[9] ^= 1;
        fs::write(&path, &flipped).unwrap();
        let (done, out) = place.say("verify --all").await;
        let error = done.unwrap_err();
        assert_eq!(error.exit(), Exit::Data);
        assert!(error.to_string().contains("step 10;"), "{error}");
        assert!(
            out.contains("step 5: 3.") && out.contains("step 10: damaged: ") && out.contains(told),
            "{out}"
        );
        let all = place.json("verify --all").await;
        assert_eq!((&all["verified"], &all["checkpoints"][0]["damage"]), (&json!(false), &json!([])));
        assert!(place.say("verify").await.0.is_err() && place.say("verify --step 5").await.0.is_ok());
        fs::write(&path, whole).unwrap();
    }
    place.told("verify").await;
}

#[tokio::test]
async fn pruning_removes_what_is_old_and_never_the_newest() {
    let place = Place::with(&[5, 10, 15, 20]).await;
    fs::create_dir(place.path(12, "")).unwrap();
    fs::write(place.path(12, "g000000001-part-00000.safetensors"), [0; 9]).unwrap();
    let steps = async || -> Vec<u64> {
        place.output.below(FOLDER).steps().await.unwrap().iter().map(|step| step.0).collect()
    };
    let out = place.told("prune --keep 2 --dry-run").await;
    assert!(out.contains("step 12: 9 B, never committed"), "{out}");
    assert!(out.contains("would be removed: 3 of 5 folders"), "{out}");
    let young = place.json("prune --keep 1 --older-than 1 --dry-run").await;
    assert_eq!(young["removed"], json!([{ "step": 12, "committed": false, "bytes": 9 }]));
    assert_eq!(steps().await, [5, 10, 12, 15, 20], "nothing is removed by a dry run");
    let out = place.told("prune --keep 2").await;
    assert!(out.contains("\nremoved: 3 of 5 folders"), "{out}");
    assert_eq!(steps().await, [15, 20]);

    fs::remove_file(place.path(20, "g000000003-part-00000.safetensors")).unwrap();
    for line in ["prune --keep 1", "prune --keep 1 --dry-run"] {
        let error = place.say(line).await.0.unwrap_err();
        assert!(error.to_string().contains("step-000000020 is damaged: g000000003-part-00000"), "{error}");
        assert_eq!(error.exit(), Exit::Data);
    }
    assert_eq!(steps().await, [15, 20], "of a damaged newest, the one before it is all that is left");
    let zero = Args::try_parse_from(["tandem", "checkpoint", "prune", "--run", "x", "--keep", "0"]);
    assert!(zero.unwrap_err().to_string().contains("0 is not in 1.."));
}

#[tokio::test]
async fn rewinding_makes_an_older_one_the_newest_of_a_run_that_has_ended() {
    let place = Place::with(&[5, 10, 15]).await;
    fs::create_dir(place.path(20, "")).unwrap();
    fs::write(place.path(20, "g000000004-part-00000.safetensors"), [0; 9]).unwrap();
    let (journal, _) = Journal::open(&place.output, Opening::default()).await.unwrap();
    let member = "1-1".to_owned();
    let seat = Seat { member, host: "h".into(), pid: 1, rank: Rank(0), weight: 1, spare: false, slot: 0 };
    let generation = Generation(4);
    journal.append(Event::Generation { generation, seats: vec![seat] }).await.unwrap();
    let error = place.say("rewind --to 5").await.0.unwrap_err();
    assert!(error.exit() == Exit::Usage && error.to_string().contains("has not ended"), "{error}");
    journal.append(Event::Ended(End::new(Exit::Stopped, "as asked"))).await.unwrap();

    let steps = async || -> Vec<u64> {
        place.output.below(FOLDER).steps().await.unwrap().iter().map(|step| step.0).collect()
    };
    let error = place.say("rewind --to 7").await.0.unwrap_err();
    assert!(error.to_string().contains("no committed checkpoint at "), "{error}");
    let out = place.told("rewind --to 10 --dry-run").await;
    assert!(out.contains("would be removed: 2 folders; the run would go on from step 10"), "{out}");
    assert_eq!(steps().await, [5, 10, 15, 20]);
    let out = place.told("rewind --to 10").await;
    assert!(out.contains("step 20: 9 B, never committed") && out.contains("removed: 2 folders"), "{out}");
    assert_eq!(steps().await, [5, 10]);
    let past = Journal::look(&place.output).await.unwrap().unwrap();
    assert_eq!(past.committed.map(|newest| newest.step), Some(GlobalStep(10)));
    assert!(past.ended.is_some_and(|end| end.reason == "rewound to step 10"));
    let fenced = journal.check().await;
    assert!(matches!(fenced, Err(JournalError::Fenced { .. })), "{fenced:?}");
    let nothing = place.json("rewind --to 10").await;
    assert_eq!((&nothing["removed"], &nothing["newest"]), (&json!([]), &json!(10)));
}

#[tokio::test]
async fn a_place_without_a_checkpoint_is_told_as_such() {
    let place = Place::new();
    for line in ["list", "show", "verify", "verify --all", "prune --keep 1", "rewind --to 4"] {
        let error = place.say(line).await.0.unwrap_err();
        assert_eq!(error.exit(), Exit::Data);
        assert!(error.to_string().contains("no committed checkpoint at "), "{line}: {error}");
    }
}
