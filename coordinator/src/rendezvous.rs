//! Where the ranks of one generation meet: a small key-value space with waiting reads, behind `c10d::Store`.
//!
//! Each generation has its own space. Closing one wakes everybody who waits in it, so that no rank hangs in a
//! generation that is over.

use proto::Generation;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// Largest key, in bytes.
const MAX_KEY: usize = 4 << 10;
/// Largest value, in bytes.
const MAX_VALUE: usize = 4 << 20;
/// Largest sum of all keys and values, in bytes.
const MAX_TOTAL: usize = 256 << 20;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The space of that generation does not exist (any more).
    #[error("generation {found} has no rendezvous: {reason}")]
    Stale {
        /// Of the request.
        found: Generation,
        /// Why.
        reason: String,
    },
    /// Not every key was set in time.
    #[error("waited {waited:?} for the key {key:?}, which no rank has set")]
    Timeout {
        /// The first key that is missing.
        key: String,
        /// How long.
        waited: Duration,
    },
    /// A key or value over the limit.
    #[error(
        "the rendezvous takes keys of at most 4 KiB, values of at most 4 MiB and 256 MiB in all; {0:?} would go over that"
    )]
    TooLarge(String),
    /// A counter's key holds something else.
    #[error("the key {0:?} holds no decimal counter")]
    NoCounter(String),
}

struct Space {
    generation: Option<Generation>,
    closed: String,
    entries: HashMap<String, Vec<u8>>,
    total: usize,
}

/// The key-value space of the current generation.
pub struct Rendezvous {
    space: Mutex<Space>,
    /// Counts changes; waiting reads look again at each.
    changes: watch::Sender<u64>,
}

impl Default for Rendezvous {
    fn default() -> Self {
        let closed = "none has started yet".into();
        let space = Space { generation: None, closed, entries: HashMap::new(), total: 0 };
        Self { space: Mutex::new(space), changes: watch::channel(0).0 }
    }
}

impl Rendezvous {
    /// Starts an empty space for `generation`, unless it has one.
    pub fn open(&self, generation: Generation) {
        let mut space = self.lock();
        if space.generation != Some(generation) {
            *space = Space {
                generation: Some(generation),
                closed: String::new(),
                entries: HashMap::new(),
                total: 0,
            };
            self.changed();
        }
    }

    /// Ends the space: whoever waits in it is refused with `reason`.
    pub fn close(&self, reason: &str) {
        let mut space = self.lock();
        *space = Space { generation: None, closed: reason.into(), entries: HashMap::new(), total: 0 };
        self.changed();
    }

    /// Sets a key.
    ///
    /// # Errors
    /// A stale generation, or a key or value over the limits.
    pub fn set(&self, generation: Generation, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        self.enter(generation)?.put(key, value)?;
        self.changed();
        Ok(())
    }

    /// Waits until every key is there and returns their values in order.
    ///
    /// # Errors
    /// A stale generation, also one that ends meanwhile; [`Refusal::Timeout`] after `patience`.
    pub async fn get(
        &self,
        generation: Generation,
        keys: &[String],
        patience: Duration,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let mut changes = self.changes.subscribe();
        let look = async {
            loop {
                changes.borrow_and_update();
                if let Some(values) = self.values(generation, keys)? {
                    return Ok(values);
                }
                if changes.changed().await.is_err() {
                    return Err(Refusal::Stale { found: generation, reason: "the coordinator ends".into() });
                }
            }
        };
        match timeout(patience, look).await {
            Ok(answer) => answer,
            Err(_) => {
                let space = self.enter(generation)?;
                let missing = keys.iter().find(|key| !space.entries.contains_key(*key));
                Err(Refusal::Timeout { key: missing.cloned().unwrap_or_default(), waited: patience })
            }
        }
    }

    fn values(&self, generation: Generation, keys: &[String]) -> Result<Option<Vec<Vec<u8>>>, Refusal> {
        let space = self.enter(generation)?;
        Ok(keys.iter().map(|key| space.entries.get(key).cloned()).collect())
    }

    /// Adds to a decimal counter, which starts at 0, and returns the sum.
    ///
    /// # Errors
    /// A stale generation, or a key that holds no number.
    pub fn add(&self, generation: Generation, key: &str, amount: i64) -> Result<i64, Refusal> {
        let mut space = self.enter(generation)?;
        let held = match space.entries.get(key) {
            None => Some(0),
            Some(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok()),
        };
        let sum =
            held.and_then(|held| held.checked_add(amount)).ok_or_else(|| Refusal::NoCounter(key.into()))?;
        space.put(key, sum.to_string().into_bytes())?;
        self.changed();
        Ok(sum)
    }

    /// Sets `key` to `desired` if it holds `expected`, or is absent and `expected` is empty. Returns what it holds then;
    /// empty when it is absent.
    ///
    /// # Errors
    /// A stale generation, or a key or value over the limits.
    pub fn compare_set(
        &self,
        generation: Generation,
        key: &str,
        expected: &[u8],
        desired: Vec<u8>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut space = self.enter(generation)?;
        let held = space.entries.get(key).cloned().unwrap_or_default();
        if held != expected {
            return Ok(held);
        }
        space.put(key, desired.clone())?;
        self.changed();
        Ok(desired)
    }

    /// Whether every key is there.
    ///
    /// # Errors
    /// A stale generation.
    pub fn check(&self, generation: Generation, keys: &[String]) -> Result<bool, Refusal> {
        let space = self.enter(generation)?;
        Ok(keys.iter().all(|key| space.entries.contains_key(key)))
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    /// A stale generation.
    pub fn delete(&self, generation: Generation, key: &str) -> Result<bool, Refusal> {
        let mut space = self.enter(generation)?;
        let removed = space.entries.remove(key);
        space.total -= removed.as_ref().map_or(0, |value| key.len() + value.len());
        Ok(removed.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, generation: Generation) -> Result<MutexGuard<'_, Space>, Refusal> {
        let space = self.lock();
        match space.generation {
            Some(current) if current == generation => Ok(space),
            Some(current) => {
                Err(Refusal::Stale { found: generation, reason: format!("the current one is {current}") })
            }
            None => Err(Refusal::Stale { found: generation, reason: space.closed.clone() }),
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Space {
    fn put(&mut self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        let before = self.entries.get(key).map_or(0, |held| key.len() + held.len());
        let total = self.total - before + key.len() + value.len();
        if key.len() > MAX_KEY || value.len() > MAX_VALUE || total > MAX_TOTAL {
            return Err(Refusal::TooLarge(key.chars().take(80).collect()));
        }
        self.total = total;
        self.entries.insert(key.into(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const G: Generation = Generation(2);
    const LONG: Duration = Duration::from_secs(60);

    fn open() -> Arc<Rendezvous> {
        let rendezvous = Rendezvous::default();
        rendezvous.open(G);
        Arc::new(rendezvous)
    }

    #[tokio::test]
    async fn a_reader_waits_for_the_last_of_its_keys() {
        let store = open();
        store.set(G, "a", b"1".to_vec()).unwrap();
        let reader = tokio::spawn({
            let store = store.clone();
            async move { store.get(G, &["a".into(), "b".into()], LONG).await }
        });
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
        store.set(G, "b", b"2".to_vec()).unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), [b"1".to_vec(), b"2".to_vec()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gives_up_in_time_and_names_the_missing_key() {
        let store = open();
        store.set(G, "a", vec![]).unwrap();
        let answer = store.get(G, &["a".into(), "b".into()], Duration::from_secs(5)).await;
        assert_eq!(answer, Err(Refusal::Timeout { key: "b".into(), waited: Duration::from_secs(5) }));
    }

    #[tokio::test]
    async fn the_end_of_a_generation_wakes_its_readers() {
        let store = open();
        let reader = tokio::spawn({
            let store = store.clone();
            async move { store.get(G, &["never".into()], LONG).await }
        });
        tokio::task::yield_now().await;
        store.close("rank 1 was lost");
        let reason = "rank 1 was lost".to_string();
        assert_eq!(reader.await.unwrap(), Err(Refusal::Stale { found: G, reason }));
    }

    #[test]
    fn generations_do_not_see_each_other() {
        let store = open();
        store.set(G, "k", b"old".to_vec()).unwrap();
        store.open(Generation(3));
        assert!(matches!(store.set(G, "k", vec![]), Err(Refusal::Stale { .. })));
        assert_eq!(store.check(Generation(3), &["k".into()]), Ok(false));
    }

    #[test]
    fn counters_count_and_refuse_text() {
        let store = open();
        assert_eq!((store.add(G, "n", 2), store.add(G, "n", -5)), (Ok(2), Ok(-3)));
        store.set(G, "t", b"word".to_vec()).unwrap();
        assert_eq!(store.add(G, "t", 1), Err(Refusal::NoCounter("t".into())));
        store.set(G, "m", i64::MAX.to_string().into_bytes()).unwrap();
        assert!(store.add(G, "m", 1).is_err());
    }

    #[test]
    fn compare_set_changes_only_what_was_expected() {
        let store = open();
        assert_eq!(store.compare_set(G, "k", b"x", b"y".to_vec()).unwrap(), b"");
        assert_eq!(store.compare_set(G, "k", b"", b"y".to_vec()).unwrap(), b"y");
        assert_eq!(store.compare_set(G, "k", b"z", b"w".to_vec()).unwrap(), b"y");
        assert_eq!(store.compare_set(G, "k", b"y", b"w".to_vec()).unwrap(), b"w");
        assert_eq!((store.delete(G, "k"), store.delete(G, "k")), (Ok(true), Ok(false)));
    }

    #[test]
    fn sizes_are_limited() {
        let store = open();
        assert!(matches!(store.set(G, &"k".repeat(MAX_KEY + 1), vec![]), Err(Refusal::TooLarge(_))));
        assert!(matches!(store.set(G, "k", vec![0; MAX_VALUE + 1]), Err(Refusal::TooLarge(_))));
        for i in 0..MAX_TOTAL / MAX_VALUE {
            let _ = store.set(G, &i.to_string(), vec![0; MAX_VALUE]);
        }
        assert!(store.lock().total <= MAX_TOTAL);
        store.set(G, "0", vec![]).unwrap();
    }
}
