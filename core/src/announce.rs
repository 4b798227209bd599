//! Announces Vips and answers for them: the frames that make neighbours send to this node.
//!
//! Each Vip on each link that carries it goes
//!
//! ```text
//!            ┌─probe_first─▶ probing ──nobody answered──┐
//!            │                 ▲ │                      │
//!            │   after 1 to 30 s │ another host has it  ▼
//! absent ────┤                 │ ▼                  claiming ──no round left──▶ held
//!    ▲       │              conflicting                 ▲                         │
//!    │       └─────────────── else ─────────────────────┘                         │
//!    └──────────── unwanted or no carrier: silent at once ────────────────────────┘
//! ```
//!
//! A round is one announcement: gratuitous ARP in both forms, or an unsolicited neighbour
//! advertisement. A Vip is answered for as soon as it is claimed. Both families take the same way;
//! what differs stands in [`crate::wire`].

mod hear;
mod link;
mod order;
mod pace;
mod station;
mod vip_on_link;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

pub use link::{Assignment, Link, LinkId, on_a_subnet};
use order::Order;
pub use order::Progress;
use pace::Pace;
pub use station::{carrying, standing_by};
pub use vip_on_link::Event;
use vip_on_link::{State, Step};

use crate::conflict::{REPORT_AGAIN, REPORT_AGAIN_NO_HOST};
use crate::subnet::{no_host, of_host};
use crate::wire::{self, Frame, MacAddr};
use crate::{Instant, Reason};

/// How often a Vip is announced, and how it is made sure that it is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Rounds of a fresh claim, the one at once included.
    pub rounds: u32,
    /// Time between them: over 1 s, because Linux takes no second change of an entry within
    /// `locktime` (1 s), and RFC 4861 §7.2.6 wants as much.
    pub spacing: Duration,
    /// Time between the rounds of a Vip that is held; `None` for no more rounds.
    pub refresh: Option<Duration>,
    /// Rounds and probes of all Vips together that may leave in one second.
    pub rounds_per_second: u32,
    /// Rounds and probes of all Vips together that may leave at once.
    pub burst: u32,
    /// Probes before a fresh Vip is claimed.
    pub probes: u32,
    /// Time between them, and after the last one. RFC 5227 §1.1 has 1 s to 2 s, for hosts that join
    /// a network whose switches still wake up; here the link is up, and kube-proxy takes about 1 s
    /// before it serves a new Service anyway.
    pub probe_spacing: Duration,
    /// After which time an address that another host has is probed again; doubled each time that the
    /// host still answers.
    pub conflict_retry: Duration,
    /// That time at most.
    pub conflict_retry_at_most: Duration,
    /// At most one announcement against another host in this time (`DEFEND_INTERVAL`, RFC 5227
    /// §1.1), and one event.
    pub defend_interval: Duration,
    /// After which time a conflict that goes on is told again: before the controller forgets it.
    pub repeat: Duration,
    /// The same of an address that no host can have.
    pub repeat_no_host: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rounds: 5,
            spacing: Duration::from_millis(1_100),
            refresh: Some(Duration::from_mins(1)),
            // 1,000 Vips at once are out within 100 ms.
            rounds_per_second: 10_000,
            burst: 64,
            probes: 3,
            probe_spacing: Duration::from_millis(80),
            conflict_retry: Duration::from_secs(1),
            conflict_retry_at_most: Duration::from_secs(30),
            defend_interval: Duration::from_secs(10),
            repeat: REPORT_AGAIN,
            repeat_no_host: REPORT_AGAIN_NO_HOST,
        }
    }
}

/// The stations of the cluster's nodes: they are never answered, and no foreign hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterNodes {
    /// Hardware addresses of their links, as far as they are known, with the node's name.
    pub macs: BTreeMap<MacAddr, String>,
    /// Their addresses (`Node.status.addresses`).
    pub addresses: BTreeSet<IpAddr>,
}

/// What became of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameOutcome {
    /// Answered for this Vip; [`Announcer::poll_transmit`] has the frame.
    Answered(IpAddr),
    /// Not answered.
    Dropped(Reason),
}

/// Why a frame is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An announcement that nobody asked for.
    Gratuitous,
    /// The answer to a request.
    Reply,
    /// The question whether anybody has the address.
    Probe,
}

/// A frame to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The link to send it on.
    pub link: LinkId,
    /// The Vip that it speaks for.
    pub vip: IpAddr,
    /// Why it is sent.
    pub kind: Kind,
    /// The frame.
    pub frame: Frame,
}

/// Deadlines in their order, each with whose it is.
type Due = BTreeSet<(Instant, IpAddr, LinkId)>;

/// The state machine: see the module.
#[derive(Debug)]
pub struct Announcer {
    settings: Settings,
    /// What this node is to announce, and how far that has come.
    orders: BTreeMap<IpAddr, Order>,
    links: BTreeMap<LinkId, Link>,
    cluster: ClusterNodes,
    /// The rounds and probes to come, in their order.
    due: Due,
    pace: Pace,
    /// The earliest time that the pace lets the next one pass.
    not_before: Instant,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Announcer {
    /// An announcer that wants nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let pace = Pace::new(settings.rounds_per_second, settings.burst);
        Self {
            settings,
            orders: BTreeMap::new(),
            links: BTreeMap::new(),
            cluster: ClusterNodes::default(),
            due: BTreeSet::new(),
            pace,
            not_before: Instant::START,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The Vips that this node is to announce, all of them. One that is no longer among them is
    /// silent from now on.
    pub fn set_wanted(&mut self, wanted: BTreeMap<IpAddr, Assignment>, now: Instant) {
        let events = &mut self.events;
        self.orders.retain(|vip, order| {
            let stays = wanted.contains_key(vip);
            if !stays && order.is_claimed {
                events.push_back(Event::Silent { vip: *vip });
            }
            stays
        });
        for (vip, wanted) in wanted {
            match self.orders.entry(vip) {
                Entry::Occupied(known) => known.into_mut().wanted = wanted,
                Entry::Vacant(new) => drop(new.insert(Order::new(wanted))),
            }
        }
        self.reconcile(now);
    }

    /// The links of this node, all of them. On a new link, one whose carrier is back and one with
    /// another hardware address, every Vip is claimed afresh.
    pub fn set_links(&mut self, links: BTreeMap<LinkId, Link>, now: Instant) {
        let old = std::mem::replace(&mut self.links, links);
        let same_station = |id: &LinkId| {
            old.get(id).map(|link| link.mac) == self.links.get(id).map(|link| link.mac)
        };
        for order in self.orders.values_mut() {
            order.claims.retain(|(id, _)| same_station(id));
        }
        self.reconcile(now);
    }

    /// The nodes of the cluster: no request of theirs is answered, and what they announce is no
    /// conflict. A Vip that waited for a host that turns out to be a node is probed again.
    pub fn set_cluster_nodes(&mut self, cluster: ClusterNodes, now: Instant) {
        self.cluster = cluster;
        for (vip, order) in &mut self.orders {
            for (id, claim) in &mut order.claims {
                if claim.waits_for_any(&self.cluster.macs) {
                    claim.reschedule(now, &mut self.due, (*vip, *id));
                }
            }
        }
        self.handle_timeout(now);
    }

    /// Announces every Vip once more: neighbours may have heard another node in between.
    pub fn announce_again(&mut self, now: Instant) {
        for (vip, order) in &mut self.orders {
            for (id, claim) in &mut order.claims {
                // A claim that is still in its rounds repeats itself soon enough.
                if claim.state == State::Held {
                    claim.reschedule(now, &mut self.due, (*vip, *id));
                }
            }
        }
        self.handle_timeout(now);
    }

    /// A frame came in on a link.
    pub fn handle_frame(&mut self, link: LinkId, frame: &[u8], now: Instant) -> FrameOutcome {
        match self.hear(link, frame, now) {
            Ok((vip, frame)) => {
                self.outbox.push_back(Transmit {
                    link,
                    vip,
                    kind: Kind::Reply,
                    frame,
                });
                FrameOutcome::Answered(vip)
            }
            Err(reason) => FrameOutcome::Dropped(reason),
        }
    }

    /// Time has passed: sends what is due, as fast as the pace allows.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, vip, id)) = self.due.first() {
            self.not_before = self.pace.next(now);
            if at > now || self.not_before > now {
                return;
            }
            self.due.pop_first();
            self.pace.pass(now);
            self.advance(vip, id, now);
        }
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// What is announced, and what has come to light about other hosts. At most one event per Vip,
    /// link and `defend_interval`, whatever the LAN sends.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next, and for what.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (at, vip, id) = *self.due.first()?;
        if at < self.not_before {
            return Some((self.not_before, "pace"));
        }
        let claim = self.orders.get(&vip).and_then(|order| order.claim(id));
        Some((at, claim.map_or("", |claim| claim.state.waits_for())))
    }

    /// The Vips that this node answers for now, each with the links that it does so on.
    pub fn owned(&self) -> impl Iterator<Item = (IpAddr, LinkId)> {
        self.orders.iter().flat_map(|(vip, order)| {
            let claims = order.claims.iter();
            let answers = claims.filter(|(_, claim)| claim.state.answers());
            answers.map(|(id, _)| (*vip, *id))
        })
    }

    /// Each Vip that this node is to announce, and what has become of that.
    pub fn progress(&self) -> impl Iterator<Item = (IpAddr, Progress)> {
        let orders = self.orders.iter();
        orders.map(|(vip, order)| (*vip, order.progress()))
    }

    /// The Vips whose frames this node has to hear on a link: those that it answers for there, and
    /// those that it is about to.
    pub fn heard_on(&self, link: LinkId) -> impl Iterator<Item = IpAddr> {
        let orders = self.orders.iter();
        orders
            .filter(move |(_, order)| order.claim(link).is_some())
            .map(|(vip, _)| *vip)
    }

    /// The wanted Vips that no link carries now (`no_link`).
    pub fn carried_by_no_link(&self) -> impl Iterator<Item = IpAddr> {
        let orders = self.orders.iter();
        orders
            .filter(|(_, order)| order.claims.is_empty())
            .map(|(vip, _)| *vip)
    }

    /// The wanted Vips on the subnet of no link: they are announced on all (`no_link_on_subnet`).
    pub fn on_no_subnet(&self) -> impl Iterator<Item = IpAddr> {
        let orders = self.orders.iter();
        orders
            .filter(|(vip, Order { wanted, .. })| {
                !wanted.on_subnet_only && !on_a_subnet(**vip, wanted, &self.links)
            })
            .map(|(vip, _)| *vip)
    }

    /// Makes the claims what is wanted on the links that are there, and announces what is new.
    fn reconcile(&mut self, now: Instant) {
        let (links, settings) = (&self.links, &self.settings);
        for (vip, order) in &mut self.orders {
            order.follow(*vip, links, settings, now);
        }
        let orders = &self.orders;
        let claims = orders.iter().flat_map(|(vip, order)| {
            let claims = order.claims.iter();
            claims.map(|(id, claim)| (*vip, *id, claim))
        });
        self.due = claims
            .filter_map(|(vip, id, claim)| Some((claim.next?, vip, id)))
            .collect();
        self.outbox.retain(|transmit| {
            let order = orders.get(&transmit.vip);
            order.is_some_and(|order| order.claim(transmit.link).is_some())
        });
        self.handle_timeout(now);
    }

    /// What is due for `vip` on a link, and the time of what comes after it.
    fn advance(&mut self, vip: IpAddr, id: LinkId, now: Instant) {
        let (Some(order), Some(link)) = (self.orders.get_mut(&vip), self.links.get(&id)) else {
            return;
        };
        let cause = order.wanted.cause;
        let is_claimed = &mut order.is_claimed;
        let Some((_, claim)) = order.claims.iter_mut().find(|(one, _)| *one == id) else {
            return;
        };
        let step = claim.advance(&self.settings, now);
        self.due.extend(claim.next.map(|next| (next, vip, id)));
        let mac = link.mac;
        let mut prefixes = link.prefixes.iter();
        if let Some(prefix) = prefixes.find(|prefix| no_host(vip, **prefix).is_some())
            && claim.tells_of_no_host(&self.settings, now)
        {
            self.events.push_back(Event::NoHost {
                vip,
                link: id,
                subnet: of_host(*prefix),
            });
        }
        match step {
            Step::Probe => self.send(id, vip, Kind::Probe, [wire::probe(vip, mac)]),
            Step::Announce => {
                let was_in_conflict = std::mem::take(&mut claim.gave_way);
                if !std::mem::replace(is_claimed, true) || was_in_conflict {
                    self.events.push_back(Event::Announced {
                        vip,
                        link: id,
                        cause,
                        was_in_conflict,
                    });
                }
                self.send(id, vip, Kind::Gratuitous, wire::announcement(vip, mac));
            }
        }
    }

    fn send(
        &mut self,
        link: LinkId,
        vip: IpAddr,
        kind: Kind,
        frames: impl IntoIterator<Item = Frame>,
    ) {
        self.outbox.extend(frames.into_iter().map(|frame| Transmit {
            link,
            vip,
            kind,
            frame,
        }));
    }
}

#[cfg(test)]
mod tests;
