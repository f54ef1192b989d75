//! The coordinator's rendezvous as a [`c10d::Store`]: libtorch's threads call it and wait.

use access::Line;
use c10d::StoreError;
use proto::{
    Generation,
    v1::{self, rendezvous_client::RendezvousClient},
};
use std::{future::Future, time::Duration};
use tokio::runtime::Handle;
use tonic::{Request, Response, Status};

/// How long a call may take beyond the wait that it asks for.
const ANSWER: Duration = Duration::from_secs(20);
/// Largest reply, in bytes: what the coordinator may send.
const REPLY: usize = 8 << 20;

/// The key space of one generation.
pub struct RendezvousStore {
    runtime: Handle,
    client: RendezvousClient<Line>,
    generation: u64,
}

impl RendezvousStore {
    /// The key space of `generation`, over an open connection.
    pub fn new(runtime: Handle, line: Line, generation: Generation) -> Self {
        let client = RendezvousClient::new(line).max_decoding_message_size(REPLY);
        Self { runtime, client, generation: generation.0 }
    }

    /// Calls and waits, at most `patience` and then some.
    fn call<M, T, F>(
        &self,
        message: M,
        patience: Duration,
        call: impl FnOnce(RendezvousClient<Line>, Request<M>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut request = Request::new(message);
        request.set_timeout(patience.saturating_add(ANSWER));
        let answer = self.runtime.block_on(call(self.client.clone(), request));
        answer.map(Response::into_inner).map_err(|status| StoreError(status.message().into()))
    }

    fn values(&self, keys: &[&str], timeout: Duration) -> Result<Vec<Vec<u8>>, StoreError> {
        let message = v1::GetRequest {
            generation: self.generation,
            keys: keys.iter().map(ToString::to_string).collect(),
            timeout_ms: timeout.as_millis().try_into().unwrap_or(u64::MAX),
        };
        let reply =
            self.call(message, timeout, |mut client, request| async move { client.get(request).await })?;
        Ok(reply.values)
    }
}

impl c10d::Store for RendezvousStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let message = v1::SetRequest { generation: self.generation, key: key.into(), value: value.into() };
        self.call(message, Duration::ZERO, |mut client, request| async move { client.set(request).await })?;
        Ok(())
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        let mut values = self.values(&[key], timeout)?;
        values.pop().ok_or_else(|| StoreError(format!("the coordinator sent no value for {key:?}")))
    }

    fn add(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let message = v1::AddRequest { generation: self.generation, key: key.into(), amount: delta };
        let add = |mut client: RendezvousClient<Line>, request| async move { client.add(request).await };
        Ok(self.call(message, Duration::ZERO, add)?.value)
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError> {
        let message = v1::CompareSetRequest {
            generation: self.generation,
            key: key.into(),
            expected: expected.into(),
            desired: desired.into(),
        };
        let set =
            |mut client: RendezvousClient<Line>, request| async move { client.compare_set(request).await };
        Ok(self.call(message, Duration::ZERO, set)?.value)
    }

    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        let keys = keys.iter().map(ToString::to_string).collect();
        let message = v1::CheckRequest { generation: self.generation, keys };
        let check = |mut client: RendezvousClient<Line>, request| async move { client.check(request).await };
        Ok(self.call(message, Duration::ZERO, check)?.present)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let message = v1::DeleteRequest { generation: self.generation, key: key.into() };
        let delete =
            |mut client: RendezvousClient<Line>, request| async move { client.delete(request).await };
        Ok(self.call(message, Duration::ZERO, delete)?.deleted)
    }

    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        self.values(keys, timeout).map(drop)
    }
}
