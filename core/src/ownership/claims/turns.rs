//! C5: whose turn it is to claim what nobody holds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Instant;
use crate::ownership::members::Member;
use crate::ownership::model::Stage;
use crate::ownership::{Candidate, Cause, NodeId, Ownership, Preference};

/// Nobody waits longer for its turn than the 20th candidate.
pub(super) const MAX_PLACE: u32 = 20;

/// How many addresses each candidate has, while several are being distributed.
#[derive(Debug)]
struct Load {
    own: usize,
    /// What candidates will have once they have claimed what is theirs.
    assumed: BTreeMap<NodeId, usize>,
}

impl Ownership {
    /// C5: the n-th candidate waits n times the skew, so that the one before it is heard of first.
    pub(super) fn claim_pending(&mut self, now: Instant) {
        let mut load = Load {
            own: self.claims.owned.len(),
            assumed: BTreeMap::new(),
        };
        let pending: Vec<(IpAddr, Instant)> = self
            .claims
            .pending
            .iter()
            .map(|(&vip, &since)| (vip, since))
            .collect();
        for (vip, since) in pending {
            if self.awaits_better(vip, now) {
                // Turns begin once it is there, and can have heard of it.
                let since = now + self.settings.recontact;
                self.claims.pending.insert(vip, since);
                continue;
            }
            let Some(place) = self.place(vip, &mut load) else {
                continue;
            };
            if now >= since + self.settings.skew * place {
                let was_free = self.was_free(vip, now);
                let cause = if was_free { Cause::New } else { Cause::Orphan };
                self.claim(vip, cause, was_free, now);
            }
        }
    }

    /// Where the whole cluster starts, a better candidate whose node answers has a speaker that is about
    /// to start: without that patience whoever starts first would take everything, and after a switch
    /// over from `MetalLB` addresses would not stay where they are.
    fn awaits_better(&self, vip: IpAddr, now: Instant) -> bool {
        let Some(since) = self.starting_since(now) else {
            return false;
        };
        let wanted = self.claims.wanted(vip);
        // S4: who is on its subnet is better, whatever the order.
        let is_on_subnet = wanted.is_some_and(|one| one.on_subnet);
        let candidates = wanted.into_iter().flat_map(|one| one.candidates.iter());
        let better = candidates.take_while(|one| one.node != self.me || !is_on_subnet);
        let mut better = better.filter_map(|candidate| self.members.get(candidate.node));
        let is_starting = |one: &Member| {
            let is_joining = one.is_live() && one.record.stage == Stage::Joining;
            let is_there = one.kernel_at.is_some_and(|at| at >= since);
            is_joining || one.is_absent() && is_there
        };
        self.members.index().floor(vip) == 0 && better.any(is_starting)
    }

    /// How many candidates come before this member; `None` if it is none itself.
    ///
    /// Those whose forwarding is in doubt come last. Apart from that it goes by rank alone, so that
    /// all agree whatever they have seen so far: orphans, and whatever is wanted when the speakers
    /// start, as after a switch over from `MetalLB`. Only for an address that is new do nodes with
    /// more than the least load come last; not where the best rank owns anyway.
    fn place(&self, vip: IpAddr, load: &mut Load) -> Option<u32> {
        let wanted = self.claims.wanted(vip)?;
        if !self.may_serve(vip) {
            return None;
        }
        let candidates = || {
            let all = wanted.candidates.iter().copied();
            all.filter(|one| self.is_candidate(one.node) && !self.lacks_subnet(one.node, vip))
        };
        let by_rank = [false, true].into_iter().flat_map(|in_doubt| {
            candidates().filter(move |one| self.is_doubtful(one.node, vip) == in_doubt)
        });
        if !self.is_newborn(vip) {
            return Some(self.count_before(by_rank));
        }
        let mut order: Vec<Candidate> = by_rank.collect();
        let group = |one: &Candidate| (self.is_doubtful(one.node, vip), one.tier);
        let best = group(order.first()?);
        let of_best = order.iter().filter(|one| group(one) == best);
        let least = of_best.map(|one| self.load_of(one.node, load)).min()?;
        order.sort_by_key(|one| (group(one), self.load_of(one.node, load) > least + 1));
        *load.assumed.entry(order.first()?.node).or_default() += 1;
        Some(self.count_before(order.into_iter()))
    }

    fn count_before(&self, order: impl Iterator<Item = Candidate>) -> u32 {
        let before = order.take_while(|candidate| candidate.node != self.me);
        before.take(MAX_PLACE as usize).count() as u32
    }

    fn is_newborn(&self, vip: IpAddr) -> bool {
        self.settings.preference == Preference::Sticky
            && self.claims.newborn.contains(&vip)
            && self.blocked.is_empty()
            && self.members.index().floor(vip) == 0
    }

    fn load_of(&self, id: NodeId, load: &Load) -> usize {
        let claimed = self
            .members
            .get(id)
            .map_or(0, |member| member.record.claims.len());
        let claimed = if id == self.me { load.own } else { claimed };
        claimed + load.assumed.get(&id).copied().unwrap_or(0)
    }

    /// Live, neither joining nor leaving. Who hears nobody leaves their turns to those that cannot be
    /// heard.
    fn is_candidate(&self, id: NodeId) -> bool {
        if id == self.me {
            return self.stage().serves();
        }
        let member = self.members.get(id);
        self.is_blocked_with_all_others(id)
            || member.is_some_and(|one| one.is_live() && one.record.stage.serves())
    }

    /// By its kube-proxy, or by its link to the address (L14).
    fn is_doubtful(&self, id: NodeId, vip: IpAddr) -> bool {
        if id == self.me {
            return self.doubtful || self.links.is_silent(vip);
        }
        let member = self.members.get(id);
        member.is_some_and(|one| one.record.stage == Stage::Doubtful) || self.is_silent_at(id, vip)
    }

    /// The first turn since an address became free that has not been taken yet.
    pub(super) fn next_turn(&self, since: Instant) -> Option<Instant> {
        if self.handled_at < since {
            return Some(since);
        }
        let skew = self.settings.skew;
        let waited = self.handled_at.saturating_since(since).as_micros() / skew.as_micros();
        let turn = u32::try_from(waited).ok()?.checked_add(1)?;
        (turn <= MAX_PLACE).then(|| since + skew * turn)
    }
}
