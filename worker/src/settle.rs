//! The first thing that the ranks of a new generation do together: make one state of what each of them holds, by the plan of
//! [`proto::settle`].

use crate::error::{Error, Result};
use crate::fingerprint;
use crate::ledger::Ledger;
use crate::ranks::{collect, spread, transfer};
use crate::state::{Counters, State};
use crate::step::Outcome;
use crate::step::commit::{Staged, commit};
use crate::vote::Votes;
use c10d::Group;
use proto::settle::{Deed, Held, Plan, settle as plan};
use proto::{Generation, GlobalStep, Rank, RunConfig};
use serde::{Deserialize, Serialize};

/// Numbers that tell what a rank holds.
const HELD: usize = 4;

/// What a worker keeps from one generation to the next.
#[derive(Debug)]
pub(crate) struct Holding {
    /// The committed state.
    pub(crate) state: State,
    /// What a vote was about that did not end here; its gradients are in the state's parameters.
    pub(crate) staged: Option<Staged>,
    /// Of the last commit: what a rank that is one step behind applies its staged gradients by.
    pub(crate) votes: Votes,
    /// What the run was trained on.
    pub(crate) ledger: Ledger,
    /// The newest generation whose ranks all had this state; 0: it is none of the run's.
    pub(crate) settled: Generation,
    /// The last vote was for going on from the newest checkpoint.
    pub(crate) rolls_back: bool,
}

/// How a state is made where no rank holds one that counts: that of the newest committed checkpoint, or the first.
pub(crate) trait Begin {
    /// The generation that wrote that checkpoint, and its step; 0 where there is none.
    fn committed(&self) -> (Generation, GlobalStep);

    /// Makes it, in place.
    ///
    /// # Errors
    /// A checkpoint or weights that can't be read.
    fn begin(&self, state: &mut State, ledger: &mut Ledger) -> Result<()>;
}

/// How a rank comes to the state of a new generation.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// The staged step that it applied.
    pub(crate) applied: Option<Outcome>,
    /// The state may not go on from what it held.
    pub(crate) foreign: bool,
}

/// What the leader tells the others beside tensors and ledger. Floats travel as bits: JSON does not keep them.
#[derive(Serialize, Deserialize)]
struct Account {
    counters: Counters,
    votes: Vec<u64>,
}

/// An account with the ledger's bytes.
struct Told {
    account: Account,
    ledger: Vec<u8>,
}

impl Told {
    fn votes(&self) -> Votes {
        Votes::counted(self.account.votes.iter().map(|bits| f64::from_bits(*bits)).collect())
    }
}

impl Holding {
    /// What it holds, for the plan.
    pub(crate) fn held(&self) -> Held {
        let (applied, staged) = (self.state.step, self.staged.is_some());
        Held { settled: self.settled, applied, staged, rolls_back: self.rolls_back }
    }

    /// Makes one state of what the ranks of `group` hold. A collective.
    ///
    /// # Errors
    /// Those of the group: what this rank holds then still counts, or is marked as nothing. [`Error::Drift`].
    pub(crate) fn settle(
        &mut self,
        config: &RunConfig,
        steps_per_epoch: f64,
        generation: Generation,
        first: &impl Begin,
        group: &mut Group,
    ) -> Result<Settled> {
        let mut came = Settled::default();
        let (before, own) = (self.state.step, self.settled);
        let table = self.table(group)?;
        let is_own = |leader: Rank| table.get(leader.index()).is_some_and(|held| held.settled == own);
        match plan(&table, first.committed()) {
            Plan::Begin => {
                came.foreign = true;
                self.settled = Generation(0);
                first.begin(&mut self.state, &mut self.ledger)?;
            }
            Plan::RollBack { leader, step } => {
                came.foreign = !is_own(leader);
                let told = self.hear(leader, group)?;
                self.settled = Generation(0);
                first.begin(&mut self.state, &mut self.ledger)?;
                self.ledger.take(&told.ledger)?;
                self.ledger.roll_back(self.state.step);
                (self.state.step, self.state.course.anomalies) = (step, told.account.counters.anomalies);
            }
            Plan::Settle { leader, deeds, .. } => {
                came.foreign = !is_own(leader);
                let deed = deeds.get(group.rank() as usize).copied().unwrap_or(Deed::Receive);
                let told = self.hear(leader, group)?;
                if deeds.contains(&Deed::Receive) {
                    if deed == Deed::Receive {
                        // Half of another's state is no state.
                        self.settled = Generation(0);
                    }
                    transfer(group, leader.0, &self.state.tensors(), deed == Deed::Receive)?;
                }
                // Nothing of this rank's has changed so far; from here on state, votes and ledger move together.
                let votes = told.votes();
                match (deed, self.staged.take()) {
                    (Deed::Receive, _) => self.state.set_counters(told.account.counters),
                    (Deed::Apply, Some(staged)) => {
                        let outcome = commit(config, steps_per_epoch, &mut self.state, &staged, &votes)?;
                        came.applied = Some(outcome);
                    }
                    _ => {}
                }
                self.votes = votes;
                self.ledger.take(&told.ledger)?;
            }
        }
        fingerprint::compare(&self.state, before, group)?;
        (self.staged, self.rolls_back, self.settled) = (None, false, generation);
        Ok(came)
    }

    /// What every rank holds, by rank.
    fn table(&self, group: &mut Group) -> Result<Vec<Held>> {
        let Held { settled, applied, staged, rolls_back } = self.held();
        let mine = [settled.0 as i64, applied.0 as i64, staged.into(), rolls_back.into()];
        let all = collect(group, &mine, HELD)?;
        let held = |&[settled, applied, staged, rolls_back]: &[i64; HELD]| Held {
            settled: Generation(settled as u64),
            applied: GlobalStep(applied as u64),
            staged: staged != 0,
            rolls_back: rolls_back != 0,
        };
        Ok(all.as_chunks().0.iter().map(held).collect())
    }

    /// What the leader tells.
    fn hear(&self, leader: Rank, group: &mut Group) -> Result<Told> {
        let (mut account, mut ledger) = (Vec::new(), Vec::new());
        if group.rank() == leader.0 {
            let votes = self.votes.numbers().iter().map(|number| number.to_bits()).collect();
            let told = Account { counters: self.state.counters(), votes };
            account = serde_json::to_vec(&told).map_err(|error| Error::System(error.to_string()))?;
            ledger = self.ledger.to_bytes()?;
        }
        let (account, ledger) = (spread(group, leader.0, account)?, spread(group, leader.0, ledger)?);
        let account = serde_json::from_slice(&account)
            .map_err(|error| Error::System(format!("what rank {leader} tells: {error}")))?;
        Ok(Told { account, ledger })
    }
}

#[cfg(test)]
mod tests;
