//! The collectives of the simulated workers: what each rank brings is there for all once all have brought it, unless one dies. Where
//! one dies just then, some have it and others have not, as with a real all-reduce.

use super::super::{Orders, Wishes};
use crate::error::Result;
use proto::settle::Held;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// A round trip of a collective takes at most so many milliseconds.
const SLOWEST: u64 = 20;

/// What a rank brings.
#[derive(Clone, Debug)]
pub(super) struct Gift {
    pub(super) held: Held,
    /// By step: the generation in which its gradients were made.
    pub(super) line: Vec<u64>,
    pub(super) wishes: Wishes,
}

/// All groups, by generation.
#[derive(Clone, Default)]
pub(super) struct Plane(Arc<Mutex<BTreeMap<u64, Group>>>);

#[derive(Default)]
struct Group {
    rounds: BTreeMap<u64, BTreeMap<u32, Gift>>,
    broken: bool,
    changed: watch::Sender<u64>,
}

/// A rank of a group. Dropping it breaks the group for those who still wait.
pub(super) struct Place {
    plane: Plane,
    generation: u64,
    rank: u32,
    world: usize,
    round: u64,
    chance: ChaCha8Rng,
}

/// A peer is gone, or the seat.
pub(super) struct Lost;

impl Plane {
    pub(super) fn join(&self, generation: u64, rank: u32, world: u32) -> Place {
        let chance = ChaCha8Rng::seed_from_u64(generation << 32 | u64::from(rank));
        Place { plane: self.clone(), generation, rank, world: world as usize, round: 0, chance }
    }

    fn group<T>(&self, generation: u64, look: impl FnOnce(&mut Group) -> T) -> T {
        look(self.0.lock().unwrap().entry(generation).or_default())
    }
}

impl Place {
    /// Brings a gift, and takes what all have brought, by rank.
    pub(super) async fn exchange(
        &mut self,
        orders: &mut watch::Receiver<Orders>,
        gift: Gift,
    ) -> std::result::Result<Vec<Gift>, Lost> {
        self.round += 1;
        let (round, rank) = (self.round, self.rank);
        let mut changes = self.plane.group(self.generation, |group| {
            group.rounds.entry(round).or_default().insert(rank, gift);
            group.changed.send_modify(|count| *count += 1);
            group.changed.subscribe()
        });
        while self.found().is_none() {
            self.check(orders.borrow_and_update().seated(self.generation))?;
            tokio::select! {
                biased;
                _ = orders.changed() => {}
                _ = changes.changed() => {}
            }
        }
        sleep(Duration::from_millis(self.chance.random_range(1..=SLOWEST))).await;
        self.check(Ok(()))?;
        Ok(self.found().unwrap_or_default())
    }

    /// What all have brought to this round.
    fn found(&self) -> Option<Vec<Gift>> {
        self.plane.group(self.generation, |group| {
            let gifts = group.rounds.get(&self.round).filter(|gifts| gifts.len() == self.world)?;
            Some(gifts.values().cloned().collect())
        })
    }

    fn check(&self, seated: Result<()>) -> std::result::Result<(), Lost> {
        let broken = self.plane.group(self.generation, |group| group.broken);
        if broken || seated.is_err() { Err(Lost) } else { Ok(()) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.plane.group(self.generation, |group| {
            group.broken = true;
            group.changed.send_modify(|count| *count += 1);
        });
    }
}
