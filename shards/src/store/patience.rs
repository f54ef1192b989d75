//! What went wrong with a request, whether another try may help, and when it is made. Pure: time and chance are arguments.

use super::error::explain;
use object_store::Error;
use proto::config::StoreSection;
use std::{borrow::Cow, time::Duration};

/// The first pause, which doubles from try to try.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// What the store library writes before the number of a status; it keeps the type to itself.
const STATUS: &str = "status code: ";

/// How often and how long a request is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    retries: u32,
    total: Duration,
    /// Of one try.
    pub(crate) timeout: Duration,
}

/// Why one try failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The store library says so.
    Store(Error),
    /// It did not end in time.
    Late(Duration),
    /// A body with another number of bytes than asked for.
    Length { wanted: u64, got: u64 },
    /// The file is another one than was indexed.
    Changed(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Patience {
    /// From its knobs.
    pub(crate) fn new(spec: &StoreSection) -> Self {
        Self { retries: spec.retries, total: seconds(spec.retry_seconds), timeout: seconds(spec.timeout) }
    }

    /// How long to wait before the next try after `tries` that failed in `elapsed`; none when that was the last. `draw` is from
    /// 0 to 1, so that many who fail together do not come again together.
    pub(crate) fn pause(&self, tries: u32, elapsed: Duration, draw: f64) -> Option<Duration> {
        let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(20));
        let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0);
        (tries <= self.retries && elapsed.saturating_add(pause) <= self.total).then_some(pause)
    }
}

/// A knob in seconds.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

impl Fault {
    /// Whether it may pass: what happens on the way does, an answer stays the same.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Late(_) | Self::Length { .. } => true,
            Self::Changed(_) => false,
            Self::Store(error @ Error::Generic { .. }) => match status(error) {
                Some(501 | 505) => false,
                Some(status) => status >= 500 || [408, 425, 429].contains(&status),
                None => !settled(error),
            },
            Self::Store(Error::JoinError { .. }) => true,
            Self::Store(_) => false,
        }
    }

    /// There is no such object.
    pub(crate) fn absent(&self) -> bool {
        matches!(self, Self::Store(Error::NotFound { .. }))
    }

    /// In words.
    pub(crate) fn reason(&self) -> Cow<'_, str> {
        match self {
            Self::Store(error) => explain(error).into(),
            Self::Late(after) => format!("no whole answer in {:.1} s", after.as_secs_f64()).into(),
            Self::Length { wanted, got } => format!("a body of {got} bytes for {wanted}").into(),
            Self::Changed(how) => how.into(),
        }
    }
}

/// The HTTP status in an error's chain of causes.
pub(crate) fn status(error: &Error) -> Option<u16> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(now) = cause {
        let text = now.to_string();
        if let Some((_, rest)) = text.split_once(STATUS) {
            return rest.get(..3)?.parse().ok();
        }
        cause = now.source();
    }
    None
}

/// An answer that can't be used, and comes each time: a redirect that leads nowhere (another region), or headers that are not there.
fn settled(error: &Error) -> bool {
    let text = error.to_string();
    ["redirect without LOCATION", "missing from response"].iter().any(|known| text.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patience(retries: u32, retry_seconds: f64) -> Patience {
        Patience::new(&StoreSection { retries, retry_seconds, ..StoreSection::default() })
    }

    fn answered(text: &str) -> Fault {
        Fault::Store(Error::Generic { store: "S3", source: text.into() })
    }

    #[test]
    fn what_may_pass_is_tried_again_and_an_answer_is_not() {
        let said = |status: &str| answered(&format!("Server returned non-2xx status code: {status}: body"));
        for passing in [
            Fault::Late(Duration::from_secs(1)),
            Fault::Length { wanted: 2, got: 1 },
            answered("connection closed before message completed"),
            said("500 Internal Server Error"),
            said("503 Slow Down"),
            said("429 Too Many Requests"),
        ] {
            assert!(passing.passes(), "{passing:?}");
        }
        let source = || "no".into();
        for final_one in [
            Fault::Changed("anew".into()),
            said("400 Bad Request"),
            said("501 Unsupported method"),
            answered("Received redirect without LOCATION, this normally indicates"),
            Fault::Store(Error::NotFound { path: "p".into(), source: source() }),
            Fault::Store(Error::PermissionDenied { path: "p".into(), source: source() }),
            Fault::Store(Error::Precondition { path: "p".into(), source: source() }),
            Fault::Store(Error::NotSupported { source: source() }),
        ] {
            assert!(!final_one.passes(), "{final_one:?}");
        }
    }

    #[test]
    fn no_retries_means_one_try() {
        assert_eq!(patience(0, 100.0).pause(1, Duration::ZERO, 0.0), None);
        assert!(patience(1, 100.0).pause(1, Duration::ZERO, 0.0).is_some());
    }

    proptest! {
        #[test]
        fn pauses_grow_within_bounds_and_end(
            retries in 0_u32..60,
            total in 0.01_f64..1000.0,
            draws in proptest::collection::vec(0.0_f64..=1.0, 64),
        ) {
            let patience = patience(retries, total);
            let (mut elapsed, mut tries) = (Duration::ZERO, 1);
            while let Some(pause) = patience.pause(tries, elapsed, draws[tries as usize]) {
                prop_assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE);
                prop_assert!(tries < 4 || pause >= FIRST_PAUSE * 4);
                elapsed += pause;
                tries += 1;
                prop_assert!(tries <= retries + 1 && elapsed <= seconds(total));
            }
        }
    }
}
