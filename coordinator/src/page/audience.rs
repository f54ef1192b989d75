//! Whether somebody has the page open, who is to learn how the run ended before the coordinator goes.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long ago one who still looks has asked last: an open page asks every second.
const RECENTLY: Duration = Duration::from_secs(3);
/// Long enough for an open page to ask once more, and for the parts that have changed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Those who look at the page.
#[derive(Debug, Default)]
pub struct Audience {
    looked: Mutex<Option<Instant>>,
}

impl Audience {
    /// Somebody asks how the run is.
    pub(super) fn looks(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Gives whoever looks the time to see the end; returns at once where nobody does.
    pub async fn see_the_end(&self) {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|looked| looked.elapsed() < RECENTLY) {
            tokio::time::sleep(FAREWELL).await;
        }
    }
}
