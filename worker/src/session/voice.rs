//! What a worker reports, in whatever generation it is by then.

use super::heart::Standing;
use super::link::Link;
use super::{AGAIN, passing, refused};
use crate::error::Result;
use proto::v1::{self, membership_client::MembershipClient};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

/// What became of a part that was reported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its checkpoint is committed.
    Committed,
    /// It is taken; others are not there yet, or the decision is not.
    Taken,
    /// It is of no use: why this worker has no seat in the generation that wrote it.
    GivenUp(String),
}

/// Reports what this worker did. Calls are made again while the coordinator does not answer.
#[derive(Clone)]
pub struct Voice {
    link: Arc<Link>,
    standing: Arc<Standing>,
    patience: Duration,
}

impl Voice {
    pub(super) fn new(link: Arc<Link>, standing: Arc<Standing>, patience: Duration) -> Self {
        Self { link, standing, patience }
    }

    /// Metrics of committed steps, and rows that were replaced. They hold in any generation that goes on from them, so a worker that
    /// does not train tells them when it does, if they still count.
    ///
    /// # Errors
    /// A coordinator that refuses or is gone.
    pub(crate) async fn report(
        &self,
        steps: Vec<v1::StepReport>,
        substitutions: Vec<v1::Substitution>,
        count: impl Fn() -> bool,
    ) -> Result<()> {
        let mut start = Instant::now();
        loop {
            let seat = self.standing.training();
            // Asked once the seat is known: by then it is settled with which state it began.
            if !count() {
                return Ok(());
            }
            let Some((member, generation)) = seat else {
                start = Instant::now();
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let call = || {
                let member = member.clone();
                let (steps, substitutions) = (steps.clone(), substitutions.clone());
                let mut client = MembershipClient::new(self.link.line());
                async move { client.report(v1::ReportRequest { member, generation, steps, substitutions }).await }
            };
            match self.link.insist(self.patience, call).await {
                Err(status) if unseated(&status) && start.elapsed() < self.patience => {
                    tokio::time::sleep(AGAIN).await;
                }
                told => return told.map(drop).map_err(refused),
            }
        }
    }

    /// A part of a checkpoint that lies in the store. One of a generation that has ended is of no use.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub(crate) async fn report_part(&self, part: v1::ReportPartRequest) -> Result<Told> {
        let call = || {
            let part = v1::ReportPartRequest { member: self.standing.member(), ..part.clone() };
            let mut client = MembershipClient::new(self.link.line());
            async move { client.report_part(part).await }
        };
        match self.link.insist(self.patience, call).await {
            Ok(reply) if reply.get_ref().committed => Ok(Told::Committed),
            Ok(_) => Ok(Told::Taken),
            Err(status) if unseated(&status) => {
                tracing::info!("the checkpoint of step {} is given up: {}", part.step, status.message());
                Ok(Told::GivenUp(status.message().into()))
            }
            Err(status) => Err(refused(status)),
        }
    }
}

/// Whether the coordinator knows this worker by another name or generation by now, or not yet.
fn unseated(status: &Status) -> bool {
    !passing(status) && matches!(status.code(), Code::FailedPrecondition | Code::NotFound)
}
