//! H2, R4: whether this member serves, and how it goes.

use super::claims::Claims;
use super::context::Step;
use super::interface::{Event, Leaving};
use super::model::{Death, Stage, Verdict};
use super::settings::Settings;
use super::wire::Message;
use crate::{Instant, Reason};

#[derive(Debug, Clone, Default)]
pub(super) struct Presence {
    /// This node may be unable to forward.
    doubtful: bool,
    /// Why and since when this speaker is leaving.
    leaving: Option<(Leaving, Instant)>,
    has_left: bool,
}

impl Presence {
    /// Whether this node's forwarding is in doubt. It keeps what it has, since a doubt resets no
    /// connections, and all others go first with what is new.
    pub(super) fn set_doubtful(&mut self, doubtful: bool, step: &mut Step<'_>) {
        if std::mem::replace(&mut self.doubtful, doubtful) != doubtful {
            step.publish();
        }
    }

    /// Whether this member hands over all of its addresses first.
    pub(super) fn set_leaving(&mut self, why: Leaving, step: &mut Step<'_>) -> bool {
        if self.leaving.is_some() {
            return false;
        }
        self.leaving = Some((why, step.now));
        match why {
            // R1: nothing moves, peers hold what this node has.
            Leaving::Restarting => self.say_goodbye(Verdict::Restarting, step),
            // R4
            Leaving::Draining => step.publish(),
        }
        why == Leaving::Draining
    }

    /// H2: a leaver with nothing left says so, and is gone. That comes before anything else: one that
    /// was stopped until its time was over would announce once more, and others have its addresses.
    pub(super) fn handle_timeout(&mut self, claims: &mut Claims, step: &mut Step<'_>) {
        let Some((Leaving::Draining, since)) = self.leaving else {
            return;
        };
        if claims.is_empty() || step.now >= since + step.settings.give_limit {
            claims.withdraw_all(Reason::Leaving, step);
            self.say_goodbye(Verdict::Left, step);
        }
    }

    fn say_goodbye(&mut self, verdict: Verdict, step: &mut Step<'_>) {
        let own = step.members.own();
        let death = Death {
            member: step.me,
            boot: own.boot,
            inc: own.inc,
            verdict,
        };
        step.send_to_all(&Message::Dead(death));
        step.tell(Event::MayExit);
        self.has_left = true;
    }

    pub(super) const fn has_left(&self) -> bool {
        self.has_left
    }

    pub(super) const fn stage(&self, joined: bool) -> Stage {
        match (self.leaving, joined) {
            (Some(_), _) => Stage::Leaving,
            (None, true) if self.doubtful => Stage::Doubtful,
            (None, true) => Stage::Serving,
            (None, false) => Stage::Joining,
        }
    }

    pub(super) const fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    pub(super) fn due(
        &self,
        claims: &Claims,
        settings: &Settings,
    ) -> Option<(Instant, &'static str)> {
        let (_, since) = self.leaving?;
        let at = match claims.is_empty() {
            true => Instant::START,
            false => since + settings.give_limit,
        };
        Some((at, "the end of leaving"))
    }
}
