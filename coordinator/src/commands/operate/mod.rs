//! What operators say to a running coordinator: each verb asks, waits until it is done where that makes sense, and says so.

mod events;
mod live;
mod logs;
mod told;

use super::say;
use crate::{
    Error, Result,
    args::{
        checkpoint::Now,
        operate::{Ask, Look, OneWorker, Running, Scale, Stop, Verb},
    },
    start::URL,
};
use access::{Credentials, Dialer, Line};
use proto::{
    Exit,
    v1::{self, operator_client::OperatorClient},
};
use serde_json::json;
use std::{
    fs,
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use told::{as_json, as_line, as_table, as_text};
use tonic::{Status, transport::Endpoint};

/// How long the coordinator may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does what was asked for.
pub(super) async fn act(verb: Verb, out: &mut impl Write) -> Result<()> {
    match verb {
        Verb::Status(arguments) => {
            let status = Run::connect(&arguments.target).await?.status().await?;
            let text = if arguments.json { format!("{:#}\n", as_json(&status)) } else { as_text(&status) };
            say(out, &text)
        }
        Verb::Workers(arguments) => {
            let status = Run::connect(&arguments.target).await?.status().await?;
            let workers = as_json(&status)["members"].take();
            let text = if arguments.json { format!("{workers:#}\n") } else { as_table(&status.members) };
            say(out, &text)
        }
        Verb::Watch(arguments) => watch(&arguments, out).await,
        Verb::Events(arguments) => events::list(&arguments, out).await,
        Verb::Quarantine(arguments) => quarantine(&arguments, out).await,
        Verb::Pause(ask) => pause(&ask, out).await,
        Verb::Resume(ask) => resume(&ask, out).await,
        Verb::Drain(arguments) => drain(&arguments, out).await,
        Verb::Kick(arguments) => kick(&arguments, out).await,
        Verb::Scale(arguments) => scale(&arguments, out).await,
        Verb::Logs(arguments) => logs::print(&arguments, out).await,
        Verb::Set(arguments) => live::set(&arguments, out).await,
        Verb::Profile(arguments) => live::profile(&arguments, out).await,
        Verb::Rollback(arguments) => live::rollback(&arguments, out).await,
        Verb::Stop(arguments) => stop(&arguments, out).await,
    }
}

/// `tandem watch`.
async fn watch(arguments: &Look, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&arguments.target).await?;
    let mut before = None;
    let last = run
        .until(|status| {
            let line = if arguments.json { as_json(status).to_string() } else { as_line(status) };
            if before.as_ref() != Some(&line) {
                say(out, &format!("{line}\n"))?;
            }
            before = Some(line);
            Ok(false)
        })
        .await?;
    let exit = last.exit_code.and_then(|code| Exit::from_code(code.try_into().ok()?));
    match exit.unwrap_or(Exit::Lost) {
        Exit::Done => Ok(()),
        exit => Err(Error::Over { exit, reason: last.reason }),
    }
}

/// `tandem quarantine`.
async fn quarantine(arguments: &Look, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&arguments.target).await?;
    let told =
        run.client.quarantine(v1::QuarantineRequest {}).await.map_err(|status| run.refused(&status))?;
    let rows = told.into_inner().rows;
    if arguments.json {
        let row = |one: &v1::Substitution| json!({ "step": one.step, "row": one.row, "substitute": one.substitute, "reason": one.reason });
        return say(out, &format!("{:#}\n", rows.iter().map(row).collect::<serde_json::Value>()));
    }
    let line = |one: &v1::Substitution| {
        format!("row {} in step {}: {}; row {} stood in\n", one.row, one.step, one.reason, one.substitute)
    };
    let lines: String = rows.iter().map(line).collect();
    say(out, &format!("{lines}{} rows could not be used\n", rows.len()))
}

/// `tandem checkpoint now`.
pub(super) async fn checkpoint(arguments: &Now, out: &mut impl Write) -> Result<()> {
    let ask = &arguments.ask;
    let mut run = Run::connect(&ask.target).await?;
    let before = run.status().await?.committed_checkpoint;
    let asked = run.client.checkpoint(v1::CheckpointRequest { asked: asked(ask) }).await.map(drop);
    asked.map_err(|status| run.refused(&status))?;
    if ask.no_wait {
        return tell(out, ask, "asked for a checkpoint at the next step", &json!({}));
    }
    let last = run.until(|status| Ok(status.committed_checkpoint > before)).await?;
    let step = last.committed_checkpoint;
    if step > before {
        return tell(
            out,
            ask,
            &format!("the checkpoint of step {step} is committed"),
            &json!({ "step": step }),
        );
    }
    Err(Error::Refused { url: run.url, reason: last.reason })
}

async fn pause(ask: &Ask, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&ask.target).await?;
    let asked = run.client.pause(v1::PauseRequest { asked: asked(ask) }).await.map(drop);
    asked.map_err(|status| run.refused(&status))?;
    if ask.no_wait {
        return tell(out, ask, "asked to pause at the next step", &json!({}));
    }
    let last = run.until(|status| Ok(status.state == "paused")).await?;
    if last.state == "paused" {
        let text = format!("paused at step {}: go on with `tandem resume`", last.step);
        return tell(out, ask, &text, &json!({ "step": last.step }));
    }
    Err(Error::Refused { url: run.url, reason: last.reason })
}

async fn resume(ask: &Ask, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&ask.target).await?;
    let asked = run.client.resume(v1::ResumeRequest { asked: asked(ask) }).await.map(drop);
    asked.map_err(|status| run.refused(&status))?;
    if ask.no_wait {
        return tell(out, ask, "asked to go on", &json!({}));
    }
    let last = run.until(|status| Ok(status.state == "training")).await?;
    let text = format!("{} in generation {}: {}", last.state, last.generation, last.reason);
    tell(out, ask, &text, &json!({ "state": last.state, "generation": last.generation }))
}

async fn drain(OneWorker { worker, ask }: &OneWorker, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&ask.target).await?;
    let request = v1::DrainWorkerRequest { asked: asked(ask), worker: worker.clone() };
    let reply = run.client.drain(request).await.map_err(|status| run.refused(&status))?;
    let member = reply.into_inner().member;
    if ask.no_wait {
        let text = format!("worker {member} leaves at the next step");
        return tell(out, ask, &text, &json!({ "member": member }));
    }
    run.until(|status| Ok(status.members.iter().all(|other| other.member != member))).await?;
    tell(out, ask, &format!("worker {member} has left"), &json!({ "member": member }))
}

async fn kick(OneWorker { worker, ask }: &OneWorker, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&ask.target).await?;
    let request = v1::KickRequest { asked: asked(ask), worker: worker.clone() };
    let reply = run.client.kick(request).await.map_err(|status| run.refused(&status))?;
    let member = reply.into_inner().member;
    tell(out, ask, &format!("worker {member} is sent away"), &json!({ "member": member }))
}

async fn scale(arguments: &Scale, out: &mut impl Write) -> Result<()> {
    let Scale { workers, min, max, ask } = arguments;
    let mut run = Run::connect(&ask.target).await?;
    let (workers, min_workers, max_workers) = (*workers, *min, *max);
    let request = v1::ScaleRequest { asked: asked(ask), workers, min_workers, max_workers };
    let reply = run.client.scale(request).await.map_err(|status| run.refused(&status))?;
    let v1::ScaleReply { workers, min_workers, max_workers } = reply.into_inner();
    let text = format!("{workers} workers, at least {min_workers} and at most {max_workers}");
    let numbers = json!({ "workers": workers, "min_workers": min_workers, "max_workers": max_workers });
    tell(out, ask, &text, &numbers)
}

async fn stop(arguments: &Stop, out: &mut impl Write) -> Result<()> {
    let Stop { no_checkpoint, ask } = arguments;
    let mut run = Run::connect(&ask.target).await?;
    let request = v1::StopRequest { asked: asked(ask), checkpoint: !no_checkpoint };
    let told = run.client.stop(request).await.map(drop);
    told.map_err(|status| run.refused(&status))?;
    if ask.no_wait {
        let how = if *no_checkpoint { "without" } else { "with" };
        return tell(
            out,
            ask,
            &format!("asked for the end at the next step, {how} a checkpoint"),
            &json!({}),
        );
    }
    let last = run.until(|_| Ok(false)).await?;
    match last.exit_code.and_then(|code| Exit::from_code(code.try_into().ok()?)) {
        Some(Exit::Stopped | Exit::Done) => tell(out, ask, &last.reason, &json!({ "step": last.step })),
        exit => Err(Error::Over { exit: exit.unwrap_or(Exit::Lost), reason: last.reason }),
    }
}

/// Says what has come of a request.
fn tell(out: &mut impl Write, ask: &Ask, text: &str, fields: &serde_json::Value) -> Result<()> {
    say(out, &if ask.json { format!("{fields}\n") } else { format!("{text}\n") })
}

/// What a request begins with.
fn asked(ask: &Ask) -> Option<v1::Asked> {
    // A new id for every call: the coordinator does a request once however often it arrives.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".into());
    let by = format!("{user}@{}", gethostname::gethostname().to_string_lossy());
    let id = format!("{}-{now}", std::process::id());
    Some(v1::Asked { id, expected_generation: ask.generation, by })
}

/// A running coordinator.
struct Run {
    url: String,
    client: OperatorClient<Line>,
}

impl Run {
    async fn connect(target: &Running) -> Result<Self> {
        let url = match (&target.place.coordinator, &target.place.run) {
            (Some(url), _) => url.clone(),
            (None, folder) => {
                let folder = folder.clone().unwrap_or_default();
                let read = fs::read_to_string(folder.join(URL));
                read.map_err(|source| Error::NotRunning { folder, source })?.trim().to_owned()
            }
        };
        let unreachable = |e: tonic::transport::Error| {
            let mut cause: &dyn std::error::Error = &e;
            while let Some(next) = cause.source() {
                cause = next;
            }
            Error::Unreachable { url: url.clone(), reason: cause.to_string() }
        };
        let endpoint = Endpoint::from_shared(url.clone()).map_err(unreachable)?;
        let dialer = Dialer::new(target.access.credentials.clone().map(Credentials::new))?;
        let channel = dialer.dial(endpoint.connect_timeout(PATIENCE)).await.map_err(unreachable)?;
        Ok(Self { client: OperatorClient::new(dialer.line(channel)), url })
    }

    async fn status(&mut self) -> Result<v1::StatusReply> {
        let mut request = tonic::Request::new(v1::StatusRequest {});
        request.set_timeout(PATIENCE);
        let status = self.client.status(request).await;
        status.map(tonic::Response::into_inner).map_err(|status| self.refused(&status))
    }

    /// Looks at the run whenever it changes, until `there`, or until it is over; the last that was seen.
    async fn until(
        &mut self,
        mut there: impl FnMut(&v1::StatusReply) -> Result<bool>,
    ) -> Result<v1::StatusReply> {
        let stream = self.client.watch(v1::WatchRequest {}).await;
        let mut stream = stream.map_err(|status| self.refused(&status))?.into_inner();
        let mut last = None;
        loop {
            let next = stream.message().await.map_err(|status| self.refused(&status))?;
            match (next, last.take()) {
                (Some(status), _) if there(&status)? => return Ok(status),
                (Some(status), _) => last = Some(status),
                (None, Some(status)) => return Ok(status),
                (None, None) => return Err(self.refused(&Status::unavailable("it told nothing"))),
            }
        }
    }

    fn refused(&self, status: &Status) -> Error {
        let (url, reason) = (self.url.clone(), status.message().to_owned());
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Unknown => {
                Error::Unreachable { url, reason }
            }
            tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => Error::Denied { url, reason },
            tonic::Code::InvalidArgument => Error::Value(reason),
            _ => Error::Refused { url, reason },
        }
    }
}
