//! What operators ask for, and what the journal says of it.

use super::*;

/// The journal so far, once it ends with an entry of this kind: kinds and sentences.
async fn journal_to(run: &mut Run, kind: &str) -> Vec<(String, String)> {
    let events = run.operator.events(v1::EventsRequest { after: 0, follow: true }).await.unwrap();
    let mut events = events.into_inner();
    let mut told: Vec<v1::Event> = Vec::new();
    let read = async {
        while told.last().is_none_or(|last| last.kind != kind) {
            told.push(events.message().await.unwrap().expect("it goes on"));
        }
    };
    timeout(Duration::from_secs(10), read).await.expect(kind);
    assert!((1..).zip(&told).all(|(number, event)| event.number == number && event.unix_millis > 0));
    told.into_iter().map(|event| (event.kind, event.text)).collect()
}

async fn step(run: &mut Run, names: &[String], generation: u64, phase: v1::Phase) {
    for name in names {
        run.workers.heartbeat(beat(name, generation, phase)).await.unwrap();
    }
}

#[tokio::test]
async fn a_paused_run_holds_its_workers_and_goes_on_with_them() {
    let mut run = serve().await;
    let (names, mut streams) = run.seated().await;
    step(&mut run, &names, G, v1::Phase::Training).await;
    run.operator.pause(v1::PauseRequest { asked: asked("p", G) }).await.unwrap();
    let told = run.workers.heartbeat(beat(&names[0], G, v1::Phase::Training)).await.unwrap().into_inner();
    assert!(told.regroup, "{told:?}");
    step(&mut run, &names, G, v1::Phase::Waiting).await;
    let status = run.operator.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.state, "paused");
    assert!(
        status.reason.contains("bob@desk") && status.reason.contains("2 workers ready"),
        "{}",
        status.reason
    );
    let ask = v1::CheckpointRequest { asked: asked("c", 0) };
    assert_eq!(code(run.operator.checkpoint(ask)).await, Code::FailedPrecondition, "nobody could write it");
    let told = journal_to(&mut run, "paused").await;
    assert!(told.contains(&("asked".into(), "bob@desk asks: pause".into())), "{told:?}");

    run.operator.resume(v1::ResumeRequest { asked: asked("r", G) }).await.unwrap();
    let again = until(&mut streams[0], |kind| match kind {
        Kind::Assignment(seat) if seat.generation == G + 1 => Some(seat.world_size),
        _ => None,
    });
    assert_eq!(again.await, 2);
    journal_to(&mut run, "resumed").await;
}

#[tokio::test]
async fn a_worker_that_hangs_is_kicked_and_told_to_go() {
    let mut run = serve().await;
    let (names, mut streams) = run.seated().await;
    step(&mut run, &names, G, v1::Phase::Training).await;
    let kick = |worker: &str| v1::KickRequest { asked: asked("k", 0), worker: worker.into() };
    assert_eq!(code(run.operator.kick(kick("7"))).await, Code::NotFound);
    assert_eq!(code(run.operator.kick(kick("9-9"))).await, Code::NotFound);
    for _ in 0..2 {
        // The second one is the first: rank 1 is nobody, by now.
        assert_eq!(run.operator.kick(kick("1")).await.unwrap().into_inner().member, names[1]);
    }
    let reason = until(&mut streams[1], |kind| match kind {
        Kind::Dismiss(dismiss) => Some(dismiss.reason),
        _ => None,
    });
    assert_eq!(reason.await, "it was kicked by bob@desk");
    let told = run.workers.heartbeat(beat(&names[1], G, v1::Phase::Training)).await.unwrap().into_inner();
    assert!(matches!(told.kind, Some(Kind::Dismiss(_))), "{told:?}");
    // The other one goes on alone, as run.min_workers allows.
    step(&mut run, &names[..1], G, v1::Phase::Waiting).await;
    let alone = until(&mut streams[0], |kind| match kind {
        Kind::Assignment(seat) if seat.generation == G + 1 => Some(seat.world_size),
        _ => None,
    });
    assert_eq!(alone.await, 1);
}

#[tokio::test]
async fn a_worker_is_drained_by_its_rank() {
    let mut run = serve().await;
    let (names, mut streams) = run.seated().await;
    step(&mut run, &names, G, v1::Phase::Training).await;
    let drain = v1::DrainWorkerRequest { asked: asked("d", G), worker: "0".into() };
    assert_eq!(run.operator.drain(drain).await.unwrap().into_inner().member, names[0]);
    step(&mut run, &names, G, v1::Phase::Waiting).await;
    let told = until(&mut streams[0], |kind| match kind {
        Kind::Dismiss(dismiss) => Some(dismiss.reason),
        _ => None,
    });
    assert!(told.await.contains("told to go"));
    let told = journal_to(&mut run, "drained").await;
    assert_eq!(told.last().unwrap().1, format!("worker {} is to leave at the next step boundary", names[0]));
}

#[tokio::test]
async fn the_number_of_workers_changes_while_the_run_goes_on() {
    let mut run = serve().await;
    let (names, mut streams) = run.seated().await;
    step(&mut run, &names, G, v1::Phase::Training).await;
    let scale = |id: &str, workers, min_workers, max_workers| v1::ScaleRequest {
        asked: asked(id, 0),
        workers,
        min_workers,
        max_workers,
    };
    for (id, scale) in [("a", scale("a", Some(3), None, None)), ("b", scale("b", None, Some(0), None))] {
        assert_eq!(code(run.operator.scale(scale)).await, Code::FailedPrecondition, "{id}");
    }
    let scaled = run.operator.scale(scale("c", Some(1), None, Some(1))).await.unwrap().into_inner();
    assert_eq!((scaled.workers, scaled.min_workers, scaled.max_workers), (1, 1, 1));
    step(&mut run, &names, G, v1::Phase::Waiting).await;
    let alone = until(&mut streams[0], |kind| match kind {
        Kind::Assignment(seat) if seat.generation == G + 1 => Some(seat.world_size),
        _ => None,
    });
    assert_eq!(alone.await, 1);
    let told = journal_to(&mut run, "scaled").await;
    assert_eq!(told.last().unwrap().1, "1 workers, at least 1 and at most 1");
}

#[tokio::test]
async fn a_request_is_done_once_and_an_id_is_of_one_request() {
    let mut run = serve().await;
    let pause = v1::PauseRequest { asked: asked("same", 0) };
    for _ in 0..2 {
        run.operator.pause(pause.clone()).await.unwrap();
    }
    let resume = v1::ResumeRequest { asked: asked("same", 0) };
    assert_eq!(code(run.operator.resume(resume)).await, Code::AlreadyExists);
    let told = journal_to(&mut run, "paused").await;
    assert_eq!(told.iter().filter(|(kind, _)| kind == "asked").count(), 1, "{told:?}");
    let nobody = v1::ResumeRequest { asked: None };
    assert_eq!(code(run.operator.resume(nobody)).await, Code::InvalidArgument);
}

#[tokio::test]
async fn who_watches_sees_every_state_until_the_end() {
    let mut run = serve().await;
    let mut watch = run.operator.watch(v1::WatchRequest {}).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!((first.state.as_str(), first.exit_code), ("waiting", None));
    let (names, _streams) = run.seated().await;
    step(&mut run, &names, G, v1::Phase::Training).await;
    let stop = v1::StopRequest { asked: asked("s", 0), checkpoint: false };
    run.operator.stop(stop).await.unwrap();
    for member in names {
        let leave = v1::LeaveRequest { member, generation: G, finished: true, ..Default::default() };
        run.workers.leave(leave).await.unwrap();
    }
    let mut last = first;
    while let Some(status) = timeout(Duration::from_secs(10), watch.message()).await.unwrap().unwrap() {
        let (mut news, mut known) = (status.clone(), last);
        for member in news.members.iter_mut().chain(&mut known.members) {
            member.seconds_since_heartbeat = 0.0;
        }
        assert_ne!(news, known, "the same is not told again");
        last = status;
    }
    assert_eq!(last.state, "finished");
    assert_eq!(last.exit_code, Some(Exit::Stopped.code().into()));
}

#[tokio::test]
async fn a_rollback_waits_for_a_store_that_does_not_answer() {
    let mut run = serve().await;
    let (names, _streams) = run.seated().await;
    step(&mut run, &names, G, v1::Phase::Training).await;
    let mut turns = run.control.turns();
    run.part(&names[0], 0, 2).await.unwrap();
    while !run.part(&names[1], 1, 2).await.unwrap() {
        turns.changed().await.unwrap();
    }
    let ask = v1::RollbackRequest { asked: asked("back", G), step: 1 };
    run.operator.rollback(ask).await.unwrap();
    // A link to itself is a file that can't be opened, and is not missing either.
    let manifest = checkpoint::manifest_name(Generation(G));
    let folder = run.output.path().join(checkpoint::FOLDER).join(checkpoint::folder(GlobalStep(1)));
    let manifest = folder.join(manifest);
    let aside = manifest.with_extension("aside");
    std::fs::rename(&manifest, &aside).unwrap();
    std::os::unix::fs::symlink(&manifest, &manifest).unwrap();
    step(&mut run, &names, G, v1::Phase::Waiting).await;
    let mut until = async |fact: &dyn Fn(&Membership) -> bool| {
        let come = async {
            while !run.control.look(|membership| fact(membership)) {
                let _ = timeout(Duration::from_millis(20), turns.changed()).await;
            }
        };
        timeout(Duration::from_secs(10), come)
            .await
            .unwrap_or_else(|_| panic!("{}", run.control.look(Membership::reason)));
    };
    until(&|membership| membership.reason().contains("once the store answers")).await;
    std::fs::rename(&aside, &manifest).unwrap();
    until(&|membership| membership.told_rollback().unwrap().done).await;
    assert_eq!(run.control.look(Membership::newest_committed), GlobalStep(1));
}
