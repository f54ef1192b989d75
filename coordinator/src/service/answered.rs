//! Requests that were answered, by their id: a repeated one gets the first answer and does nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};
use tonic::Status;

/// Answers that are remembered.
const REMEMBERED: usize = 1024;
/// Longest request id, in bytes.
const MAX_ID: usize = 128;

/// The answers to operators.
pub(super) struct Answered<T> {
    held: Mutex<Held<T>>,
}

struct Held<T> {
    /// By request id: for what, and the answer.
    answers: HashMap<String, (String, T)>,
    order: VecDeque<String>,
}

impl<T> Default for Answered<T> {
    fn default() -> Self {
        Self { held: Mutex::new(Held { answers: HashMap::new(), order: VecDeque::new() }) }
    }
}

impl<T: Clone> Answered<T> {
    /// Whether the request `id` was answered.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).answers.contains_key(id)
    }

    /// Answers the request `id` for `what` with what `act` returns, or with the earlier answer. A refusal is not remembered.
    ///
    /// # Errors
    /// INVALID_ARGUMENT without a usable id, ALREADY_EXISTS for one of another request, and the refusals of `act`.
    pub(super) fn once(
        &self,
        id: &str,
        what: &str,
        act: impl FnOnce() -> Result<T, Status>,
    ) -> Result<T, Status> {
        if id.is_empty() || id.len() > MAX_ID {
            let text = format!(
                "asked.id has {} bytes: give a new unique one of 1 to {MAX_ID} per request",
                id.len()
            );
            return Err(Status::invalid_argument(text));
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.answers.get(id) {
            Some((before, answer)) if before == what => return Ok(answer.clone()),
            Some((before, _)) => {
                let text = format!("the request {id:?} was {before:?} before: give every request its own id");
                return Err(Status::already_exists(text));
            }
            None => {}
        }
        let answer = act()?;
        if held.order.len() == REMEMBERED
            && let Some(oldest) = held.order.pop_front()
        {
            held.answers.remove(&oldest);
        }
        held.order.push_back(id.into());
        held.answers.insert(id.into(), (what.into(), answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_answered_and_not_done() {
        let answered = Answered::default();
        let mut count = 0;
        let mut ask = |id: &str| {
            answered.once(id, "stop", || {
                count += 1;
                Ok::<_, Status>(count)
            })
        };
        assert_eq!((ask("a").unwrap(), ask("b").unwrap(), ask("a").unwrap()), (1, 2, 1));
        assert!(ask("").is_err() && ask(&"x".repeat(MAX_ID + 1)).is_err());
        for i in 0..REMEMBERED {
            ask(&format!("id-{i}")).unwrap();
        }
        assert_eq!(ask("a").unwrap(), 3 + REMEMBERED as i32, "the memory is bounded");
    }

    #[test]
    fn an_id_is_of_one_request() {
        let answered = Answered::default();
        answered.once("a", "stop", || Ok(1)).unwrap();
        let other = answered.once("a", "pause", || Ok(2)).unwrap_err();
        assert_eq!(other.code(), tonic::Code::AlreadyExists);
        assert!(other.message().contains("\"stop\""), "{other}");
    }

    #[test]
    fn a_refusal_may_be_tried_again() {
        let answered = Answered::default();
        assert!(answered.once("a", "stop", || Err::<u32, _>(Status::aborted("no"))).is_err());
        assert_eq!(answered.once("a", "stop", || Ok(5)).unwrap(), 5);
    }
}
