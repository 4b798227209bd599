//! A2 to A5: where a member is spoken to.
//!
//! The Nodes list says where a member may be, late and in any order; its record says where it is. The
//! last word counts, of those who may say it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Member, Members};
use crate::Instant;
use crate::address::Family;
use crate::ownership::node::NodeId;

impl Members {
    /// A5: the families of this member's own addresses.
    pub(in super::super) fn set_families(&mut self, families: BTreeSet<Family>, now: Instant) {
        if families.is_empty() || std::mem::replace(&mut self.families, families) == self.families {
            return;
        }
        let ids: Vec<NodeId> = self
            .live_others()
            .chain(self.index.absent.clone())
            .collect();
        for id in ids {
            let Some(member) = self.get(id).filter(|one| !self.is_reachable(one.address)) else {
                continue;
            };
            let said = Some(member.record.address).filter(|address| self.is_reachable(*address));
            let address = said.unwrap_or_else(|| self.best_listed(member));
            self.change(id, now, |member| member.move_to(address));
        }
    }

    fn is_reachable(&self, address: IpAddr) -> bool {
        self.families.contains(&Family::of(address))
    }

    /// The first in the Node's order that this member can speak to.
    fn best_listed(&self, member: &Member) -> IpAddr {
        let mut listed = member.listed_at.iter().copied();
        let reachable = listed.clone().find(|address| self.is_reachable(*address));
        reachable.or(listed.next()).unwrap_or(member.address)
    }

    /// A3: a member whose Node got other addresses is at one of them, unless it has said so already.
    pub(super) fn follow_listed(&mut self, id: NodeId, addresses: &[IpAddr], now: Instant) {
        let Some(member) = self.all.get_mut(&id) else {
            return;
        };
        let is_news = member.listed_at != addresses;
        if is_news {
            member.listed_at = addresses.to_vec();
        }
        let is_unheard = !member.standing.is_heard_of();
        let is_gone = is_news && !addresses.contains(&member.address);
        if id != self.me && (is_unheard || is_gone) {
            let address = self.best_listed(&self.all[&id]);
            self.change(id, now, |member| member.move_to(address));
        }
    }

    /// A2: it has told where it is.
    pub(super) fn follow_own_word(&mut self, id: NodeId, now: Instant) {
        let said = self.get(id).map(|member| member.record.address);
        if let Some(said) = said.filter(|said| self.is_reachable(*said)) {
            self.change(id, now, |member| member.move_to(said));
        }
    }

    /// A4: a datagram of it came from here, and it may be believed where it comes from. What it says of
    /// itself counts for more than a Nodes list that says otherwise; who is behind address translation
    /// says something else.
    pub(in super::super) fn note_source(&mut self, id: NodeId, from: IpAddr, now: Instant) {
        let is_elsewhere = |one: &&Member| one.address != from && one.record.address == from;
        if self.get(id).filter(is_elsewhere).is_some() && self.is_reachable(from) {
            self.change(id, now, |member| member.move_to(from));
        }
    }

    /// A2: whether the Nodes list lets a member be there, also as far as nothing is known of it.
    pub(in super::super) fn may_be_at(&self, id: NodeId, address: IpAddr) -> bool {
        let listed = self.get(id).map(|member| &member.listed_at);
        listed.is_none_or(|listed| listed.is_empty() || listed.contains(&address))
    }

    /// Who is spoken to there. Of two, of whom one has left the address to the other, the one that says
    /// so itself.
    pub(in super::super) fn by_address(&self, address: IpAddr) -> Option<NodeId> {
        let there = self.iter().filter(|(_, member)| member.address == address);
        let by_own_word = |one: &Member| one.is_live() && one.record.address == address;
        let there = there.max_by_key(|(_, one)| (by_own_word(one), one.is_live()));
        there.map(|(id, _)| id)
    }
}
