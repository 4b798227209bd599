//! H1, H2: make before break. The successor announces before the giver falls silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::consent::Consent;
use super::epoch::is_newer;
use super::model::{Death, Offer, Stage, Why};
use super::wire::{Message, VIPS_OF};
use super::{Candidate, Cause, Event, Leaving, NodeId, Ownership, Preference, Settings, Verdict};
use crate::{Instant, Reason};

/// An address on its way to another owner.
#[derive(Debug, Clone)]
pub(super) struct Give {
    why: Why,
    since: Instant,
    next: Instant,
    to: Option<NodeId>,
    tries: u32,
    /// Who refused, declined or was silent; once all have, everybody is asked again, after a pause.
    tried: BTreeSet<NodeId>,
    /// Those of them that cannot take it.
    unable: BTreeSet<NodeId>,
    pause: Duration,
}

/// What another one wants to hand over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    vip: IpAddr,
    epoch: u32,
    consent: Consent,
}

impl Ownership {
    /// SIGTERM, and what it means. The process may exit at [`Event::MayExit`].
    pub fn set_leaving(&mut self, why: Leaving, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some((why, now));
        match why {
            // R1: nothing moves, peers hold what this node has.
            Leaving::Restarting => self.say_goodbye(Verdict::Restarting),
            // R4
            Leaving::Draining => {
                self.claims.reconsider_all();
                self.claims.publish = true;
            }
        }
    }

    /// Whether an address that this member owns should go elsewhere.
    pub(super) fn review_give(&mut self, vip: IpAddr, now: Instant) {
        let may_keep = self.may_serve(vip) && self.leaving.is_none();
        let has_better = self.successors(vip, Why::Better).next().is_some();
        let Some(owned) = self.claims.owned.get_mut(&vip) else {
            return;
        };
        let why = owned.give.as_ref().map(|give| give.why);
        if !may_keep {
            if why != Some(Why::Must) {
                owned.give = Some(Give::new(Why::Must, now));
            }
        } else if why == Some(Why::Must) || !has_better {
            owned.give = None;
        } else if why.is_none() {
            owned.give = Some(Give::new(Why::Better, now));
        } else if let Some(give) = &mut owned.give {
            // Whoever is better may be another one by now.
            (give.pause, give.next) = (Duration::ZERO, give.next.min(now));
        }
    }

    /// Joined candidates to whom the address may go for this cause, the best first. To one whose
    /// forwarding is in doubt it goes only if it has to go, and to nobody else.
    pub(super) fn successors(&self, vip: IpAddr, why: Why) -> impl Iterator<Item = NodeId> {
        let doubtful = (why == Why::Must).then(|| self.suitable(vip, why, Stage::Doubtful));
        self.suitable(vip, why, Stage::Serving)
            .chain(doubtful.into_iter().flatten())
    }

    fn suitable(&self, vip: IpAddr, why: Why, stage: Stage) -> impl Iterator<Item = NodeId> {
        let candidates = || {
            self.claims
                .wanted(vip)
                .into_iter()
                .flat_map(|wanted| wanted.candidates.iter())
        };
        let own = candidates().position(|candidate| candidate.node == self.me);
        let own_tier = own
            .and_then(|own| candidates().nth(own))
            .map(|own| own.tier);
        let is_silent_here = self.links.is_silent_now(vip);
        let suits = move |place: usize, candidate: &Candidate| match why {
            Why::Must => true,
            // L14: whoever hears somebody there is better than who does not.
            Why::Better if is_silent_here => self.hears_on_link(candidate.node, vip),
            // H2: a node of a better tier always, one of a better rank in MetalLB's way.
            Why::Better => match self.settings.preference {
                Preference::Sticky => own_tier.is_none_or(|own| candidate.tier < own),
                Preference::BestRank => own.is_none_or(|own| place < own),
            },
        };
        let suitable = candidates()
            .enumerate()
            .filter(move |(place, candidate)| suits(*place, candidate));
        suitable
            .map(|(_, candidate)| candidate.node)
            .filter(move |&id| {
                let member = self.members.get(id).filter(|member| member.is_live());
                let is_able = member.is_some_and(|member| member.record.stage == stage);
                id != self.me && is_able && !self.lacks_subnet(id, vip)
            })
    }

    /// H1: offers what is to be given, until the successor's claim is seen: that claim, better by
    /// its epoch, is what makes this member fall silent (C6).
    pub(super) fn give_when_due(&mut self, now: Instant) {
        let due: Vec<(IpAddr, Why)> = self
            .claims
            .owned
            .iter()
            .filter_map(|(&vip, owned)| Some((vip, owned.give.as_ref()?)))
            .filter(|(_, give)| give.next <= now)
            .map(|(vip, give)| (vip, give.why))
            .collect();
        let mut gives: BTreeMap<NodeId, Vec<(IpAddr, u32)>> = BTreeMap::new();
        let mut offers: BTreeMap<NodeId, Vec<Offer>> = BTreeMap::new();
        for (vip, why) in due {
            let successors: Vec<NodeId> = self.successors(vip, why).collect();
            if self.has_given_in(vip, successors.is_empty(), now) {
                continue;
            }
            let Some(owned) = self.claims.owned.get_mut(&vip) else {
                continue;
            };
            let (epoch, Some(give)) = (owned.claim.epoch, &mut owned.give) else {
                continue;
            };
            let Some(to) = give.next_successor(&successors, &self.settings, now) else {
                continue;
            };
            let member = self.members.get(to);
            if why == Why::Better && member.is_some_and(|member| member.record.consents) {
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
                self.send(to, &Message::Give(chunk.to_vec()));
            }
        }
        for (to, offers) in offers {
            for chunk in offers.chunks(VIPS_OF) {
                self.send(to, &Message::Offer(chunk.to_vec()));
            }
        }
    }

    /// Ends a handover that nobody accepts. A leaver waits: a candidate may yet join.
    fn has_given_in(&mut self, vip: IpAddr, nobody: bool, now: Instant) -> bool {
        let Some(owned) = self.claims.owned.get_mut(&vip) else {
            return true;
        };
        let Some(give) = &owned.give else { return true };
        if give.why == Why::Better {
            // H3: time ends no offer: who is better may hear of it later than this member.
            let is_over = nobody;
            if is_over {
                owned.give = None;
            }
            return is_over;
        }
        let is_over = now >= give.since + self.settings.give_limit;
        let is_hopeless = nobody && self.leaving.is_none();
        if is_over || is_hopeless {
            let reason = if self.leaving.is_some() {
                Reason::Leaving
            } else {
                Reason::Ineligible
            };
            self.withdraw(vip, reason);
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
        self.claims.offers.entry(from).or_default().extend(offered);
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
        self.claims.offers.entry(from).or_default().extend(offered);
    }

    /// H1: the successor judges its own eligibility, announces, then publishes.
    pub(super) fn take_offers(&mut self, now: Instant) {
        for (from, offers) in std::mem::take(&mut self.claims.offers) {
            let (mut refused, mut declined) = (Vec::new(), Vec::new());
            let mut is_repeated = false;
            for Offered {
                vip,
                epoch,
                consent,
            } in offers
            {
                if self.claims.owned.contains_key(&vip) {
                    is_repeated = true;
                } else if !self.accepts(vip, from, epoch, now) {
                    refused.push(vip);
                } else if !self.agrees(vip, from, consent) {
                    declined.push(vip);
                } else {
                    let asking = self.is_asked_for_by(from, vip);
                    self.claim(vip, Cause::Handover, asking, now);
                }
            }
            if is_repeated {
                // The giver has not seen the claim.
                self.send_own_record(from);
            }
            for chunk in refused.chunks(VIPS_OF) {
                self.send(from, &Message::Refuse(chunk.to_vec()));
            }
            for chunk in declined.chunks(VIPS_OF) {
                self.send(from, &Message::Decline(chunk.to_vec()));
            }
        }
    }

    fn accepts(&self, vip: IpAddr, from: NodeId, epoch: u32, now: Instant) -> bool {
        let is_unchallenged = self
            .members
            .claims(vip)
            .all(|(id, claim)| id == from || !is_newer(claim.epoch, epoch));
        let is_willing = self.may_serve(vip) && self.links.may_take(vip, &self.settings, now);
        self.stage().serves() && is_willing && is_unchallenged
    }

    pub(super) fn handle_refuse(&mut self, from: NodeId, vips: &[IpAddr], now: Instant) {
        for vip in vips {
            if let Some(give) = self.give_to(from, *vip) {
                give.unable.insert(from);
                (give.to, give.next) = (None, now);
            }
        }
    }

    pub(super) fn handle_decline(&mut self, from: NodeId, vips: &[IpAddr], now: Instant) {
        for vip in vips {
            if let Some(give) = self.give_to(from, *vip) {
                (give.to, give.next) = (None, now);
            }
        }
    }

    /// The handover to this member that goes on.
    fn give_to(&mut self, to: NodeId, vip: IpAddr) -> Option<&mut Give> {
        let give = self.claims.owned.get_mut(&vip)?.give.as_mut();
        give.filter(|give| give.to == Some(to))
    }

    /// H2: a leaver with nothing left says so, and is gone. That comes before anything else: one that
    /// was stopped until its time was over would announce once more, and others have its addresses.
    pub(super) fn leave_when_due(&mut self, now: Instant) {
        let Some((Leaving::Draining, since)) = self.leaving else {
            return;
        };
        if self.claims.owned.is_empty() || now >= since + self.settings.give_limit {
            self.withdraw_all(Reason::Leaving);
            self.say_goodbye(Verdict::Left);
        }
    }

    fn say_goodbye(&mut self, verdict: Verdict) {
        let death = Death {
            member: self.me,
            boot: self.boot(),
            inc: self.inc(),
            verdict,
        };
        self.send_to_all(&Message::Dead(death));
        self.events.push_back(Event::MayExit);
        self.has_left = true;
    }

    pub(super) fn give_due(&self) -> Option<(Instant, &'static str)> {
        let gives = self
            .claims
            .owned
            .values()
            .filter_map(|owned| owned.give.as_ref());
        gives
            .map(|give| give.next)
            .min()
            .map(|at| (at, "a handover"))
    }

    pub(super) fn leave_due(&self) -> Option<(Instant, &'static str)> {
        let (_, since) = self.leaving?;
        let at = match self.claims.owned.is_empty() {
            true => Instant::START,
            false => since + self.settings.give_limit,
        };
        Some((at, "the end of leaving"))
    }
}

impl Give {
    const fn new(why: Why, now: Instant) -> Self {
        Self {
            why,
            since: now,
            next: now,
            to: None,
            tries: 0,
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
            self.tries = 0;
            if self.to.is_none() {
                self.tried.clear();
                self.unable.clear();
                let longest = match self.why {
                    Why::Must => settings.must_give_pause,
                    Why::Better => settings.may_give_pause,
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
