//! Spans of a run, as a collector receives them.
#![allow(clippy::unwrap_used)]

use e2e::run::{Place, tandem};
use e2e::worker::Worker;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tonic::{Request, Response, Status};

/// By service, all spans that have come.
type Spans = Arc<Mutex<BTreeMap<String, Vec<Span>>>>;

/// Takes what is exported.
struct Collector(Spans);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut held = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let service = attributes.iter().find(|one| one.key == "service.name").unwrap();
            let service = format!("{:?}", service.value);
            let name = if service.contains("tandem-worker") { "worker" } else { "coordinator" };
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            held.entry(name.into()).or_default().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector that serves, and what it has received.
fn collector(runtime: &tokio::runtime::Runtime) -> (String, Spans) {
    let spans = Spans::default();
    let service = TraceServiceServer::new(Collector(spans.clone()));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (url, spans)
}

#[test]
fn a_collector_gets_the_steps_of_every_worker_and_what_the_coordinator_decided() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, spans) = collector(&runtime);
    let place = Place::new();
    let (run, coordinator) = place.serve_more("out", &["optimizer.steps=6"], &["--traces", &url]);
    let start = |name: &str| Worker::start(&coordinator, &place.path(name), &["--traces", &url]);
    let workers = ["one", "two"].map(start);
    assert_eq!(workers.map(Worker::end), [Some(0); 2]);
    assert_eq!(run.end().code, Some(0));

    let held = spans.lock().unwrap();
    let named = |service: &str, name: &str| -> Vec<&Span> {
        held[service].iter().filter(|span| span.name == name).collect()
    };
    let steps = named("worker", "step");
    assert_eq!(steps.len(), 12, "six steps on two workers");
    let value = |span: &Span, key: &str| {
        let found = span.attributes.iter().find(|one| one.key == key).unwrap();
        format!("{:?}", found.value)
    };
    for step in 1..=6 {
        let of = steps.iter().filter(|span| value(span, "step").contains(&format!("IntValue({step})")));
        assert_eq!(of.count(), 2, "step {step}");
    }
    for step in &steps {
        assert!(step.parent_span_id.is_empty() && step.end_time_unix_nano > step.start_time_unix_nano);
        for phase in ["data", "encode", "gather", "learn", "vote", "update"] {
            let within =
                named("worker", phase).into_iter().filter(|span| span.parent_span_id == step.span_id);
            assert!(within.count() >= 1, "{phase}");
        }
    }
    assert_eq!((named("worker", "meet").len(), named("worker", "settle").len()), (2, 2));
    assert!(!named("worker", "write checkpoint").is_empty());
    assert!(!named("coordinator", "journal").is_empty() && !named("coordinator", "commit").is_empty());
}

#[test]
fn a_place_that_can_not_take_traces_is_refused_and_one_that_does_not_answer_is_no_matter() {
    let place = Place::new();
    let refused = place.run("out", &[], &["--traces", "https://collector:4317"]);
    assert!(refused.code == Some(2) && refused.err.contains("https://collector:4317"), "{refused:?}");
    let told = place.run("silent", &["optimizer.steps=2"], &["--traces", "http://127.0.0.1:9"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(tandem(&["data", "verify-ledger", "--run", &place.path("silent")]).code, Some(0));
}
