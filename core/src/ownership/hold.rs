//! R1, R2, R4: a process that restarts is not a node that dies.
//!
//! A move resets every TCP connection through the address, while a kernel without its speaker goes
//! on forwarding. So the addresses of a process that went away stay reserved to its name for a
//! while, unless its node dies too; and its successor claims them first. The reservations
//! themselves are kept in the table (`members`), so that whoever restarted learns its own there.

use super::members::{Member, Way};
use super::model::Stage;
use super::{Cause, NodeId, Ownership};
use crate::Instant;

impl Ownership {
    /// R1: the held members whose kernels this member watches.
    pub(super) fn held_to_watch(&self) -> Vec<NodeId> {
        let reserving = self.members.index().reserving.iter().copied();
        let is_held = |id| self.members.get(id).is_some_and(Member::is_held);
        let held = reserving.filter(|&id| is_held(id));
        held.filter(|&id| {
            self.members
                .neighbours(id, Way::After, self.settings.watchers)
                .contains(&self.me)
        })
        .collect()
    }

    /// R1: each beat asks a held member's kernel; two without an answer make its node suspect.
    pub(super) fn watch_kernel(&mut self, id: NodeId, now: Instant) {
        let patience = self.settings.beat * (self.settings.held_misses + 1);
        let beat = self.settings.beat;
        let is_silent = self.kernel_is_silent(id);
        let Some(watch) = self.watching.get_mut(id) else {
            return;
        };
        if is_silent {
            // L13: it never answered, so its silence says nothing; the hold ends in its time.
            watch.deadline = now + beat;
            return;
        }
        if now >= watch.kernel_at + patience {
            self.suspect(id, now);
            return;
        }
        watch.deadline = now + beat;
        self.probe(id);
    }

    /// R2: this node's former addresses, claimed before anybody else may.
    pub(super) fn reclaim(&mut self, now: Instant) {
        let Some(former) = self.members.own().former.clone() else {
            return;
        };
        for (&vip, claim) in &former.record.claims {
            let is_free = self.members.owner(vip).is_none();
            if is_free && self.may_serve(vip) {
                self.claim(vip, Cause::Restart, claim.asking, now);
            }
        }
    }

    /// R2: what this node's boot before held. Others wait for it.
    pub(super) fn is_reserved_to_another(&self, vip: std::net::IpAddr) -> bool {
        self.members
            .reserved_to(vip)
            .is_some_and(|id| id != self.me)
    }

    pub(super) fn reservation_due(&self) -> Option<(Instant, &'static str)> {
        let ends = self.members.reservations().map(|(_, until)| until).min();
        ends.map(|at| (at, "the end of a hold"))
    }

    pub(super) fn stage(&self) -> Stage {
        match (self.leaving, self.join.is_joined()) {
            (Some(_), _) => Stage::Leaving,
            (None, true) if self.doubtful => Stage::Doubtful,
            (None, true) => Stage::Serving,
            (None, false) => Stage::Joining,
        }
    }
}
