//! The gRPC services: they translate messages into calls of [`Control`] and refusals into status codes; nothing is
//! decided here.

mod admission;
mod answered;
mod membership;
mod operator;
mod rendezvous;
#[cfg(test)]
mod tests;

use crate::{
    control::{Control, ReportError},
    membership::{MemberId, Refusal},
};
use access::Guard;
use axum::Router;
use proto::v1::{
    DESCRIPTORS, membership_server::MembershipServer, operator_server::OperatorServer,
    rendezvous_server::RendezvousServer,
};
use std::{collections::HashMap, sync::Arc};
use tonic::{Code, Status, service::Routes};
use tonic_types::{ErrorDetails, StatusExt};

/// Largest message of a worker, in bytes: a rendezvous value with room around it.
const WORKER_MESSAGE: usize = 8 << 20;
/// Whose reasons these are.
const DOMAIN: &str = "tandem.v1";
/// Characters of a value that a refusal repeats.
const LONGEST_VALUE: usize = 100;
/// Largest message of an operator, in bytes.
const OPERATOR_MESSAGE: usize = 64 << 10;

/// All services of a run, with health, reflection and `pages`, for those whom `guard` admits; without one for everybody.
///
/// # Errors
/// Descriptors that do not decode, which is a defect of the build.
pub async fn routes(
    control: Arc<Control>,
    pages: Router,
    guard: Option<Arc<Guard>>,
) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let membership = MembershipServer::new(membership::Service::new(control.clone()));
    let rendezvous = RendezvousServer::new(rendezvous::Service::new(control.clone()));
    let operator = OperatorServer::new(operator::Service::new(control));
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<MembershipServer<membership::Service>>().await;
    health.set_serving::<RendezvousServer<rendezvous::Service>>().await;
    health.set_serving::<OperatorServer<operator::Service>>().await;
    let mut routes = Routes::builder();
    routes
        .add_service(reflection().build_v1()?)
        // What many clients ask for to this day.
        .add_service(reflection().build_v1alpha()?)
        .add_service(health_service)
        .add_service(membership.max_decoding_message_size(WORKER_MESSAGE))
        .add_service(
            rendezvous.max_decoding_message_size(WORKER_MESSAGE).max_encoding_message_size(WORKER_MESSAGE),
        )
        .add_service(operator.max_decoding_message_size(OPERATOR_MESSAGE));
    let router = routes.routes().into_axum_router().merge(pages).fallback(admission::nothing);
    Ok(Routes::from(match guard {
        Some(guard) => router.layer(axum::middleware::from_fn_with_state(guard, admission::admit)),
        None => router.layer(axum::middleware::from_fn(admission::at_home)),
    }))
}

/// A text stays a sentence in logs and tables, whatever somebody sends.
fn one_line(text: &str, longest: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some((end, _)) => format!("{} … (the sender's log has all of it)", &line[..end]),
    }
}

fn member(name: &str) -> Result<MemberId, Status> {
    name.parse().map_err(|e: crate::membership::NoMember| Status::invalid_argument(e.to_string()))
}

/// A refusal as gRPC says it, with `google.rpc.ErrorInfo` for programs: a reason that stays, and the values in question.
fn refused(refusal: Refusal) -> Status {
    let text = refusal.to_string();
    let (code, reason) = match &refusal {
        Refusal::Unknown(_) => (Code::NotFound, "UNKNOWN_MEMBER"),
        Refusal::Nobody(_) => (Code::NotFound, "NO_SUCH_WORKER"),
        Refusal::Stale { .. } => (Code::FailedPrecondition, "STALE_GENERATION"),
        Refusal::NotExpected { .. } => (Code::FailedPrecondition, "UNEXPECTED_GENERATION"),
        Refusal::Over(_) => (Code::FailedPrecondition, "RUN_IS_OVER"),
        Refusal::Impossible(_) => (Code::FailedPrecondition, "IMPOSSIBLE_NOW"),
        Refusal::Invalid(_) => (Code::InvalidArgument, "INVALID_VALUE"),
    };
    let values = match &refusal {
        Refusal::Unknown(member) => vec![("member", member.to_string())],
        Refusal::Nobody(worker) => vec![("worker", worker.clone())],
        Refusal::Stale { found, current } => {
            vec![("found", found.to_string()), ("current", current.to_string())]
        }
        Refusal::NotExpected { expected, current } => {
            vec![("expected", expected.to_string()), ("current", current.to_string())]
        }
        Refusal::Over(_) | Refusal::Impossible(_) | Refusal::Invalid(_) => Vec::new(),
    };
    let values: HashMap<String, String> =
        values.into_iter().map(|(name, value)| (name.to_owned(), one_line(&value, LONGEST_VALUE))).collect();
    Status::with_error_details(code, text, ErrorDetails::with_error_info(reason, DOMAIN, values))
}

fn not_taken(error: ReportError) -> Status {
    match error {
        ReportError::Refused(refusal) => refused(refusal),
        ReportError::Metrics(_) => Status::unavailable(error.to_string()),
        ReportError::Checkpoint(crate::checkpoints::CheckpointError::Report { .. }) => {
            Status::invalid_argument(error.to_string())
        }
        ReportError::Checkpoint(crate::checkpoints::CheckpointError::Store(_)) => {
            Status::unavailable(error.to_string())
        }
        ReportError::Checkpoint(_) => Status::data_loss(error.to_string()),
    }
}
