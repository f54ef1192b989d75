//! A store for ranks that share a process: world size 1, and tests.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Store, StoreError};

type Entries = HashMap<String, Vec<u8>>;

/// A [`Store`] in this process's memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<Entries>,
    changed: Condvar,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// No call leaves the entries half changed, so those of a thread that panicked are still good.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries, once they hold every key.
    fn entries_with(&self, keys: &[&str], timeout: Duration) -> Result<MutexGuard<'_, Entries>, StoreError> {
        let missing = |entries: &Entries| keys.iter().any(|key| !entries.contains_key(*key));
        let (entries, _) = self
            .changed
            .wait_timeout_while(self.entries(), timeout, |entries| missing(entries))
            .unwrap_or_else(PoisonError::into_inner);
        match keys.iter().find(|key| !entries.contains_key(**key)) {
            None => Ok(entries),
            Some(key) => Err(StoreError(format!("no rank set the key {key:?} in {timeout:?}"))),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        let result = change(&mut self.entries());
        self.changed.notify_all();
        result
    }
}

impl Store for MemoryStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.change(|entries| entries.insert(key.to_owned(), value.to_vec()));
        Ok(())
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        Ok(self.entries_with(&[key], timeout)?.get(key).cloned().unwrap_or_default())
    }

    fn add(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.change(|entries| {
            let sum = counter(key, entries.get(key))?
                .checked_add(delta)
                .ok_or_else(|| StoreError(format!("the counter {key:?} overflows by adding {delta}")))?;
            entries.insert(key.to_owned(), sum.to_string().into_bytes());
            Ok(sum)
        })
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(self.change(|entries| match entries.get(key) {
            Some(held) if held != expected => held.clone(),
            None if !expected.is_empty() => expected.to_vec(),
            _ => {
                entries.insert(key.to_owned(), desired.to_vec());
                desired.to_vec()
            }
        }))
    }

    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        let entries = self.entries();
        Ok(keys.iter().all(|key| entries.contains_key(*key)))
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.change(|entries| entries.remove(key)).is_some())
    }

    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        self.entries_with(keys, timeout).map(drop)
    }
}

fn counter(key: &str, value: Option<&Vec<u8>>) -> Result<i64, StoreError> {
    let Some(value) = value else { return Ok(0) };
    let digits = String::from_utf8_lossy(value);
    digits.parse().map_err(|_| StoreError(format!("the key {key:?} holds {digits:?}, which is no counter")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn keeps_what_was_set() {
        let store = MemoryStore::new();
        store.set("a", b"1").unwrap();
        assert_eq!(store.get("a", SHORT).unwrap(), b"1");
        assert!(store.check(&["a"]).unwrap());
        assert!(!store.check(&["a", "b"]).unwrap());
        assert!(store.delete("a").unwrap());
        assert!(!store.delete("a").unwrap());
    }

    #[test]
    fn a_missing_key_is_named_after_the_timeout() {
        let error = MemoryStore::new().wait(&["absent"], SHORT).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn a_waiting_get_sees_a_later_set() {
        let store = Arc::new(MemoryStore::new());
        let reader = std::thread::spawn({
            let store = Arc::clone(&store);
            move || store.get("late", LONG)
        });
        store.set("late", b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"x");
    }

    #[test]
    fn counters_count_and_other_values_are_refused() {
        let store = MemoryStore::new();
        assert_eq!(store.add("n", 2).unwrap(), 2);
        assert_eq!(store.add("n", -5).unwrap(), -3);
        assert_eq!(store.get("n", SHORT).unwrap(), b"-3");
        store.set("n", b"word").unwrap();
        assert!(store.add("n", 1).unwrap_err().to_string().contains("word"));
    }

    #[test]
    fn compare_set_changes_only_what_was_expected() {
        let store = MemoryStore::new();
        assert_eq!(store.compare_set("k", b"x", b"y").unwrap(), b"x");
        assert!(!store.check(&["k"]).unwrap());
        assert_eq!(store.compare_set("k", b"", b"a").unwrap(), b"a");
        assert_eq!(store.compare_set("k", b"x", b"b").unwrap(), b"a");
        assert_eq!(store.compare_set("k", b"a", b"b").unwrap(), b"b");
    }
}
