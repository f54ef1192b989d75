//! The key-value store of a generation.

use crate::{control::Control, rendezvous::Refusal};
use proto::{
    Generation,
    v1::{self, rendezvous_server::Rendezvous},
};
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// Longest wait that a request may ask for.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The service.
pub(super) struct Service {
    control: Arc<Control>,
}

impl Service {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }
}

fn refused(refusal: Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Stale { .. } => Status::failed_precondition(text),
        Refusal::Timeout { .. } => Status::deadline_exceeded(text),
        Refusal::TooLarge(_) => Status::resource_exhausted(text),
        Refusal::NoCounter(_) => Status::invalid_argument(text),
    }
}

#[tonic::async_trait]
impl Rendezvous for Service {
    async fn set(&self, request: Request<v1::SetRequest>) -> Result<Response<v1::SetReply>, Status> {
        let v1::SetRequest { generation, key, value } = request.into_inner();
        self.control.rendezvous().set(Generation(generation), &key, value).map_err(refused)?;
        Ok(Response::new(v1::SetReply {}))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetReply>, Status> {
        let v1::GetRequest { generation, keys, timeout_ms } = request.into_inner();
        let patience = Duration::from_millis(timeout_ms).min(MAX_WAIT);
        let values =
            self.control.rendezvous().get(Generation(generation), &keys, patience).await.map_err(refused)?;
        Ok(Response::new(v1::GetReply { values }))
    }

    async fn add(&self, request: Request<v1::AddRequest>) -> Result<Response<v1::AddReply>, Status> {
        let v1::AddRequest { generation, key, amount } = request.into_inner();
        let value = self.control.rendezvous().add(Generation(generation), &key, amount).map_err(refused)?;
        Ok(Response::new(v1::AddReply { value }))
    }

    async fn compare_set(
        &self,
        request: Request<v1::CompareSetRequest>,
    ) -> Result<Response<v1::CompareSetReply>, Status> {
        let v1::CompareSetRequest { generation, key, expected, desired } = request.into_inner();
        let rendezvous = self.control.rendezvous();
        let value =
            rendezvous.compare_set(Generation(generation), &key, &expected, desired).map_err(refused)?;
        Ok(Response::new(v1::CompareSetReply { value }))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckReply>, Status> {
        let v1::CheckRequest { generation, keys } = request.into_inner();
        let present = self.control.rendezvous().check(Generation(generation), &keys).map_err(refused)?;
        Ok(Response::new(v1::CheckReply { present }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteReply>, Status> {
        let v1::DeleteRequest { generation, key } = request.into_inner();
        let deleted = self.control.rendezvous().delete(Generation(generation), &key).map_err(refused)?;
        Ok(Response::new(v1::DeleteReply { deleted }))
    }
}
