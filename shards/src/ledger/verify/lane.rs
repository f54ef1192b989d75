//! One lane over some steps.

use super::{Indexed, Verifier, digest};
use crate::{
    ledger::{StandIn, Stood, epochs::Tally},
    loader::TRIES,
    order::{Slot, Walk},
};
use proto::{GlobalStep, LaneId};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// A digest that is not what the order says.
pub(super) struct Wrong {
    pub(super) step: u64,
    pub(super) lane: LaneId,
    pub(super) found: u64,
}

/// What a lane's walk found.
pub(super) struct LaneChecked {
    pub(super) lane: LaneId,
    /// By pool, the epoch of the lane's next row of it.
    pub(super) epochs: Vec<u64>,
    pub(super) wrong: Vec<Wrong>,
    /// Of every step, where any digest is wrong: whatever stood at a wrong place may be found among them.
    pub(super) expected: Vec<(u64, u64)>,
    /// Substitutions that the order does not allow.
    pub(super) impossible: Vec<(StandIn, String)>,
}

/// The tallies of the epochs that a walk is in, by pool.
#[derive(Default)]
struct Page(HashMap<u32, (u64, Option<Arc<Tally>>)>);

impl Verifier {
    /// The slots that `lane` fills in the step that was committed as `step`.
    pub(super) fn slots(&self, lane: LaneId, step: u64) -> impl Iterator<Item = Slot> + '_ {
        self.order.walk(lane, GlobalStep(step - 1)).take(self.spec.per_lane() as usize)
    }

    /// Compares what `lane` was trained on in these steps with the order, and ticks off its rows.
    pub(super) fn lane(&self, lane: LaneId, steps: Range<u64>, indexed: &Indexed<'_>) -> LaneChecked {
        let per_lane = self.spec.per_lane();
        let first_slot = u64::from(lane.0) * per_lane;
        let mut walk = self.order.walk(lane, GlobalStep(steps.start - 1));
        let mut checked =
            LaneChecked { lane, epochs: vec![], wrong: vec![], expected: vec![], impossible: vec![] };
        let mut page = Page::default();
        for step in steps {
            let slots = filled(&mut walk, step, first_slot..first_slot + per_lane, indexed, &mut checked);
            let stood = slots.iter().map(|(slot, trained)| {
                let (epoch, row, trained) = (slot.epoch, slot.row, *trained);
                Stood { epoch, row, trained }
            });
            let expected = digest((step - 1) * per_lane, first_slot, stood);
            checked.expected.push((step, expected));
            let entries = indexed.entries.get(&step).map(Vec::as_slice).unwrap_or_default();
            let digests = entries.iter().filter_map(|digests| digests.get(lane.index()).copied());
            let (right, wrong): (Vec<u64>, Vec<u64>) = digests.partition(|found| *found == expected);
            checked.wrong.extend(wrong.into_iter().map(|found| Wrong { step, lane, found }));
            for (slot, trained) in &slots {
                let Some(tally) = page.of(self, slot) else { continue };
                if step > self.covered.0 {
                    tally.due();
                }
                right.iter().for_each(|_| tally.commit(slot.row, *trained != slot.row));
                if right.is_empty() {
                    tally.lose(slot.row);
                }
            }
        }
        checked.epochs = walk.streams().iter().map(|stream| stream.epoch().unwrap_or(u64::MAX)).collect();
        if checked.wrong.is_empty() {
            checked.expected = Vec::new();
        }
        checked
    }
}

impl Page {
    fn of(&mut self, verifier: &Verifier, slot: &Slot) -> Option<&Tally> {
        let tally = || (slot.epoch, verifier.epochs.of(slot.pool, slot.epoch));
        let held = self.0.entry(slot.pool).or_insert_with(tally);
        if held.0 != slot.epoch {
            *held = tally();
        }
        held.1.as_deref()
    }
}

/// The slots of a step, each with the row that was trained on; substitutions that can't be are noted and passed over.
fn filled(
    walk: &mut Walk<'_>,
    step: u64,
    numbers: Range<u64>,
    indexed: &Indexed<'_>,
    checked: &mut LaneChecked,
) -> Vec<(Slot, u64)> {
    let mut slots = Vec::with_capacity((numbers.end - numbers.start) as usize);
    for number in numbers {
        let Some(slot) = walk.next() else { break };
        let mut trained = slot.row;
        if let Some((row, substitute)) = indexed.stand_ins.get(&(step, number)).copied() {
            let stand_in = StandIn { step: GlobalStep(step), slot: number, row, substitute };
            match impossible(walk, &slot, &stand_in) {
                Some(reason) => checked.impossible.push((stand_in, reason)),
                None => trained = substitute,
            }
        }
        slots.push((slot, trained));
    }
    slots
}

/// Why the order does not allow a substitution, if it does not.
fn impossible(walk: &Walk<'_>, slot: &Slot, stand_in: &StandIn) -> Option<String> {
    if slot.row != stand_in.row {
        return Some(format!("row {} belongs in this slot", slot.row));
    }
    let tried = (1..=TRIES).filter_map(|attempt| walk.substitute(slot, attempt));
    let allowed = tried.map(|other| other.row).any(|row| row == stand_in.substitute);
    (!allowed).then(|| format!("none of the {TRIES} rows that are tried in its place is that"))
}
