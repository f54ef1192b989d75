//! What operators call.

use super::{answered::Answered, refused};
use crate::control::Control;
use proto::{
    Generation,
    v1::{self, operator_server::Operator},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Service {
    control: Arc<Control>,
    checkpoints: Answered<u64>,
    stops: Answered<()>,
}

impl Service {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control, checkpoints: Answered::default(), stops: Answered::default() }
    }
}

#[tonic::async_trait]
impl Operator for Service {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let now = self.control.watch().borrow().clone();
        let left = now.patience.map(|left| format!(", for {:.0} s more", left.as_secs_f64()));
        Ok(Response::new(v1::StatusReply {
            run: self.control.handout().run.clone(),
            state: now.state.word().into(),
            reason: now.reason + &left.unwrap_or_default(),
            generation: now.generation.0,
            step: now.step.0,
            steps: now.steps.0,
            committed_checkpoint: now.committed.0,
            pairs_per_second: now.pairs_per_second,
            scalars: now.scalars.into_iter().collect(),
            members: self.control.members(),
        }))
    }

    async fn checkpoint(
        &self,
        request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::CheckpointReply>, Status> {
        let v1::CheckpointRequest { request_id, expected_generation } = request.into_inner();
        let expected = Generation(expected_generation);
        let ask =
            || self.control.decide(|membership, _| membership.request_checkpoint(expected)).map_err(refused);
        let request = self.checkpoints.once(&request_id, ask)?;
        Ok(Response::new(v1::CheckpointReply { request }))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopReply>, Status> {
        let v1::StopRequest { request_id, expected_generation, checkpoint } = request.into_inner();
        let expected = Generation(expected_generation);
        let ask = || {
            self.control
                .decide(|membership, _| membership.request_stop(expected, checkpoint).map(drop))
                .map_err(refused)
        };
        self.stops.once(&request_id, ask)?;
        Ok(Response::new(v1::StopReply {}))
    }
}
