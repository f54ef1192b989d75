//! A run as people see it while it goes: one live line on a terminal, a line now and then elsewhere.

use crate::{control::Snapshot, membership::State};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::GlobalStep;
use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

/// Time between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows a run on standard error.
pub struct Display {
    bar: Option<ProgressBar>,
    shown: Option<(Instant, GlobalStep)>,
    reason: String,
}

impl Display {
    /// A display of a run of `steps` steps.
    pub fn new(steps: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {msg}");
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, shown: None, reason: String::new() }
    }

    /// Shows the run as it is now.
    pub fn show(&mut self, now: &Snapshot) {
        let training = now.state == State::Training && now.scalars.contains_key("loss");
        let text = if training { progress(now) } else { now.reason.clone() };
        match &self.bar {
            Some(bar) => {
                bar.set_position(now.step.0);
                bar.set_message(text);
            }
            None if now.reason != self.reason => eprintln!("{}", now.reason),
            None if training && self.due(now.step) => {
                eprintln!("{text}");
                self.shown = Some((Instant::now(), now.step));
            }
            None => {}
        }
        self.reason.clone_from(&now.reason);
    }

    fn due(&self, step: GlobalStep) -> bool {
        self.shown.is_none_or(|(at, shown)| at.elapsed() >= PAUSE && step > shown)
    }

    /// Says something that stays.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the live line away.
    pub fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// Step, losses, speed, data wait and the time that is left.
fn progress(now: &Snapshot) -> String {
    let scalar = |name: &str| now.scalars.get(name).copied().unwrap_or(f64::NAN);
    let left = match now.remaining {
        Some(left) => format!("{} left", HumanDuration(left)),
        None => "time left unknown".into(),
    };
    format!(
        "step {}/{}  loss {:.3} (itc {:.3}, itm {:.3}, mlm {:.3})  {:.0} pairs/s  data wait {:.0} %  {left}",
        now.step,
        now.steps,
        scalar("loss"),
        scalar("loss_itc"),
        scalar("loss_itm"),
        scalar("loss_mlm"),
        now.pairs_per_second,
        100.0 * now.data_wait,
    )
}
