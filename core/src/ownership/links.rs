//! L14: links other than the one that speakers meet on.
//!
//! No beat passes a second LAN (a storage network, a DMZ), so a port that dies there silently is seen
//! by nobody but its own node. Each member tells its addresses on such links, and asks others there
//! each second. Whoever hears nobody any more hands over to a member that does; where nobody hears
//! anybody, the LAN is dead, and nothing moves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::context::{Ctx, Step};
use super::interface::Event;
use super::members::Members;
use super::model::{LinkAddress, MAX_LINKS};
use super::node::NodeId;
use super::settings::{CALM, FAST, Settings};
use crate::Instant;

/// So many unanswered rounds in a row make a link silent. Each member is asked by two questions, ARP
/// and echo: at 5 % loss both ways, with two others there, it happens once in 10¹² rounds; with one,
/// once in 10⁶.
const UNANSWERED: u32 = 3;
/// A link that was silent is trusted by others after so many answered rounds: where a whole LAN comes
/// back, its owners hear that before anybody offers to take over.
const ANSWERED: u32 = 4;
/// Members asked in one round, and while one is unanswered.
const ASKED: usize = 2;
const ASKED_IN_DOUBT: usize = 8;

/// A LAN dies for all its members within a round. Who takes over must have heard something later than
/// whoever gives can have: that one gives so long after the last answer at the earliest.
const fn earliest_give(settings: &Settings) -> u128 {
    let (round, doubt) = (settings.link_round, settings.link_doubt);
    round.as_micros() + doubt.as_micros() * (UNANSWERED as u128 - 1)
}

const _: () = assert!(FAST.link_fresh.as_micros() < earliest_give(&FAST));
const _: () = assert!(CALM.link_fresh.as_micros() < earliest_give(&CALM));

#[derive(Debug, Clone)]
pub(super) struct Links {
    by_network: BTreeMap<IpNetwork, Link>,
    /// All subnets of this node, with its address in each; those that matter first (S1).
    subnets: Vec<(IpNetwork, IpAddr)>,
    /// They are all that it has.
    tells_subnets: bool,
    next_round: Instant,
    try_again_at: Instant,
}

/// A link of this node by the network that a wanted address is in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    /// This node's address there.
    own: IpAddr,
    heard_at: Option<Instant>,
    /// The last round was asked then, and had somebody to ask.
    asked_at: Option<Instant>,
    /// Rounds in a row.
    unanswered: u32,
    answered: u32,
    /// As others are told.
    silent: bool,
}

impl Link {
    const fn new(own: IpAddr) -> Self {
        Self {
            own,
            heard_at: None,
            asked_at: None,
            unanswered: 0,
            answered: 0,
            silent: false,
        }
    }

    /// Nobody answers, and somebody has.
    const fn is_silent_now(&self) -> bool {
        self.unanswered >= UNANSWERED && self.heard_at.is_some()
    }

    /// What came of the last round.
    fn judge(&mut self) {
        let Some(asked_at) = self.asked_at else {
            return;
        };
        if self.heard_at.is_some_and(|at| at >= asked_at) {
            (self.unanswered, self.answered) = (0, self.answered.saturating_add(1));
        } else {
            (self.unanswered, self.answered) = (self.unanswered.saturating_add(1), 0);
        }
        self.silent = if self.silent {
            self.answered < ANSWERED
        } else {
            self.is_silent_now()
        };
    }
}

impl Links {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            by_network: BTreeMap::new(),
            subnets: Vec::new(),
            tells_subnets: false,
            next_round: now,
            try_again_at: now,
        }
    }

    /// What the own record tells, and whether that is all.
    pub(super) fn own(&self) -> (Vec<LinkAddress>, bool) {
        let further = self.by_network.iter();
        let further = further.map(|(network, link)| (*network, link.own, link.silent));
        let others = self.subnets.iter();
        let others = others.filter(|(network, _)| !self.by_network.contains_key(network));
        let all = further.chain(others.map(|(network, own)| (*network, *own, false)));
        let mut told = all.map(|(network, address, silent)| LinkAddress {
            address,
            prefix: Some(network.prefix()),
            silent,
        });
        let links = told.by_ref().take(MAX_LINKS).collect();
        let are_all = told.next().is_none();
        (links, self.tells_subnets && are_all)
    }

    /// S1: all subnets of this node's links, each with its address there.
    pub(super) fn set_subnets(
        &mut self,
        subnets: Vec<(IpNetwork, IpAddr)>,
        are_all: bool,
        step: &mut Step<'_>,
    ) {
        let before = std::mem::replace(&mut self.subnets, subnets);
        let were_all = std::mem::replace(&mut self.tells_subnets, are_all);
        if before != self.subnets || were_all != are_all {
            step.publish();
        }
    }

    /// The networks that wanted addresses are in, besides that of its own, and its address in each.
    pub(super) fn set_further(&mut self, links: &BTreeMap<IpNetwork, IpAddr>, step: &mut Step<'_>) {
        let known = &mut self.by_network;
        let before = known.len();
        known.retain(|network, link| links.get(network) == Some(&link.own));
        let mut has_changed = known.len() != before;
        for (&network, &own) in links {
            has_changed |= !known.contains_key(&network);
            known.entry(network).or_insert(Link::new(own));
        }
        if has_changed {
            step.publish();
        }
    }

    /// Any station there will do. The networks on which nobody was heard until now.
    pub(super) fn hear(&mut self, from: IpAddr, now: Instant) -> Vec<IpNetwork> {
        let mut heard_again = Vec::new();
        for (network, link) in &mut self.by_network {
            if !network.contains(from) || from == link.own {
                continue;
            }
            link.heard_at = Some(now);
            if link.unanswered >= UNANSWERED {
                heard_again.push(*network);
            }
            link.unanswered = 0;
        }
        heard_again
    }

    /// Asks others on each link. Whether it is time to try again to hand over what is announced there.
    pub(super) fn handle_timeout(&mut self, step: &mut Step<'_>) -> bool {
        let now = step.now;
        if self.by_network.is_empty() || now < self.next_round {
            return false;
        }
        let mut is_in_doubt = false;
        for (&network, link) in &mut self.by_network {
            let others = members_on(network, step.members);
            let before = link.silent;
            if others.is_empty() {
                // Nobody could take over, and nobody can tell.
                *link = Link::new(link.own);
            } else {
                link.judge();
                link.asked_at = Some(now);
            }
            let (silent, is_unanswered) = (link.silent, link.unanswered > 0);
            if silent != before {
                step.publish();
                self.try_again_at = now;
                step.tell(Event::Link { network, silent });
            }
            is_in_doubt |= is_unanswered;
            let count = if is_unanswered { ASKED_IN_DOUBT } else { ASKED };
            for id in step.pick(count, others) {
                if let Some(address) = address_on(id, network, step.members) {
                    step.probe_at(address);
                }
            }
            if is_unanswered {
                step.probe_gateway();
            }
        }
        let pause = match is_in_doubt {
            true => step.settings.link_doubt,
            false => step.settings.link_round,
        };
        self.next_round = now + pause;
        let is_to_try_again = is_in_doubt && now >= self.try_again_at;
        if is_to_try_again {
            self.try_again_at = now + step.settings.link_try_again;
        }
        is_to_try_again
    }

    fn of(&self, vip: IpAddr) -> Option<(&IpNetwork, &Link)> {
        let mut links = self.by_network.iter();
        links.find(|(network, _)| network.contains(vip))
    }

    /// Whether this member should hand over what it has there.
    pub(super) fn is_silent_now(&self, vip: IpAddr) -> bool {
        self.of(vip).is_some_and(|(_, link)| link.is_silent_now())
    }

    /// Whether this member is the last to take something there.
    pub(super) fn is_silent(&self, vip: IpAddr) -> bool {
        self.of(vip)
            .is_some_and(|(_, link)| link.silent || link.is_silent_now())
    }

    /// Whether it may take something over that has an owner.
    pub(super) fn may_take(&self, vip: IpAddr, ctx: Ctx<'_>) -> bool {
        self.of(vip).is_none_or(|(_, link)| {
            let is_fresh = |at| ctx.now < at + ctx.settings.link_fresh;
            !link.silent && (link.asked_at.is_none() || link.heard_at.is_some_and(is_fresh))
        })
    }

    /// Whether a member says that it hears somebody on its link to `vip`.
    pub(super) fn hears(&self, id: NodeId, vip: IpAddr, members: &Members) -> bool {
        self.links_to(id, vip, members).any(|link| !link.silent)
    }

    /// Whether it says that it hears nobody there.
    pub(super) fn is_silent_at(&self, id: NodeId, vip: IpAddr, members: &Members) -> bool {
        self.links_to(id, vip, members).any(|link| link.silent)
    }

    /// What a member says of its link to the network that `vip` is in.
    fn links_to<'a>(
        &self,
        id: NodeId,
        vip: IpAddr,
        members: &'a Members,
    ) -> impl Iterator<Item = &'a LinkAddress> + use<'a> {
        let network = self.of(vip).map(|(network, _)| *network);
        let member = members.get(id);
        let links = member.into_iter().flat_map(|member| &member.record.links);
        links.filter(move |link| network.is_some_and(|network| network.contains(link.address)))
    }

    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        let has_some = !self.by_network.is_empty();
        has_some.then_some((self.next_round, "questions on further links"))
    }
}

fn members_on(network: IpNetwork, members: &Members) -> Vec<NodeId> {
    let others = members.live_others();
    others
        .filter(|&id| address_on(id, network, members).is_some())
        .collect()
}

fn address_on(id: NodeId, network: IpNetwork, members: &Members) -> Option<IpAddr> {
    let links = &members.get(id)?.record.links;
    let mut addresses = links.iter().map(|link| link.address);
    addresses.find(|address| network.contains(*address))
}
