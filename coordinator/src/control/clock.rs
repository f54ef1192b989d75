//! How a run spends its time. Pure: the time is an argument.

use crate::membership::State;
use std::{collections::BTreeMap, time::Duration};

/// The time in each state, and what lost workers cost.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    since: Duration,
    state: Option<State>,
    spent: BTreeMap<&'static str, Duration>,
    /// When it stopped training because of a loss, while it has not gone on.
    lost: Option<Duration>,
    recoveries: u32,
    recovery: Duration,
}

impl Clock {
    /// The run is in `state` from `now` on; `departures` tells whether a worker was lost since the last time.
    pub(super) fn observe(&mut self, state: State, departed: bool, now: Duration) {
        if let Some(before) = self.state.filter(|before| *before != state) {
            *self.spent.entry(before.word()).or_default() += now.saturating_sub(self.since);
            self.since = now;
        }
        if departed && self.state == Some(State::Training) && state != State::Training {
            self.lost = Some(now);
        }
        if state == State::Training
            && let Some(lost) = self.lost.take()
        {
            self.recoveries += 1;
            self.recovery += now.saturating_sub(lost);
        }
        self.state = Some(state);
    }

    /// Seconds in each state until `now`, by the state's word.
    pub fn spent(&self, now: Duration) -> BTreeMap<&'static str, f64> {
        let mut spent = self.spent.clone();
        if let Some(state) = self.state {
            *spent.entry(state.word()).or_default() += now.saturating_sub(self.since);
        }
        spent.into_iter().map(|(word, time)| (word, time.as_secs_f64())).collect()
    }

    /// How long it has been in its present state.
    pub fn in_state(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    /// Share of the time until `now` in which it trained.
    pub fn goodput(&self, now: Duration) -> f64 {
        let trained = self.spent(now).get(State::Training.word()).copied().unwrap_or_default();
        if now.is_zero() { 0.0 } else { trained / now.as_secs_f64() }
    }

    /// How often it went on after a loss, and how long it took in all, from the loss until it trained.
    pub fn recoveries(&self) -> (u32, Duration) {
        (self.recoveries, self.recovery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_by_state_and_only_losses_are_recovered_from() {
        let at = Duration::from_secs;
        let mut clock = Clock::default();
        let story = [
            (State::Waiting, false, 0),
            (State::Training, false, 10),
            (State::Training, false, 20),
            (State::Regrouping, true, 30),
            (State::Preparing, false, 31),
            (State::Training, false, 32),
            (State::Regrouping, false, 42), // somebody joined
            (State::Training, false, 43),
        ];
        for (state, departed, second) in story {
            clock.observe(state, departed, at(second));
        }
        assert_eq!(clock.recoveries(), (1, at(2)));
        let spent = clock.spent(at(50));
        assert_eq!((spent["waiting"], spent["training"], spent["regrouping"]), (10.0, 37.0, 2.0));
        assert_eq!(spent.values().sum::<f64>(), 50.0);
        assert_eq!(clock.goodput(at(50)), 37.0 / 50.0);
        assert_eq!(clock.in_state(at(50)), at(7));
    }
}
