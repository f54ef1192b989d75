//! Asks every request who makes it, before anything is done for it.

use access::{Guard, guard::Refusal};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use std::sync::Arc;
use tonic::Status;

/// Longest part of a path that a log line shows.
const LONGEST_PATH: usize = 100;

/// Lets through whom the guard admits, with who he is among the request's extensions; others get UNAUTHENTICATED or
/// PERMISSION_DENIED, as gRPC says it, or 401 and 403.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let authorization = request.headers().get("authorization").map(|value| value.as_bytes());
    match guard.admit(request.uri().path(), authorization) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => {
            let path = super::one_line(request.uri().path(), LONGEST_PATH);
            tracing::warn!("{path} is refused: {refusal}");
            let content = request.headers().get("content-type").map(|value| value.as_bytes());
            refuse(&refusal, content.is_some_and(|kind| kind.starts_with(b"application/grpc")))
        }
    }
}

fn refuse(refusal: &Refusal, grpc: bool) -> Response {
    let text = refusal.to_string();
    let (status, code) = match refusal {
        Refusal::Unknown => (Status::unauthenticated(&text), 401),
        Refusal::Role { .. } => (Status::permission_denied(&text), 403),
    };
    if grpc {
        return status.into_http();
    }
    let mut response = Response::new(format!("{text}\n").into());
    *response.status_mut() = axum::http::StatusCode::from_u16(code).unwrap_or_default();
    if *refusal == Refusal::Unknown {
        let scheme = axum::http::HeaderValue::from_static("Bearer");
        response.headers_mut().insert("www-authenticate", scheme);
    }
    response
}
