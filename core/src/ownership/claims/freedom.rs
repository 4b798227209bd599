//! C9: what was free is probed before it is announced.
//!
//! A takeover is announced at once: until now the address was ours, and its users wait. An address
//! that nobody announced for a while may have another host by now, such as one that a DHCP server
//! gave it to: when its Service was deleted and another one asks for it, when no node was eligible,
//! when all speakers were away. What counts is whether it was announced, not whether anybody claimed
//! it: who dies while it still asks has shown nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::turns::MAX_PLACE;
use crate::Instant;
use crate::ownership::context::Ctx;
use crate::ownership::demand::Demand;
use crate::ownership::scene::Scene;
use crate::ownership::settings::Settings;

/// Wanted addresses that somebody announces, or has announced.
#[derive(Debug, Clone, Default)]
pub(super) struct Freedom {
    held: BTreeMap<IpAddr, Held>,
}

/// When a wanted address was last announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Now,
    Until(Instant),
}

impl Freedom {
    pub(super) fn forget_unwanted(&mut self, demand: &Demand) {
        self.held.retain(|vip, _| demand.contains(*vip));
    }

    /// To be called whenever a claim on the address changed, or the standing of its claimant.
    pub(super) fn note_holder(&mut self, vip: IpAddr, scene: Scene<'_>, ctx: Ctx<'_>) {
        if scene.demand.contains(vip) && is_held(vip, scene, ctx) {
            self.held.insert(vip, Held::Now);
        } else if let Some(held @ Held::Now) = self.held.get_mut(&vip) {
            *held = Held::Until(ctx.now);
        }
    }

    /// Whether another host may have it: nobody has announced it since the last of those who might
    /// take it over had a turn.
    pub(super) fn was_free(&self, vip: IpAddr, settings: &Settings, now: Instant) -> bool {
        let turns = settings.skew * MAX_PLACE + settings.recontact;
        match self.held.get(&vip) {
            Some(Held::Now) => false,
            Some(&Held::Until(at)) => now > at + turns,
            None => true,
        }
    }
}

/// By whoever announces it, by the kernel of a node whose speaker restarts, or by a node that can
/// be heard on the wire alone.
fn is_held(vip: IpAddr, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    let mut claims = ctx.members.claims(vip);
    claims.any(|(_, claim)| !claim.asking)
        || ctx
            .members
            .reservation(vip)
            .is_some_and(|(_, claim)| !claim.asking)
        || scene.blocked.is_announced_elsewhere(vip, ctx)
}
