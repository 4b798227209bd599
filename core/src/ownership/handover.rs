//! H1, H2: make before break. The successor announces before the giver falls silent.

mod preferred;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use preferred::Preferred;

use super::candidates::Candidate;
use super::claims::Claims;
use super::consent::{Consent, agrees};
use super::context::{Ctx, Step};
use super::epoch::is_newer;
use super::interface::Cause;
use super::model::{Offer, Stage, Why};
use super::node::NodeId;
use super::scene::Scene;
use super::settings::{Preference, Settings};
use super::sync::send_own_record;
use super::wire::{Message, VIPS_OF};
use crate::{Instant, Reason};

#[derive(Debug, Clone, Default)]
pub(super) struct Handover {
    gives: BTreeMap<IpAddr, Give>,
    /// What others want to hand over to this member.
    offers: BTreeMap<NodeId, Vec<Offered>>,
    preferred: Preferred,
}

/// An address on its way to another owner.
#[derive(Debug, Clone)]
struct Give {
    /// Of the claim that is handed over: with another claim, or without one, this is over.
    epoch: u32,
    why: Why,
    since: Instant,
    next: Instant,
    to: Option<NodeId>,
    tries: u32,
    /// The first time that `to` declined.
    declined_at: Option<Instant>,
    /// Who refused, declined or was silent; once all have, everybody is asked again, after a pause.
    tried: BTreeSet<NodeId>,
    /// Those of them that cannot take it.
    unable: BTreeSet<NodeId>,
    pause: Duration,
}

/// What another one wants to hand over.
#[derive(Debug, Clone, Copy)]
struct Offered {
    vip: IpAddr,
    epoch: u32,
    consent: Consent,
}

impl Handover {
    /// Whether an address that this member owns should go elsewhere.
    pub(super) fn review(&mut self, vip: IpAddr, claims: &Claims, scene: Scene<'_>, ctx: Ctx<'_>) {
        let Some(claim) = claims.get(vip) else {
            return;
        };
        self.preferred.follow(vip, scene, ctx);
        let may_keep = scene.may_serve(vip, ctx) && !scene.is_leaving();
        let has_better = successors(vip, Why::Better, scene, ctx).next().is_some();
        let give = self.gives.get_mut(&vip);
        let give = give.filter(|give| give.epoch == claim.epoch);
        let why = give.as_ref().map(|give| give.why);
        if !may_keep {
            if why != Some(Why::Must) {
                let give = Give::new(Why::Must, claim.epoch, ctx.now);
                self.gives.insert(vip, give);
            }
        } else if why == Some(Why::Must) || !has_better && why != Some(Why::Preferred) {
            self.gives.remove(&vip);
        } else if has_better && why != Some(Why::Better) {
            let give = Give::new(Why::Better, claim.epoch, ctx.now);
            self.gives.insert(vip, give);
        } else if let Some(give) = give.filter(|give| give.why == Why::Better) {
            // Whoever is better may be another one by now.
            (give.pause, give.next) = (Duration::ZERO, give.next.min(ctx.now));
        }
    }

    /// H1: offers what is to be given, until the successor's claim is seen: that claim, better by
    /// its epoch, is what makes this member fall silent (C6).
    pub(super) fn give_when_due(
        &mut self,
        claims: &mut Claims,
        scene: Scene<'_>,
        step: &mut Step<'_>,
    ) {
        let is_owned = |vip, epoch| claims.get(vip).is_some_and(|claim| claim.epoch == epoch);
        self.gives.retain(|vip, give| is_owned(*vip, give.epoch));
        self.preferred.keep(|vip| claims.owns(vip));
        let due = self.gives.iter().filter(|(_, give)| give.next <= step.now);
        let due: Vec<(IpAddr, Why)> = due.map(|(&vip, give)| (vip, give.why)).collect();
        let mut gives: BTreeMap<NodeId, Vec<(IpAddr, u32)>> = BTreeMap::new();
        let mut offers: BTreeMap<NodeId, Vec<Offer>> = BTreeMap::new();
        for (vip, why) in due {
            let successors: Vec<NodeId> = match why {
                Why::Preferred => self.preferred.ready(vip, scene, step.ctx()).collect(),
                Why::Must | Why::Better => successors(vip, why, scene, step.ctx()).collect(),
            };
            if self.has_given_in(vip, successors.is_empty(), claims, scene, step) {
                continue;
            }
            let Some(give) = self.gives.get_mut(&vip) else {
                continue;
            };
            let Some(to) = give.next_successor(&successors, step.settings, step.now) else {
                if why == Why::Preferred {
                    // H4: the next address has its turn.
                    self.gives.remove(&vip);
                    self.preferred.put_off(vip, step.now);
                }
                continue;
            };
            let (epoch, member) = (give.epoch, step.members.get(to));
            if why != Why::Must && member.is_some_and(|member| member.record.consents) {
                let mut before = successors.iter().take_while(|id| **id != to);
                offers.entry(to).or_default().push(Offer {
                    vip,
                    epoch,
                    others_cannot: before.all(|id| give.unable.contains(id)),
                });
            } else {
                gives.entry(to).or_default().push((vip, epoch));
            }
        }
        for (to, gives) in gives {
            for chunk in gives.chunks(VIPS_OF) {
                step.send(to, &Message::Give(chunk.to_vec()));
            }
        }
        for (to, offers) in offers {
            for chunk in offers.chunks(VIPS_OF) {
                step.send(to, &Message::Offer(chunk.to_vec()));
            }
        }
        self.begin_preferred(claims, scene, step.ctx());
    }

    /// H4: one address at a time goes to whom it is preferred on.
    fn begin_preferred(&mut self, claims: &Claims, scene: Scene<'_>, ctx: Ctx<'_>) {
        let gives = &self.gives;
        let is_given = |vip| gives.contains_key(&vip);
        if let Some(vip) = self.preferred.next_when_due(is_given, scene, ctx)
            && let Some(claim) = claims.get(vip)
        {
            let give = Give::new(Why::Preferred, claim.epoch, ctx.now);
            self.gives.insert(vip, give);
        }
    }

    /// Ends a handover that nobody accepts. A leaver waits: a candidate may yet join.
    fn has_given_in(
        &mut self,
        vip: IpAddr,
        nobody: bool,
        claims: &mut Claims,
        scene: Scene<'_>,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(give) = self.gives.get(&vip) else {
            return true;
        };
        if give.why != Why::Must {
            // H3: time ends no offer: who is better may hear of it later than this member.
            let is_over = nobody;
            if is_over {
                self.gives.remove(&vip);
            }
            return is_over;
        }
        let is_over = step.now >= give.since + step.settings.give_limit;
        let is_hopeless = nobody && !scene.is_leaving();
        if is_over || is_hopeless {
            let reason = if scene.is_leaving() {
                Reason::Leaving
            } else {
                Reason::Ineligible
            };
            self.gives.remove(&vip);
            claims.withdraw(vip, reason, step);
        }
        is_over || is_hopeless
    }

    /// Offers wait until everything received is known: after a stop, what was offered may have
    /// another owner long since.
    pub(super) fn handle_give(&mut self, from: NodeId, gives: &[(IpAddr, u32)]) {
        let offered = gives.iter().map(|&(vip, epoch)| Offered {
            vip,
            epoch,
            consent: Consent::Needless,
        });
        self.offers.entry(from).or_default().extend(offered);
    }

    pub(super) fn handle_offer(&mut self, from: NodeId, offers: &[Offer]) {
        let offered = offers.iter().map(|offer| Offered {
            vip: offer.vip,
            epoch: offer.epoch,
            consent: match offer.others_cannot {
                true => Consent::OthersCannot,
                false => Consent::Needed,
            },
        });
        self.offers.entry(from).or_default().extend(offered);
    }

    /// H1: the successor judges its own eligibility, announces, then publishes.
    pub(super) fn take_offers(
        &mut self,
        claims: &mut Claims,
        scene: Scene<'_>,
        step: &mut Step<'_>,
    ) {
        for (from, offers) in std::mem::take(&mut self.offers) {
            let (mut refused, mut declined) = (Vec::new(), Vec::new());
            let mut is_repeated = false;
            for Offered {
                vip,
                epoch,
                consent,
            } in offers
            {
                if claims.owns(vip) {
                    is_repeated = true;
                } else if !accepts(vip, from, epoch, scene, step.ctx()) {
                    refused.push(vip);
                } else if !is_agreed(vip, from, consent, scene, step.ctx()) {
                    declined.push(vip);
                } else {
                    let asking = is_asked_for_by(from, vip, step.ctx());
                    claims.claim(vip, Cause::Handover, asking, scene, step);
                }
            }
            if is_repeated {
                // The giver has not seen the claim.
                send_own_record(from, step);
            }
            for chunk in refused.chunks(VIPS_OF) {
                step.send(from, &Message::Refuse(chunk.to_vec()));
            }
            for chunk in declined.chunks(VIPS_OF) {
                step.send(from, &Message::Decline(chunk.to_vec()));
            }
        }
    }

    pub(super) fn handle_refuse(&mut self, from: NodeId, vips: &[IpAddr], now: Instant) {
        for vip in vips {
            if let Some(give) = self.give_to(from, *vip) {
                give.unable.insert(from);
                (give.to, give.next) = (None, now);
            }
        }
    }

    /// H3: it may hear of the order in a moment, and is the one that the order is for. So it is asked again, at
    /// intervals that double, before another one is.
    pub(super) fn handle_decline(&mut self, from: NodeId, vips: &[IpAddr], ctx: Ctx<'_>) {
        let Ctx { now, settings, .. } = ctx;
        for vip in vips {
            let Some(give) = self.give_to(from, *vip) else {
                continue;
            };
            let for_so_long = now.saturating_since(*give.declined_at.get_or_insert(now));
            if for_so_long < settings.hear_orders {
                give.tries = 0;
                give.next = now + for_so_long.max(settings.give_retry);
            } else {
                (give.to, give.next) = (None, now);
            }
        }
    }

    /// The handover to this member that goes on.
    fn give_to(&mut self, to: NodeId, vip: IpAddr) -> Option<&mut Give> {
        let give = self.gives.get_mut(&vip);
        give.filter(|give| give.to == Some(to))
    }

    pub(super) fn has_offers(&self) -> bool {
        !self.offers.is_empty()
    }

    pub(super) fn due(&self, settings: &Settings) -> Option<(Instant, &'static str)> {
        let gives = self.gives.values().map(|give| give.next);
        let preferred = self
            .preferred
            .due(|vip| self.gives.contains_key(&vip), settings);
        let due = gives.chain(preferred).min();
        due.map(|at| (at, "a handover"))
    }
}

/// Joined candidates to whom the address may go for this cause, the best first. To one whose
/// forwarding is in doubt it goes only if it has to go, and to nobody else.
fn successors<'a>(
    vip: IpAddr,
    why: Why,
    scene: Scene<'a>,
    ctx: Ctx<'a>,
) -> impl Iterator<Item = NodeId> + use<'a> {
    let doubtful = (why == Why::Must).then(|| suitable(vip, why, Stage::Doubtful, scene, ctx));
    suitable(vip, why, Stage::Serving, scene, ctx).chain(doubtful.into_iter().flatten())
}

fn suitable<'a>(
    vip: IpAddr,
    why: Why,
    stage: Stage,
    scene: Scene<'a>,
    ctx: Ctx<'a>,
) -> impl Iterator<Item = NodeId> + use<'a> {
    let candidates = move || scene.demand.candidates(vip).enumerate();
    let own = candidates().find(|(_, candidate)| candidate.node == ctx.me);
    let own_tier = own.map(|(_, candidate)| candidate.tier);
    let own = own.map(|(place, _)| place);
    let is_silent_here = scene.links.is_silent_now(vip);
    let suits = move |place: usize, candidate: &Candidate| match why {
        Why::Must => true,
        // L14: whoever hears somebody there is better than who does not.
        Why::Better if is_silent_here => scene.links.hears(candidate.node, vip, ctx.members),
        // H2: a node of a better tier always, one of a better rank in MetalLB's way.
        Why::Better => match ctx.settings.preference {
            Preference::Sticky => own_tier.is_none_or(|own| candidate.tier < own),
            Preference::BestRank => own.is_none_or(|own| place < own),
        },
        // H4: `handover::preferred` says who may, since that takes its time.
        Why::Preferred => false,
    };
    let suitable = candidates().filter(move |(place, candidate)| suits(*place, candidate));
    suitable
        .map(|(_, candidate)| candidate.node)
        .filter(move |&id| {
            let member = ctx.members.get(id).filter(|member| member.is_live());
            let is_able = member.is_some_and(|member| member.record.stage == stage);
            id != ctx.me && is_able && !scene.lacks_subnet(id, vip, ctx)
        })
}

/// Whether this member can take it, and nobody else has it by now.
fn accepts(vip: IpAddr, from: NodeId, epoch: u32, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    let is_unchallenged = ctx
        .members
        .claims(vip)
        .all(|(id, claim)| id == from || !is_newer(claim.epoch, epoch));
    let is_willing = scene.may_serve(vip, ctx) && scene.links.may_take(vip, ctx);
    scene.stage.serves() && is_willing && is_unchallenged
}

fn is_agreed(vip: IpAddr, from: NodeId, consent: Consent, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    let better = successors(vip, Why::Better, scene, ctx);
    agrees(vip, from, consent, better, scene, ctx)
}

/// Whether a member claims the address and does not announce it yet (C9).
fn is_asked_for_by(id: NodeId, vip: IpAddr, ctx: Ctx<'_>) -> bool {
    let mut claims = ctx.members.claims(vip);
    claims.any(|(by, claim)| by == id && claim.asking)
}

impl Give {
    const fn new(why: Why, epoch: u32, now: Instant) -> Self {
        Self {
            epoch,
            why,
            since: now,
            next: now,
            to: None,
            tries: 0,
            declined_at: None,
            tried: BTreeSet::new(),
            unable: BTreeSet::new(),
            pause: Duration::ZERO,
        }
    }

    /// The same one until it refused, vanished or was asked often enough; then the next. Once all have
    /// been asked, nobody for a while, which doubles each time.
    fn next_successor(
        &mut self,
        successors: &[NodeId],
        settings: &Settings,
        now: Instant,
    ) -> Option<NodeId> {
        self.next = now + settings.give_retry;
        let stays = self
            .to
            .is_some_and(|to| self.tries < settings.give_tries && successors.contains(&to));
        if !stays {
            let next = successors.iter().copied();
            self.to = next.clone().find(|id| !self.tried.contains(id));
            (self.tries, self.declined_at) = (0, None);
            if self.to.is_none() {
                self.tried.clear();
                self.unable.clear();
                let longest = match self.why {
                    Why::Must => settings.must_give_pause,
                    Why::Better | Why::Preferred => settings.may_give_pause,
                };
                self.pause = (2 * self.pause).clamp(settings.give_retry, longest);
                self.next = now + self.pause;
                return None;
            }
            self.tried.extend(self.to);
        }
        self.tries += 1;
        self.to
    }
}
