//! Crash consistency: a worker and a coordinator write a segment of the ledger, parts, manifest and marker, and prune, while their store
//! fails at each operation in turn, in each way. Afterwards there is a whole committed checkpoint with its whole ledger, and whoever
//! takes over commits the next one and leaves nothing behind.

use super::*;
use e2e::faults::{self, Fault, Faulty, Script};
use proto::{checkpoint::part_name, config::StoreSection};
use shards::{
    committed::part,
    ledger::{Entry, Header, Outcome, Segment, chain, segment_name},
    order::OrderSpec,
};
use std::{sync::mpsc, thread};

const FAULTS: [Fault; 4] = [Fault::Refused, Fault::Unanswered, Fault::Torn, Fault::Full];
const RANKS: u32 = 2;

/// What can go wrong for who writes.
type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// A store, and a run's folder in it.
#[derive(Clone)]
struct Place {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl Place {
    /// A place that treats writes as a cloud does, or a folder of a disk, where broken writes leave files.
    fn new(disk: Option<&tempfile::TempDir>) -> Self {
        let path = |disk: &tempfile::TempDir| Path::from_absolute_path(disk.path()).unwrap();
        let local = || Arc::new(LocalFileSystem::new().with_automatic_cleanup(true));
        match disk {
            None => Self { store: Arc::new(InMemory::new()), path: Path::from("out") },
            Some(disk) => Self { store: local(), path: path(disk) },
        }
    }

    /// The run's output, in a store that is asked once.
    fn output(&self) -> Folder {
        let once = StoreSection { retries: 0, ..StoreSection::default() };
        Folder::on(self.store.clone(), self.path.clone(), &once)
    }

    /// The same, where `script` lets things fail.
    fn failing(&self, script: Script) -> (Faulty, Folder) {
        let store = Faulty::new(self.store.clone(), script);
        (store.clone(), Self { store: Arc::new(store), ..self.clone() }.output())
    }
}

/// What a generation writes of one step, into the folder of each kind.
struct Attempt {
    generation: Generation,
    from: u64,
    to: u64,
    previous: Option<Part>,
}

impl Attempt {
    /// As rank 0 does before its part.
    async fn segment(&self, output: &Folder) -> Result<Part, Wrong> {
        let (from, to) = (GlobalStep(self.from), GlobalStep(self.to));
        let header = Header {
            version: ledger::VERSION,
            run: "r".into(),
            from,
            to,
            dataset: "f00d".into(),
            order: OrderSpec { seed: 1, lanes: 2, window: 1, batch: 2 },
            previous: self.previous.clone(),
        };
        let entry = |step| Entry {
            generation: self.generation,
            step: GlobalStep(step),
            digests: vec![step; 2],
            outcome: Outcome::Applied,
        };
        let entries = (self.from + 1..=self.to).map(entry).collect();
        let bytes = Segment { header, entries, stand_ins: Vec::new() }.encode()?;
        let name = segment_name(from, to, self.generation);
        let named = Part { name, size: bytes.len() as u64, sha256: digest(&bytes) };
        output.below(ledger::FOLDER).put(&named.name, bytes).await?;
        Ok(named)
    }

    /// As a worker does, and what it then reports.
    async fn part(&self, output: &Folder, rank: u32, ledger: Option<Part>) -> Result<Report, Wrong> {
        let (generation, step) = (self.generation, GlobalStep(self.to));
        let bytes = vec![rank as u8 ^ self.to as u8; 20 + rank as usize];
        let name = part_name(generation, rank as usize);
        let part = Part { name, size: bytes.len() as u64, sha256: digest(&bytes) };
        output.below(FOLDER).step(step).put(&part.name, bytes).await?;
        let state = if rank == 0 { "{}".into() } else { String::new() };
        Ok(Report { generation, step, rank: Rank(rank), parts: RANKS, part, state, ledger })
    }

    /// All of it; whether the step is committed.
    async fn write(&self, output: &Folder, checkpoints: &Checkpoints) -> Result<bool, Wrong> {
        let segment = self.segment(output).await?;
        for rank in (0..RANKS).rev() {
            let report = self.part(output, rank, (rank == 0).then(|| segment.clone())).await?;
            if take(checkpoints, report).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The newest checkpoint, every byte of it and of its ledger verified.
async fn verified(output: &Folder) -> Manifest {
    let checkpoints = output.below(FOLDER);
    let found = newest(&checkpoints).await.unwrap().unwrap();
    assert_eq!(found.parts.len(), RANKS as usize);
    for named in &found.parts {
        part(&checkpoints.step(found.step), named).await.unwrap();
    }
    let traced =
        chain::trace(&output.below(ledger::FOLDER), &found.ledger, found.step, |_| ()).await.unwrap();
    assert_eq!(traced.broken, []);
    found
}

fn coordinator(output: &Folder) -> Checkpoints {
    Checkpoints::new(output, identity(), &keeping(1))
}

/// Generation 1 has committed steps 4 and 10, has left a step 6 and is half through step 20.
async fn before(output: &Folder) -> Attempt {
    let checkpoints = coordinator(output);
    let mut attempt = Attempt { generation: Generation(1), from: 0, to: 4, previous: None };
    assert!(attempt.write(output, &checkpoints).await.unwrap());
    attempt = Attempt { from: 4, to: 10, previous: Some(attempt.segment(output).await.unwrap()), ..attempt };
    assert!(attempt.write(output, &checkpoints).await.unwrap());
    for step in [6, 20] {
        let left = Attempt { to: step, previous: None, ..attempt };
        left.part(output, 0, None).await.unwrap();
    }
    let previous = Some(attempt.segment(output).await.unwrap());
    Attempt { generation: Generation(2), from: 10, to: 20, previous }
}

/// Generation 3 goes on from what is there, as after the loss of everything.
async fn recover(output: &Folder, found: Manifest) {
    let checkpoints = coordinator(output);
    let (from, generation) = (found.step.0, Generation(3));
    let next = Attempt { generation, from, to: from + 10, previous: Some(found.ledger) };
    assert!(next.write(output, &checkpoints).await.unwrap());
    checkpoints.prune(None).await.unwrap();
    let found = verified(output).await;
    assert_eq!((found.step.0, found.generation), (from + 10, generation));
    let folder = output.below(FOLDER);
    assert_eq!(folder.steps().await.unwrap(), [found.step]);
    let files = folder.step(found.step).files().await.unwrap();
    assert_eq!(files.len(), RANKS as usize + 2, "nothing of other attempts stays: {files:?}");
}

/// Every fault, in memory and on a disk.
fn cases() -> impl Iterator<Item = (bool, Fault)> {
    [false, true].into_iter().flat_map(|local| FAULTS.map(|fault| (local, fault)))
}

#[tokio::test]
async fn a_kill_at_any_operation_leaves_a_whole_checkpoint_to_go_on_from() {
    let mut tried = 0;
    for (local, fault) in cases() {
        for at in 1.. {
            let disk = tempfile::tempdir().unwrap();
            let place = Place::new(local.then_some(&disk));
            let healthy = place.output();
            let attempt = before(&healthy).await;
            let (store, failing) = place.failing(faults::dies_at(at, fault));
            let checkpoints = coordinator(&failing);
            let committed = attempt.write(&failing, &checkpoints).await;
            let pruned = checkpoints.prune(None).await;
            let found = verified(&healthy).await;
            let new = (found.step, found.generation) == (GlobalStep(20), Generation(2));
            let old = (found.step, found.generation) == (GlobalStep(10), Generation(1));
            assert!(new || (old && committed.is_err()), "{fault:?} at {at}: {found:?}, {committed:?}");
            recover(&healthy, found).await;
            tried += 1;
            if store.operations().len() < at {
                assert!(committed.unwrap() && pruned.is_ok(), "nothing is left to cut");
                break;
            }
        }
    }
    assert!(tried > 8 * 15, "only {tried} lives were tried");
}

/// What a worker and a coordinator do that live on: they try the whole attempt again.
async fn insist(attempt: &Attempt, output: &Folder, checkpoints: &Checkpoints) {
    for _ in 0..50 {
        if attempt.write(output, checkpoints).await.is_ok_and(|committed| committed) {
            return;
        }
    }
    panic!("it is never committed")
}

/// The whole attempt with a store that fails, by who lives on; how many operations it takes.
async fn live_through(local: bool, script: Script, told: &str) -> usize {
    let disk = tempfile::tempdir().unwrap();
    let place = Place::new(local.then_some(&disk));
    let healthy = place.output();
    let attempt = before(&healthy).await;
    let (store, failing) = place.failing(script);
    let checkpoints = coordinator(&failing);
    insist(&attempt, &failing, &checkpoints).await;
    let operations = store.operations().len();
    let found = verified(&healthy).await;
    assert_eq!((found.step, found.generation), (GlobalStep(20), Generation(2)), "{told}");
    let _ = checkpoints.prune(None).await;
    assert_eq!(verified(&healthy).await, found, "{told}");
    recover(&healthy, found).await;
    operations
}

#[tokio::test]
async fn a_store_that_fails_anywhere_for_a_while_only_delays_the_commit() {
    for (local, fault) in cases() {
        let plain = live_through(local, faults::healthy(), "healthy").await;
        for (at, long) in (1..=plain).flat_map(|at| [1, 2, 7].map(|long| (at, long))) {
            let told = format!("{fault:?} at {at}, {long} operations long");
            live_through(local, faults::during(at..at + long, fault), &told).await;
        }
    }
}

#[tokio::test]
async fn faults_of_all_kinds_again_and_again_only_delay_the_commit() {
    for seed in 0..200 {
        let script = faults::now_and_then(seed, 6, FAULTS.to_vec());
        live_through(seed % 2 == 0, script, &format!("seed {seed}")).await;
    }
}

/// Lets `older` go until its operation `at`, does `meanwhile`, and lets it go on to its end. Says whether it came so far.
async fn stopped_at(
    at: usize,
    place: &Place,
    older: impl AsyncFnOnce(Folder) + Send + 'static,
    meanwhile: impl AsyncFnOnce(),
) -> bool {
    let ((here, stopped), (wake, woken)) = (mpsc::channel(), mpsc::channel::<()>());
    let script: Script = Box::new(move |now| {
        if now.number == at {
            here.send(()).unwrap();
            let _ = woken.recv();
        }
        None
    });
    let (_, failing) = place.failing(script);
    let older = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(older(failing));
    });
    // The sender goes with the thread's store, when the older one is done.
    let came = stopped.recv().is_ok();
    meanwhile().await;
    drop(wake);
    older.join().unwrap();
    came
}

#[tokio::test]
async fn an_older_coordinator_and_worker_that_wake_anywhere_spoil_nothing() {
    // The newer one goes on from step 10 or commits the same step, in the same generation or in the next.
    for (generation, to, config) in [(2, 20, "c"), (2, 30, "c"), (1, 20, "a knob was turned")] {
        for at in 1.. {
            let disk = tempfile::tempdir().unwrap();
            let place = Place::new(Some(&disk));
            let healthy = place.output();
            let first = before(&healthy).await;
            let (previous, last) = (first.previous.clone(), GlobalStep(to));
            let older = Attempt { generation: Generation(1), previous: previous.clone(), ..first };
            let newer = Attempt { generation: Generation(generation), to, previous, ..first };
            let identity = Identity { config: config.into(), ..identity() };
            let came = stopped_at(
                at,
                &place,
                async move |output: Folder| {
                    let checkpoints = coordinator(&output);
                    // It may find that it is too late; what counts is what lies there afterwards.
                    let _ = older.write(&output, &checkpoints).await;
                    let _ = checkpoints.prune(None).await;
                },
                async || {
                    let checkpoints = Checkpoints::new(&healthy, identity, &keeping(1));
                    assert!(newer.write(&healthy, &checkpoints).await.unwrap());
                    checkpoints.prune(None).await.unwrap();
                    assert_eq!(verified(&healthy).await.step, last);
                },
            )
            .await;
            let found = verified(&healthy).await;
            assert_eq!(found.step, last, "generation {generation}, at {at}");
            recover(&healthy, found).await;
            if !came {
                assert!(at > 15, "the older one has {at} operations");
                break;
            }
        }
    }
}
