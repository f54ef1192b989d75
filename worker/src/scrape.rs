//! This worker's metrics for a Prometheus on the same machine. What all workers tell is at the coordinator, behind its credentials.

use crate::error::{Error, Result};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use proto::exposition::{self, Exposition, labels};
use proto::v1::HeartbeatRequest;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Serves `/metrics` at `address` for as long as the runtime lives; `now` says what is to be told.
///
/// # Errors
/// An address that is taken, or that other machines reach.
pub(crate) fn serve(
    runtime: &Handle,
    address: &str,
    now: impl Fn() -> HeartbeatRequest + Send + Sync + 'static,
) -> Result<()> {
    let failed = |reason: String| Error::Scrape { address: address.into(), reason };
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(|error| failed(error.to_string()))?;
    let bound = listener.local_addr().map_err(|error| failed(error.to_string()))?;
    if !bound.ip().to_canonical().is_loopback() {
        return Err(failed("other machines reach it, and nobody is asked who he is; take 127.0.0.1, or the coordinator's /metrics".into()));
    }
    tracing::info!("metrics at http://{bound}/metrics");
    let now = Arc::new(now);
    let page = get(async move || ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], text(&now())));
    let routes = Routes::from(Router::new().route("/metrics", page));
    let server = Server::builder().accept_http1(true).add_routes(routes);
    runtime.spawn(async move {
        if let Err(error) = server.serve_with_incoming(TcpIncoming::from(listener)).await {
            tracing::warn!("the metrics are not served any more: {error}");
        }
    });
    Ok(())
}

fn text(now: &HeartbeatRequest) -> String {
    let mut all = Exposition::default();
    all.gauges("worker_info", "The worker's name", [(labels([("member", &now.member)]), 1.0)]);
    all.gauge("step", "Committed updates that this worker has applied", now.applied_step as f64);
    all.gauge("generation", "Number of the generation that it has, or had, a seat in", now.generation as f64);
    let phases = now.seconds.iter().map(|(phase, seconds)| (labels([("phase", phase)]), *seconds));
    all.gauges(
        "step_phase_seconds",
        "Time of this worker's last step, by phase: data, encode, gather, learn, vote, update",
        phases,
    );
    all.text()
}
