//! The knobs that operators may turn while a run goes on.

use proto::{RunConfig, v1};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Of one, in a [`Factor`].
const WHOLE: f64 = 1e6;
/// The largest factor of the learning rate.
const MOST: f64 = 100.0;
/// Characters of the longest filter.
const LONGEST_FILTER: usize = 200;

/// A factor, in millionths: what is decided and journaled has no rounding of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factor(u64);

/// As they are now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The learning rate is the schedule's times this; in millionths where it is stored.
    pub learning_rate_scale: Factor,
    /// Steps between checkpoints; 0 for none.
    pub checkpoint_every: u64,
    /// What is logged, as RUST_LOG says it; empty: what the processes were started with.
    pub log: String,
}

/// What is turned: what is not given stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Factor of the learning rate.
    pub learning_rate_scale: Option<f64>,
    /// Steps between checkpoints.
    pub checkpoint_every: Option<u64>,
    /// What is logged.
    pub log: Option<String>,
}

impl Settings {
    /// Those that a run begins with.
    pub fn of(config: &RunConfig) -> Self {
        Self { checkpoint_every: config.checkpoint.every, ..Self::default() }
    }

    /// With some turned.
    ///
    /// # Errors
    /// The value that can't be, and what could.
    pub fn turned(&self, turn: &Turn) -> Result<Self, String> {
        let Turn { learning_rate_scale, checkpoint_every, log } = turn.clone();
        if (&learning_rate_scale, checkpoint_every, &log) == (&None, None, &None) {
            return Err("no knob is named: learning_rate_scale, checkpoint_every or log".into());
        }
        let scale = learning_rate_scale.map(Factor::new).transpose()?;
        if let Some(filter) = &log {
            check_filter(filter)?;
        }
        Ok(Self {
            learning_rate_scale: scale.unwrap_or(self.learning_rate_scale),
            checkpoint_every: checkpoint_every.unwrap_or(self.checkpoint_every),
            log: log.unwrap_or_else(|| self.log.clone()),
        })
    }

    /// For those who ask.
    pub fn to_wire(&self) -> v1::Settings {
        v1::Settings {
            learning_rate_scale: self.learning_rate_scale.value(),
            checkpoint_every: self.checkpoint_every,
            log: self.log.clone(),
        }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { learning_rate_scale, checkpoint_every, log } = self;
        let scale = learning_rate_scale.map(|scale| format!("learning_rate_scale={scale}"));
        let every = checkpoint_every.map(|every| format!("checkpoint_every={every}"));
        let log = log.as_ref().map(|log| format!("log={log}"));
        let turned: Vec<String> = [scale, every, log].into_iter().flatten().collect();
        f.write_str(&turned.join(" "))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { learning_rate_scale: Factor(WHOLE as u64), checkpoint_every: 0, log: String::new() }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = if self.log.is_empty() { "as it was started" } else { &self.log };
        let (scale, every) = (self.learning_rate_scale.value(), self.checkpoint_every);
        write!(f, "learning_rate_scale {scale}, checkpoint_every {every}, log {log}")
    }
}

impl Factor {
    fn new(value: f64) -> Result<Self, String> {
        if !(0.0..=MOST).contains(&value) {
            return Err(format!("learning_rate_scale is {value}: give a number from 0 to {MOST}"));
        }
        let millionths = (value * WHOLE).round();
        if millionths == 0.0 && value > 0.0 {
            return Err(format!(
                "learning_rate_scale is {value}: give 0, or a number from 0.000001 to {MOST}"
            ));
        }
        Ok(Self(millionths as u64))
    }

    /// As a number.
    pub fn value(self) -> f64 {
        self.0 as f64 / WHOLE
    }
}

fn check_filter(filter: &str) -> Result<(), String> {
    let plain = filter.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    let checked = match filter.len() {
        ..=LONGEST_FILTER if plain => telemetry::check(filter),
        _ => Err(format!("it has to be ASCII, of at most {LONGEST_FILTER} characters")),
    };
    let mend = "say it as RUST_LOG does, such as debug or info,worker=trace; an empty one is what the processes were started with";
    checked.map_err(|why| format!("log is {filter:?}: {why}; {mend}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(turn: Turn) -> Result<Settings, String> {
        Settings { checkpoint_every: 50, ..Settings::default() }.turned(&turn)
    }

    #[test]
    fn what_is_not_turned_stays() {
        let first = turned(Turn { learning_rate_scale: Some(0.25), ..Turn::default() }).unwrap();
        assert_eq!((first.learning_rate_scale.value(), first.checkpoint_every), (0.25, 50));
        let both =
            Turn { checkpoint_every: Some(7), log: Some("info,worker=trace".into()), ..Turn::default() };
        let second = first.turned(&both).unwrap();
        assert_eq!(second.to_string(), "learning_rate_scale 0.25, checkpoint_every 7, log info,worker=trace");
        let wire = second.to_wire();
        assert_eq!(
            (wire.learning_rate_scale, wire.checkpoint_every, &*wire.log),
            (0.25, 7, "info,worker=trace")
        );
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        for scale in [-0.1, 1e-8, 100.1, f64::NAN, f64::INFINITY] {
            let refused = turned(Turn { learning_rate_scale: Some(scale), ..Turn::default() }).unwrap_err();
            assert!(refused.contains("to 100"), "{refused}");
        }
        for log in ["[", "a\nb", &"x".repeat(201), "info,worker=loud"] {
            let refused = turned(Turn { log: Some(log.into()), ..Turn::default() }).unwrap_err();
            assert!(refused.contains("RUST_LOG"), "{log:?}: {refused}");
        }
        assert!(turned(Turn::default()).unwrap_err().contains("no knob is named"));
    }

    #[test]
    fn a_factor_is_journaled_as_it_is() {
        let settings = turned(Turn { learning_rate_scale: Some(0.1), ..Turn::default() }).unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(text, r#"{"learning_rate_scale":100000,"checkpoint_every":50,"log":""}"#);
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }
}
