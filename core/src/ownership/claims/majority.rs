//! C3: whether this side is the large one.

use crate::Instant;
use crate::ownership::context::Ctx;

#[derive(Debug, Clone, Default)]
pub(super) struct Majority {
    gateway_answered_at: Option<Instant>,
    /// Since when a majority is back while some claim is weak.
    since: Option<Instant>,
}

impl Majority {
    pub(super) const fn note_gateway(&mut self, now: Instant) {
        self.gateway_answered_at = Some(now);
    }

    /// A majority of the members known, or half of them and the gateway.
    pub(super) fn is_seen(&self, ctx: Ctx<'_>) -> bool {
        let index = ctx.members.index();
        let (live, known) = (index.live.len(), index.known);
        let gateway = self
            .gateway_answered_at
            .is_some_and(|at| ctx.now < at + ctx.settings.gateway_fresh);
        2 * live > known || (2 * live == known && gateway)
    }

    /// Whether it was seen twice in a row, since `has_weak` claims: asked each second.
    pub(super) fn confirms(&mut self, has_weak: bool, ctx: Ctx<'_>) -> bool {
        if !has_weak || !self.is_seen(ctx) {
            self.since = None;
            return false;
        }
        let is_second = self.since.replace(ctx.now).is_some();
        if is_second {
            self.since = None;
        }
        is_second
    }
}
