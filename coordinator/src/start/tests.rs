//! What is refused at the start, and what a start leaves behind. The end-to-end tests start real runs.

use super::{kept::check_same_run, *};
use proto::{Exit, checkpoint::VERSION};

fn manifest(config: &RunConfig) -> checkpoint::Manifest {
    checkpoint::Manifest {
        version: VERSION,
        run: "r".into(),
        generation: Generation(1),
        step: GlobalStep(5),
        config: config.to_toml(),
        dataset: "f00d".into(),
        state: serde_json::Value::Null,
        parts: Vec::new(),
        ledger: checkpoint::Part { name: "s".into(), size: 0, sha256: String::new() },
    }
}

fn config(sets: &[&str]) -> RunConfig {
    let given = ["data.train=d", "text.tokenizer=t"].iter().chain(sets).map(ToString::to_string);
    config::resolve("test", "", &given.collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_run_keeps_what_decides_its_batches_and_tensors() {
    let found = manifest(&config(&[]));
    for changed in [
        "optimizer.batch=64",
        "data.lanes=4",
        "run.seed=9",
        "model.text_depth=3",
        "objective.queue=0",
        "objective.duplicates=negatives",
        "data.caption_column=c",
    ] {
        let error = check_same_run(Some(&found), &config(&[changed])).unwrap_err();
        let key = changed.split('=').next().unwrap();
        assert!(error.to_string().contains(key), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    for free in ["optimizer.steps=9", "run.workers=2", "metrics.every=1", "objective.queue_start=random"] {
        check_same_run(Some(&found), &config(&[free])).unwrap();
    }
}

#[tokio::test]
async fn a_tokenizer_of_the_same_size_with_other_words_is_refused() {
    let disk = tempfile::tempdir().unwrap();
    let path = |name: &str| disk.path().join(name).display().to_string();
    let mut config = config(&[]);
    config.text.tokenizer = path("vocab.txt");
    let output = Folder::open(&path("out")).unwrap();
    fs::write(path("vocab.txt"), "a\nb\n").unwrap();
    kept::freeze_tokenizer(&output, &config, false).await.unwrap();
    kept::freeze_tokenizer(&output, &config, true).await.unwrap();
    fs::write(path("vocab.txt"), "a\nc\n").unwrap();
    let error = kept::freeze_tokenizer(&output, &config, true).await.unwrap_err();
    assert!(error.exit() == Exit::Data && error.to_string().contains("vocab.txt"), "{error}");
    // A run that has not begun takes what it is given.
    kept::freeze_tokenizer(&output, &config, false).await.unwrap();
    kept::freeze_tokenizer(&output, &config, true).await.unwrap();
}

#[test]
fn a_checkpoint_of_a_tandem_with_other_knobs_is_refused_by_their_names() {
    let now = config(&[]);
    let mut found = manifest(&now);
    let line = found.config.lines().find(|line| line.starts_with("micro_batch")).unwrap().to_owned();
    found.config = found.config.replace(&line, "wings = 2");
    let error = check_same_run(Some(&found), &now).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("without optimizer.micro_batch, with the unknown optimizer.wings"), "{told}");
    assert_eq!(error.exit(), Exit::Data);
}

fn before(config: &RunConfig) -> journal::Past {
    let seat = |rank: u32| journal::Seat {
        member: format!("3-{}", 9 - rank),
        host: "h".into(),
        pid: rank,
        rank: proto::Rank(rank),
        weight: 1 + rank,
        spare: false,
        slot: rank,
    };
    journal::Past {
        epoch: 3,
        by: Opening::here(&config.run.name, "http://there:1", config.hash()),
        generation: Generation(7),
        seats: vec![seat(1), seat(0)],
        drained: vec!["3-8".into()],
        stopping: Some(true),
        ..journal::Past::default()
    }
}

#[test]
fn workers_of_a_coordinator_that_was_killed_are_taken_over() {
    let config = config(&[]);
    let past = adopt(before(&config), 4, Some(&manifest(&config)), &config);
    let seats: Vec<_> = past.seats.iter().map(|seat| (seat.member.number, seat.weight)).collect();
    assert_eq!(seats, [(9, 1), (8, 2)], "by rank");
    assert_eq!((past.epoch, past.generation, past.committed), (4, Generation(7), GlobalStep(5)));
    assert_eq!((past.drained.len(), past.stop), (1, Some(true)));
}

#[test]
fn workers_of_another_configuration_or_of_a_run_that_ended_are_not_taken_over() {
    let config = config(&[]);
    let other = self::config(&["optimizer.steps=9"]);
    let past = adopt(before(&other), 4, None, &config);
    assert_eq!((past.seats.len(), past.generation, past.stop), (0, Generation(7), None));
    let ended = Some(journal::End::new(Exit::Done, "done"));
    let past = adopt(journal::Past { ended, ..before(&config) }, 4, None, &config);
    assert!(past.seats.is_empty());
    let found = checkpoint::Manifest { generation: Generation(8), ..manifest(&config) };
    let past = adopt(before(&config), 4, Some(&found), &config);
    assert_eq!((past.seats.len(), past.generation), (0, Generation(8)), "the journal misses one");
}

#[test]
fn only_a_resume_goes_on_from_what_is_there() {
    let config = config(&[]);
    check_unused(&config, None, &journal::Past::default()).unwrap();
    let error = check_unused(&config, Some(&manifest(&config)), &journal::Past::default()).unwrap_err();
    assert!(error.to_string().contains("step 5") && error.exit() == Exit::Usage, "{error}");
    let error = check_unused(&config, None, &before(&config)).unwrap_err();
    assert!(error.to_string().contains("http://there:1") && error.exit() == Exit::Usage, "{error}");
    let ended = Some(journal::End::new(Exit::Lost, "lost"));
    check_unused(&config, None, &journal::Past { ended, ..before(&config) }).unwrap();
}

#[tokio::test]
async fn what_a_person_has_removed_is_not_committed_any_more() {
    let (disk, config) = (tempfile::tempdir().unwrap(), config(&[]));
    let output = Folder::open(disk.path().to_str().unwrap()).unwrap();
    let (journal, _) = Journal::open(&output, Opening::default()).await.unwrap();
    let (step, generation) = (GlobalStep(20), Generation(3));
    journal.append(Event::Committed(Committed { step, generation, request: 2 })).await.unwrap();
    let place = ("http://here", disk.path());
    let led = lead(&output, &config, "f00d".into(), place, true).await.unwrap().unwrap();
    assert_eq!(led.resume, GlobalStep(0));
    assert_eq!(Journal::look(&output).await.unwrap().unwrap().committed, None);
}
