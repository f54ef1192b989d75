//! Journals in memory and on a disk: taken over, fenced, with lost answers, cut at every point, and damaged.

use super::*;
use e2e::faults::{self, Fault, Faulty};
use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path};
use proptest::prelude::*;
use proto::{Generation, GlobalStep, Rank, config::StoreSection};
use std::sync::Arc;

/// The folder of a store that is asked once.
fn output(store: Arc<dyn ObjectStore>) -> Folder {
    let once = StoreSection { retries: 0, ..StoreSection::default() };
    Folder::on(store, Path::from("out"), &once)
}

fn memory() -> Folder {
    output(Arc::new(InMemory::new()))
}

fn opening(nonce: u64) -> Opening {
    let (run, host, config) = ("r".into(), "h".into(), "c".into());
    Opening { run, url: format!("http://10.0.0.{nonce}:7070"), host, pid: 1, config, nonce }
}

fn seat(rank: u32) -> Seat {
    let (member, host) = (format!("w{rank}"), "h".into());
    Seat { member, host, pid: 7, rank: Rank(rank), weight: 1, spare: false, slot: rank }
}

fn generation(number: u64) -> Event {
    Event::Generation { generation: Generation(number), seats: (0..number as u32 % 4).map(seat).collect() }
}

fn committed(step: u64, request: u64) -> Event {
    Event::Committed(Committed { step: GlobalStep(step), generation: Generation(1), request })
}

/// A life of a run, told by its decisions.
fn life() -> Vec<Event> {
    vec![
        generation(1),
        committed(10, 0),
        Event::Drained { member: "w0".into() },
        generation(2),
        committed(20, 3),
        Event::Stopping { checkpoint: true },
        committed(21, 3),
        Event::Ended(End::new(Exit::Stopped, "asked to")),
    ]
}

fn sum(past: &Past, events: &[Event]) -> Past {
    events.iter().fold(past.clone(), |past, event| past.apply(event).unwrap())
}

#[tokio::test]
async fn who_takes_over_knows_what_was_decided() {
    let output = memory();
    let (first, before) = Journal::open(&output, opening(1)).await.unwrap();
    assert_eq!((first.epoch(), before), (1, Past::default()));
    let opened = sum(&Past::default(), &[Event::Opened(opening(1))]);
    for (number, event) in life().into_iter().enumerate() {
        first.append(event).await.unwrap();
        // Another one, which the first does not hear of before it writes.
        let copy = memory();
        for name in output.below(FOLDER).files().await.unwrap() {
            let bytes = output.below(FOLDER).get(&name).await.unwrap().unwrap();
            copy.below(FOLDER).put(&name, bytes.to_vec()).await.unwrap();
        }
        let (second, before) = Journal::open(&copy, opening(2)).await.unwrap();
        assert_eq!((second.epoch(), before), (2, sum(&opened, &life()[..=number])));
    }
}

#[tokio::test]
async fn opening_fences_whoever_was_there_for_good() {
    let output = memory();
    let (first, _) = Journal::open(&output, opening(1)).await.unwrap();
    first.append(generation(1)).await.unwrap();
    first.check().await.unwrap();
    let (second, before) = Journal::open(&output, opening(2)).await.unwrap();
    assert_eq!((before.epoch, before.generation, second.epoch()), (1, Generation(1), 2));
    let error = first.append(generation(2)).await.unwrap_err();
    assert!(matches!(&error, JournalError::Fenced { by, .. } if by.by == opening(2) && by.epoch == 2));
    let told = error.to_string();
    assert!(told.contains("http://10.0.0.2:7070") && told.contains("journal/000000003.json"), "{told}");
    second.append(generation(2)).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(first.check().await, Err(JournalError::Fenced { .. })));
        assert!(matches!(first.append(committed(1, 0)).await, Err(JournalError::Fenced { .. })));
    }
    assert_eq!(output.below(FOLDER).files().await.unwrap().len(), 4, "the fenced one wrote nothing");

    let (third, _) = Journal::open(&output, opening(3)).await.unwrap();
    assert!(matches!(second.check().await, Err(JournalError::Fenced { by, .. }) if by.epoch == 3));
    third.check().await.unwrap();
}

#[tokio::test]
async fn many_that_open_at_once_are_fenced_but_for_one() {
    let disk = tempfile::tempdir().unwrap();
    let output = Folder::open(disk.path().to_str().unwrap()).unwrap();
    let open = (0..8).map(|nonce| Journal::open(&output, opening(nonce)));
    let open: Vec<_> = futures::future::join_all(open).await.into_iter().map(|one| one.unwrap().0).collect();
    let mut epochs: Vec<u64> = open.iter().map(Journal::epoch).collect();
    let append = open.iter().map(|journal| journal.append(generation(1)));
    let wrote = futures::future::join_all(append).await;
    for (journal, wrote) in open.iter().zip(wrote) {
        assert_eq!(wrote.is_ok(), journal.epoch() == 8, "{wrote:?}");
    }
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_generation_never_goes_back() {
    let output = memory();
    let (journal, _) = Journal::open(&output, opening(1)).await.unwrap();
    journal.append(generation(5)).await.unwrap();
    journal.append(generation(5)).await.unwrap();
    let other = Event::Generation { generation: Generation(5), seats: vec![] };
    for backwards in [generation(0), generation(4), other] {
        let error = journal.append(backwards).await.unwrap_err();
        assert!(matches!(error, JournalError::Backwards(_)), "{error}");
    }
    journal.append(generation(6)).await.unwrap();
    let (_, past) = Journal::open(&output, opening(2)).await.unwrap();
    assert_eq!((past.generation, past.seats.len()), (Generation(6), 2));
}

/// A coordinator opens and decides until an operation fails, and tells how many decisions were taken.
async fn lead(output: &Folder, nonce: u64, events: &[Event]) -> usize {
    let Ok((journal, _)) = Journal::open(output, opening(nonce)).await else { return 0 };
    let mut taken = 0;
    for event in events {
        match journal.append(event.clone()).await {
            Ok(()) => taken += 1,
            Err(_) => break,
        }
    }
    taken
}

#[tokio::test]
async fn a_kill_at_any_operation_loses_no_decision_and_leaves_a_journal_that_opens() {
    let events = life();
    for local in [false, true] {
        for fault in [Fault::Refused, Fault::Unanswered, Fault::Torn, Fault::Full] {
            for at in 1.. {
                let disk = tempfile::tempdir().unwrap();
                let inner: Arc<dyn ObjectStore> = match local {
                    true => Arc::new(LocalFileSystem::new_with_prefix(disk.path()).unwrap()),
                    false => Arc::new(InMemory::new()),
                };
                let faulty = Faulty::new(inner.clone(), faults::dies_at(at, fault));
                let taken = lead(&output(Arc::new(faulty.clone())), 1, &events).await;
                if faulty.operations().len() < at {
                    assert!(taken == events.len() && at > events.len(), "the life has {at} operations");
                    break;
                }
                let (journal, past) = Journal::open(&output(inner), opening(2)).await.unwrap();
                let opened = sum(&Past::default(), &[Event::Opened(opening(1))]);
                let possible = [taken, (taken + 1).min(events.len())];
                let known = possible.map(|taken| sum(&opened, &events[..taken]));
                let never = taken == 0 && past == Past::default();
                assert!(never || known.contains(&past), "{fault:?} at {at}: {taken} taken, {past:?}");
                journal.append(generation(9)).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_coordinator_that_lives_through_a_fault_at_any_operation_decides_on_in_order() {
    let events = &life()[..5];
    for fault in [Fault::Refused, Fault::Unanswered, Fault::Torn, Fault::Full] {
        for (at, stubborn) in (1..16).flat_map(|at| [(at, true), (at, false)]) {
            let inner = Arc::new(InMemory::new());
            let faulty = Arc::new(Faulty::new(inner.clone(), faults::during(at..at + 1, fault)));
            let Ok((journal, _)) = Journal::open(&output(faulty), opening(1)).await else { continue };
            let mut decided = vec![Event::Opened(opening(1))];
            for event in events {
                let wrote = journal.append(event.clone()).await;
                // Says it again, or decides otherwise: the first attempt counts where it arrived.
                let applied = fault == Fault::Unanswered && wrote.is_err();
                if wrote.is_err() && stubborn {
                    journal.append(event.clone()).await.unwrap();
                }
                if wrote.is_ok() || stubborn || applied {
                    decided.push(event.clone());
                }
            }
            // The fault may lie here; it comes once. What is looked at or decided between two attempts changes nothing.
            let wrote = journal.append(generation(7)).await;
            let looked = journal.check().await;
            let other = journal.append(committed(30, 4)).await;
            let failed = [wrote.is_err(), looked.is_err(), other.is_err()];
            assert!(failed.iter().filter(|failed| **failed).count() <= 1, "{failed:?}");
            for event in [generation(7), committed(30, 4)] {
                journal.append(event.clone()).await.unwrap();
                decided.push(event);
            }
            let (_, past) = Journal::open(&output(inner), opening(2)).await.unwrap();
            assert_eq!(past, sum(&Past::default(), &decided), "{fault:?} at {at}, again: {stubborn}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_and_a_file_cut_anywhere_are_named() {
    let output = memory();
    let (journal, _) = Journal::open(&output, opening(1)).await.unwrap();
    journal.append(generation(3)).await.unwrap();
    let folder = output.below(FOLDER);
    let whole = folder.get("000000002.json").await.unwrap().unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << (at % 8);
        for bad in [flipped, whole[..at].to_vec()] {
            folder.put("000000002.json", bad).await.unwrap();
            let Err(error) = Journal::open(&output, opening(2)).await else { panic!("byte {at}") };
            assert_eq!(error.exit(), Exit::Data);
            assert!(error.to_string().contains("journal/000000002.json"), "{error}");
        }
    }
    folder.remove("000000002.json").await.unwrap();
    let (_, past) = Journal::open(&output, opening(2)).await.unwrap();
    assert_eq!(past.generation, Generation(0), "it goes on from the entry before it");
}

#[tokio::test]
async fn what_can_not_be_a_journal_is_refused_by_name() {
    let output = memory();
    let folder = output.below(FOLDER);
    let (journal, _) = Journal::open(&output, opening(1)).await.unwrap();
    for event in life() {
        journal.append(event).await.unwrap();
    }
    let second = folder.get("000000002.json").await.unwrap().unwrap();
    folder.put("notes.txt", b"mine".to_vec()).await.unwrap();
    folder.put("10.json", b"mine".to_vec()).await.unwrap();
    Journal::open(&output, opening(2)).await.unwrap();
    folder.remove("000000002.json").await.unwrap();
    let error = Journal::open(&output, opening(3)).await.err().unwrap().to_string();
    assert!(error.contains("000000002.json is missing") && error.contains("--resume"), "{error}");
    folder.put("000000002.json", second.to_vec()).await.unwrap();

    folder.put("000000011.json", second.to_vec()).await.unwrap();
    let error = Journal::open(&output, opening(3)).await.err().unwrap().to_string();
    assert!(error.contains("000000011.json is damaged: it is entry 2"), "{error}");
    let other = br#"{"version":4,"colour":"red"}"#;
    folder.put("000000011.json", other.to_vec()).await.unwrap();
    let error = Journal::open(&output, opening(3)).await.err().unwrap().to_string();
    assert!(error.contains("000000011.json has `version` 4, this Tandem reads 2 and 3"), "{error}");
}

#[tokio::test]
async fn a_journal_of_the_version_before_is_gone_on_from() {
    let output = memory();
    let folder = output.below(FOLDER);
    let (journal, _) = Journal::open(&output, opening(1)).await.unwrap();
    for event in life() {
        journal.append(event).await.unwrap();
    }
    let written = Journal::look(&output).await.unwrap();
    for name in folder.files().await.unwrap() {
        let text = String::from_utf8(folder.get(&name).await.unwrap().unwrap().to_vec()).unwrap();
        let text = text.replace("\"version\":3", "\"version\":2");
        let (before, digest) = text.rsplit_once("\"sha256\":\"").unwrap();
        let blank = format!("{before}\"sha256\":\"{}", &digest[64..]);
        let signed =
            format!("{before}\"sha256\":\"{}{}", shards::committed::digest(blank.as_bytes()), &digest[64..]);
        folder.put(&name, signed.into_bytes()).await.unwrap();
    }
    assert_eq!(Journal::look(&output).await.unwrap(), written);
    Journal::open(&output, opening(2)).await.unwrap();
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u64..20).prop_map(|nonce| Event::Opened(opening(nonce))),
        (1_u64..30).prop_map(generation),
        (1_u64..30, 1_u64..4, 0_u64..5).prop_map(|(step, generation, request)| {
            let (step, generation) = (GlobalStep(step), Generation(generation));
            Event::Committed(Committed { step, generation, request })
        }),
        (1_u64..30).prop_map(|step| {
            Event::Rewound(Some(Committed {
                step: GlobalStep(step),
                generation: Generation(step % 7 * 5),
                request: 0,
            }))
        }),
        (0_u32..4).prop_map(|rank| Event::Drained { member: format!("w{rank}") }),
        any::<bool>().prop_map(|checkpoint| Event::Stopping { checkpoint }),
        (0_u32..4).prop_map(|id| {
            Event::Asked(Asked { id: id.to_string(), by: "bob".into(), what: "pause".into() })
        }),
        Just(Event::Paused { by: "bob".into() }),
        Just(Event::Resumed),
        (1_u32..4)
            .prop_map(|workers| { Event::Scaled(Scale { workers, min_workers: 1, max_workers: workers }) }),
        Just(Event::Ended(End::new(Exit::Done, "done"))),
    ]
}

proptest! {
    #[test]
    fn numbers_in_the_past_only_grow(events in proptest::collection::vec(any_event(), 0..40)) {
        let mut past = Past::default();
        for event in &events {
            let Ok(next) = past.apply(event) else {
                let Event::Generation { generation, seats } = event else { panic!("{event:?}") };
                prop_assert!(*generation <= past.generation);
                prop_assert!((*generation, seats) != (past.generation, &past.seats));
                continue;
            };
            let numbers = |past: &Past| {
                let newest = past.committed.map(|newest| (newest.step, newest.request));
                (past.epoch, past.generation, newest.map(|n| n.0), newest.map(|n| n.1))
            };
            let (before, after) = (numbers(&past), numbers(&next));
            let rewound = matches!(event, Event::Rewound(_));
            prop_assert!(before.0 <= after.0 && before.1 <= after.1 && before.3 <= after.3);
            prop_assert!(before.2 <= after.2 || rewound);
            prop_assert_eq!(after.0 - before.0, u64::from(matches!(event, Event::Opened(_))));
            if !matches!(event, Event::Opened(_)) {
                prop_assert!(next.apply(event) == Ok(next.clone()), "taken twice, it counts once");
            }
            let decoded = Entry::decode(3, &Entry::new(3, 7, event.clone(), next.clone()).encode());
            prop_assert!(decoded.is_ok_and(|entry| entry.past == next && entry.event == *event));
            past = next;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_often_and_answers_late_is_asked_again_until_the_decision_is_there() {
    use Fault::{Full, Late, Refused, Torn, Unanswered};
    // The longest is later than one try may be.
    let late = [1, 40].map(|seconds| Late(std::time::Duration::from_secs(seconds)));
    let faults = [&[Refused, Unanswered, Torn, Full][..], &late].concat();
    for seed in 0..100 {
        let inner = Arc::new(InMemory::new());
        let store = Faulty::new(inner.clone(), faults::now_and_then(seed, 3, faults.clone()));
        let failing = Folder::new(Arc::new(store), Path::from("out"));
        let (journal, _) = loop {
            // A listing is tried again by the store's own client, which this one does not have.
            if let Ok(open) = Journal::open(&failing, opening(1)).await {
                break open;
            }
        };
        for event in life() {
            journal.append(event).await.unwrap();
        }
        let (_, past) = Journal::open(&output(inner), opening(2)).await.unwrap();
        let opened = sum(&Past::default(), &[Event::Opened(opening(1))]);
        assert_eq!(past, sum(&opened, &life()), "seed {seed}");
    }
}
