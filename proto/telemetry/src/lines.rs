//! The newest lines of a log, in memory.

use proto::v1::LogLine;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context};

/// Lines that are kept.
const KEPT: usize = 1_000;
/// Bytes of a line that are kept.
const LONGEST: usize = 2_000;
/// What a line weighs in a message beside its text, in bytes.
const AROUND: usize = 32;

/// The newest lines, to which every event adds one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<VecDeque<LogLine>>>);

impl Lines {
    /// The lines after a number, as far as they have `bytes` together; and the number of the newest.
    pub(crate) fn after(&self, number: u64, bytes: usize) -> (Vec<LogLine>, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = bytes;
        let fits = |line: &&LogLine| {
            let weight = line.text.len() + AROUND;
            let fits = weight <= left;
            left = left.saturating_sub(weight);
            fits
        };
        let newest = kept.back().map_or(0, |line| line.number);
        (kept.iter().skip_while(|line| line.number <= number).take_while(fits).cloned().collect(), newest)
    }

    fn push(&self, level: &tracing::Level, text: String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = kept.back().map_or(1, |newest| newest.number + 1);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        let unix_millis = u64::try_from(now.as_millis()).unwrap_or_default();
        kept.push_back(LogLine { number, unix_millis, level: level.as_str().into(), text });
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.push(event.metadata().level(), text.whole());
    }
}

/// A line as it is put together: the message, and the fields after it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        let mut text = self.message + &self.fields;
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        text
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    /// What is kept after `say` has said something.
    fn said(say: impl FnOnce()) -> Lines {
        let lines = Lines::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), say);
        lines
    }

    #[test]
    fn a_line_has_its_level_message_and_fields() {
        let lines = said(|| tracing::warn!(step = 3, name = "x y", "a step of {}", 7)).after(0, 1_000).0;
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((line.number, line.level.as_str()), (1, "WARN"));
        assert_eq!(line.text, "a step of 7 step=3 name=\"x y\"");
        assert!(line.unix_millis > 1_700_000_000_000);
    }

    #[test]
    fn the_newest_are_kept_and_each_is_told_once() {
        let lines = said(|| (0..KEPT + 5).for_each(|i| tracing::info!("line {i}")));
        let (all, newest) = lines.after(0, usize::MAX);
        assert_eq!(newest, KEPT as u64 + 5);
        assert_eq!((all.len(), all[0].number, all[KEPT - 1].number), (KEPT, 6, KEPT as u64 + 5));
        assert_eq!(lines.after(KEPT as u64 + 3, usize::MAX).0, all[KEPT - 2..]);
        assert!(lines.after(KEPT as u64 + 5, usize::MAX).0.is_empty());
        // What does not fit into a message comes with the next one.
        let (part, _) = lines.after(0, 3 * (AROUND + 8));
        assert_eq!(part, all[..part.len()]);
        assert!((1..=3).contains(&part.len()), "{part:?}");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let lines = said(|| tracing::info!("{}", "ä".repeat(LONGEST))).after(0, usize::MAX).0;
        assert!(lines[0].text.len() <= LONGEST + '…'.len_utf8() && lines[0].text.ends_with("ä…"));
    }
}
