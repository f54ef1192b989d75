//! What workers call.

use super::{member, not_taken, one_line, refused};
use crate::{attendance::Attendance, checkpoints::Report, control::Control, membership::Beat};
use futures::{StreamExt, stream, stream::BoxStream};
use proto::{
    Exit, Generation, GlobalStep, PROTOCOL_VERSION, Rank,
    checkpoint::Part,
    v1::{self, membership_server::Membership},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Service {
    control: Arc<Control>,
}

impl Service {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }
}

/// Characters of a reason that are kept.
const LONGEST_REASON: usize = 1_000;

#[tonic::async_trait]
impl Membership for Service {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinReply>, Status> {
        let v1::JoinRequest { protocol, host, pid, spare, weight, slot } = request.into_inner();
        if protocol != PROTOCOL_VERSION {
            return Err(Status::failed_precondition(format!(
                "the worker speaks protocol {protocol}, the coordinator {PROTOCOL_VERSION}; install the same Tandem on both"
            )));
        }
        let joined = self.control.admit(|membership, now| {
            let id = membership.join(&host, pid, spare, weight, slot, now)?;
            Ok((id, membership.member(id).map_or(0, |member| member.slot)))
        });
        let (id, slot) = joined.map_err(refused)?;
        let handout = self.control.handout();
        Ok(Response::new(v1::JoinReply {
            member: id.to_string(),
            run: handout.run.clone(),
            config: handout.config.clone(),
            config_hash: handout.config_hash.clone(),
            heartbeat_ms: handout.heartbeat_ms,
            slot,
        }))
    }

    type AttendStream = BoxStream<'static, Result<v1::Directive, Status>>;

    async fn attend(
        &self,
        request: Request<v1::AttendRequest>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let id = member(&request.into_inner().member)?;
        let attendance = Attendance::begin(self.control.clone(), id).map_err(refused)?;
        let told = stream::unfold(Some(attendance), async |attendance| {
            let mut attendance = attendance?;
            match attendance.next().await {
                Ok(directive) => Some((Ok(directive), Some(attendance))),
                Err(refusal) => Some((Err(refused(refusal)), None)),
            }
        });
        Ok(Response::new(told.boxed()))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::Directive>, Status> {
        let request = request.into_inner();
        let beat = Beat {
            member: member(&request.member)?,
            generation: Generation(request.generation),
            applied: GlobalStep(request.applied_step),
            phase: request.phase(),
            broken: request.broken,
            settled: Generation(request.settled_generation),
        };
        if !request.seconds.is_empty() {
            self.control.took(beat.member, request.seconds);
        }
        if let Some(after) = request.lines_after {
            self.control.take_lines(beat.member, after, request.lines, request.newest_line);
        }
        if request.profiled > 0 {
            self.control.take_profile(
                beat.member,
                request.profiled,
                &one_line(&request.profile_fault, LONGEST_REASON),
            );
        }
        self.control.heartbeat(beat).map(Response::new).map_err(refused)
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainReply>, Status> {
        let id = member(&request.into_inner().member)?;
        let drained = self.control.decide(|membership, now| membership.drain(id, now));
        drained.map(|()| Response::new(v1::DrainReply {})).map_err(refused)
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportReply>, Status> {
        let v1::ReportRequest { member: name, generation, steps, substitutions } = request.into_inner();
        let id = member(&name)?;
        self.control.report(id, Generation(generation), &steps, &substitutions).map_err(not_taken)?;
        Ok(Response::new(v1::ReportReply {}))
    }

    async fn report_part(
        &self,
        request: Request<v1::ReportPartRequest>,
    ) -> Result<Response<v1::ReportPartReply>, Status> {
        let request = request.into_inner();
        let id = member(&request.member)?;
        let ledger = request.ledger;
        let report = Report {
            generation: Generation(request.generation),
            step: GlobalStep(request.step),
            rank: Rank(request.rank),
            parts: request.parts,
            part: Part { name: request.name, size: request.size, sha256: request.sha256 },
            state: request.state,
            ledger: ledger.map(|v1::Segment { name, size, sha256 }| Part { name, size, sha256 }),
        };
        let committed =
            self.control.report_part(id, report, request.checkpoint_request).await.map_err(not_taken)?;
        Ok(Response::new(v1::ReportPartReply { committed }))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveReply>, Status> {
        let request = request.into_inner();
        let id = member(&request.member)?;
        let end = if request.finished {
            Ok(())
        } else {
            let exit = i32::try_from(request.exit_code).ok().and_then(Exit::from_code).unwrap_or(Exit::Lost);
            Err((exit, one_line(&request.reason, LONGEST_REASON)))
        };
        let left = self.control.decide(|membership, now| membership.leave(id, end, now));
        left.map(|()| Response::new(v1::LeaveReply {})).map_err(refused)
    }
}
