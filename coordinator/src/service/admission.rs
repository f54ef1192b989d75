//! Asks every request who makes it, before anything is done for it.

use access::{Guard, guard::Refusal};
use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, Version, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{net::IpAddr, sync::Arc};
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

/// Where nobody is asked who he is, a browser on this machine must not do or see anything for a page from elsewhere. Browsers speak
/// HTTP/1 without TLS, and gRPC never does: what comes that way may only look, by a name of this machine, which no page from
/// elsewhere has (nor one whose name was made to point here).
pub(super) async fn at_home(request: Request, next: Next) -> Response {
    if request.version() >= Version::HTTP_2 || (looks(request.method()) && is_named_local(&request)) {
        return next.run(request).await;
    }
    let text = "without credentials only gRPC and GET http://127.0.0.1 or http://localhost are answered\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

fn looks(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

fn is_named_local(request: &Request) -> bool {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_matches(['[', ']']);
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
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
