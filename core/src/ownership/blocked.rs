//! B1 to B3: members that live and cannot be heard, as where a firewall drops UDP 7946.
//!
//! What is left is the wire: whoever owns an address announces it, and announces again each few
//! seconds as long as somebody may depend on that. An announcement by a member that is not live here
//! is its claim.
//!
//! - B1 Of two that announce, the one of lower rank falls silent.
//! - B2 Nobody claims what is announced by a member whose kernel answers; who starts listens first.
//! - B3 What is announced no more, for three rounds, is claimed in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::members::Member;
use super::{Event, NodeId, Ownership, Settings};
use crate::wire::MacAddr;
use crate::{Instant, Reason};

/// Absent members that are asked in one look, besides owners.
pub(super) const PER_ROUND: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Blocked {
    /// Who they are, as of the last look.
    members: BTreeSet<NodeId>,
    /// What they announce.
    heard: BTreeMap<IpAddr, (NodeId, Instant)>,
    insisted_at: BTreeMap<IpAddr, Instant>,
    next_round: Instant,
    remind_at: Instant,
    listen_until: Instant,
}

impl Blocked {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            members: BTreeSet::new(),
            heard: BTreeMap::new(),
            insisted_at: BTreeMap::new(),
            next_round: now,
            remind_at: Instant::START,
            listen_until: Instant::START,
        }
    }

    pub(super) fn is_listening(&self, now: Instant) -> bool {
        now < self.listen_until
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.members.contains(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Member {
    /// Its node lives, nothing says that its process does not, and yet it is not heard.
    fn is_blocked(&self, settings: &Settings, now: Instant) -> bool {
        let has_no_process = self
            .no_process_at
            .is_some_and(|at| now < at + settings.no_process);
        let has_kernel = self
            .kernel_at
            .is_some_and(|at| at > self.since && now < at + settings.kernel_fresh);
        self.is_absent() && has_kernel && !has_no_process
    }
}

impl Ownership {
    /// Another station announced a wanted address. To be called while [`Self::needs_the_wire`].
    pub fn handle_announcement(&mut self, vip: IpAddr, from: MacAddr, now: Instant) {
        let Some(id) = self.hear_claimant(vip, from, now) else {
            return;
        };
        if !self.claims.owned.contains_key(&vip) {
            return;
        }
        if self.ranks_before_this(vip, id) {
            self.withdraw(vip, Reason::PeerAnnounces);
        } else {
            self.insist(vip, now);
        }
    }

    /// Another station asks whether anybody has a wanted address. To be called as
    /// [`Self::handle_announcement`]. A member that asks is about to announce it (C9): nobody else
    /// claims it meanwhile. Of two that ask the one of lower rank gives up; whoever announces it
    /// already says so again, unless the other one is the better.
    pub fn handle_probe(&mut self, vip: IpAddr, from: MacAddr, now: Instant) {
        let Some(id) = self.hear_claimant(vip, from, now) else {
            return;
        };
        let Some(owned) = self.claims.owned.get(&vip) else {
            return;
        };
        match (self.ranks_before_this(vip, id), owned.claim.asking) {
            (true, true) => self.withdraw(vip, Reason::PeerAnnounces),
            (false, false) => self.insist(vip, now),
            _ => {}
        }
    }

    /// The member, if it is one that only the wire tells of.
    fn hear_claimant(&mut self, vip: IpAddr, from: MacAddr, now: Instant) -> Option<NodeId> {
        self.received(now);
        let id = self.members.by_mac(from)?;
        // Those who are heard settle it by their claims.
        if id == self.me || self.members.is_live(id) || self.claims.wanted(vip).is_none() {
            return None;
        }
        self.blocked.heard.insert(vip, (id, now));
        self.claims.dirty.insert(vip);
        Some(id)
    }

    /// Whether announcements have to be listened to.
    #[must_use]
    pub fn needs_the_wire(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Members that hear each other count turns among themselves, since they may not agree on who
    /// cannot be heard.
    pub(super) fn is_blocked_with_all_others(&self, id: NodeId) -> bool {
        self.blocked.contains(id) && self.members.index().live.len() == 1
    }

    fn ranks_before_this(&self, vip: IpAddr, id: NodeId) -> bool {
        let wanted = self.claims.wanted(vip);
        let order = wanted
            .into_iter()
            .flat_map(|wanted| wanted.candidates.iter());
        let first = order
            .map(|one| one.node)
            .find(|one| [id, self.me].contains(one));
        first == Some(id)
    }

    fn insist(&mut self, vip: IpAddr, now: Instant) {
        let last = self.blocked.insisted_at.get(&vip);
        if last.is_none_or(|&at| now >= at + self.settings.insist) {
            self.blocked.insisted_at.insert(vip, now);
            self.remind(vip);
        }
    }

    /// B2: but for those who said good-bye.
    pub(super) fn is_announced_elsewhere(&self, vip: IpAddr, now: Instant) -> bool {
        let Settings {
            announcement_fresh,
            owner_fresh,
            ..
        } = self.settings;
        self.blocked.heard.get(&vip).is_some_and(|&(id, at)| {
            let member = self.members.get(id);
            let kernel_at = member
                .filter(|one| one.is_absent())
                .and_then(|one| one.kernel_at);
            now < at + announcement_fresh && kernel_at.is_some_and(|at| now < at + owner_fresh)
        })
    }

    /// B2: nobody told this member anything, and some may be unable to.
    pub(super) fn listen_first(&mut self, now: Instant) {
        self.find_blocked(Duration::ZERO, now);
        if !self.blocked.is_empty() {
            self.blocked.listen_until = now + self.settings.listen;
        }
    }

    pub(super) fn attend_blocked(&mut self, now: Instant) {
        if now < self.blocked.next_round {
            return;
        }
        self.blocked.next_round = now + self.settings.blocked_round;
        self.find_blocked(self.settings.absent, now);
        self.ask_the_absent(now);
        self.look_after_unheard();
        let is_due = now >= self.blocked.remind_at;
        if is_due && !self.blocked.is_empty() && !self.claims.owned.is_empty() {
            self.blocked.remind_at = now + self.settings.unheard_remind;
            self.remind_soon(now);
        }
        let insist = self.settings.insist;
        self.blocked.insisted_at.retain(|_, at| now < *at + insist);
        let heard = self.blocked.heard.keys().copied();
        let ended: Vec<IpAddr> = heard
            .filter(|&vip| !self.is_announced_elsewhere(vip, now))
            .collect();
        for vip in ended {
            self.blocked.heard.remove(&vip);
            self.claims.dirty.insert(vip);
        }
    }

    /// Every owner, and some of the others: who was asked longest ago.
    fn ask_the_absent(&mut self, now: Instant) {
        let absent = self.members.index().absent.iter().copied();
        let mut others: Vec<_> = absent
            .map(|id| (self.members.get(id).and_then(|one| one.asked_at), id))
            .collect();
        others.sort_unstable();
        let owners = self.blocked.heard.values().map(|&(id, _)| id);
        let others = others.into_iter().take(PER_ROUND).map(|(_, id)| id);
        for id in owners.chain(others).collect::<BTreeSet<_>>() {
            if let Some(member) = self.members.get_mut(id) {
                member.asked_at = Some(now);
            }
            self.probe(id);
        }
    }

    fn find_blocked(&mut self, absent_for: Duration, now: Instant) {
        let absent = self.members.index().absent.iter().copied();
        let blocked: BTreeSet<NodeId> = absent
            .filter(|&id| {
                let member = self.members.get(id);
                member.is_some_and(|one| {
                    now >= one.since + absent_for && one.is_blocked(&self.settings, now)
                })
            })
            .collect();
        for &node in blocked.difference(&self.blocked.members) {
            self.events.push_back(Event::Blocked { node });
            // It may be about to claim what this member has.
            self.blocked.remind_at = now;
        }
        self.blocked.members = blocked;
    }

    pub(super) fn blocked_due(&self) -> Option<(Instant, &'static str)> {
        let is_needed = !self.blocked.is_empty() || !self.members.index().absent.is_empty();
        is_needed.then_some((self.blocked.next_round, "members that cannot be heard"))
    }
}
