//! Commit, damage, conflict and pruning on a local disk and in memory.

mod crash;

use super::*;
use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path};
use proto::checkpoint;
use shards::committed::{digest, newest};
use std::{sync::Arc, time::Duration};

const G: Generation = Generation(2);

fn identity() -> Identity {
    Identity { run: "r".into(), config: "c".into(), dataset: "f00d".into() }
}

fn keeping(keep: u32) -> CheckpointSection {
    CheckpointSection { keep, ..CheckpointSection::default() }
}

fn checkpoints(store: Arc<dyn ObjectStore>, keep: u32) -> (Checkpoints, Folder) {
    let output = Folder::new(store, Path::from("out"));
    (Checkpoints::new(&output, identity(), &keeping(keep)), output.below(checkpoint::FOLDER))
}

/// What another coordinator of the same output would have.
fn beside(ours: &Checkpoints, identity: Identity) -> Checkpoints {
    let (folder, ledger) = (ours.folder.clone(), ours.ledger.clone());
    Checkpoints { folder, ledger, identity, retention: ours.retention, progress: Mutex::default() }
}

/// Writes a rank's part of two, and its report.
async fn report_of(ours: &Checkpoints, generation: Generation, step: u64, rank: u32) -> Report {
    let Checkpoints { folder, ledger, .. } = ours;
    let (step, name) = (GlobalStep(step), checkpoint::part_name(generation, rank as usize));
    let bytes = vec![rank as u8; 10 + rank as usize];
    let part = Part { name: name.clone(), size: bytes.len() as u64, sha256: digest(&bytes) };
    folder.step(step).put(&name, bytes).await.unwrap();
    let state = if rank == 0 { r#"{"filled":3}"#.into() } else { String::new() };
    ledger.put("segment", vec![7; 3]).await.unwrap();
    let segment = Part { name: "segment".into(), size: 3, sha256: digest(&[7; 3]) };
    let ledger = (rank == 0).then_some(segment);
    Report { generation, step, rank: Rank(rank), parts: 2, part, state, ledger }
}

async fn report(ours: &Checkpoints, step: u64, rank: u32) -> Report {
    report_of(ours, G, step, rank).await
}

/// Takes a report and commits what it completes, as if the journal had it at once; says whether the step is committed.
async fn take(checkpoints: &Checkpoints, report: Report) -> Result<bool, CheckpointError> {
    match checkpoints.report(report).await? {
        None => Ok(false),
        Some(prepared) => checkpoints.commit(&prepared).await.map(|()| true),
    }
}

async fn commit(checkpoints: &Checkpoints, step: u64) {
    let first = report(checkpoints, step, 1).await;
    assert!(!take(checkpoints, first.clone()).await.unwrap());
    assert!(!take(checkpoints, first).await.unwrap(), "a repeated report counts once");
    assert!(take(checkpoints, report(checkpoints, step, 0).await).await.unwrap());
}

#[tokio::test]
async fn the_last_part_commits_and_the_newest_is_found() {
    let disk = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(disk.path()).unwrap().with_fsync(true));
    let (checkpoints, folder) = checkpoints(store, 3);
    assert_eq!(newest(&folder).await.unwrap(), None);
    commit(&checkpoints, 5).await;
    commit(&checkpoints, 20).await;
    let unfinished = report(&checkpoints, 30, 0).await;
    assert!(!take(&checkpoints, unfinished).await.unwrap());
    let found = newest(&folder).await.unwrap().unwrap();
    assert_eq!((found.step, found.generation, found.state["filled"].as_u64()), (GlobalStep(20), G, Some(3)));
    let names: Vec<_> = found.parts.iter().map(|part| (part.name.as_str(), part.size)).collect();
    let [first, second] = ["g000000002-part-00000.safetensors", "g000000002-part-00001.safetensors"];
    assert_eq!(names, [(first, 10), (second, 11)]);
}

#[tokio::test]
async fn what_the_journal_has_gets_its_marker() {
    let (ours, folder) = checkpoints(Arc::new(InMemory::new()), 3);
    for rank in [0, 1] {
        let reported = ours.report(report(&ours, 1, rank).await).await.unwrap();
        assert_eq!(reported.is_some(), rank == 1);
    }
    assert_eq!(newest(&folder).await.unwrap(), None);
    complete(&folder, (G, GlobalStep(1))).await.unwrap();
    assert_eq!(newest(&folder).await.unwrap().unwrap().step, GlobalStep(1));
    complete(&folder, (G, GlobalStep(1))).await.unwrap();
    complete(&folder, (G, GlobalStep(2))).await.unwrap();
    assert_eq!(newest(&folder).await.unwrap().unwrap().step, GlobalStep(1), "what is gone is passed over");
}

#[tokio::test]
async fn a_part_that_is_not_as_reported_is_refused() {
    let (checkpoints, folder) = checkpoints(Arc::new(InMemory::new()), 3);
    let honest = report(&checkpoints, 1, 0).await;
    let with = |change: &dyn Fn(&mut Report)| {
        let mut report = honest.clone();
        change(&mut report);
        report
    };
    for (lie, part) in [
        (with(&|r| r.part.size = 11), "the store has 10 bytes"),
        (with(&|r| r.step = GlobalStep(2)), "the store has nothing"),
        (with(&|r| r.part.name = "../x".into()), "no plain file name"),
        (with(&|r| r.part.name = "COMMITTED".into()), "no plain file name"),
        (with(&|r| r.part.name = checkpoint::manifest_name(G)), "no plain file name"),
        (with(&|r| r.part.sha256 = "00".into()), "no SHA-256"),
        (with(&|r| r.rank = Rank(2)), "there are 2 parts"),
        (with(&|r| r.ledger.as_mut().unwrap().size = 4), "4 bytes in segment, the store has 3 bytes"),
        (with(&|r| r.ledger.as_mut().unwrap().name = "a/b".into()), "no plain file name"),
    ] {
        let error = take(&checkpoints, lie).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(newest(&folder).await.unwrap(), None);
}

#[tokio::test]
async fn a_changed_manifest_is_named_not_passed_over() {
    let (checkpoints, folder) = checkpoints(Arc::new(InMemory::new()), 1);
    commit(&checkpoints, 1).await;
    commit(&checkpoints, 2).await;
    let (step, name) = (folder.step(GlobalStep(2)), checkpoint::manifest_name(G));
    let mut bytes = step.get(&name).await.unwrap().unwrap().to_vec();
    bytes[40] ^= 1;
    step.put(&name, bytes).await.unwrap();
    let error = newest(&folder).await.unwrap_err().to_string();
    assert!(error.contains("step-000000002") && error.contains("remove this folder"), "{error}");
    assert!(
        checkpoints.prune(None).await.is_err(),
        "of a damaged newest, the one before it is all that is left"
    );
    assert_eq!(folder.steps().await.unwrap(), [1, 2].map(GlobalStep));
}

#[tokio::test]
async fn another_coordinators_marker_is_a_conflict_and_ones_own_is_not() {
    let (ours, folder) = checkpoints(Arc::new(InMemory::new()), 3);
    commit(&ours, 1).await;
    let committed = newest(&folder).await.unwrap();
    let again = beside(&ours, Identity { config: "a knob was turned".into(), ..identity() });
    commit(&again, 1).await;
    assert_eq!(newest(&folder).await.unwrap(), committed, "what is committed stays as it was");
    let other = beside(&ours, Identity { run: "other".into(), ..identity() });
    take(&other, report(&other, 1, 1).await).await.unwrap();
    let error = take(&other, report(&other, 1, 0).await).await.unwrap_err();
    assert!(matches!(error, CheckpointError::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_not_committed_yet_is_never_written_over() {
    let (ours, folder) = checkpoints(Arc::new(InMemory::new()), 3);
    commit(&ours, 1).await;
    let step = folder.step(GlobalStep(1));
    let written = step.get(&checkpoint::manifest_name(G)).await.unwrap();
    // As a coordinator leaves it that is killed before the marker.
    step.remove(MARKER).await.unwrap();
    let again = beside(&ours, Identity { config: "a knob was turned".into(), ..identity() });
    commit(&again, 1).await;
    assert_eq!(newest(&folder).await.unwrap().unwrap().config, "c");
    assert_eq!(step.get(&checkpoint::manifest_name(G)).await.unwrap(), written);
    step.remove(MARKER).await.unwrap();
    let other = beside(&ours, Identity { run: "other".into(), ..identity() });
    take(&other, report(&other, 1, 1).await).await.unwrap();
    let error = take(&other, report(&other, 1, 0).await).await.unwrap_err();
    assert!(matches!(&error, CheckpointError::Conflict { path } if path.contains("manifest")), "{error}");
    assert_eq!(newest(&folder).await.unwrap(), None);
}

#[tokio::test]
async fn a_step_that_an_earlier_generation_committed_is_committed() {
    let (ours, folder) = checkpoints(Arc::new(InMemory::new()), 3);
    commit(&ours, 1).await;
    let later = beside(&ours, identity());
    for rank in [0, 1] {
        let report = report_of(&later, G.next(), 1, rank).await;
        assert_eq!(take(&later, report).await.unwrap(), rank == 1);
    }
    assert_eq!(newest(&folder).await.unwrap().unwrap().generation, G);
    later.prune(None).await.unwrap();
    let files = folder.step(GlobalStep(1)).files().await.unwrap();
    assert!(files.len() == 4 && files.iter().all(|name| !name.starts_with("g000000003")), "{files:?}");

    let earlier = beside(&ours, identity());
    for rank in [0, 1] {
        let report = report_of(&earlier, Generation(1), 1, rank).await;
        let answer = take(&earlier, report).await;
        assert!(rank == 0 || matches!(answer, Err(CheckpointError::Conflict { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_generation_that_is_over_commits_nothing() {
    let (ours, folder) = checkpoints(Arc::new(InMemory::new()), 3);
    assert!(!take(&ours, report_of(&ours, G, 1, 0).await).await.unwrap());
    assert!(!take(&ours, report_of(&ours, G.next(), 1, 0).await).await.unwrap());
    assert!(!take(&ours, report_of(&ours, G, 1, 1).await).await.unwrap());
    assert_eq!(newest(&folder).await.unwrap(), None);
    assert!(take(&ours, report_of(&ours, G.next(), 1, 1).await).await.unwrap());
    let parts = newest(&folder).await.unwrap().unwrap().parts;
    assert!(parts.iter().all(|part| part.name.starts_with("g000000003")), "{parts:?}");
}

#[tokio::test]
async fn what_never_becomes_complete_takes_no_memory_without_end() {
    let (ours, _) = checkpoints(Arc::new(InMemory::new()), 3);
    for step in 1..=PENDING as u64 + 5 {
        assert!(!take(&ours, report(&ours, step, 0).await).await.unwrap());
    }
    let pending: Vec<u64> = ours.progress.lock().unwrap().pending.keys().map(|step| step.0).collect();
    assert_eq!(pending, (6..=PENDING as u64 + 5).collect::<Vec<_>>());
    commit(&ours, 100).await;
    assert_eq!(ours.progress.lock().unwrap().pending.len(), 0);
}

#[tokio::test]
async fn pruning_keeps_the_newest_committed_and_what_is_being_written() {
    let (checkpoints, folder) = checkpoints(Arc::new(InMemory::new()), 2);
    report(&checkpoints, 1, 0).await;
    for step in [2, 3, 4] {
        commit(&checkpoints, step).await;
    }
    report(&checkpoints, 5, 0).await;
    let removed = checkpoints.prune(None).await.unwrap();
    assert_eq!(removed, [GlobalStep(1), GlobalStep(2)]);
    assert_eq!(folder.steps().await.unwrap(), [3, 4, 5].map(GlobalStep));
    assert!(checkpoints.prune(None).await.unwrap().is_empty());
    assert_eq!(checkpoints.ledger.files().await.unwrap(), ["segment"], "the ledger is kept whole");
}

#[tokio::test]
async fn pruning_keeps_what_is_young() {
    let output = Folder::new(Arc::new(InMemory::new()), Path::from("out"));
    let spec = CheckpointSection { keep: 1, keep_hours: 1.0, ..CheckpointSection::default() };
    let checkpoints = Checkpoints::new(&output, identity(), &spec);
    for step in [1, 2, 3] {
        commit(&checkpoints, step).await;
    }
    assert!(checkpoints.prune(None).await.unwrap().is_empty());
    let later = SystemTime::now() + Duration::from_secs(3601);
    let removed = retention::prune(&checkpoints.folder, &checkpoints.retention, None, later).await.unwrap();
    assert_eq!(removed, [1, 2].map(GlobalStep));
}

#[tokio::test]
async fn a_checkpoint_without_its_ledger_is_not_committed() {
    let (checkpoints, folder) = checkpoints(Arc::new(InMemory::new()), 3);
    take(&checkpoints, report(&checkpoints, 1, 1).await).await.unwrap();
    let bare = Report { ledger: None, ..report(&checkpoints, 1, 0).await };
    let error = take(&checkpoints, bare).await.unwrap_err().to_string();
    assert!(error.contains("names no segment of the ledger"), "{error}");
    assert_eq!(newest(&folder).await.unwrap(), None);
}
