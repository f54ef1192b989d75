//! Where the time of a step goes.

use c10d::Span;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::time::Instant;
use telemetry::SPANS;
use tracing::span::EnteredSpan;

/// A part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waiting for the batch.
    Data,
    /// Student's and teacher's encoders, forward.
    Encode,
    /// Features and tokens from other ranks, for which it waits.
    Gather,
    /// Losses, matching, masked words, and backward, in which gradients are averaged over the ranks.
    Learn,
    /// The vote, and waiting for it.
    Vote,
    /// The commit.
    Update,
}

impl Phase {
    /// As traces show it.
    fn label(self) -> &'static CStr {
        match self {
            Self::Data => c"data",
            Self::Encode => c"encode",
            Self::Gather => c"gather",
            Self::Learn => c"learn",
            Self::Vote => c"vote",
            Self::Update => c"update",
        }
    }

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        self.label().to_str().unwrap_or_default()
    }
}

/// The seconds of one step by phase, on this rank; in traces, spans of these names. Waiting for other ranks is in `gather`, `vote`, and
/// where gradients are averaged in `learn`: who is slow himself shows in `data` and `encode`. Work that was queued on a device counts
/// where it is waited for.
#[derive(Debug, Default)]
pub struct Laps {
    now: Option<Lap>,
    seconds: BTreeMap<Phase, f64>,
}

/// The phase that goes on, in the trace of a profile and for a collector.
#[derive(Debug)]
struct Lap {
    phase: Phase,
    begin: Instant,
    _profiled: Option<Span>,
    _traced: EnteredSpan,
}

impl Laps {
    /// A step begins, with this phase.
    pub fn start(&mut self, phase: Phase) {
        self.now = None;
        self.seconds.clear();
        self.enter(phase);
    }

    /// The phase before ends, and this one begins; it may have been there before.
    pub fn enter(&mut self, phase: Phase) {
        self.end();
        self.now = Some(Lap {
            phase,
            begin: Instant::now(),
            _profiled: Span::open(phase.label()).ok(),
            _traced: tracing::trace_span!(target: SPANS, "phase", otel.name = phase.name()).entered(),
        });
    }

    /// The phase ends.
    pub fn end(&mut self) {
        if let Some(Lap { phase, begin, .. }) = self.now.take() {
            *self.seconds.entry(phase).or_default() += begin.elapsed().as_secs_f64();
        }
    }

    /// The last step's.
    pub fn seconds(&self) -> &BTreeMap<Phase, f64> {
        &self.seconds
    }
}
