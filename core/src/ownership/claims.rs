//! C1, C2, C4, C6, C8: what this member claims, keeps and gives up.

mod former;
mod freedom;
mod majority;
mod turns;
mod yields;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use freedom::Freedom;
use majority::Majority;
use turns::Turns;
use yields::Yields;

use super::context::{Ctx, Step};
use super::demand::Demand;
use super::epoch::next_epoch;
use super::interface::{Cause, Event};
use super::model::Claim;
use super::node::NodeId;
use super::reminders::Reminders;
use super::scene::{Scene, is_reserved_to_another};
use crate::elect::rank;
use crate::{Instant, Reason};

#[derive(Debug, Clone)]
pub(super) struct Claims {
    /// This node's name, for its rank.
    name: String,
    owned: BTreeMap<IpAddr, Owned>,
    /// Given up by a member that is still there, just now.
    released: BTreeSet<IpAddr>,
    turns: Turns,
    freedom: Freedom,
    yields: Yields,
    majority: Majority,
}

/// An address that this member answers for.
#[derive(Debug, Clone)]
struct Owned {
    claim: Claim,
    since: Instant,
    /// Another live member claims it too: once it falls silent, neighbours are told again.
    contested: bool,
}

impl Claims {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            owned: BTreeMap::new(),
            released: BTreeSet::new(),
            turns: Turns::default(),
            freedom: Freedom::default(),
            yields: Yields::default(),
            majority: Majority::default(),
        }
    }

    /// The addresses that this node answers for, in order.
    pub(super) fn owned(&self) -> impl Iterator<Item = IpAddr> {
        self.owned.keys().copied()
    }

    pub(super) fn owns(&self, vip: IpAddr) -> bool {
        self.owned.contains_key(&vip)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owned.is_empty()
    }

    /// This member's claim. Its epoch tells it from any other claim on the address.
    pub(super) fn get(&self, vip: IpAddr) -> Option<Claim> {
        self.owned.get(&vip).map(|owned| owned.claim)
    }

    /// What the own record tells.
    pub(super) fn all(&self) -> BTreeMap<IpAddr, Claim> {
        let owned = self.owned.iter();
        owned.map(|(&vip, owned)| (vip, owned.claim)).collect()
    }

    /// `demand` has replaced the one `before`.
    pub(super) fn follow_demand(
        &mut self,
        before: &Demand,
        demand: &Demand,
        joined: bool,
        step: &mut Step<'_>,
    ) {
        self.turns.follow_demand(before, demand, joined);
        self.freedom.forget_unwanted(demand);
        let all = before.vips().chain(demand.vips());
        step.reconsider(all.filter(|vip| before.get(*vip) != demand.get(*vip)));
        // C8: silent in the same step.
        let unwanted: Vec<IpAddr> = self.owned().filter(|vip| !demand.contains(*vip)).collect();
        for vip in unwanted {
            self.withdraw(vip, Reason::Unwanted, step);
        }
    }

    /// Turns begin anew.
    pub(super) fn reconsider_all(&mut self, demand: &Demand, step: &mut Step<'_>) {
        self.turns.clear();
        step.reconsider(demand.vips());
    }

    /// C6: members that are still there have given these up, just now: until all that is known has been
    /// decided on.
    pub(super) fn set_released(&mut self, vips: BTreeSet<IpAddr>) {
        self.released.extend(vips);
    }

    pub(super) fn forget_released(&mut self) {
        self.released.clear();
    }

    /// Looks again at an address of which something changed. Whether this member keeps it; it may have
    /// to hand it over.
    pub(super) fn review(
        &mut self,
        vip: IpAddr,
        scene: Scene<'_>,
        reminders: &mut Reminders,
        step: &mut Step<'_>,
    ) -> bool {
        self.freedom.note_holder(vip, scene, step.ctx());
        if self.owns(vip) {
            self.review_owned(vip, scene, reminders, step)
        } else {
            self.review_free(vip, scene, step.ctx());
            false
        }
    }

    /// C2, C6: the better claim stays, the other falls silent first.
    fn review_owned(
        &mut self,
        vip: IpAddr,
        scene: Scene<'_>,
        reminders: &mut Reminders,
        step: &mut Step<'_>,
    ) -> bool {
        if scene.leaves_to_others(vip, step.ctx()) {
            self.withdraw(vip, Reason::AddressNotListed, step);
            return false;
        }
        let Some((owner, _)) = step.members.owner(vip) else {
            return false;
        };
        if owner != step.me {
            self.withdraw(vip, Reason::NotOwner, step);
            self.yields.add(owner, vip);
            return false;
        }
        let claimants = step.members.claims(vip).map(|(id, _)| id);
        let others: Vec<NodeId> = claimants
            .filter(|&id| id != step.me && step.members.is_live(id))
            .collect();
        let is_contested = !others.is_empty();
        let Some(owned) = self.owned.get_mut(&vip) else {
            return false;
        };
        if std::mem::replace(&mut owned.contested, is_contested) != is_contested {
            // When a contest begins, and when the other has fallen silent: the last word is ours.
            reminders.add([vip]);
            // They may not know this claim.
            others
                .into_iter()
                .for_each(|other| step.send_record_to(other));
        }
        true
    }

    /// An address that this member does not hold is pending if nobody else does, or is about to.
    /// Turns are counted from then on: by nobody who is still joining. Who gave it up without a need
    /// has heard of a better claim, by a member that this one may be about to hear of (C6).
    fn review_free(&mut self, vip: IpAddr, scene: Scene<'_>, ctx: Ctx<'_>) {
        let is_free = scene.stage.serves()
            && scene.demand.contains(vip)
            && ctx.members.owner(vip).is_none()
            && !is_reserved_to_another(vip, ctx)
            && !scene.blocked.is_announced_elsewhere(vip, ctx);
        let is_released = self.released.contains(&vip);
        let since = if is_released {
            ctx.now + ctx.settings.recontact
        } else {
            ctx.now
        };
        self.turns.set(vip, is_free.then_some(since));
    }

    /// C5: claims what it is this member's turn to claim.
    pub(super) fn claim_in_turn(&mut self, scene: Scene<'_>, step: &mut Step<'_>) {
        for vip in self.turns.take(self.owned.len(), scene, step.ctx()) {
            let was_free = self.freedom.was_free(vip, step.settings, step.now);
            let cause = if was_free { Cause::New } else { Cause::Orphan };
            self.claim(vip, cause, was_free, scene, step);
        }
    }

    /// `asking` if another host may have it.
    pub(super) fn claim(
        &mut self,
        vip: IpAddr,
        cause: Cause,
        asking: bool,
        scene: Scene<'_>,
        step: &mut Step<'_>,
    ) {
        let claim = Claim {
            strong: self.majority.is_seen(step.ctx()),
            epoch: next_epoch(step.members.index().floor(vip)),
            rank: rank(&self.name, vip).prefix(),
            asking,
        };
        let owned = Owned {
            claim,
            since: step.now,
            contested: cause == Cause::Handover,
        };
        self.owned.insert(vip, owned);
        self.turns.set(vip, None);
        step.members.set_own_claim(vip, Some(claim));
        step.publish();
        self.freedom.note_holder(vip, scene, step.ctx());
        let own = scene.demand.candidate(vip, step.me);
        if own.is_some_and(|own| own.unpreferred > 0) {
            // H4: whoever is preferred to this member may be well already.
            step.reconsider([vip]);
        }
        step.tell(Event::Announce {
            vip,
            cause,
            probe_first: asking,
        });
    }

    pub(super) fn withdraw(&mut self, vip: IpAddr, reason: Reason, step: &mut Step<'_>) {
        if self.owned.remove(&vip).is_some() {
            step.members.set_own_claim(vip, None);
            step.reconsider([vip]);
            step.publish();
            step.tell(Event::Withdraw { vip, reason });
        }
    }

    pub(super) fn withdraw_all(&mut self, reason: Reason, step: &mut Step<'_>) {
        let owned: Vec<IpAddr> = self.owned().collect();
        for vip in owned {
            self.withdraw(vip, reason, step);
        }
    }

    /// L9: says again, on the wire, that this member has those of `vips` that it has.
    pub(super) fn announce_again(
        &self,
        vips: impl IntoIterator<Item = IpAddr>,
        step: &mut Step<'_>,
    ) {
        for vip in vips.into_iter().filter(|vip| self.owns(*vip)) {
            step.tell(Event::Announce {
                vip,
                cause: Cause::Reminder,
                probe_first: false,
            });
        }
    }

    /// C9: no other host has it, and it is announced.
    pub(super) fn set_announced(&mut self, vip: IpAddr, step: &mut Step<'_>) {
        let Some(owned) = self.owned.get_mut(&vip) else {
            return;
        };
        if std::mem::take(&mut owned.claim.asking) {
            step.members.set_own_claim(vip, Some(owned.claim));
            step.reconsider([vip]);
            step.publish();
        }
    }

    /// C3: the gateway's kernel has answered.
    pub(super) const fn note_gateway(&mut self, now: Instant) {
        self.majority.note_gateway(now);
    }

    /// C3: losses made this side the small one. What it claimed while they were being found, it
    /// claimed with a majority that was gone already: a partition's first verdicts come one by one.
    pub(super) fn weaken_young(&mut self, step: &mut Step<'_>) {
        if !self.majority.is_seen(step.ctx()) {
            let (now, unsettled) = (step.now, step.settings.unsettled);
            self.grade(false, |owned| now < owned.since + unsettled, step);
        }
    }

    /// C3: weak claims turn strong after one to two seconds with a majority. To be called each second.
    pub(super) fn confirm_weak(&mut self, step: &mut Step<'_>) {
        let has_weak = self.owned.values().any(|owned| !owned.claim.strong);
        if self.majority.confirms(has_weak, step.ctx()) {
            self.grade(true, |_| true, step);
        }
    }

    fn grade(&mut self, strong: bool, which: impl Fn(&Owned) -> bool, step: &mut Step<'_>) {
        for (&vip, owned) in &mut self.owned {
            if owned.claim.strong != strong && which(owned) {
                owned.claim.strong = strong;
                step.members.set_own_claim(vip, Some(owned.claim));
                step.reconsider([vip]);
                step.publish();
            }
        }
    }

    /// C6: the winner is told that the loser is silent, and so tells the neighbours again.
    pub(super) fn send_yields(&mut self, step: &mut Step<'_>) {
        self.yields.send(step);
    }

    /// Once more, with the record's repetition.
    pub(super) fn repeat_yields(&mut self, step: &mut Step<'_>) {
        self.yields.repeat(step);
    }

    pub(super) fn due(&self, is_serving: bool, ctx: Ctx<'_>) -> Option<(Instant, &'static str)> {
        let turn = is_serving.then(|| self.turns.next(ctx));
        turn.flatten().map(|at| (at, "a turn to claim"))
    }
}
