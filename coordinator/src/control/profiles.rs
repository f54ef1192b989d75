//! What becomes of a request for a profile: every worker that has a seat writes a trace, or says why it can't.

use super::{Control, lock};
use crate::membership::{MemberId, Membership};
use proto::v1;
use std::collections::BTreeMap;

/// Characters of a fault that are kept.
const LONGEST: usize = 300;
/// Faults that are told.
const TOLD: usize = 8;

/// The newest request, and what workers have said about it: nothing, or what went wrong.
#[derive(Default)]
pub(super) struct Profiles {
    asked: v1::Profile,
    said: BTreeMap<MemberId, String>,
    /// Workers that had a seat when all was done; 0 before.
    wanted: usize,
}

impl Control {
    /// A worker has done with the request of that number.
    pub fn take_profile(&self, id: MemberId, request: u64, fault: &str) {
        let Some(asked) = self.look(Membership::profile).filter(|asked| asked.request == request) else {
            return;
        };
        if self.look(|membership| membership.member(id).is_none()) {
            return;
        }
        let done = {
            let profiles = &mut *lock(&self.profiles);
            if profiles.asked.request != request {
                *profiles = Profiles { asked, ..Profiles::default() };
            }
            profiles.said.entry(id).or_insert_with(|| fault.chars().take(LONGEST).collect());
            let done = self.look(|it| it.is_together() && unheard(it, &profiles.said) == 0);
            profiles.wanted = if done { profiles.said.len() } else { 0 };
            done
        };
        if done {
            self.decide(|membership, _| membership.profiled(request));
        }
    }

    /// The newest profile, if one was asked for.
    pub(super) fn profiled(&self) -> Option<v1::Profiled> {
        let profiles = lock(&self.profiles);
        let open = self.look(Membership::profile);
        let (asked, none) = (open.unwrap_or(profiles.asked), BTreeMap::new());
        let said = if asked.request == profiles.asked.request { &profiles.said } else { &none };
        if asked.request == 0 {
            return None;
        }
        let wanted = match open {
            Some(_) => said.len() + self.look(|membership| unheard(membership, said)),
            None => profiles.wanted,
        };
        let faults = said.values().filter(|fault| !fault.is_empty());
        Some(v1::Profiled {
            request: asked.request,
            steps: asked.steps,
            wanted: wanted as u32,
            failed: said.values().filter(|fault| !fault.is_empty()).count() as u32,
            written: said.values().filter(|fault| fault.is_empty()).count() as u32,
            faults: faults.take(TOLD).cloned().collect(),
        })
    }
}

/// Workers with a seat that have not said anything.
fn unheard(membership: &Membership, said: &BTreeMap<MemberId, String>) -> usize {
    let seated = membership.members().filter(|(id, _)| membership.seat(*id).is_some());
    seated.filter(|(id, _)| !said.contains_key(id)).count()
}
