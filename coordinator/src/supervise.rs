//! When a worker's process that has ended is started again. Pure: times and steps are arguments.

use proto::{Exit, GlobalStep};
use std::time::Duration;

/// A process that lives less long counts as one that did not come up.
const YOUNG: Duration = Duration::from_secs(10);
/// After so many ends in a row, each soon and without a step of the run, the run ends.
const TRIES: u32 = 5;
/// Ends in a row after which the next start waits.
const AT_ONCE: u32 = 2;
/// The first wait; each next one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(8);

/// The place of one worker on this machine, which one process after the other takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its workers take part only in the place of others.
    pub spare: bool,
    /// Ends in a row that came soon.
    soon: u32,
    /// Those of them during which the run did no step.
    fruitless: u32,
    /// The run's step when its process was started.
    step: GlobalStep,
}

/// What follows from an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another process is started, after that time.
    Start(Duration),
    /// Nothing: the process had done its work, or another one would end likewise.
    Leave,
    /// The run can't go on.
    Fail,
}

impl Slot {
    /// A place whose first process is started at `step`.
    pub fn new(spare: bool, step: GlobalStep) -> Self {
        Self { spare, soon: 0, fruitless: 0, step }
    }

    /// Its process has ended after it `lived` so long, with the run at `step`.
    pub fn ended(&mut self, exit: Exit, lived: Duration, step: GlobalStep) -> Next {
        if !matches!(exit, Exit::Lost | Exit::Unavailable | Exit::Stopped) {
            return Next::Leave;
        }
        let soon = lived < YOUNG;
        self.soon = if soon { self.soon + 1 } else { 0 };
        self.fruitless = if soon && step <= self.step { self.fruitless + 1 } else { 0 };
        self.step = step;
        if self.fruitless >= TRIES {
            return Next::Fail;
        }
        let doublings = self.soon.checked_sub(AT_ONCE + 1);
        let wait = doublings.map(|n| FIRST.saturating_mul(2u32.saturating_pow(n)).min(LONGEST));
        Next::Start(wait.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(9);

    #[test]
    fn a_worker_that_was_lost_is_started_again_at_once() {
        let mut slot = Slot::new(false, GlobalStep(0));
        for exit in [Exit::Lost, Exit::Unavailable, Exit::Stopped] {
            assert_eq!(slot.ended(exit, YOUNG, GlobalStep(0)), Next::Start(Duration::ZERO));
        }
        for exit in [Exit::Done, Exit::Data, Exit::Usage, Exit::Internal, Exit::Device, Exit::Output] {
            assert_eq!(slot.ended(exit, SOON, GlobalStep(0)), Next::Leave);
        }
    }

    #[test]
    fn one_that_never_comes_up_is_started_later_and_later_and_then_fails_the_run() {
        let mut slot = Slot::new(false, GlobalStep(3));
        let waits: Vec<Next> = (0..5).map(|_| slot.ended(Exit::Lost, SOON, GlobalStep(3))).collect();
        let wait = |ms| Next::Start(Duration::from_millis(ms));
        assert_eq!(waits, [wait(0), wait(0), wait(500), wait(1000), Next::Fail]);
        let mut slot = Slot::new(false, GlobalStep(3));
        for _ in 0..4 {
            slot.ended(Exit::Lost, SOON, GlobalStep(3));
        }
        assert_eq!(slot.ended(Exit::Lost, YOUNG, GlobalStep(3)), wait(0), "this one did come up");
        assert_eq!(slot.ended(Exit::Lost, SOON, GlobalStep(3)), wait(0));
    }

    #[test]
    fn a_run_that_goes_on_bears_any_number_of_losses() {
        let mut slot = Slot::new(true, GlobalStep(0));
        for step in 1..1000 {
            let next = slot.ended(Exit::Lost, SOON, GlobalStep(step));
            assert!(matches!(next, Next::Start(wait) if wait <= LONGEST), "{next:?}");
        }
    }
}
