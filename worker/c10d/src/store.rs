//! The key-value store at which the ranks of one group meet.

use std::time::Duration;

/// What a store says when it cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A key-value store shared by the ranks of one group.
///
/// libtorch calls it from several threads at once, its own among them. Every call must return in bounded time. A panic
/// inside a call is caught and ends in an error of the operation that asked.
pub trait Store: Send + Sync {
    /// Sets `key` to `value`.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;

    /// The value of `key`. Waits until the key is there; an error after `timeout`.
    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError>;

    /// Adds `delta` to the counter `key` (0 when absent; [`Store::get`] reads it as decimal digits) and returns the sum.
    fn add(&self, key: &str, delta: i64) -> Result<i64, StoreError>;

    /// Sets `key` to `desired` if it holds `expected`, or is absent and `expected` is empty. Returns what `key` holds
    /// then, and `expected` if it is still absent.
    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Whether every key is there. Does not wait.
    fn check(&self, keys: &[&str]) -> Result<bool, StoreError>;

    /// Removes `key`; whether it was there.
    fn delete(&self, key: &str) -> Result<bool, StoreError>;

    /// Waits until every key is there; an error after `timeout`.
    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError>;
}
