//! A whole run as two workers and an operator speak it, over a real connection.

mod operating;

use crate::{
    Error,
    checkpoints::{Checkpoints, Identity},
    control::{Control, Handout},
    journal::{Journal, JournalError, Opening},
    membership::{Membership, Past, Spec, Stream},
    metrics::Recorder,
    record, server,
    settings::Settings,
};
use object_store::local::LocalFileSystem;
use proto::{
    Exit, Generation, GlobalStep, PROTOCOL_VERSION, WorldSize, checkpoint,
    config::CheckpointSection,
    v1::{
        self, directive::Kind, membership_client::MembershipClient, operator_client::OperatorClient,
        rendezvous_client::RendezvousClient,
    },
};
use shards::{committed::newest, ledger, store::Folder};
use std::{future::Future, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{
    Code, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};

const G: u64 = 1;

struct Run {
    output: TempDir,
    channel: Channel,
    control: Arc<Control>,
    folder: Folder,
    workers: MembershipClient<Channel>,
    rendezvous: RendezvousClient<Channel>,
    operator: OperatorClient<Channel>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<crate::Result<()>>,
    journal: JoinHandle<crate::Result<()>>,
}

/// A served run that waits for two workers.
async fn serve() -> Run {
    let output = tempfile::tempdir().unwrap();
    let disk = LocalFileSystem::new_with_prefix(output.path()).unwrap();
    let store = Folder::new(Arc::new(disk), "".into());
    let spec = Spec {
        wanted: WorldSize(2),
        least: WorldSize(1),
        most: WorldSize(2),
        lanes: 4,
        grace: Duration::ZERO,
        lost_after: Duration::from_secs(60),
        steps: GlobalStep(10),
        settings: Settings::default(),
        fingerprint: "f00d".into(),
    };
    let (journal, _) = Journal::open(&store, Opening::default()).await.unwrap();
    let past = Past { epoch: journal.epoch(), ..Past::default() };
    let identity = Identity { run: "r".into(), config: "c".into(), dataset: "f00d".into() };
    let recorder = Recorder::open(output.path().into(), Generation(G), None).unwrap();
    let handout = Handout {
        run: "r".into(),
        config: "c".into(),
        config_hash: "h".into(),
        heartbeat_ms: 100,
        batch: 8,
        patience: Duration::ZERO,
    };
    let folder = store.below(checkpoint::FOLDER);
    let checkpoints = Checkpoints::new(&store, identity, &CheckpointSection::default());
    store.below(ledger::FOLDER).put("s", vec![1; 5]).await.unwrap();
    let membership = Membership::new(spec, past, Duration::ZERO);
    let control = Arc::new(Control::new(handout, membership, checkpoints, recorder, journal.trail()));
    let kept = control.clone();
    let journal = tokio::spawn(async move { record::keep(&kept, &journal).await });
    let listener = server::listen("127.0.0.1:0", false).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let endpoint = Endpoint::from_shared(url).unwrap();
    let serving = server::serve(listener, control.clone(), None, None, async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(serving);
    let channel = endpoint.connect().await.unwrap();
    Run {
        output,
        control,
        folder,
        server,
        journal,
        stop,
        workers: MembershipClient::new(channel.clone()),
        rendezvous: RendezvousClient::new(channel.clone()),
        operator: OperatorClient::new(channel.clone()),
        channel,
    }
}

fn asked(id: &str, expected_generation: u64) -> Option<v1::Asked> {
    Some(v1::Asked { id: id.into(), expected_generation, by: "bob@desk".into() })
}

impl Run {
    async fn join(&mut self, pid: u32) -> String {
        let host = "a".into();
        let request = v1::JoinRequest { protocol: PROTOCOL_VERSION, host, pid, ..Default::default() };
        self.workers.join(request).await.unwrap().into_inner().member
    }

    /// Two workers that have their seats, and the streams on which they were told so.
    async fn seated(&mut self) -> ([String; 2], [Streaming<v1::Directive>; 2]) {
        let names = [self.join(1).await, self.join(2).await];
        let mut streams = [self.attend(&names[0]).await, self.attend(&names[1]).await];
        for name in &names {
            self.workers.heartbeat(beat(name, 0, v1::Phase::Waiting)).await.unwrap();
        }
        for (rank, stream) in (0..).zip(&mut streams) {
            let seat = until(stream, |kind| match kind {
                Kind::Assignment(seat) => Some(seat),
                _ => None,
            });
            let seat = seat.await;
            assert_eq!((seat.generation, seat.rank, seat.world_size), (G, rank, 2));
        }
        (names, streams)
    }

    async fn attend(&mut self, member: &str) -> Streaming<v1::Directive> {
        self.workers.attend(v1::AttendRequest { member: member.into() }).await.unwrap().into_inner()
    }

    async fn part(&mut self, member: &str, rank: u32, parts: u32) -> Result<bool, Status> {
        let name = checkpoint::part_name(Generation(G), rank as usize);
        self.folder.step(GlobalStep(1)).put(&name, vec![1; 9]).await.unwrap();
        let request = v1::ReportPartRequest {
            member: member.into(),
            generation: G,
            step: 1,
            rank,
            parts,
            name,
            size: 9,
            sha256: "0".repeat(64),
            state: if rank == 0 { "{}".into() } else { String::new() },
            checkpoint_request: 1,
            ledger: (rank == 0).then(|| v1::Segment { name: "s".into(), size: 5, sha256: "0".repeat(64) }),
        };
        self.workers.report_part(request).await.map(|reply| reply.into_inner().committed)
    }
}

fn beat(member: &str, generation: u64, phase: v1::Phase) -> v1::HeartbeatRequest {
    let (member, phase) = (member.into(), phase.into());
    v1::HeartbeatRequest { member, generation, applied_step: 1, phase, ..Default::default() }
}

/// The first directive of which `wanted` makes something.
async fn until<T>(stream: &mut Streaming<v1::Directive>, wanted: impl Fn(Kind) -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = stream.message().await.unwrap().unwrap().kind.and_then(&wanted) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(10), look).await.expect("it is not told")
}

async fn code<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Code {
    answer.await.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_run_ends_as_asked_after_its_checkpoint() {
    let mut run = serve().await;
    let (names, _streams) = run.seated().await;
    for name in &names {
        run.workers.heartbeat(beat(name, G, v1::Phase::Training)).await.unwrap();
    }
    let ask = v1::CheckpointRequest { asked: asked("once", G) };
    for _ in 0..2 {
        assert_eq!(run.operator.checkpoint(ask.clone()).await.unwrap().into_inner().request, 1);
    }
    let stop = v1::StopRequest { asked: asked("stop", 0), checkpoint: true };
    run.operator.stop(stop).await.unwrap();
    let told = run.workers.heartbeat(beat(&names[0], G, v1::Phase::Training)).await.unwrap().into_inner();
    assert_eq!((told.checkpoint_request, told.stop), (1, Some(v1::Stop { checkpoint: true })));
    assert!(!run.part(&names[0], 0, 2).await.unwrap());
    let mut turns = run.control.turns();
    while !run.part(&names[1], 1, 2).await.unwrap() {
        turns.changed().await.unwrap();
    }
    for member in names {
        let leave = v1::LeaveRequest { member, generation: G, finished: true, ..Default::default() };
        run.workers.leave(leave).await.unwrap();
    }
    let status = run.operator.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.state.as_str(), status.committed_checkpoint), ("finished", 1));
    assert_eq!(run.control.watch().borrow().verdict.as_ref().unwrap().exit, Exit::Stopped);
    timeout(Duration::from_secs(10), run.journal).await.expect("the end is written").unwrap().unwrap();
    let past =
        Journal::look(&Folder::open(run.output.path().to_str().unwrap()).unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (past.generation, past.committed.unwrap().request, past.ended.unwrap().exit()),
        (Generation(G), 1, Some(Exit::Stopped))
    );
    run.stop.send(()).unwrap();
    timeout(Duration::from_secs(10), run.server).await.expect("idle connections hold it").unwrap().unwrap();
}

#[tokio::test]
async fn a_coordinator_that_is_fenced_commits_nothing() {
    let mut run = serve().await;
    let (names, _streams) = run.seated().await;
    let store = Folder::open(run.output.path().to_str().unwrap()).unwrap();
    let (_journal, before) = Journal::open(&store, Opening::default()).await.unwrap();
    assert_eq!(before.generation, Generation(G));
    for (rank, name) in (0..).zip(&names) {
        assert!(!run.part(name, rank, 2).await.unwrap());
    }
    let kept = run.journal.await.unwrap();
    assert!(matches!(kept, Err(Error::Journal(JournalError::Fenced { .. }))), "{kept:?}");
    assert_eq!(newest(&run.folder).await.unwrap(), None);
}

#[tokio::test]
async fn only_a_member_reports_and_only_its_own_part() {
    let mut run = serve().await;
    assert_eq!(run.part("1-1", 0, 1).await.unwrap_err().code(), Code::FailedPrecondition, "none has begun");
    let (names, _streams) = run.seated().await;
    assert_eq!(run.part(&names[0], 0, 1).await.unwrap_err().code(), Code::InvalidArgument, "there are two");
    assert_eq!(run.part(&names[0], 1, 2).await.unwrap_err().code(), Code::InvalidArgument, "not its own");
    assert_eq!(newest(&run.folder).await.unwrap(), None);
    let steps = vec![v1::StepReport { step: 1, ..Default::default() }];
    let report = |member: &str, generation| v1::ReportRequest {
        member: member.into(),
        generation,
        steps: steps.clone(),
        substitutions: vec![v1::Substitution { step: 1, row: 7, ..Default::default() }],
    };
    assert_eq!(code(run.workers.report(report("1-9", G))).await, Code::NotFound);
    assert_eq!(code(run.workers.report(report(&names[0], 0))).await, Code::FailedPrecondition);
    for _ in 0..2 {
        run.workers.report(report(&names[0], G)).await.unwrap();
    }
    let written = std::fs::read_to_string(run.output.path().join("metrics.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 1, "a repeated report is written once");
    let replaced = std::fs::read_to_string(run.output.path().join("quarantine.jsonl")).unwrap();
    assert_eq!(replaced.lines().count(), 1, "{replaced}");
    assert!(run.control.watch().borrow().verdict.is_none(), "what is refused does not end the run");
}

#[tokio::test]
async fn what_is_stale_or_foreign_is_refused_with_its_code() {
    let mut run = serve().await;
    let foreign = v1::JoinRequest { protocol: PROTOCOL_VERSION + 1, ..Default::default() };
    assert_eq!(code(run.workers.join(foreign)).await, Code::FailedPrecondition);
    let (names, _streams) = run.seated().await;
    let ahead = beat(&names[0], G + 1, v1::Phase::Training);
    assert_eq!(code(run.workers.heartbeat(ahead)).await, Code::FailedPrecondition);
    assert_eq!(code(run.workers.heartbeat(beat("1-9", G, v1::Phase::Training))).await, Code::NotFound);
    assert_eq!(code(run.workers.heartbeat(beat("x", G, v1::Phase::Training))).await, Code::InvalidArgument);
    let get =
        |generation, key: &str, timeout_ms| v1::GetRequest { generation, keys: vec![key.into()], timeout_ms };
    assert_eq!(code(run.rendezvous.get(get(G - 1, "k", 1))).await, Code::FailedPrecondition);
    assert_eq!(code(run.rendezvous.get(get(G, "k", 1))).await, Code::DeadlineExceeded);
    let mut other = run.rendezvous.clone();
    let waiting = tokio::spawn(async move { other.get(get(G, "k", 60_000)).await });
    let value = vec![7; 3 << 20];
    run.rendezvous
        .set(v1::SetRequest { generation: G, key: "k".into(), value: value.clone() })
        .await
        .unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().values, [value]);
    let stop = |id: &str| v1::StopRequest { asked: asked(id, G + 1), checkpoint: true };
    assert_eq!(code(run.operator.stop(stop("a"))).await, Code::FailedPrecondition);
    assert_eq!(code(run.operator.stop(stop(""))).await, Code::InvalidArgument);
}

#[tokio::test]
async fn probes_and_grpcurl_find_the_services() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let run = serve().await;
    let mut health = HealthClient::new(run.channel.clone());
    for service in ["", "tandem.v1.Membership", "tandem.v1.Operator", "tandem.v1.Rendezvous"] {
        let request = HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(run.channel.clone());
    let request = futures::stream::iter([list]);
    let mut replies = reflection.server_reflection_info(request).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(found) = reply else { panic!("{reply:?}") };
    let names: Vec<&str> = found.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"tandem.v1.Operator") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
}

#[tokio::test]
async fn the_loss_of_a_worker_is_told_to_the_others_at_once() {
    let mut run = serve().await;
    let (names, [mut stream, other]) = run.seated().await;
    for name in &names {
        run.workers.heartbeat(beat(name, G, v1::Phase::Training)).await.unwrap();
    }
    let mut waiting = run.rendezvous.clone();
    let never = v1::GetRequest { generation: G, keys: vec!["never".into()], timeout_ms: 60_000 };
    let waiting = tokio::spawn(async move { waiting.get(never).await });
    // A process that dies takes its connection along; its peer has noticed as well.
    drop(other);
    let gone = || run.control.look(|m| m.members().any(|(_, m)| matches!(m.stream, Stream::Gone(_))));
    let mut turns = run.control.turns();
    while !gone() {
        let _ = timeout(Duration::from_millis(20), turns.changed()).await;
    }
    let broken = beat(&names[0], G, v1::Phase::Waiting);
    run.workers.heartbeat(v1::HeartbeatRequest { broken: true, ..broken }).await.unwrap();
    let seat = until(&mut stream, |kind| match kind {
        Kind::Assignment(seat) if seat.generation > G => Some(seat),
        _ => None,
    });
    let seat = seat.await;
    assert_eq!((seat.generation, seat.rank, seat.world_size), (G + 1, 0, 1));
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::FailedPrecondition, "its space is closed");
    let lost = beat(&names[1], G, v1::Phase::Training);
    assert_eq!(code(run.workers.heartbeat(lost)).await, Code::NotFound);
    let status = run.operator.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.generation, status.members.len(), status.members[0].seated), (G + 1, 1, true));
}

#[tokio::test]
async fn directives_of_a_member_are_ordered_and_told_once() {
    let mut run = serve().await;
    let name = run.join(1).await;
    let mut stream = run.attend(&name).await;
    let first = stream.message().await.unwrap().unwrap();
    let answer = run.workers.heartbeat(beat(&name, 0, v1::Phase::Warming)).await.unwrap().into_inner();
    assert!(answer.serial > first.serial && first.serial > 0, "{first:?} {answer:?}");
    run.workers.heartbeat(beat(&name, 0, v1::Phase::Warming)).await.unwrap();
    run.workers.drain(v1::DrainRequest { member: name.clone() }).await.unwrap();
    let next = stream.message().await.unwrap().unwrap();
    assert!(next.kind != first.kind && next.serial > answer.serial, "{next:?}");
    let leave = v1::LeaveRequest { member: name, finished: true, ..Default::default() };
    run.workers.leave(leave).await.unwrap();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::NotFound, "it is no member any more");
}

#[tokio::test]
async fn a_coordinator_that_was_succeeded_says_by_whom_and_decides_nothing() {
    let mut run = serve().await;
    let folder = Folder::open(run.output.path().to_str().unwrap()).unwrap();
    let url = "http://the-other:1".to_string();
    Journal::open(&folder, Opening { url: url.clone(), ..Opening::default() }).await.unwrap();
    for pid in [1, 2] {
        let name = run.join(pid).await;
        run.workers.heartbeat(beat(&name, 0, v1::Phase::Waiting)).await.unwrap();
    }
    let ended = timeout(Duration::from_secs(10), run.journal).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.exit(), Exit::Fenced);
    assert!(ended.to_string().contains(&url), "{ended}");
    assert_eq!(run.control.look(|membership| membership.generation()), Generation(0));
}
