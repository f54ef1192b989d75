//! A worker that listens for what it has to do: it is told its directive at once, and again whenever it is another one.

use crate::{
    control::Control,
    membership::{MemberId, Refusal},
};
use proto::v1::{self, directive::Kind};
use std::sync::Arc;
use tokio::sync::watch;

/// One worker's stream. Dropping it says that the stream is gone.
pub struct Attendance {
    control: Arc<Control>,
    member: MemberId,
    serial: u32,
    turns: watch::Receiver<u64>,
    told: Option<v1::Directive>,
}

impl Attendance {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn begin(control: Arc<Control>, member: MemberId) -> Result<Self, Refusal> {
        let serial = control.admit(|membership, now| membership.attend(member, now))?;
        let turns = control.turns();
        Ok(Self { control, member, serial, turns, told: None })
    }

    /// Waits for a directive that differs from the one before.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] once the worker is no member any more.
    pub async fn next(&mut self) -> Result<v1::Directive, Refusal> {
        loop {
            self.turns.borrow_and_update();
            let directive = self.control.directive(self.member)?;
            let told = self.told.replace(core_of(&directive));
            if told != self.told {
                return Ok(directive);
            }
            // The control holds the sender, so there is always a next turn to wait for.
            let _ = self.turns.changed().await;
        }
    }
}

/// What makes another directive of it: not its number, nor another reason to wait.
fn core_of(directive: &v1::Directive) -> v1::Directive {
    let kind = match &directive.kind {
        Some(Kind::Wait(_)) => Some(Kind::Wait(v1::Wait::default())),
        // A generation's seats do not change.
        Some(Kind::Assignment(seat)) => {
            Some(Kind::Assignment(v1::Assignment { generation: seat.generation, ..Default::default() }))
        }
        other => other.clone(),
    };
    // That somebody reads the log is news, how far he is is not.
    let logs_after = directive.logs_after.map(|_| 0);
    v1::Directive { kind, serial: 0, logs_after, ..directive.clone() }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.control.admit(|membership, now| membership.gone(self.member, self.serial, now));
    }
}
