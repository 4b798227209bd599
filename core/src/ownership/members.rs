//! The table: what this member knows of each member, itself included.
//!
//! A record has one writer, its member (C1). Knowledge is versioned and only grows: a higher boot
//! beats a lower one, within a boot a higher incarnation, within an incarnation the graver life,
//! and, apart from that, a higher sequence number of the record. So it may arrive in any order,
//! twice, or through others, and every table ends the same.

mod entry;
mod index;
mod member;
mod news;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

pub(super) use entry::Merged;
pub(super) use index::{Changes, Index};
pub(super) use member::{Former, Member};

use super::model::{Claim, Death, Verdict};
use super::node::NodeId;
use super::settings::Settings;
use super::standing::Standing;
use crate::Instant;
use crate::address::Family;
use crate::wire::MacAddr;

/// All members, by their place on the ring.
#[derive(Debug, Clone)]
pub(super) struct Members {
    me: NodeId,
    all: BTreeMap<NodeId, Member>,
    index: Index,
    /// Of the addresses that this member has: others are spoken to at one of these (A5).
    families: BTreeSet<Family>,
    hold: Duration,
    hold_restart: Duration,
    rejoin: Duration,
}

impl Members {
    pub(super) fn new(me: NodeId, own: Member, settings: &Settings) -> Self {
        let (hold, hold_restart) = (settings.hold, settings.hold_restart);
        let mut members = Self {
            families: [Family::of(own.address)].into(),
            me,
            all: BTreeMap::new(),
            index: Index::default(),
            hold,
            hold_restart,
            rejoin: 2 * settings.join,
        };
        members.insert(me, own);
        members
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Member> {
        self.all.get(&id)
    }

    /// For what the index does not know of; everything else goes through [`Self::change`].
    fn get_mut(&mut self, id: NodeId) -> Option<&mut Member> {
        self.all.get_mut(&id)
    }

    pub(super) fn own(&self) -> &Member {
        &self.all[&self.me]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.all.iter().map(|(&id, member)| (id, member))
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn forget_idle(&mut self, is_wanted: impl Fn(IpAddr) -> bool) {
        self.index.forget_idle(is_wanted);
    }

    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.index.changes)
    }

    pub(super) fn is_live(&self, id: NodeId) -> bool {
        self.index.live.contains(&id)
    }

    /// The live members but this one.
    pub(super) fn live_others(&self) -> impl Iterator<Item = NodeId> {
        self.index.live.iter().copied().filter(|&id| id != self.me)
    }

    pub(super) fn by_mac(&self, mac: MacAddr) -> Option<NodeId> {
        let mut all = self.iter();
        all.find(|(_, member)| !mac.is_zero() && member.station() == mac)
            .map(|(id, _)| id)
    }

    /// The one way in which a member changes: the index follows, and notes what has to follow it.
    fn change(&mut self, id: NodeId, now: Instant, edit: impl FnOnce(&mut Member)) {
        let Some(member) = self.all.get_mut(&id) else {
            return;
        };
        let before = member.clone();
        edit(member);
        let seen = |one: &Member| (one.standing.life(), one.standing.is_lost());
        if seen(member) != seen(&before) {
            member.since = now;
        }
        self.index
            .update(id, Some(&before), Some(member), id == self.me);
    }

    fn insert(&mut self, id: NodeId, member: Member) {
        self.index.update(id, None, Some(&member), id == self.me);
        self.all.insert(id, member);
    }

    /// The Nodes list: each Node with its addresses, at least one.
    pub(super) fn set_listed(&mut self, nodes: &BTreeMap<NodeId, Vec<IpAddr>>, now: Instant) {
        for (&id, addresses) in nodes {
            if let (Some(&address), false) = (addresses.first(), self.all.contains_key(&id)) {
                self.insert(id, Member::new(address, now));
            }
        }
        let ids: Vec<NodeId> = self.all.keys().copied().collect();
        for id in ids {
            let addresses = nodes.get(&id).filter(|addresses| !addresses.is_empty());
            self.change(id, now, |member| {
                member.listed = addresses.is_some();
                member.was_listed |= member.listed;
            });
            if let Some(addresses) = addresses {
                self.follow_listed(id, addresses, now);
            }
        }
        let forgotten = self.iter().filter(|(_, member)| member.is_forgotten());
        let forgotten: Vec<NodeId> = forgotten.map(|(id, _)| id).collect();
        for id in forgotten.into_iter().filter(|id| *id != self.me) {
            let member = self.all.remove(&id);
            self.index.update(id, member.as_ref(), None, false);
        }
    }

    /// A verdict that is everybody's (L6). False if it is old, or no graver than what is known.
    pub(super) fn bury(&mut self, death: &Death, now: Instant) -> bool {
        let Death {
            member: id,
            boot,
            inc,
            verdict,
        } = *death;
        let until = match verdict {
            Verdict::Restarting => now + self.hold_restart,
            _ => now + self.hold,
        };
        let is_news = self.all.get(&id).is_some_and(|member| {
            let known = member.standing.life();
            member.boot == boot
                && known.is_some_and(|known| (inc, verdict.life()) > (member.inc, known))
        });
        if is_news {
            self.change(id, now, |member| {
                member.inc = inc;
                member.standing = Standing::of_verdict(verdict, until);
            });
        }
        is_news
    }

    /// R1, R2: reservations end with their time.
    pub(super) fn end_reservations(&mut self, now: Instant) {
        let due: Vec<NodeId> = self
            .reservations()
            .filter(|&(_, until)| until <= now)
            .map(|(id, _)| id)
            .collect();
        for id in due {
            self.change(id, now, |member| {
                if let Standing::Held(hold) = member.standing
                    && hold.until <= now
                {
                    member.standing = Standing::Gone(hold.verdict);
                }
                member.former.take_if(|former| former.until <= now);
            });
        }
    }

    pub(super) fn reservations(&self) -> impl Iterator<Item = (NodeId, Instant)> {
        self.index.reserving.iter().map(|&id| {
            let member = &self.all[&id];
            let held = match member.standing {
                Standing::Held(hold) => Some(hold.until),
                _ => None,
            };
            let former = member.former.as_ref().map(|former| former.until);
            (
                id,
                held.into_iter()
                    .chain(former)
                    .min()
                    .expect("reserving members have an end"),
            )
        })
    }

    pub(super) fn reservation_due(&self) -> Option<(Instant, &'static str)> {
        let ends = self.reservations().map(|(_, until)| until).min();
        ends.map(|at| (at, "the end of a hold"))
    }

    /// Whose boot before held `vip` and may claim it again before anybody else (R2).
    pub(super) fn reserved_to(&self, vip: IpAddr) -> Option<NodeId> {
        self.reservation(vip).map(|(id, _)| id)
    }

    /// With the claim that it had.
    pub(super) fn reservation(&self, vip: IpAddr) -> Option<(NodeId, Claim)> {
        self.index.reserving.iter().find_map(|&id| {
            let member = &self.all[&id];
            let former = member.former.as_ref()?;
            let claim = former.record.claims.get(&vip)?;
            (member.is_live() || member.is_held()).then_some((id, *claim))
        })
    }

    /// C2: the owner, by the best claim of members that are live, or held and so still entitled.
    pub(super) fn owner(&self, vip: IpAddr) -> Option<(NodeId, Claim)> {
        let newest = self.index.floor(vip);
        self.claims(vip)
            .max_by_key(|(id, claim)| claim.strength(newest, *id))
    }

    /// The claims on `vip` that count.
    pub(super) fn claims(&self, vip: IpAddr) -> impl Iterator<Item = (NodeId, Claim)> {
        self.index.claims(vip).filter(|(id, _)| {
            let member = &self.all[id];
            member.is_live() || member.is_held()
        })
    }

    /// This member's claim, known to its own table before it is published.
    pub(super) fn set_own_claim(&mut self, vip: IpAddr, claim: Option<Claim>) {
        self.index.set_claim(vip, self.me, claim);
    }

    /// The `count` live members next before (`Way::Before`) or after `id` on the ring.
    pub(super) fn neighbours(&self, id: NodeId, way: Way, count: usize) -> Vec<NodeId> {
        let live = &self.index.live;
        let (below, above) = (live.range(..id), live.range((Excluded(id), Unbounded)));
        match way {
            Way::After => above.chain(below).take(count).copied().collect(),
            Way::Before => below
                .rev()
                .chain(above.rev())
                .take(count)
                .copied()
                .collect(),
        }
    }
}

/// A direction on the ring.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Before,
    After,
}
