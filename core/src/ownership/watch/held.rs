//! R1: a process that restarts is not a node that dies.
//!
//! A move resets every TCP connection through the address, while a kernel without its speaker goes
//! on forwarding. So the addresses of a process that went away stay reserved to its name for a
//! while, unless its node dies too: its kernel is watched instead. The reservations themselves are kept
//! in the table (`members`), so that whoever restarted learns its own there.

use super::super::context::{Ctx, Step};
use super::super::members::{Member, Way};
use super::{NodeId, Watching};

/// The held members whose kernels this member watches.
pub(super) fn to_watch(ctx: Ctx<'_>) -> impl Iterator<Item = NodeId> {
    let reserving = ctx.members.index().reserving.iter().copied();
    let is_held = move |id| ctx.members.get(id).is_some_and(Member::is_held);
    let held = reserving.filter(move |&id| is_held(id));
    held.filter(move |&id| {
        ctx.members
            .neighbours(id, Way::After, ctx.settings.watchers)
            .contains(&ctx.me)
    })
}

impl Watching {
    /// Each beat asks a held member's kernel; two without an answer make its node suspect.
    pub(super) fn watch_kernel(&mut self, id: NodeId, joined: bool, step: &mut Step<'_>) {
        let patience = step.settings.beat * (step.settings.held_misses + 1);
        let is_silent = step.members.is_kernel_silent(id);
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if is_silent {
            // L13: it never answered, so its silence says nothing; the hold ends in its time.
            watch.deadline = step.now + step.settings.beat;
            return;
        }
        if step.now >= watch.kernel_at + patience {
            self.suspect(id, joined, step);
            return;
        }
        watch.deadline = step.now + step.settings.beat;
        step.probe(id);
    }
}
