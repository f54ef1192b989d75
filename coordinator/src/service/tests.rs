//! A whole run as two workers and an operator speak it, over a real connection.

use crate::{
    checkpoints::{Checkpoints, Identity},
    control::{Control, Handout},
    membership::{Membership, Spec},
    metrics::Recorder,
    server,
};
use object_store::local::LocalFileSystem;
use proto::{
    Exit, Generation, GlobalStep, PROTOCOL_VERSION, WorldSize, checkpoint,
    v1::{
        self, membership_client::MembershipClient, operator_client::OperatorClient,
        rendezvous_client::RendezvousClient,
    },
};
use shards::{committed::newest, ledger, store::Folder};
use std::{future::Future, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

const G: u64 = 4;

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
}

/// A served run that waits for two workers.
async fn serve() -> Run {
    let output = tempfile::tempdir().unwrap();
    let disk = LocalFileSystem::new_with_prefix(output.path()).unwrap();
    let store = Folder::new(Arc::new(disk), "".into());
    let spec = Spec {
        workers: WorldSize(2),
        lost_after: Duration::from_secs(60),
        steps: GlobalStep(10),
        resume: GlobalStep(0),
        generation: Generation(G),
        fingerprint: "f00d".into(),
    };
    let identity = Identity { run: "r".into(), config: "c".into(), dataset: "f00d".into() };
    let recorder = Recorder::open(output.path().into(), Generation(G), GlobalStep(0)).unwrap();
    let handout =
        Handout { run: "r".into(), config: "c".into(), config_hash: "h".into(), heartbeat_ms: 100, batch: 8 };
    let folder = store.below(checkpoint::FOLDER);
    let checkpoints = Checkpoints::new(&store, identity, 2);
    store.below(ledger::FOLDER).put("s", vec![1; 5]).await.unwrap();
    let control = Arc::new(Control::new(handout, Membership::new(spec), checkpoints, recorder));
    let listener = server::listen("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let endpoint = Endpoint::from_shared(url).unwrap();
    let serving = server::serve(listener, control.clone(), async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(serving);
    let channel = endpoint.connect().await.unwrap();
    Run {
        output,
        control,
        folder,
        server,
        stop,
        workers: MembershipClient::new(channel.clone()),
        rendezvous: RendezvousClient::new(channel.clone()),
        operator: OperatorClient::new(channel.clone()),
        channel,
    }
}

impl Run {
    async fn join(&mut self) -> [String; 2] {
        let mut names = [const { String::new() }; 2];
        for (pid, name) in (1..).zip(&mut names) {
            let request = v1::JoinRequest { protocol: PROTOCOL_VERSION, host: "a".into(), pid };
            *name = self.workers.join(request).await.unwrap().into_inner().member;
        }
        names
    }

    async fn part(&mut self, member: &str, rank: u32, parts: u32) -> Result<bool, Status> {
        let name = checkpoint::part_name(rank as usize);
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
            ledger: (rank == 0).then(|| v1::Segment { name: "s".into(), size: 5, sha256: "0".repeat(64) }),
        };
        self.workers.report_part(request).await.map(|reply| reply.into_inner().committed)
    }
}

fn beat(member: &str, generation: u64, phase: v1::Phase) -> v1::HeartbeatRequest {
    v1::HeartbeatRequest { member: member.into(), generation, applied_step: 1, phase: phase.into() }
}

async fn code<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Code {
    answer.await.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_run_ends_as_asked_after_its_checkpoint() {
    let mut run = serve().await;
    let names = run.join().await;
    for name in &names {
        run.workers.heartbeat(beat(name, G, v1::Phase::Training)).await.unwrap();
    }
    let ask = v1::CheckpointRequest { request_id: "once".into(), expected_generation: G };
    for _ in 0..2 {
        assert_eq!(run.operator.checkpoint(ask.clone()).await.unwrap().into_inner().request, 1);
    }
    let stop = v1::StopRequest { request_id: "stop".into(), expected_generation: 0, checkpoint: true };
    run.operator.stop(stop).await.unwrap();
    let told = run.workers.heartbeat(beat(&names[0], G, v1::Phase::Training)).await.unwrap().into_inner();
    assert_eq!((told.checkpoint_request, told.stop), (1, Some(v1::Stop { checkpoint: true })));
    assert!(!run.part(&names[0], 0, 2).await.unwrap());
    assert!(run.part(&names[1], 1, 2).await.unwrap());
    for member in names {
        let leave = v1::LeaveRequest { member, generation: G, finished: true, ..Default::default() };
        run.workers.leave(leave).await.unwrap();
    }
    let status = run.operator.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.state.as_str(), status.committed_checkpoint), ("finished", 1));
    assert_eq!(run.control.watch().borrow().verdict.as_ref().unwrap().exit, Exit::Stopped);
    run.stop.send(()).unwrap();
    timeout(Duration::from_secs(10), run.server).await.expect("idle connections hold it").unwrap().unwrap();
}

#[tokio::test]
async fn only_a_member_reports_and_only_its_own_part() {
    let mut run = serve().await;
    assert_eq!(run.part("4-1", 0, 1).await.unwrap_err().code(), Code::NotFound, "nobody has joined");
    let names = run.join().await;
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
    assert_eq!(code(run.workers.report(report("4-9", G))).await, Code::NotFound);
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
    let foreign = v1::JoinRequest { protocol: PROTOCOL_VERSION + 1, host: "a".into(), pid: 1 };
    assert_eq!(code(run.workers.join(foreign)).await, Code::FailedPrecondition);
    let names = run.join().await;
    assert_eq!(
        code(run.workers.heartbeat(beat(&names[0], G - 1, v1::Phase::Training))).await,
        Code::FailedPrecondition
    );
    assert_eq!(code(run.workers.heartbeat(beat("x", G, v1::Phase::Training))).await, Code::InvalidArgument);
    let full = v1::JoinRequest { protocol: PROTOCOL_VERSION, host: "a".into(), pid: 3 };
    assert_eq!(code(run.workers.join(full)).await, Code::ResourceExhausted);
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
    let stop =
        |id: &str| v1::StopRequest { request_id: id.into(), expected_generation: G + 1, checkpoint: true };
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
