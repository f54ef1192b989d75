//! Where the time of a step goes.

use std::collections::HashMap;
use std::time::Instant;

/// The seconds of one step by phase, on this rank. Waiting for other ranks is in `learn` and `vote`: who is slow himself shows in `data`
/// and `encode`. Work that was queued on a device counts where it is waited for.
#[derive(Debug)]
pub struct Laps {
    last: Instant,
    seconds: HashMap<String, f64>,
}

impl Default for Laps {
    fn default() -> Self {
        Self { last: Instant::now(), seconds: HashMap::new() }
    }
}

impl Laps {
    /// A step begins.
    pub fn start(&mut self) {
        self.last = Instant::now();
    }

    /// The time since the last mark, or the start, was `phase`.
    pub fn mark(&mut self, phase: &str) {
        let now = Instant::now();
        self.seconds.insert(phase.into(), now.duration_since(self.last).as_secs_f64());
        self.last = now;
    }

    /// The last step's.
    pub fn seconds(&self) -> &HashMap<String, f64> {
        &self.seconds
    }
}
