//! What operators call.

use super::{answered::Answered, one_line, refused};
use crate::{
    control::Control,
    journal::{Asked, Trail},
    membership::{MemberId, Membership, Refusal, Scale},
    settings::{Settings, Turn},
};
use access::Caller;
use futures::{StreamExt, stream, stream::BoxStream};
use proto::{
    Generation, GlobalStep,
    v1::{self, operator_server::Operator},
};
use shards::committed::CommittedError;
use std::{sync::Arc, time::Duration};
use telemetry::SPANS;
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status};

/// Characters of a name that are kept.
const LONGEST_NAME: usize = 100;
/// Time between two statuses of a stream.
const PAUSE: Duration = Duration::from_millis(100);
/// Characters of turned knobs that are kept.
const LONGEST_TURN: usize = 300;
/// How long a worker may take to send its log.
const SILENCE: Duration = Duration::from_secs(10);

/// The service.
pub(super) struct Service {
    control: Arc<Control>,
    answered: Answered<Answer>,
}

/// What is answered.
#[derive(Clone)]
enum Answer {
    Done,
    /// Of a checkpoint, a profile or a rollback.
    Request(u64),
    Settings(Settings),
    Worker(MemberId),
    Scale(Scale),
}

impl Service {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control, answered: Answered::default() }
    }

    /// Does what is asked for, once.
    fn once(
        &self,
        caller: Option<&Caller>,
        asked: Option<v1::Asked>,
        what: String,
        act: impl FnOnce(&mut Membership, Generation, &str, Duration) -> Result<Answer, Refusal>,
    ) -> Result<Answer, Status> {
        let v1::Asked { id, expected_generation, by } = asked.unwrap_or_default();
        let by = one_line(&by, LONGEST_NAME);
        let by = if by.is_empty() { "somebody".into() } else { by };
        let by = caller.map_or(by.clone(), |caller| format!("{}, as {by}", caller.name));
        let _span = tracing::trace_span!(target: SPANS, "ask", otel.name = what, by).entered();
        self.answered.once(&id, &what, || {
            let asked = Asked { id: id.clone(), by: by.clone(), what: what.clone() };
            let expected = Generation(expected_generation);
            self.control.ask(asked, |membership, now| act(membership, expected, &by, now)).map_err(refused)
        })
    }
}

#[tonic::async_trait]
impl Operator for Service {
    type WatchStream = BoxStream<'static, Result<v1::StatusReply, Status>>;
    type EventsStream = BoxStream<'static, Result<v1::Event, Status>>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        Ok(Response::new(self.control.status()))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let state = Some((self.control.clone(), self.control.watch(), None));
        let told = stream::unfold(state, async |state| {
            let (control, mut watch, before) = state?;
            loop {
                watch.borrow_and_update();
                let status = control.status();
                if before.as_ref() != Some(&without_ages(&status)) {
                    let next = (control, watch, Some(without_ages(&status)));
                    let over = status.exit_code.is_some();
                    return Some((Ok(status), (!over).then_some(next)));
                }
                watch.changed().await.ok()?;
                sleep(PAUSE).await;
            }
        });
        Ok(Response::new(told.boxed()))
    }

    async fn events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let v1::EventsRequest { after, follow } = request.into_inner();
        let state = Some((self.control.trail(), after));
        let told = stream::unfold(state, move |state: Option<(Trail, u64)>| async move {
            let (mut trail, number) = state?;
            match trail.after(number, follow).await {
                Ok(None) => None,
                Ok(Some(told)) => {
                    let over = told.kind() == "ended" && follow;
                    Some((Ok(told.to_wire()), (!over).then_some((trail, told.number))))
                }
                Err(error) => Some((Err(Status::unavailable(error.to_string())), None)),
            }
        });
        Ok(Response::new(told.boxed()))
    }

    async fn quarantine(
        &self,
        _: Request<v1::QuarantineRequest>,
    ) -> Result<Response<v1::QuarantineReply>, Status> {
        let recorder = self.control.recorder();
        let rows = recorder.quarantined().iter().map(|one| one.to_wire()).collect();
        Ok(Response::new(v1::QuarantineReply { rows }))
    }

    async fn checkpoint(
        &self,
        request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::CheckpointReply>, Status> {
        let (caller, v1::CheckpointRequest { asked }) = called(request);
        let answer =
            self.once(caller.as_ref(), asked, "checkpoint".into(), |membership, expected, _, _| {
                membership.request_checkpoint(expected).map(Answer::Request)
            })?;
        let request = answer.request();
        Ok(Response::new(v1::CheckpointReply { request }))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopReply>, Status> {
        let (caller, v1::StopRequest { asked, checkpoint }) = called(request);
        let what = if checkpoint { "stop with a checkpoint" } else { "stop without a checkpoint" };
        self.once(caller.as_ref(), asked, what.into(), |membership, expected, _, _| {
            membership.request_stop(expected, checkpoint).map(|_| Answer::Done)
        })?;
        Ok(Response::new(v1::StopReply {}))
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseReply>, Status> {
        let (caller, v1::PauseRequest { asked }) = called(request);
        self.once(caller.as_ref(), asked, "pause".into(), |membership, expected, by, now| {
            membership.pause(expected, by, now).map(|()| Answer::Done)
        })?;
        Ok(Response::new(v1::PauseReply {}))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeReply>, Status> {
        let (caller, v1::ResumeRequest { asked }) = called(request);
        self.once(caller.as_ref(), asked, "resume".into(), |membership, expected, _, now| {
            membership.resume(expected, now).map(|()| Answer::Done)
        })?;
        Ok(Response::new(v1::ResumeReply {}))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerReply>, Status> {
        let (caller, v1::DrainWorkerRequest { asked, worker }) = called(request);
        let what = format!("drain worker {}", one_line(&worker, LONGEST_NAME));
        let answer = self.once(caller.as_ref(), asked, what, |membership, expected, _, now| {
            let id = membership.find(&worker)?;
            membership.dismiss(expected, id, now).map(|()| Answer::Worker(id))
        })?;
        Ok(Response::new(v1::DrainWorkerReply { member: answer.worker() }))
    }

    async fn kick(&self, request: Request<v1::KickRequest>) -> Result<Response<v1::KickReply>, Status> {
        let (caller, v1::KickRequest { asked, worker }) = called(request);
        let what = format!("kick worker {}", one_line(&worker, LONGEST_NAME));
        let answer = self.once(caller.as_ref(), asked, what, |membership, expected, by, now| {
            let id = membership.find(&worker)?;
            membership.kick(expected, id, by, now).map(|()| Answer::Worker(id))
        })?;
        Ok(Response::new(v1::KickReply { member: answer.worker() }))
    }

    async fn scale(&self, request: Request<v1::ScaleRequest>) -> Result<Response<v1::ScaleReply>, Status> {
        let (caller, v1::ScaleRequest { asked, workers, min_workers, max_workers }) = called(request);
        let numbers = [workers, min_workers, max_workers];
        let names = ["", "at least ", "at most "].into_iter().zip(numbers);
        let given: Vec<String> = names.filter_map(|(name, n)| Some(format!("{name}{}", n?))).collect();
        let what = format!("scale to {} workers", given.join(", "));
        let answer = self.once(caller.as_ref(), asked, what, |membership, expected, _, now| {
            membership.scale(expected, numbers, now).map(Answer::Scale)
        })?;
        let Answer::Scale(Scale { wanted, least, most }) = answer else {
            return Ok(Response::new(v1::ScaleReply::default()));
        };
        let reply = v1::ScaleReply { workers: wanted.0, min_workers: least.0, max_workers: most.0 };
        Ok(Response::new(reply))
    }

    type LogsStream = BoxStream<'static, Result<v1::LogLine, Status>>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let v1::LogsRequest { worker, follow } = request.into_inner();
        let reader = self.control.read_log(&worker).map_err(refused)?;
        let text = format!("worker {worker} has not been heard for {} s", SILENCE.as_secs());
        let silent = Status::unavailable(text);
        let told = stream::unfold(Some((reader, silent)), move |state| async move {
            let (mut reader, silent) = state?;
            let next =
                if follow { Ok(reader.next(true).await) } else { timeout(SILENCE, reader.next(false)).await };
            match next {
                Ok(lines) => Some((lines?.into_iter().map(Ok).collect(), Some((reader, silent)))),
                Err(_) => Some((vec![Err(silent)], None)),
            }
        });
        Ok(Response::new(told.flat_map(stream::iter).boxed()))
    }

    async fn set(&self, request: Request<v1::SetKnobRequest>) -> Result<Response<v1::SetKnobReply>, Status> {
        let (caller, v1::SetKnobRequest { asked, learning_rate_scale, checkpoint_every, log }) =
            called(request);
        let turn = Turn { learning_rate_scale, checkpoint_every, log };
        let what = format!("set {}", one_line(&turn.to_string(), LONGEST_TURN));
        let answer = self.once(caller.as_ref(), asked, what, |membership, expected, _, _| {
            membership.set(expected, &turn).map(Answer::Settings)
        })?;
        let Answer::Settings(settings) = answer else {
            return Ok(Response::new(v1::SetKnobReply::default()));
        };
        // As it is by now: this may be the answer to an earlier request.
        telemetry::show(&self.control.look(|membership| membership.settings().log.clone()));
        Ok(Response::new(v1::SetKnobReply { settings: Some(settings.to_wire()) }))
    }

    async fn profile(
        &self,
        request: Request<v1::ProfileRequest>,
    ) -> Result<Response<v1::ProfileReply>, Status> {
        let (caller, v1::ProfileRequest { asked, steps }) = called(request);
        let what = format!("profile {steps} steps");
        let answer = self.once(caller.as_ref(), asked, what, |membership, expected, _, _| {
            membership.request_profile(expected, steps).map(Answer::Request)
        })?;
        Ok(Response::new(v1::ProfileReply { request: answer.request() }))
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackRequest>,
    ) -> Result<Response<v1::RollbackReply>, Status> {
        let (caller, v1::RollbackRequest { asked, step }) = called(request);
        let step = GlobalStep(step);
        let known = asked.as_ref().is_some_and(|asked| self.answered.knows(&asked.id));
        match self.control.checkpoints().check_whole(step).await {
            _ if known => {}
            Ok(()) => {}
            Err(CommittedError::Missing { .. }) => {
                let text = format!(
                    "there is no committed checkpoint of step {step}: `tandem checkpoint list` shows them"
                );
                return Err(Status::not_found(text));
            }
            Err(CommittedError::Store(error)) => return Err(Status::unavailable(error.to_string())),
            Err(error) => return Err(Status::data_loss(error.to_string())),
        }
        let answer = self.once(
            caller.as_ref(),
            asked,
            format!("roll back to step {step}"),
            |membership, expected, _, now| membership.roll_back(expected, step, now).map(Answer::Request),
        )?;
        Ok(Response::new(v1::RollbackReply { request: answer.request() }))
    }
}

/// Who makes a request, where that is asked, and the request.
fn called<T>(request: Request<T>) -> (Option<Caller>, T) {
    let (_, mut extensions, message) = request.into_parts();
    (extensions.remove(), message)
}

/// What is news of a status: not that time has passed.
fn without_ages(status: &v1::StatusReply) -> v1::StatusReply {
    let mut status = v1::StatusReply { goodput: 0.0, state_seconds: 0.0, ..status.clone() };
    status.members.iter_mut().for_each(|member| member.seconds_since_heartbeat = 0.0);
    status
}

impl Answer {
    fn request(self) -> u64 {
        if let Self::Request(number) = self { number } else { 0 }
    }

    fn worker(self) -> String {
        if let Self::Worker(id) = self { id.to_string() } else { String::new() }
    }
}
