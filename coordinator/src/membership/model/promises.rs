//! What holds in every state.

use super::{Broken, World, worker::Lineage};
use proto::GlobalStep;

impl World {
    /// The first promise that does not hold.
    pub(super) fn check(&self) -> Result<(), Broken> {
        self.check_ledgers()?;
        self.check_rollback()?;
        self.check_generations()?;
        self.check_checkpoints()
    }

    /// No slot is lost, and none is repeated: what a state is made of is every step once, and the ledger says the same.
    fn check_ledgers(&self) -> Result<(), Broken> {
        for (place, worker) in self.workers.iter().enumerate() {
            let holding = &worker.holding;
            let entered = holding.ledger.iter().map(|entry| (entry.step, entry.by));
            let made = (1..).map(GlobalStep).zip(holding.state.iter().map(|made| made.by));
            if holding.settled.0 > 0 && holding.torn {
                return Err(format!("half a state counts as that of worker {place}"));
            }
            if holding.settled.0 > 0 && !made.eq(entered) {
                let (state, ledger) = (&holding.state, &holding.ledger);
                return Err(format!("worker {place} holds {state:?}, but its ledger says {ledger:?}"));
            }
        }
        let committed = self.durable.committed.values();
        for checkpoint in committed {
            let entered = checkpoint.ledger.iter().map(|entry| (entry.step, entry.by));
            if !(1..).map(GlobalStep).zip(checkpoint.state.iter().map(|made| made.by)).eq(entered) {
                return Err(format!(
                    "the ledger of the checkpoint of step {} says something else",
                    checkpoint.step()
                ));
            }
        }
        Ok(())
    }

    /// What the run was rolled back from never comes back.
    fn check_rollback(&self) -> Result<(), Broken> {
        let (to, by) = self.durable.rolled_back;
        let again = |state: &Lineage| state.iter().skip(to.0 as usize).any(|made| made.by <= by);
        for (place, worker) in self.workers.iter().enumerate() {
            let holding = &worker.holding;
            if holding.settled > by && again(&holding.state) {
                return Err(format!(
                    "worker {place} goes on from {:?} after a rollback to step {to} as number {by}",
                    holding.state
                ));
            }
        }
        let later = self
            .durable
            .committed
            .values()
            .find(|checkpoint| checkpoint.generation > by && again(&checkpoint.state));
        match later {
            None => Ok(()),
            Some(checkpoint) => Err(format!(
                "{:?} is committed after a rollback to step {to} as number {by}",
                checkpoint.state
            )),
        }
    }

    /// States that count as those of one generation are of one line, and at most one step apart.
    fn check_generations(&self) -> Result<(), Broken> {
        for (place, one) in self.workers.iter().enumerate() {
            for (other_place, other) in self.workers.iter().enumerate().skip(place + 1) {
                let (one, other) = (&one.holding, &other.holding);
                if one.settled != other.settled || one.settled.0 == 0 {
                    continue;
                }
                let apart = one.state.len().abs_diff(other.state.len());
                if apart > 1 || !is_one_line(&one.state, &other.state) {
                    return Err(format!(
                        "workers {place} and {other_place} of generation {} have committed {:?} and {:?}",
                        one.settled, one.state, other.state
                    ));
                }
            }
        }
        Ok(())
    }

    /// Committed checkpoints are of one line, and so is what goes on: no step is committed twice with different contents.
    fn check_checkpoints(&self) -> Result<(), Broken> {
        let mut before: Option<&Lineage> = None;
        for checkpoint in self.durable.committed.values() {
            if before.is_some_and(|before| !checkpoint.state.starts_with(before)) {
                return Err(format!(
                    "checkpoints of two branches are committed: {:?} and {before:?}",
                    checkpoint.state
                ));
            }
            before = Some(&checkpoint.state);
        }
        let Some(newest) = before else { return Ok(()) };
        for (place, worker) in self.workers.iter().enumerate() {
            let holding = &worker.holding;
            // What an earlier generation holds counts for nobody once a later one has begun.
            let counts = holding.settled.0 > 0 && holding.settled == self.record.settled;
            if counts && !is_one_line(&holding.state, newest) {
                return Err(format!(
                    "worker {place} goes on from {:?}, but the checkpoint of {newest:?} is committed",
                    holding.state
                ));
            }
        }
        Ok(())
    }
}

fn is_one_line(one: &Lineage, other: &Lineage) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
