//! How a state came about, for people: numbered events, and after each of them who holds what.

use super::{Broken, Event, Rules, World, worker::Life};
use std::fmt::{self, Write};

/// How a promise was broken.
pub(super) struct Story {
    pub(super) what: Broken,
    pub(super) events: Vec<Event>,
}

impl Story {
    /// As numbered lines.
    pub(super) fn tell(&self, rules: &Rules) -> String {
        let mut told = format!("{}\n", self.what);
        let mut world = World::first(rules);
        for (number, event) in (1..).zip(&self.events) {
            // How the last event ends is what is told first.
            let _ = world.happen(*event, rules);
            let _ = writeln!(told, "{number:3}. {event}\n{}", world.sketch());
        }
        told
    }
}

impl World {
    /// Workers and coordinators in short.
    fn sketch(&self) -> String {
        let mut lines = Vec::new();
        for (place, worker) in self.workers.iter().enumerate() {
            let holding = &worker.holding;
            let steps: Vec<String> = holding.state.iter().map(|made| format!("g{}", made.by)).collect();
            let staged = holding.staged.map_or(String::new(), |by| format!(", staged in g{by}"));
            let doing = match (&worker.life, &worker.seat) {
                (Life::Running, Some(seat)) => format!("rank {} in {:?}", seat.given.rank, seat.stage),
                (Life::Running, None) => "without a seat".into(),
                (life, _) => format!("{life:?}"),
            };
            let (generation, settled) = (worker.generation, holding.settled);
            lines.push(format!(
                "     worker {place}: {doing}, g{generation}, holds [{}] of g{settled}{staged}",
                steps.join(" ")
            ));
        }
        for (epoch, it) in &self.coordinators {
            let (state, generation) = (it.membership.state().word(), it.membership.generation());
            lines.push(format!("     coordinator {epoch}: g{generation} {state}, {:?}", it.writing));
        }
        let committed: Vec<String> = self.durable.committed.keys().map(ToString::to_string).collect();
        lines.push(format!(
            "     journal: g{}; checkpoints: [{}]",
            self.durable.generation,
            committed.join(" ")
        ));
        lines.join("\n")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(place) => write!(f, "worker {place} is started anew and joins"),
            Self::Beat(place) => write!(f, "worker {place} sends a heartbeat and does as it is told"),
            Self::Hear(place) => write!(f, "worker {place} is told by its stream"),
            Self::Advance(place) => write!(f, "worker {place}: its collective ends"),
            Self::Fail(place) => write!(f, "worker {place}: its collective fails"),
            Self::FailHalfway(place) => write!(f, "worker {place}: the leader's state breaks off"),
            Self::Report(place) => write!(f, "worker {place} reports a part"),
            Self::Move(place) => write!(f, "worker {place} turns to the newest coordinator"),
            Self::Wake(place) => write!(f, "worker {place} wakes up"),
            Self::Heal(place) => write!(f, "worker {place} reaches coordinators again"),
            Self::Expire(generation) => write!(f, "a collective of g{generation} takes too long"),
            Self::Look => write!(f, "a coordinator looks for the newest checkpoint"),
            Self::Open => write!(f, "a coordinator takes over"),
            Self::Write(epoch) => write!(f, "coordinator {epoch} writes a decision"),
            Self::Act(epoch) => write!(f, "coordinator {epoch} does what it has written"),
            Self::Fence(epoch) => write!(f, "coordinator {epoch} finds that it is fenced"),
            Self::Miss(epoch, id) => write!(f, "coordinator {epoch} has not heard {id} for too long"),
            Self::Gone(epoch, id) => write!(f, "coordinator {epoch} sees the stream of {id} end"),
            Self::GraceEnds(epoch) => write!(f, "coordinator {epoch} has waited long enough for others"),
            Self::LateBeat => write!(f, "FAULT, ctd.: the heartbeat comes again"),
            Self::LateDirective => write!(f, "FAULT, ctd.: the directive comes"),
            Self::Kill(place) => write!(f, "FAULT: worker {place} is killed"),
            Self::Stop(place) => write!(f, "FAULT: worker {place} is stopped"),
            Self::Cut(place) => write!(f, "FAULT: worker {place} reaches no coordinator"),
            Self::Sever(generation) => write!(f, "FAULT: connections between ranks of g{generation} break"),
            Self::KillCoordinator(epoch) => write!(f, "FAULT: coordinator {epoch} is killed"),
            Self::Rival => write!(f, "FAULT: another coordinator takes over"),
            Self::LoseAnswer(place) => {
                write!(f, "FAULT: worker {place} sends a heartbeat and its answer is lost")
            }
            Self::RepeatBeat(place) => write!(f, "FAULT: a heartbeat of worker {place} will come again"),
            Self::RepeatDirective(place) => write!(f, "FAULT: a directive for worker {place} is delayed"),
            Self::Spoil(generation) => write!(f, "FAULT: the losses of this step of g{generation} are bad"),
            Self::Halt(epoch) => write!(f, "FAULT: coordinator {epoch} is asked to stop the run"),
            Self::Drain(epoch, id) => write!(f, "FAULT: {id} is told to go, by coordinator {epoch}"),
            Self::RollBack(epoch, step) => {
                write!(f, "FAULT: coordinator {epoch} is asked to go back to step {step}")
            }
        }
    }
}
