//! L9: addresses that this member keeps are announced again, where neighbours may have been told
//! otherwise: somebody was away, or this member was, or held gone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::context::Ctx;
use crate::Instant;

#[derive(Debug, Clone, Default)]
pub(super) struct Reminders {
    /// To be announced again, once it is clear that this member keeps them.
    vips: BTreeSet<IpAddr>,
    /// All of them, then.
    all_at: Option<Instant>,
}

impl Reminders {
    pub(super) fn add(&mut self, vips: impl IntoIterator<Item = IpAddr>) {
        self.vips.extend(vips);
    }

    /// Somebody was away, or this member was: neighbours may have been told otherwise.
    pub(super) fn soon(&mut self, ctx: Ctx<'_>) {
        self.all_at.get_or_insert(ctx.now + ctx.settings.remind);
    }

    /// Somebody holds this member gone, and may have announced its addresses. Put off as long as
    /// it goes on: nobody hears this member before it ends.
    pub(super) fn once_heard(&mut self, ctx: Ctx<'_>) {
        self.all_at = Some(ctx.now + ctx.settings.recontact + ctx.settings.remind);
    }

    /// What is due, of all that this member has `owned` until now.
    pub(super) fn take_due(
        &mut self,
        owned: impl Iterator<Item = IpAddr>,
        now: Instant,
    ) -> BTreeSet<IpAddr> {
        if self.all_at.is_some_and(|at| at <= now) {
            self.all_at = None;
            self.vips.extend(owned);
        }
        std::mem::take(&mut self.vips)
    }

    /// Whether there is something to announce at once.
    pub(super) fn is_due_now(&self) -> bool {
        !self.vips.is_empty()
    }

    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        self.all_at.map(|at| (at, "a reminder"))
    }
}
