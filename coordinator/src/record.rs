//! What the journal has to be told: the decisions of the membership that it does not have yet, one after the other.

use crate::{
    Result,
    checkpoints::Prepared,
    control::Control,
    journal::{self, Committed, End, Event, Journal, JournalError, Scale},
    membership::{MemberId, Membership, Proposal, Seat},
    settings::Settings,
};
use proto::{GlobalStep, Rank};
use shards::{committed::CommittedError, store::StoreError};
use std::{collections::BTreeSet, time::Duration};
use telemetry::SPANS;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

/// How often an idle coordinator looks whether another one has taken over.
const LOOK: Duration = Duration::from_secs(3);
/// How soon a store that does not take an entry is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What the journal has.
#[derive(Clone, Debug)]
struct Written {
    committed: (GlobalStep, u64),
    drained: BTreeSet<MemberId>,
    stopping: Option<bool>,
    paused: Option<String>,
    scale: Scale,
    settings: Settings,
    ended: bool,
}

impl Written {
    /// All that `membership` has so far.
    fn all(membership: &Membership) -> Self {
        Self {
            committed: (membership.newest_committed(), membership.answered()),
            drained: drained(membership).collect(),
            stopping: membership.stop().map(|stop| stop.checkpoint),
            paused: membership.paused().map(str::to_owned),
            scale: scale(membership),
            settings: membership.settings().clone(),
            ended: membership.verdict().is_some(),
        }
    }

    /// The next decision to be written.
    fn next(&self, membership: &Membership) -> Option<Event> {
        let (committed, stop) = ((membership.newest_committed(), membership.answered()), membership.stop());
        if committed != self.committed {
            let (step, request) = committed;
            return Some(Event::Committed(Committed { step, request, generation: membership.generation() }));
        }
        if let Some(member) = drained(membership).find(|id| !self.drained.contains(id)) {
            return Some(Event::Drained { member: member.to_string() });
        }
        if scale(membership) != self.scale {
            return Some(Event::Scaled(scale(membership)));
        }
        if *membership.settings() != self.settings {
            return Some(Event::Set(membership.settings().clone()));
        }
        if membership.paused() != self.paused.as_deref() {
            let paused = membership.paused().map(|by| Event::Paused { by: by.into() });
            return Some(paused.unwrap_or(Event::Resumed));
        }
        if let Some(stop) = stop.filter(|stop| self.stopping != Some(stop.checkpoint)) {
            return Some(Event::Stopping { checkpoint: stop.checkpoint });
        }
        if let Some(verdict) = membership.verdict() {
            let end = || Event::Ended(End::new(verdict.exit, verdict.reason.clone()));
            return (!self.ended).then(end);
        }
        membership.proposal().map(generation)
    }
}

fn drained(membership: &Membership) -> impl Iterator<Item = MemberId> {
    membership.members().filter(|(_, member)| member.draining).map(|(id, _)| id)
}

fn scale(membership: &Membership) -> Scale {
    let scale = membership.scaled();
    Scale { workers: scale.wanted.0, min_workers: scale.least.0, max_workers: scale.most.0 }
}

fn generation(proposal: &Proposal) -> Event {
    let seat = |(rank, seat): (u32, &Seat)| {
        let Seat { member, host, pid, weight, spare, slot } = seat.clone();
        journal::Seat { member: member.to_string(), host, pid, rank: Rank(rank), weight, spare, slot }
    };
    let seats = (0..).zip(&proposal.seats).map(seat).collect();
    Event::Generation { generation: proposal.generation, seats }
}

/// Writes each decision into the journal, and begins a generation once it is there, until the end of the run is written as well.
///
/// # Errors
/// [`JournalError::Fenced`] when another coordinator has taken over, and a journal that can't be gone on with. A store that is down
/// is waited for: what is not written is not decided.
pub async fn keep(control: &Control, journal: &Journal) -> Result<()> {
    let mut written = control.look(Written::all);
    let mut turns = control.turns();
    loop {
        turns.borrow_and_update();
        if let Some((prepared, request)) = control.prepared() {
            let (generation, step) = prepared.attempt();
            let decided = Event::Committed(Committed { step, request, generation });
            if tolerate(journal.append(decided).await).await? {
                commit(control, &prepared, request).await;
                written.committed = (step, request.max(written.committed.1));
            }
            continue;
        }
        if let Some(asked) = control.asked() {
            if tolerate(journal.append(Event::Asked(asked)).await).await? {
                control.forget_asked();
            }
            continue;
        }
        if let Some((step, by)) = control.look(Membership::rolls_back) {
            if roll_back(control, journal, Committed { step, generation: by, request: written.committed.1 })
                .await?
            {
                written.committed.0 = step;
            }
            continue;
        }
        let due = control.look(|membership| (written.next(membership), membership.proposal().cloned()));
        let (Some(event), proposal) = due else {
            if written.ended {
                return Ok(());
            }
            // Whether it changed or the time is over: it is looked at again.
            if timeout(LOOK, turns.changed()).await.is_err() {
                tolerate(journal.check().await).await?;
            }
            continue;
        };
        let begins = proposal.filter(|_| matches!(event, Event::Generation { .. }));
        if let Some(proposal) = &begins
            && control.rewind(proposal.generation, proposal.step).is_err()
        {
            sleep(AGAIN).await;
            continue;
        }
        if !tolerate(journal.append(event.clone()).await).await? {
            continue;
        }
        match event {
            Event::Committed(Committed { step, request, .. }) => written.committed = (step, request),
            Event::Drained { member } => written.drained.extend(member.parse::<MemberId>()),
            Event::Stopping { checkpoint } => written.stopping = Some(checkpoint),
            Event::Scaled(scale) => written.scale = scale,
            Event::Set(settings) => written.settings = settings,
            Event::Paused { by } => written.paused = Some(by),
            Event::Resumed => written.paused = None,
            Event::Ended(_) => written.ended = true,
            Event::Generation { generation, .. } => {
                control.decide(|membership, now| membership.confirm(generation, now));
            }
            Event::Opened(_) | Event::Rewound(_) | Event::Asked(_) => {}
        }
    }
}

/// Makes an older checkpoint the newest, while no generation goes on; says whether it is. The journal comes first, and is asked again
/// before anything is removed: a coordinator that another one has succeeded removes nothing. Until the later checkpoints are gone
/// nothing else is decided.
async fn roll_back(control: &Control, journal: &Journal, target: Committed) -> Result<bool> {
    let Committed { step, generation, .. } = target;
    let whole = control.checkpoints().check_whole(step).await;
    if let Err(CommittedError::Store(error)) = &whole {
        tracing::warn!("the run goes back to step {step} once the store answers: {error}");
        control.decide(|membership, _| membership.delay_rollback(&error.to_string()));
        sleep(AGAIN).await;
        return Ok(false);
    }
    if let Err(why) = whole {
        tracing::warn!("the run does not go back to step {step}: {why}");
        control.decide(|membership, now| {
            membership.withdraw_rollback(&why.to_string());
            membership.end_rollback(now);
        });
        return Ok(false);
    }
    if !tolerate(journal.append(Event::Rewound(Some(target))).await).await? {
        return Ok(false);
    }
    control.decide(|membership, _| membership.decide_rollback(step, generation));
    while control.rewind(generation, step).is_err() {
        sleep(AGAIN).await;
    }
    while let Err(error) = remove_later(control, journal, step).await? {
        tracing::warn!(
            "checkpoints after step {step} stay for now, and nothing is decided until they are gone: {error}"
        );
        sleep(AGAIN).await;
    }
    control.decide(|membership, now| membership.end_rollback(now));
    tracing::info!("the run goes on from the checkpoint of step {step}");
    Ok(true)
}

/// Removes the checkpoints after a step, the newest first, as long as no other coordinator has taken over.
async fn remove_later(
    control: &Control,
    journal: &Journal,
    step: GlobalStep,
) -> Result<std::result::Result<(), StoreError>> {
    loop {
        if !tolerate(journal.check().await).await? {
            continue;
        }
        match control.checkpoints().remove_newest(step).await {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Writes the marker. A store that does not take it is asked until it does: the journal has the decision.
async fn commit(control: &Control, prepared: &Prepared, request: u64) {
    let step = prepared.attempt().1.0 as i64;
    let span = tracing::trace_span!(target: SPANS, "commit", step);
    while let Err(error) = control.commit(prepared, request).instrument(span.clone()).await {
        tracing::warn!(
            "the checkpoint's marker can't be written, so nothing is decided until it can: {error}"
        );
        sleep(AGAIN).await;
    }
}

/// Removes old checkpoints whenever a new one is committed, until the run is over.
pub async fn tidy(control: &Control) {
    let (mut turns, mut newest) = (control.turns(), control.look(Membership::newest_committed));
    loop {
        let (committed, over) = control.look(|it| (it.newest_committed(), it.verdict().is_some()));
        if committed != newest {
            newest = committed;
            control.prune().await;
        } else if over || turns.changed().await.is_err() {
            return;
        }
    }
}

/// Whether it was written; waits a while if the store does not answer.
async fn tolerate(done: std::result::Result<(), JournalError>) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(JournalError::Store(error)) => {
            tracing::warn!("the journal can't be written, so nothing is decided until it can: {error}");
            sleep(AGAIN).await;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
