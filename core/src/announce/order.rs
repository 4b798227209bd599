//! A Vip that this node is to announce, on all links that carry it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::link::{Assignment, Link, LinkId};
use super::vip_on_link::VipOnLink;
use super::{Settings, carrying};
use crate::Instant;

/// What has become of a Vip that this node is to announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// No link with carrier may announce it (`no_link`).
    NoLink,
    /// It is being asked whether another host has it (`probing`).
    Probing,
    /// Another host has it, so it is not announced (`address_conflict`).
    Conflict,
    /// It is announced and answered for.
    Announced,
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) wanted: Assignment,
    /// It needs no probe any more: this node has announced it since it is wanted.
    pub(super) is_claimed: bool,
    /// By link, in order. As a rule there is one: a map of each would be eleven times as large.
    pub(super) claims: Vec<(LinkId, VipOnLink)>,
}

impl Order {
    pub(super) const fn new(wanted: Assignment) -> Self {
        Self {
            wanted,
            is_claimed: false,
            claims: Vec::new(),
        }
    }

    pub(super) fn claim(&self, id: LinkId) -> Option<&VipOnLink> {
        let found = self.claims.iter().find(|(one, _)| *one == id);
        found.map(|(_, claim)| claim)
    }

    pub(super) fn claim_mut(&mut self, id: LinkId) -> Option<&mut VipOnLink> {
        let found = self.claims.iter_mut().find(|(one, _)| *one == id);
        found.map(|(_, claim)| claim)
    }

    /// Has a claim on each link that carries `vip` now, and on no other one.
    pub(super) fn follow(
        &mut self,
        vip: IpAddr,
        links: &BTreeMap<LinkId, Link>,
        settings: &Settings,
        now: Instant,
    ) {
        let carrying: Vec<LinkId> = carrying(vip, &self.wanted, links).collect();
        self.claims.retain(|(id, _)| carrying.contains(id));
        let new = carrying.into_iter().filter(|id| self.claim(*id).is_none());
        let new: Vec<LinkId> = new.collect();
        self.claims.reserve_exact(new.len());
        for id in new {
            let claim = VipOnLink::fresh(&self.wanted, self.is_claimed, settings, now);
            self.claims.push((id, claim));
        }
        self.claims.sort_unstable_by_key(|(id, _)| *id);
    }

    /// A Vip is announced if it is so on one link; else what keeps it silent counts more than what
    /// may be over at once.
    pub(super) fn progress(&self) -> Progress {
        let each = self.claims.iter().map(|(_, claim)| {
            if claim.state.answers() {
                Progress::Announced
            } else if claim.is_in_conflict() {
                Progress::Conflict
            } else {
                Progress::Probing
            }
        });
        each.max().unwrap_or(Progress::NoLink)
    }
}
