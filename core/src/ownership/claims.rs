//! C1 to C4, C6, C8: what this member claims, keeps and gives up.

mod freedom;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use freedom::Held;

use super::epoch::next_epoch;
use super::handover::{Give, Offered};
use super::model::Claim;
use super::wire::{Message, VIPS_OF};
use super::{Cause, Event, NodeId, Ownership, Wanted};
use crate::elect::rank;
use crate::{Instant, Reason};

#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    wanted: BTreeMap<IpAddr, Wanted>,
    pub(super) owned: BTreeMap<IpAddr, Owned>,
    /// Wanted for the first time while this member served: these are spread by load.
    newborn: BTreeSet<IpAddr>,
    /// Wanted and held by nobody, since when.
    pending: BTreeMap<IpAddr, Instant>,
    /// Wanted, and announced by somebody now or before (C9).
    held: BTreeMap<IpAddr, Held>,
    /// Given up by a member that is still there, just now.
    released: BTreeSet<IpAddr>,
    /// To be looked at again.
    pub(super) dirty: BTreeSet<IpAddr>,
    /// What others want to hand over to this member.
    pub(super) offers: BTreeMap<NodeId, Vec<Offered>>,
    /// The own record changed.
    pub(super) publish: bool,
    /// Addresses given up to a better claim, and to whom: still to be told, and told once.
    yields: BTreeMap<NodeId, Vec<IpAddr>>,
    yielded: BTreeMap<NodeId, Vec<IpAddr>>,
    /// To be announced again, once it is clear that this member keeps them.
    remind: BTreeSet<IpAddr>,
    remind_at: Option<Instant>,
    /// Since when a majority is back while some claim is weak (C3).
    majority_since: Option<Instant>,
}

/// An address that this member answers for.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub(super) claim: Claim,
    since: Instant,
    /// Another live member claims it too: once it falls silent, neighbours are told again.
    contested: bool,
    pub(super) give: Option<Give>,
}

impl Claims {
    pub(super) fn reconsider_all(&mut self) {
        self.pending.clear();
        self.dirty.extend(self.wanted.keys());
    }

    pub(super) fn wanted(&self, vip: IpAddr) -> Option<&Wanted> {
        self.wanted.get(&vip)
    }

    pub(super) fn own(&self) -> BTreeMap<IpAddr, Claim> {
        self.owned
            .iter()
            .map(|(&vip, owned)| (vip, owned.claim))
            .collect()
    }
}

impl Ownership {
    /// The addresses that the cluster wants announced, with this node's own eligibility.
    pub fn set_wanted(&mut self, wanted: BTreeMap<IpAddr, Wanted>) {
        let old = std::mem::replace(&mut self.claims.wanted, wanted);
        let new = &self.claims.wanted;
        if self.join.is_joined() {
            self.claims
                .newborn
                .extend(new.keys().filter(|vip| !old.contains_key(vip)));
        }
        self.claims.newborn.retain(|vip| new.contains_key(vip));
        self.claims.held.retain(|vip, _| new.contains_key(vip));
        let changed = old
            .keys()
            .chain(new.keys())
            .filter(|vip| old.get(*vip) != new.get(*vip));
        self.claims.dirty.extend(changed);
        // C8: silent in the same step.
        let owned = self.claims.owned.keys().copied();
        let unwanted: Vec<IpAddr> = owned.filter(|vip| !new.contains_key(vip)).collect();
        for vip in unwanted {
            self.withdraw(vip, Reason::Unwanted);
        }
    }

    /// Carries on what changes of the table bring with them.
    pub(super) fn follow_changes(&mut self, now: Instant) {
        let changes = self.members.take_changes();
        if changes.gone {
            self.regrade(now);
        }
        if changes.returned {
            self.remind_soon(now);
        }
        self.claims.dirty.extend(changes.vips);
        self.claims.released.extend(changes.released);
        if changes.candidates {
            // A better one may be there.
            self.claims.dirty.extend(self.claims.owned.keys());
        }
        if changes.ring {
            self.rewatch(now);
        }
    }

    /// Looks again at every address of which something changed, then at those without an owner.
    pub(super) fn decide(&mut self, now: Instant) {
        if self.contact.is_name_shared(now) {
            self.withdraw_all(Reason::NameShared);
        }
        while let Some(vip) = self.claims.dirty.pop_first() {
            self.note_holder(vip, now);
            if self.claims.owned.contains_key(&vip) {
                self.review_owned(vip, now);
            } else {
                self.review_free(vip, now);
            }
        }
        self.claims.released.clear();
        self.send_yields();
        self.take_offers(now);
        self.give_when_due(now);
        if self.may_claim(now) {
            self.reclaim(now);
            self.claim_pending(now);
        }
        if self.claims.remind_at.is_some_and(|at| at <= now) {
            self.claims.remind_at = None;
            self.claims.remind.extend(self.claims.owned.keys());
        }
        for vip in std::mem::take(&mut self.claims.remind) {
            if self.claims.owned.contains_key(&vip) {
                self.events.push_back(Event::Announce {
                    vip,
                    cause: Cause::Reminder,
                    probe_first: false,
                });
            }
        }
    }

    /// C4: a node judges its own eligibility alone.
    pub(super) fn may_serve(&self, vip: IpAddr) -> bool {
        let is_eligible = self.claims.wanted(vip).is_some_and(|one| one.eligible);
        is_eligible && !self.lacks_subnet(self.me, vip) && !self.leaves_to_others(vip)
    }

    /// L9: somebody was away, or this member was: neighbours may have been told otherwise.
    pub(super) fn remind_soon(&mut self, now: Instant) {
        self.claims
            .remind_at
            .get_or_insert(now + self.settings.remind);
    }

    /// L9: somebody holds this member gone, and may have announced its addresses. Put off as long as
    /// it goes on: nobody hears this member before it ends.
    pub(super) fn remind_once_heard(&mut self, now: Instant) {
        self.claims.remind_at = Some(now + self.settings.recontact + self.settings.remind);
    }

    fn may_claim(&self, now: Instant) -> bool {
        let is_quiet = self.contact.is_quiet(now) || self.blocked.is_listening(now);
        self.stage().serves() && !is_quiet
    }

    /// C2, C6: the better claim stays, the other falls silent first.
    fn review_owned(&mut self, vip: IpAddr, now: Instant) {
        if self.leaves_to_others(vip) {
            return self.withdraw(vip, Reason::AddressNotListed);
        }
        let Some((owner, _)) = self.members.owner(vip) else {
            return;
        };
        if owner != self.me {
            self.withdraw(vip, Reason::NotOwner);
            self.claims.yields.entry(owner).or_default().push(vip);
            return;
        }
        let claimants = self.members.claims(vip).map(|(id, _)| id);
        let others: Vec<NodeId> = claimants
            .filter(|&id| id != self.me && self.members.is_live(id))
            .collect();
        let is_contested = !others.is_empty();
        let Some(owned) = self.claims.owned.get_mut(&vip) else {
            return;
        };
        if std::mem::replace(&mut owned.contested, is_contested) != is_contested {
            // When a contest begins, and when the other has fallen silent: the last word is ours.
            self.remind(vip);
            // They may not know this claim.
            others
                .into_iter()
                .for_each(|other| self.send_own_record(other));
        }
        self.review_give(vip, now);
    }

    /// An address that this member does not hold is pending if nobody else does, or is about to.
    /// Turns are counted from then on: by nobody who is still joining. Who gave it up without a need
    /// has heard of a better claim, by a member that this one may be about to hear of (C6).
    fn review_free(&mut self, vip: IpAddr, now: Instant) {
        let is_free = self.stage().serves()
            && self.claims.wanted.contains_key(&vip)
            && self.members.owner(vip).is_none()
            && !self.is_reserved_to_another(vip)
            && !self.is_announced_elsewhere(vip, now);
        if is_free {
            let is_released = self.claims.released.contains(&vip);
            let since = if is_released {
                now + self.settings.recontact
            } else {
                now
            };
            self.claims.pending.entry(vip).or_insert(since);
        } else {
            self.claims.pending.remove(&vip);
        }
    }

    /// `asking` if another host may have it.
    pub(super) fn claim(&mut self, vip: IpAddr, cause: Cause, asking: bool, now: Instant) {
        let claim = Claim {
            strong: self.sees_majority(now),
            epoch: next_epoch(self.members.index().floor(vip)),
            rank: rank(&self.identity.node, vip).prefix(),
            asking,
        };
        let contested = cause == Cause::Handover;
        self.claims.owned.insert(
            vip,
            Owned {
                claim,
                since: now,
                contested,
                give: None,
            },
        );
        self.claims.pending.remove(&vip);
        self.members.set_own_claim(vip, Some(claim));
        self.claims.publish = true;
        self.note_holder(vip, now);
        self.events.push_back(Event::Announce {
            vip,
            cause,
            probe_first: asking,
        });
    }

    pub(super) fn withdraw(&mut self, vip: IpAddr, reason: Reason) {
        if self.claims.owned.remove(&vip).is_some() {
            self.members.set_own_claim(vip, None);
            self.claims.dirty.insert(vip);
            self.claims.publish = true;
            self.events.push_back(Event::Withdraw { vip, reason });
        }
    }

    pub(super) fn withdraw_all(&mut self, reason: Reason) {
        let owned: Vec<IpAddr> = self.claims.owned.keys().copied().collect();
        for vip in owned {
            self.withdraw(vip, reason);
        }
    }

    pub(super) fn remind(&mut self, vip: IpAddr) {
        self.claims.remind.insert(vip);
    }

    /// C3: a majority of the members known, or half of them and the gateway.
    fn sees_majority(&self, now: Instant) -> bool {
        let (live, known) = (self.members.index().live.len(), self.members.index().known);
        let gateway = self
            .gateway_answered_at
            .is_some_and(|at| now < at + self.settings.gateway_fresh);
        2 * live > known || (2 * live == known && gateway)
    }

    /// C3: losses made this side the small one. What it claimed while they were being found, it
    /// claimed with a majority that was gone already: a partition's first verdicts come one by one.
    fn regrade(&mut self, now: Instant) {
        if !self.sees_majority(now) {
            let unsettled = self.settings.unsettled;
            self.grade(false, |owned| now < owned.since + unsettled);
        }
    }

    /// C3: weak claims turn strong after one to two seconds with a majority.
    pub(super) fn confirm_claims(&mut self, now: Instant) {
        let is_weak = self.claims.owned.values().any(|owned| !owned.claim.strong);
        if !is_weak || !self.sees_majority(now) {
            self.claims.majority_since = None;
        } else if self.claims.majority_since.replace(now).is_some() {
            self.claims.majority_since = None;
            self.grade(true, |_| true);
        }
    }

    fn grade(&mut self, strong: bool, which: impl Fn(&Owned) -> bool) {
        for (&vip, owned) in &mut self.claims.owned {
            if owned.claim.strong != strong && which(owned) {
                owned.claim.strong = strong;
                self.members.set_own_claim(vip, Some(owned.claim));
                self.claims.dirty.insert(vip);
                self.claims.publish = true;
            }
        }
    }

    /// C6: the winner is told that the loser is silent, and so tells the neighbours again.
    fn send_yields(&mut self) {
        for (to, vips) in std::mem::take(&mut self.claims.yields) {
            self.send_yield(to, &vips);
            self.claims.yielded.entry(to).or_default().extend(vips);
        }
    }

    /// Once more, with the record's repetition.
    pub(super) fn repeat_yields(&mut self) {
        for (to, vips) in std::mem::take(&mut self.claims.yielded) {
            self.send_yield(to, &vips);
        }
    }

    fn send_yield(&mut self, to: NodeId, vips: &[IpAddr]) {
        for chunk in vips.chunks(VIPS_OF) {
            self.send(to, &Message::Yield(chunk.to_vec()));
        }
    }

    pub(super) fn handle_yield(&mut self, vips: &[IpAddr]) {
        self.claims.remind.extend(vips);
    }

    pub(super) fn claim_due(&self) -> Option<(Instant, &'static str)> {
        let dirty = !self.claims.dirty.is_empty()
            || !self.claims.remind.is_empty()
            || !self.claims.offers.is_empty()
            || self.members.index().has_changes();
        let is_serving = self.stage().serves();
        let pending = self.claims.pending.values().filter(|_| is_serving);
        let turn = pending.filter_map(|&since| self.next_turn(since)).min();
        [
            dirty.then_some((Instant::START, "something changed")),
            turn.map(|at| (at, "a turn to claim")),
            self.claims.remind_at.map(|at| (at, "a reminder")),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
