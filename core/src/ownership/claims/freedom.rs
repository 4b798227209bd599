//! C9: what was free is probed before it is announced.
//!
//! A takeover is announced at once: until now the address was ours, and its users wait. An address
//! that nobody announced for a while may have another host by now, such as one that a DHCP server
//! gave it to: when its Service was deleted and another one asks for it, when no node was eligible,
//! when all speakers were away. What counts is whether it was announced, not whether anybody claimed
//! it: who dies while it still asks has shown nothing.

use std::net::IpAddr;

use super::turns::MAX_PLACE;
use crate::Instant;
use crate::ownership::{NodeId, Ownership};

/// When a wanted address was last announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Now,
    Until(Instant),
}

impl Ownership {
    /// The driver has found that no other host has this address, and announces it.
    pub fn set_announced(&mut self, vip: IpAddr) {
        let Some(owned) = self.claims.owned.get_mut(&vip) else {
            return;
        };
        if std::mem::take(&mut owned.claim.asking) {
            let claim = owned.claim;
            self.members.set_own_claim(vip, Some(claim));
            self.claims.dirty.insert(vip);
            self.claims.publish = true;
        }
    }

    /// To be called whenever a claim on the address changed, or the standing of its claimant.
    pub(super) fn note_holder(&mut self, vip: IpAddr, now: Instant) {
        if self.claims.wanted.contains_key(&vip) && self.is_held(vip, now) {
            self.claims.held.insert(vip, Held::Now);
        } else if let Some(held @ Held::Now) = self.claims.held.get_mut(&vip) {
            *held = Held::Until(now);
        }
    }

    /// By whoever announces it, by the kernel of a node whose speaker restarts, or by a node that can
    /// be heard on the wire alone.
    fn is_held(&self, vip: IpAddr, now: Instant) -> bool {
        let mut claims = self.members.claims(vip);
        claims.any(|(_, claim)| !claim.asking)
            || self
                .members
                .reservation(vip)
                .is_some_and(|(_, claim)| !claim.asking)
            || self.is_announced_elsewhere(vip, now)
    }

    /// Whether another host may have it: nobody has announced it since the last of those who might
    /// take it over had a turn.
    pub(super) fn was_free(&self, vip: IpAddr, now: Instant) -> bool {
        let turns = self.settings.skew * MAX_PLACE + self.settings.recontact;
        match self.claims.held.get(&vip) {
            Some(Held::Now) => false,
            Some(&Held::Until(at)) => now > at + turns,
            None => true,
        }
    }

    /// Whether a member claims the address and does not announce it yet.
    pub(in crate::ownership) fn is_asked_for_by(&self, id: NodeId, vip: IpAddr) -> bool {
        let mut claims = self.members.claims(vip);
        claims.any(|(by, claim)| by == id && claim.asking)
    }
}
