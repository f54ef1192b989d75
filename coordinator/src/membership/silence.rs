//! Time passes, and members fall silent.

use super::{Member, MemberId, Membership, Stage, Stream};
use proto::v1;
use std::time::Duration;

impl Membership {
    /// This coordinator itself stood still for so long: members that it could not hear meanwhile were not silent.
    pub fn slept(&mut self, gap: Duration) {
        self.members.values_mut().for_each(|member| member.heard += gap);
    }

    /// Time passes: silent members are lost, and waiting for others has an end.
    pub fn tick(&mut self, now: Duration) {
        let silence = |member: &Member| now.saturating_sub(member.heard);
        let at_work = self.stage == Stage::Together && self.trains();
        let silent =
            self.members.iter().filter(|(id, member)| silence(member) > self.limit(**id, member, at_work));
        let lost: Vec<_> = silent.map(|(id, member)| (*id, silence(member).as_secs_f64())).collect();
        for (id, seconds) in lost {
            self.lose(
                id,
                &format!(
                    "was not heard for {seconds:.1} s (cluster.lost_after = {:.1})",
                    self.spec.lost_after.as_secs_f64()
                ),
                now,
            );
        }
        self.proceed(now);
    }

    /// The silence after which a member is lost. While a group forms or parts there are no collectives that would tell of a loss, and
    /// less is lost with a member that lives: it joins again. So one whose stream is gone is waited for a shorter while, and so is
    /// one that an earlier coordinator gave its seat and that was never heard here.
    fn limit(&self, id: MemberId, member: &Member, at_work: bool) -> Duration {
        let seated = self.seat(id).is_some() && self.stage != Stage::Adopted;
        let silent = match member.stream {
            Stream::Gone(_) => true,
            Stream::Never => member.phase == v1::Phase::Unspecified,
            Stream::Open(_) => false,
        };
        if silent && seated && !at_work { self.spec.lost_after / 10 } else { self.spec.lost_after }
    }
}
