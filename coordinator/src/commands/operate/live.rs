//! What is changed or looked into while a run goes on: its knobs, its steps, its past.

use super::{Run, asked, tell};
use crate::{
    Error, Result,
    args::operate::{Knob, Profile, Rollback, Set},
};
use proto::v1;
use serde_json::json;
use std::io::Write;

/// `tandem set`.
pub(super) async fn set(Set { knob, value, ask }: &Set, out: &mut impl Write) -> Result<()> {
    let mut request = v1::SetKnobRequest { asked: asked(ask), ..v1::SetKnobRequest::default() };
    let unreadable = |what: &str| Error::Value(format!("{value:?} is no {what}"));
    match knob {
        Knob::LearningRateScale => {
            request.learning_rate_scale = Some(value.parse().map_err(|_| unreadable("number"))?);
        }
        Knob::CheckpointEvery => {
            request.checkpoint_every = Some(value.parse().map_err(|_| unreadable("number of steps"))?);
        }
        Knob::Log => request.log = Some(value.clone()),
    }
    let mut run = Run::connect(&ask.target).await?;
    let reply = run.client.set(request).await.map_err(|status| run.refused(&status))?;
    let settings = reply.into_inner().settings.unwrap_or_default();
    tell(out, ask, &as_text(&settings), &as_json(&settings))
}

/// The knobs in one line.
pub(super) fn as_text(settings: &v1::Settings) -> String {
    let v1::Settings { learning_rate_scale, checkpoint_every, log } = settings;
    let log = if log.is_empty() { "as it was started" } else { log };
    format!("learning_rate_scale {learning_rate_scale}, checkpoint_every {checkpoint_every}, log {log}")
}

/// The knobs for programs.
pub(super) fn as_json(settings: &v1::Settings) -> serde_json::Value {
    let v1::Settings { learning_rate_scale, checkpoint_every, log } = settings;
    json!({ "learning_rate_scale": learning_rate_scale, "checkpoint_every": checkpoint_every, "log": log })
}

/// `tandem profile`.
pub(super) async fn profile(Profile { steps, ask }: &Profile, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&ask.target).await?;
    let request = v1::ProfileRequest { asked: asked(ask), steps: *steps };
    let reply = run.client.profile(request).await.map_err(|status| run.refused(&status))?;
    let request = reply.into_inner().request;
    if ask.no_wait {
        return tell(out, ask, "asked for a profile of the next steps", &json!({ "request": request }));
    }
    let newest = |status: &v1::StatusReply| status.profile.clone().unwrap_or_default();
    let is_over = |found: v1::Profiled| {
        found.request != request || (found.wanted > 0 && found.written + found.failed >= found.wanted)
    };
    let last = run.until(|status| Ok(is_over(newest(status)))).await?;
    let found = newest(&last);
    if found.request > request {
        return Err(Error::Refused { url: run.url, reason: "another profile was asked for".into() });
    }
    let v1::Profiled { written, wanted, faults, .. } = &found;
    if *written == 0 || written < wanted {
        let why = if faults.is_empty() { last.reason } else { faults.join("; ") };
        let reason = format!("{written} of {wanted} workers have written a profile: {why}");
        return Err(Error::Refused { url: run.url, reason });
    }
    let text = format!(
        "{written} traces of {steps} steps are below profiles/ in the run's output; https://ui.perfetto.dev opens them"
    );
    tell(out, ask, &text, &json!({ "request": request, "written": written }))
}

/// `tandem rollback`.
pub(super) async fn rollback(Rollback { step, ask }: &Rollback, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&ask.target).await?;
    let request = v1::RollbackRequest { asked: asked(ask), step: *step };
    let reply = run.client.rollback(request).await.map_err(|status| run.refused(&status))?;
    let request = reply.into_inner().request;
    if ask.no_wait {
        let text = format!("asked to go back to step {step} at the next step boundary");
        return tell(out, ask, &text, &json!({ "request": request }));
    }
    let newest = |status: &v1::StatusReply| status.rollback.clone().unwrap_or_default();
    let is_over = |it: v1::Rollback| it.request != request || it.done || !it.fault.is_empty();
    let last = run.until(|status| Ok(is_over(newest(status)))).await?;
    let found = newest(&last);
    if found.request == request && found.done {
        let text = format!("the run goes on from the checkpoint of step {step}; later ones are gone");
        return tell(out, ask, &text, &json!({ "step": step }));
    }
    let reason = match found.fault {
        _ if found.request != request => "another rollback was asked for".into(),
        fault if fault.is_empty() => last.reason,
        fault => format!("the run does not go back to step {step}: {fault}"),
    };
    Err(Error::Refused { url: run.url, reason })
}
