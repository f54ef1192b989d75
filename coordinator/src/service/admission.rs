//! Asks every request who makes it, before anything is done for it.

use access::{Guard, guard::Refusal};
use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
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
            refuse(&refusal, is_grpc(&request))
        }
    }
}

/// Answers requests for what is not there.
pub(super) async fn nothing(request: Request) -> Response {
    let path = super::one_line(request.uri().path(), LONGEST_PATH);
    if is_grpc(&request) {
        return Status::unimplemented(format!("{path} is no method of this coordinator")).into_http();
    }
    (StatusCode::NOT_FOUND, format!("{path} is not here\n")).into_response()
}

fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get("content-type").map(|value| value.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

fn refuse(refusal: &Refusal, grpc: bool) -> Response {
    let text = refusal.to_string();
    let (status, code) = match refusal {
        Refusal::Unknown => (Status::unauthenticated(&text), StatusCode::UNAUTHORIZED),
        Refusal::Role { .. } => (Status::permission_denied(&text), StatusCode::FORBIDDEN),
    };
    if grpc {
        return status.into_http();
    }
    let mut response = (code, format!("{text}\n")).into_response();
    if *refusal == Refusal::Unknown {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert("www-authenticate", scheme);
    }
    response
}
