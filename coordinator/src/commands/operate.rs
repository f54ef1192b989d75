//! `tandem status`, `tandem checkpoint now` and `tandem stop`: what operators say to a running coordinator.

use super::say;
use crate::{
    Error, Result,
    args::{Running, Status, Stop, checkpoint::Now},
    start::URL,
};
use proto::v1::{self, operator_client::OperatorClient};
use serde_json::json;
use std::{
    fs,
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

/// How often a run is asked whether it has done what it was asked for.
const AGAIN: Duration = Duration::from_millis(200);
/// How long the coordinator may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `tandem status`.
pub(super) async fn status(arguments: &Status, out: &mut impl Write) -> Result<()> {
    let status = Run::connect(&arguments.target).await?.status().await?;
    let text = if arguments.json { format!("{:#}\n", as_json(&status)) } else { as_text(&status) };
    say(out, &text)
}

/// `tandem checkpoint now`.
pub(super) async fn checkpoint(arguments: &Now, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&arguments.target).await?;
    let before = run.status().await?.committed_checkpoint;
    let request = v1::CheckpointRequest { request_id: request_id(), expected_generation: 0 };
    let asked = run.client.checkpoint(request).await.map(drop);
    asked.map_err(|status| run.refused(&status))?;
    if arguments.no_wait {
        return say(out, "asked for a checkpoint at the next step\n");
    }
    loop {
        let status = run.status().await?;
        if status.committed_checkpoint > before {
            return say(
                out,
                &format!("the checkpoint of step {} is committed\n", status.committed_checkpoint),
            );
        }
        if status.state == "failed" {
            return Err(Error::Refused { url: run.url, reason: status.reason });
        }
        sleep(AGAIN).await;
    }
}

/// `tandem stop`.
pub(super) async fn stop(arguments: &Stop, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&arguments.target).await?;
    let checkpoint = !arguments.no_checkpoint;
    let request = v1::StopRequest { request_id: request_id(), expected_generation: 0, checkpoint };
    let asked = run.client.stop(request).await.map(drop);
    asked.map_err(|status| run.refused(&status))?;
    let how = if checkpoint { "with" } else { "without" };
    say(out, &format!("asked for the end at the next step, {how} a checkpoint\n"))
}

/// A running coordinator.
struct Run {
    url: String,
    client: OperatorClient<Channel>,
}

impl Run {
    async fn connect(target: &Running) -> Result<Self> {
        let url = match (&target.coordinator, &target.run) {
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
        let channel =
            endpoint.connect_timeout(PATIENCE).timeout(PATIENCE).connect().await.map_err(unreachable)?;
        Ok(Self { client: OperatorClient::new(channel), url })
    }

    async fn status(&mut self) -> Result<v1::StatusReply> {
        let status = self.client.status(v1::StatusRequest {}).await;
        status.map(tonic::Response::into_inner).map_err(|status| self.refused(&status))
    }

    fn refused(&self, status: &tonic::Status) -> Error {
        let (url, reason) = (self.url.clone(), status.message().to_owned());
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => Error::Unreachable { url, reason },
            _ => Error::Refused { url, reason },
        }
    }
}

/// A new one for every call: the coordinator does a request once however often it arrives.
fn request_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{}-{now}", std::process::id())
}

fn as_text(status: &v1::StatusReply) -> String {
    let v1::StatusReply { run, state, reason, generation, step, steps, committed_checkpoint, .. } = status;
    let mut text = format!(
        "run {run}: {state}: {reason}\ngeneration {generation}, step {step} of {steps}, newest checkpoint {committed_checkpoint}, {:.0} pairs/s\n",
        status.pairs_per_second
    );
    let mut scalars: Vec<_> = status.scalars.iter().collect();
    scalars.sort_by_key(|(name, _)| *name);
    for (name, value) in scalars {
        text += &format!("  {name:<16} {value:.6}\n");
    }
    for member in &status.members {
        text += &format!(
            "  {}: process {} on {}, {}, step {}, heard {:.1} s ago\n",
            place(member),
            member.pid,
            member.host,
            phase(member),
            member.applied_step,
            member.seconds_since_heartbeat
        );
    }
    text
}

/// What part a worker has in the run.
fn place(member: &v1::Member) -> String {
    let kind = if member.spare { "spare " } else { "worker " };
    let name = if member.seated { format!("rank {}", member.rank) } else { kind.to_owned() + &member.member };
    name + if member.draining { ", told to go" } else { "" }
}

fn phase(member: &v1::Member) -> String {
    member.phase().as_str_name().trim_start_matches("PHASE_").to_lowercase()
}

fn as_json(status: &v1::StatusReply) -> serde_json::Value {
    let member = |member: &v1::Member| {
        json!({
            "member": member.member, "host": member.host, "pid": member.pid,
            "seated": member.seated, "rank": member.seated.then_some(member.rank), "spare": member.spare,
            "draining": member.draining,
            "phase": phase(member), "applied_step": member.applied_step,
            "seconds_since_heartbeat": member.seconds_since_heartbeat,
        })
    };
    json!({
        "run": status.run, "state": status.state, "reason": status.reason, "generation": status.generation,
        "step": status.step, "steps": status.steps, "committed_checkpoint": status.committed_checkpoint,
        "pairs_per_second": status.pairs_per_second, "scalars": status.scalars,
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
    })
}
