//! Announces Vips and answers for them: the frames that make neighbours send to this node.
//!
//! Each Vip on each link that carries it goes
//!
//! ```text
//! absent ──wanted, link with carrier──▶ claiming, some rounds left ──no round left──▶ held
//!    ▲──────────────── unwanted or no carrier: silent at once ──────────────────────────┘
//! ```
//!
//! A round is one gratuitous ARP in either form, since there are receivers that honour only one of
//! them. A Vip is answered for as soon as it is claimed.

mod link;
mod pace;
mod reply;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

pub use link::{Link, LinkId, Wanted, carrying};
use pace::Pace;

use crate::wire::arp::{self, Operation};
use crate::wire::{Frame, MacAddr};
use crate::{Instant, Reason};

/// How often a Vip is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Rounds of a fresh claim, the one at once included.
    pub rounds: u32,
    /// Time between them: over 1 s, because Linux takes no second change of an entry within
    /// `locktime` (1 s).
    pub spacing: Duration,
    /// Time between the rounds of a Vip that is held; `None` for no more rounds.
    pub refresh: Option<Duration>,
    /// Rounds of all Vips together that may leave in one second.
    pub rounds_per_second: u32,
    /// Rounds of all Vips together that may leave at once.
    pub burst: u32,
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
        }
    }
}

/// The stations of the cluster's nodes: they are never answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterNodes {
    /// Hardware addresses of their links, as far as they are known.
    pub macs: BTreeSet<MacAddr>,
    /// Their addresses (`Node.status.addresses`).
    pub addresses: BTreeSet<IpAddr>,
}

/// What became of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered for this Vip; [`Announcer::poll_transmit`] has the frame.
    Answered(IpAddr),
    /// Not answered.
    Dropped(Reason),
}

/// Why a frame is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A gratuitous announcement.
    Gratuitous,
    /// The answer to a request.
    Reply,
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A Vip that this node answers for on one link.
#[derive(Debug)]
struct Claim {
    /// Rounds still to go until the claim is held.
    rounds_left: u32,
    /// When the next round is due, if there is one; the same as in `Announcer::due`.
    next: Option<Instant>,
}

/// The state machine: see the module.
#[derive(Debug)]
pub struct Announcer {
    settings: Settings,
    wanted: BTreeMap<IpAddr, Wanted>,
    links: BTreeMap<LinkId, Link>,
    cluster: ClusterNodes,
    claims: BTreeMap<(IpAddr, LinkId), Claim>,
    /// The rounds to come, in their order.
    due: BTreeSet<(Instant, IpAddr, LinkId)>,
    pace: Pace,
    /// The earliest time that the pace lets the next round pass.
    not_before: Instant,
    outbox: VecDeque<Transmit>,
}

impl Announcer {
    /// An announcer that wants nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let pace = Pace::new(settings.rounds_per_second, settings.burst);
        Self {
            settings,
            wanted: BTreeMap::new(),
            links: BTreeMap::new(),
            cluster: ClusterNodes::default(),
            claims: BTreeMap::new(),
            due: BTreeSet::new(),
            pace,
            not_before: Instant::START,
            outbox: VecDeque::new(),
        }
    }

    /// The Vips that this node is to announce, all of them. One that is no longer among them is
    /// silent from now on.
    pub fn set_wanted(&mut self, wanted: BTreeMap<IpAddr, Wanted>, now: Instant) {
        self.wanted = wanted;
        self.reconcile(now);
    }

    /// The links of this node, all of them. On a new link, one whose carrier is back and one with
    /// another hardware address, every Vip is claimed afresh.
    pub fn set_links(&mut self, links: BTreeMap<LinkId, Link>, now: Instant) {
        let old = std::mem::replace(&mut self.links, links);
        let same_station = |id: &LinkId| {
            old.get(id).map(|link| link.mac) == self.links.get(id).map(|link| link.mac)
        };
        self.claims.retain(|(_, id), _| same_station(id));
        self.reconcile(now);
    }

    /// The nodes of the cluster: no request of theirs is answered.
    pub fn set_cluster_nodes(&mut self, cluster: ClusterNodes, _now: Instant) {
        self.cluster = cluster;
    }

    /// Announces every Vip once more: neighbours may have heard another node in between.
    pub fn announce_again(&mut self, now: Instant) {
        for ((vip, id), claim) in &mut self.claims {
            // A claim that is still in its rounds repeats itself soon enough.
            if claim.rounds_left == 0 {
                if let Some(next) = claim.next.take() {
                    self.due.remove(&(next, *vip, *id));
                }
                claim.next = Some(now);
                self.due.insert((now, *vip, *id));
            }
        }
        self.handle_timeout(now);
    }

    /// A frame came in on a link.
    pub fn handle_frame(&mut self, link: LinkId, frame: &[u8], _now: Instant) -> Outcome {
        match self.reply(link, frame) {
            Ok((vip, frame)) => {
                self.outbox.push_back(Transmit {
                    link,
                    vip,
                    kind: Kind::Reply,
                    frame,
                });
                Outcome::Answered(vip)
            }
            Err(reason) => Outcome::Dropped(reason),
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
            self.announce(vip, id, now);
        }
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next, and for what.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (at, ..) = *self.due.first()?;
        if at < self.not_before {
            Some((self.not_before, "pace"))
        } else {
            Some((at, "round"))
        }
    }

    /// The Vips that this node answers for now, each with the links that it does so on.
    pub fn owned(&self) -> impl Iterator<Item = (IpAddr, LinkId)> {
        self.claims.keys().copied()
    }

    /// The wanted Vips that no link carries now (`no_link`).
    pub fn carried_by_no_link(&self) -> impl Iterator<Item = IpAddr> {
        let claimed = |vip: IpAddr| {
            let claims = (vip, LinkId(0))..=(vip, LinkId(u32::MAX));
            self.claims.range(claims).next().is_some()
        };
        self.wanted
            .keys()
            .copied()
            .filter(move |vip| !claimed(*vip))
    }

    /// Makes `claims` what `wanted` and `links` ask for, and announces what is new.
    fn reconcile(&mut self, now: Instant) {
        let carried: BTreeSet<_> = self
            .wanted
            .iter()
            // Neighbour discovery is not spoken here.
            .filter(|(vip, _)| vip.is_ipv4())
            .flat_map(|(vip, wanted)| carrying(*vip, wanted, &self.links).map(move |id| (*vip, id)))
            .collect();
        self.claims.retain(|key, _| carried.contains(key));
        for key in carried {
            let rounds_left = self.settings.rounds;
            self.claims.entry(key).or_insert(Claim {
                rounds_left,
                next: Some(now),
            });
        }
        let claims = &self.claims;
        self.due = claims
            .iter()
            .filter_map(|((vip, id), claim)| Some((claim.next?, *vip, *id)))
            .collect();
        self.outbox
            .retain(|transmit| claims.contains_key(&(transmit.vip, transmit.link)));
        self.handle_timeout(now);
    }

    /// One round of `vip` on a link, and the time of the next one.
    fn announce(&mut self, vip: IpAddr, id: LinkId, now: Instant) {
        let (Some(claim), Some(link)) = (self.claims.get_mut(&(vip, id)), self.links.get(&id))
        else {
            return;
        };
        claim.rounds_left = claim.rounds_left.saturating_sub(1);
        let wait = if claim.rounds_left > 0 {
            Some(self.settings.spacing)
        } else {
            self.settings.refresh
        };
        claim.next = wait.map(|wait| now + wait);
        self.due.extend(claim.next.map(|next| (next, vip, id)));
        let frames = gratuitous(vip, link.mac);
        self.outbox.extend(frames.into_iter().map(|frame| Transmit {
            link: id,
            vip,
            kind: Kind::Gratuitous,
            frame,
        }));
    }
}

/// The frames of one round.
fn gratuitous(vip: IpAddr, mac: MacAddr) -> Vec<Frame> {
    match vip {
        IpAddr::V4(vip) => [Operation::Request, Operation::Reply]
            .map(|operation| arp::Repr::gratuitous(operation, mac, vip).emit(MacAddr::broadcast()))
            .into(),
        IpAddr::V6(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
