//! Open connections through an address that moved: for a while, its new owner passes what it does not know
//! on to the old one.
//!
//! A planned move resets every TCP connection through the address, because the new node's connection
//! tracking knows nothing of them. The old node still has them. So the new one sends it each packet in the
//! middle of an unknown connection; the old one handles it as before, and answers the client itself. New
//! connections (SYN) are the new owner's alone.
//!
//! [`Keep`] decides for which addresses this is done, to whom, and when it ends. Another process carries it
//! out, because it needs a right that the speaker does not have: the keeper. [`words`] is what the two say
//! to each other.
//!
//! | it ends | because |
//! | --- | --- |
//! | the old owner's node is dead, or deaf | whoever waits for it hangs; a reset is better |
//! | its kernel no longer answers, while its speaker is away | the same |
//! | this node no longer has the address | the new owner decides for itself; two that pass to each other are a loop |
//! | nothing was passed on for five minutes | nobody needs it |
//! | `maxSeconds` are over | it is a bounded promise |

pub mod shown;
pub mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::Instant;
use crate::address::Family;
use crate::announce::{Link, LinkId};
use crate::ownership::{KernelAnswer, NodeId, Standing, Verdict};
use crate::wire::MacAddr;

/// Addresses for which packets are passed on at once, at most: as many as a node announces in the largest
/// tests. The rest moves as without a keeper.
pub const MAX_ENTRIES: usize = 4_096;
/// Stations that the keeper is told of, at most: two families of a thousand nodes, four times over.
pub const MAX_STATIONS: usize = 8_192;
/// The longest time that packets are passed on for one address, whatever is asked for.
pub const LONGEST: Duration = Duration::from_secs(3_600);

/// Nobody needs an entry through which nothing went for so long: twice what Linux waits between a TCP
/// connection's retransmissions at most (RFC 1122 §4.2.3.1; `TCP_RTO_MAX` is 120 s), and some.
const IDLE: Duration = Duration::from_secs(300);
/// Between two questions to the old owner's kernel while its speaker is away.
const ASK: Duration = Duration::from_millis(40);
/// So many in a row without an answer end it: within 0.2 s, as a verdict would.
const UNANSWERED: u32 = 3;

/// A station that packets may be passed on to: another node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Station {
    /// Its address on the link.
    pub address: IpAddr,
    /// Its hardware address there: packets that come from it are never passed on.
    pub mac: MacAddr,
}

/// What the keeper has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The other nodes, all of them. Before any entry that names one of them.
    Stations(Vec<Station>),
    /// Pass on what comes to `vip` and belongs to no known connection.
    Keep(Entry),
    /// No more, for this address.
    Drop(IpAddr),
}

/// An address for which packets are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The address.
    pub vip: IpAddr,
    /// The old owner's address on the link of `vip`.
    pub via: IpAddr,
    /// For how long; the kernel ends it after that by itself.
    pub time: Duration,
}

/// Why packets are no longer passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The old owner's node is gone, or its kernel silent: its connections are reset now.
    OldOwnerGone,
    /// This node no longer announces the address.
    Moved,
    /// Nothing was passed on for a while.
    Idle,
    /// The time is over.
    Over,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OldOwnerGone, Self::Moved, Self::Idle, Self::Over];

    /// The word for it, in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OldOwnerGone => "old_owner_gone",
            Self::Moved => "moved",
            Self::Idle => "idle",
            Self::Over => "over",
        }
    }

    /// What it means for connections that are still open.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::OldOwnerGone => {
                "it is down or does not answer. Those that were still open are reset"
            }
            Self::Moved => "the address has moved again",
            Self::Idle => "none of them sent anything for five minutes",
            Self::Over => {
                "their time (speaker.keepConnections.maxSeconds) is over. Those that are still open are reset \
                 when they next send something"
            }
        }
    }
}

/// An address for which packets are no longer passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The address.
    pub vip: IpAddr,
    /// Its old owner.
    pub from: NodeId,
    /// Why, for log, metric and Event.
    pub end: End,
}

/// Who had an address until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Giver {
    /// The member.
    pub node: NodeId,
    /// Where it is reached on the address's link.
    pub at: Station,
}

/// One address, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The address.
    pub vip: IpAddr,
    /// Its old owner.
    pub from: NodeId,
    /// How much longer, at most.
    pub left: Duration,
    /// Since the last packet that is known to have been passed on; without one, since it began.
    pub idle: Duration,
    /// Packets passed on so far.
    pub packets: u64,
}

/// Decides for which addresses packets are passed on.
#[derive(Debug, Clone)]
pub struct Keep {
    longest: Duration,
    entries: BTreeMap<IpAddr, Ongoing>,
    stations: Vec<Station>,
    orders: VecDeque<Order>,
    ended: VecDeque<Ended>,
    probes: VecDeque<IpAddr>,
}

/// What is known of one entry.
#[derive(Debug, Clone, Copy)]
struct Ongoing {
    giver: Giver,
    until: Instant,
    packets: u64,
    passed_at: Instant,
    doubt: Option<Doubt>,
}

/// The old owner's speaker is away: its kernel is asked.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    unanswered: u32,
    next: Instant,
}

impl Keep {
    /// Keeps nothing. `longest` is what the user asks for; more than [`LONGEST`] is taken as that.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self {
            longest: longest.min(LONGEST),
            entries: BTreeMap::new(),
            stations: Vec::new(),
            orders: VecDeque::new(),
            ended: VecDeque::new(),
            probes: VecDeque::new(),
        }
    }

    /// The other nodes, as far as their hardware addresses are known.
    pub fn set_stations(&mut self, mut stations: Vec<Station>) {
        stations.sort_unstable();
        stations.dedup();
        stations.truncate(MAX_STATIONS);
        if stations != self.stations {
            self.orders.push_back(Order::Stations(stations.clone()));
            self.stations = stations;
        }
    }

    /// This node takes `vip` over from `giver`. False if nothing is kept: there is no room, or the giver is
    /// no station that packets may be sent to.
    pub fn handle_taken(&mut self, vip: IpAddr, giver: Giver, now: Instant) -> bool {
        let is_known = self.stations.binary_search(&giver.at).is_ok();
        let same_family = Family::of(vip) == Family::of(giver.at.address);
        let has_room = self.entries.len() < MAX_ENTRIES || self.entries.contains_key(&vip);
        if !is_known || !same_family || !has_room || vip == giver.at.address {
            return false;
        }
        self.insert(vip, giver, self.longest, now);
        self.orders.push_back(Order::Keep(Entry {
            vip,
            via: giver.at.address,
            time: self.longest,
        }));
        true
    }

    /// The keeper still has this from before the speaker started. Without a `giver` (its address is no
    /// node's any more) it ends.
    pub fn handle_found(&mut self, found: Entry, giver: Option<Giver>, now: Instant) {
        match giver {
            Some(giver) if self.entries.len() < MAX_ENTRIES => {
                self.insert(found.vip, giver, found.time.min(self.longest), now);
            }
            _ => self.orders.push_back(Order::Drop(found.vip)),
        }
    }

    fn insert(&mut self, vip: IpAddr, giver: Giver, time: Duration, now: Instant) {
        let entry = Ongoing {
            giver,
            until: now + time,
            packets: 0,
            passed_at: now,
            doubt: None,
        };
        self.entries.insert(vip, entry);
    }

    /// The keeper does not do it: the address has moved as without one.
    pub fn handle_refused(&mut self, vip: IpAddr) {
        self.entries.remove(&vip);
    }

    /// This node no longer announces `vip`.
    pub fn handle_given(&mut self, vip: IpAddr) {
        self.end(vip, End::Moved);
    }

    /// Looks at how the old owners stand now: `None` for a member that is forgotten.
    pub fn handle_standings(&mut self, of: impl Fn(NodeId) -> Option<Standing>, now: Instant) {
        let mut gone = Vec::new();
        for (&vip, entry) in &mut self.entries {
            match Trust::of(of(entry.giver.node)) {
                Trust::Speaker => entry.doubt = None,
                Trust::Kernel => {
                    let new = Doubt {
                        unanswered: 0,
                        next: now,
                    };
                    entry.doubt.get_or_insert(new);
                }
                Trust::Nothing => gone.push(vip),
            }
        }
        for vip in gone {
            self.end(vip, End::OldOwnerGone);
        }
    }

    /// A kernel answered at this address.
    pub fn handle_kernel_answer(&mut self, from: IpAddr, answer: KernelAnswer) {
        for entry in self.entries.values_mut() {
            let at = entry.giver.at;
            // A proxy that answers for a dead host carries its own hardware address.
            let is_its = match answer {
                KernelAnswer::Neighbour(mac) => mac == at.mac,
                KernelAnswer::Echo | KernelAnswer::PortUnreachable => true,
            };
            if let Some(doubt) = entry
                .doubt
                .as_mut()
                .filter(|_| at.address == from && is_its)
            {
                doubt.unanswered = 0;
            }
        }
    }

    /// The keeper has passed on so many packets for `vip` since the entry began.
    pub fn handle_passed(&mut self, vip: IpAddr, packets: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&vip)
            && packets > entry.packets
        {
            (entry.packets, entry.passed_at) = (packets, now);
        }
    }

    /// The keeper has gone, and with it all that it did. Everything that is still wanted is ordered anew.
    pub fn handle_new_keeper(&mut self, now: Instant) {
        self.orders.clear();
        self.orders
            .push_back(Order::Stations(self.stations.clone()));
        for (&vip, entry) in &self.entries {
            self.orders.push_back(Order::Keep(Entry {
                vip,
                via: entry.giver.at.address,
                time: entry.until.saturating_since(now),
            }));
        }
    }

    /// Ends what is over, and asks kernels.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut ended = Vec::new();
        let mut asked = Vec::new();
        for (&vip, entry) in &mut self.entries {
            if now >= entry.until {
                ended.push((vip, End::Over));
            } else if now >= entry.passed_at + IDLE {
                ended.push((vip, End::Idle));
            } else if let Some(doubt) = entry.doubt.as_mut().filter(|doubt| now >= doubt.next) {
                if doubt.unanswered >= UNANSWERED {
                    ended.push((vip, End::OldOwnerGone));
                    continue;
                }
                doubt.unanswered += 1;
                doubt.next = now + ASK;
                asked.push(entry.giver.at.address);
            }
        }
        for (vip, end) in ended {
            self.end(vip, end);
        }
        // One question for all addresses that came from the same node.
        asked.sort_unstable();
        asked.dedup();
        self.probes.extend(asked);
    }

    /// When [`Self::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.entries.values().flat_map(|entry| {
            let doubt = entry.doubt.map(|doubt| doubt.next);
            [Some(entry.until), Some(entry.passed_at + IDLE), doubt]
        });
        due.flatten().min()
    }

    /// The next thing that the keeper has to do, until there is none.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The next address for which it has ended, until there is none.
    pub fn poll_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// The next address whose kernel has to be asked for a sign of life, until there is none.
    pub fn poll_probe(&mut self) -> Option<IpAddr> {
        self.probes.pop_front()
    }

    /// Whether packets are passed on for this address, as far as is known here.
    #[must_use]
    pub fn keeps(&self, vip: IpAddr) -> bool {
        self.entries.contains_key(&vip)
    }

    /// What is passed on now, and for how much longer.
    pub fn kept(&self, now: Instant) -> impl Iterator<Item = Kept> {
        self.entries.iter().map(move |(&vip, entry)| Kept {
            vip,
            from: entry.giver.node,
            left: entry.until.saturating_since(now),
            idle: now.saturating_since(entry.passed_at),
            packets: entry.packets,
        })
    }

    fn end(&mut self, vip: IpAddr, end: End) {
        if let Some(entry) = self.entries.remove(&vip) {
            let from = entry.giver.node;
            self.orders.push_back(Order::Drop(vip));
            self.ended.push_back(Ended { vip, from, end });
        }
    }
}

/// By what it is known that the old owner still has its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Its speaker beats.
    Speaker,
    /// Its speaker is away, has left, or is not heard here: its kernel has to answer.
    Kernel,
    /// It is dead, deaf, or no member.
    Nothing,
}

impl Trust {
    const fn of(standing: Option<Standing>) -> Self {
        match standing {
            Some(Standing::Live) => Self::Speaker,
            Some(Standing::Gone(Verdict::Node | Verdict::Deaf) | Standing::NeverHeard) | None => {
                Self::Nothing
            }
            Some(Standing::Lost { .. } | Standing::Held(_) | Standing::Gone(_)) => Self::Kernel,
        }
    }
}

/// Where `vip`'s old owner is reached: at one of its `stations` that is on-link here, in a subnet that holds
/// `vip` if there is one. None if it has none of the same family: then nothing can be passed on to it.
#[must_use]
pub fn station_for(
    vip: IpAddr,
    stations: impl IntoIterator<Item = Station>,
    links: &BTreeMap<LinkId, Link>,
) -> Option<Station> {
    let has_carrier = || links.values().filter(|link| link.carrier);
    let prefixes = || has_carrier().flat_map(|link| &link.prefixes);
    let is_own = |address: IpAddr| prefixes().any(|prefix| prefix.ip() == address);
    let on_link = stations.into_iter().filter(|station| {
        Family::of(station.address) == Family::of(vip)
            && !station.mac.is_zero()
            && !is_own(station.address)
            && prefixes().any(|prefix| prefix.contains(station.address))
    });
    on_link.min_by_key(|station| {
        let beside = |prefix: &&ipnetwork::IpNetwork| {
            prefix.contains(vip) && prefix.contains(station.address)
        };
        (!prefixes().any(|prefix| beside(&prefix)), *station)
    })
}
