//! Asks other kernels for a sign of life, and hears what they say. None of it needs their speakers.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::address::Family;
use ferrolb_core::announce::{Link, LinkId};
use ferrolb_core::ownership::KernelAnswer;
use ferrolb_core::wire::{self, MacAddr, Message, icmp};
use tracing::{debug, warn};

use super::driver::TURN;
use crate::port::{Echo as _, Frames, MAX_FRAME, MAX_ICMP, Network};

/// Whether frames arrive at all is looked up for so long after a probe: longer than any verdict on
/// it takes.
const LISTEN: Duration = Duration::from_secs(1);
/// A node that was not asked for so long is none any more: the others are asked each few seconds.
const SOLICITED: Duration = Duration::from_secs(60);
/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A node's kernel, or the gateway's.
    Kernel(IpAddr, KernelAnswer),
    /// A station says that it has this address.
    Announcement(IpAddr, MacAddr),
    /// A station asks whether anybody has this address, to take it.
    Probe(IpAddr, MacAddr),
    /// Some frame of anybody.
    Frame,
}

/// The sockets for questions to other kernels.
#[derive(Debug)]
pub(super) struct Prober<N: Network> {
    network: N,
    icmp: Vec<(Family, N::Echo)>,
    arp: BTreeMap<LinkId, N::Frames>,
    /// Sockets for the answers to neighbour solicitations, opened when an IPv6 node is first asked.
    ndp: BTreeMap<LinkId, N::Frames>,
    /// Whom they are from, and when it was last asked.
    solicited: BTreeMap<IpAddr, Instant>,
    /// What others announce is heard there, if that is asked for.
    announcements: BTreeMap<(LinkId, Family), N::Frames>,
    announced: BTreeSet<IpAddr>,
    links: BTreeMap<LinkId, Link>,
    gateways: Vec<IpAddr>,
    /// Marks our echo requests among those of others on this node.
    identifier: u16,
    /// Of the speakers: a kernel says of it that no process listens.
    port: u16,
    sequence: u16,
    listen_until: Instant,
    frames: u64,
}

impl<N: Network> Prober<N> {
    /// Opens what is there from the start. A kernel without one of the families lacks its socket.
    #[must_use]
    pub(super) fn new(network: N, identifier: u16, port: u16) -> Self {
        let open = |family| match network.echo(family) {
            Ok(socket) => Some((family, socket)),
            Err(error) => {
                debug!(?family, %error, "no ICMP socket");
                None
            }
        };
        let icmp = [Family::V4, Family::V6].into_iter().filter_map(open);
        Self {
            icmp: icmp.collect(),
            network,
            arp: BTreeMap::new(),
            ndp: BTreeMap::new(),
            solicited: BTreeMap::new(),
            announcements: BTreeMap::new(),
            announced: BTreeSet::new(),
            links: BTreeMap::new(),
            gateways: Vec::new(),
            identifier,
            port,
            sequence: 0,
            listen_until: Instant::START,
            frames: 0,
        }
    }

    /// The links of this node, all of them.
    pub(super) fn set_links(&mut self, links: BTreeMap<LinkId, Link>) {
        let same = |id: &LinkId| {
            self.links.get(id).map(|link| link.mac) == links.get(id).map(|link| link.mac)
        };
        self.arp.retain(|id, _| same(id));
        self.ndp.retain(|id, _| same(id));
        self.announcements.clear();
        let announced = std::mem::take(&mut self.announced);
        for (id, link) in &links {
            if !self.arp.contains_key(id) {
                match self.network.arp_replies(*id, link.mac) {
                    Ok(socket) => drop(self.arp.insert(*id, socket)),
                    Err(error) => {
                        warn!(link = &*link.name, %error, "cannot receive ARP replies on this link")
                    }
                }
            }
        }
        self.links = links;
        self.listen(announced);
    }

    /// Hears from now on who announces these addresses; nothing of the sort if there are none.
    pub(super) fn listen(&mut self, announced: BTreeSet<IpAddr>) {
        if announced == self.announced {
            return;
        }
        for (id, link) in &self.links {
            for family in [Family::V4, Family::V6] {
                let of_family = || announced.iter().filter(|vip| Family::of(**vip) == family);
                if of_family().next().is_none() {
                    self.announcements.remove(&(*id, family));
                    continue;
                }
                let socket = match self.announcements.entry((*id, family)) {
                    Entry::Occupied(open) => Ok(open.into_mut()),
                    Entry::Vacant(closed) => (self.network.frames(*id, link.mac, family))
                        .map(|socket| closed.insert(socket)),
                };
                let listening = socket.and_then(|socket| socket.listen(of_family().copied()));
                if let Err(error) = listening {
                    warn!(link = &*link.name, ?family, %error, "cannot receive announcements on this link");
                }
            }
        }
        self.announced = announced;
    }

    /// The default gateways.
    pub(super) fn set_gateways(&mut self, gateways: Vec<IpAddr>) {
        self.gateways = gateways;
    }

    /// Whether this is a default gateway.
    #[must_use]
    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        self.gateways.contains(&address)
    }

    /// Asks the kernel at this address: by ARP or neighbour solicitation where it is on a link, by echo
    /// anyway.
    pub(super) fn probe(&mut self, to: IpAddr, now: Instant) {
        if now >= self.listen_until {
            self.frames = self.count_frames();
        }
        self.listen_until = now + LISTEN;
        self.ask_echo(to);
        match to {
            IpAddr::V4(_) => self.ask_arp(to),
            IpAddr::V6(_) => self.solicit(to, now),
        }
    }

    /// Asks every default gateway.
    pub(super) fn probe_gateways(&mut self, now: Instant) {
        for gateway in self.gateways.clone() {
            self.probe(gateway, now);
        }
    }

    fn ask_echo(&mut self, to: IpAddr) {
        let family = Family::of(to);
        self.sequence = self.sequence.wrapping_add(1);
        let request = icmp::echo_request(family, self.identifier, self.sequence);
        let socket = self.icmp.iter().find(|(of, _)| *of == family);
        if let Some(Err(error)) = socket.map(|(_, socket)| socket.send(to, &request)) {
            debug!(%to, %error, "echo request not sent");
        }
    }

    /// By broadcast: what a switch has learned may be out of date.
    fn ask_arp(&self, to: IpAddr) {
        for (id, link, own) in on_link(&self.links, to) {
            if let Some(socket) = self.arp.get(&id) {
                ask(socket, link, to, own);
            }
        }
    }

    /// By multicast, for the same reason.
    fn solicit(&mut self, to: IpAddr, now: Instant) {
        self.solicited.retain(|_, at| now < *at + SOLICITED);
        self.solicited.insert(to, now);
        for (id, link, own) in on_link(&self.links, to) {
            let socket = match self.ndp.entry(id) {
                Entry::Occupied(open) => Ok(open.into_mut()),
                Entry::Vacant(closed) => {
                    let socket = self.network.frames(id, link.mac, Family::V6);
                    socket.map(|socket| closed.insert(socket))
                }
            };
            let listening = socket.and_then(|socket| {
                socket.listen(self.solicited.keys().copied())?;
                Ok(socket)
            });
            match listening {
                Ok(socket) => ask(socket, link, to, own),
                Err(error) => {
                    debug!(link = &*link.name, %error, "cannot receive neighbour advertisements on this link")
                }
            }
        }
    }

    /// What has to be waited for.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let icmp = self.icmp.iter().map(|(_, socket)| socket.as_fd());
        let announcements = self.announcements.values().map(AsFd::as_fd);
        let answers = self.arp.values().chain(self.ndp.values());
        icmp.chain(answers.map(AsFd::as_fd)).chain(announcements)
    }

    /// Takes what waits in the sockets, from each as much as has its turn. With `any`, any frame at all is news.
    pub(super) fn receive(&mut self, any: bool, now: Instant, mut hear: impl FnMut(Heard)) {
        for (family, socket) in &self.icmp {
            let mut buffer = [0; MAX_ICMP];
            drain(|| {
                let (length, from) = socket.receive(&mut buffer)?;
                if let Some(answer) = self.understand(*family, &buffer[..length], from) {
                    hear(Heard::Kernel(from, answer));
                }
                Ok(())
            });
        }
        for socket in self.arp.values().chain(self.ndp.values()) {
            let mut buffer = [0; MAX_FRAME];
            drain(|| {
                let length = socket.receive(&mut buffer)?;
                let message = Message::parse(&buffer[..length]).ok();
                let answer = message.filter(Message::is_kernels_answer);
                if let Some((answer, from)) = answer.and_then(|it| Some((it, it.claimed()?))) {
                    let answer = KernelAnswer::Neighbour(answer.sender_hardware());
                    hear(Heard::Kernel(from, answer));
                }
                Ok(())
            });
        }
        for socket in self.announcements.values() {
            let mut buffer = [0; MAX_FRAME];
            drain(|| {
                let length = socket.receive(&mut buffer)?;
                if let Some(heard) = claimant(&buffer[..length]) {
                    hear(heard);
                }
                Ok(())
            });
        }
        if any || now < self.listen_until {
            let frames = self.count_frames();
            if std::mem::replace(&mut self.frames, frames) != frames {
                hear(Heard::Frame);
            }
        }
    }

    fn understand(&self, family: Family, message: &[u8], from: IpAddr) -> Option<KernelAnswer> {
        let parsed = match family {
            Family::V4 => icmp::parse_v4(message),
            Family::V6 => icmp::parse_v6(message),
        };
        match parsed.ok()? {
            icmp::Answer::Echo { identifier } => {
                (identifier == self.identifier).then_some(KernelAnswer::Echo)
            }
            // Only the node itself can say it, not a firewall in between.
            icmp::Answer::PortUnreachable { to, port } => {
                (to == from && port == self.port).then_some(KernelAnswer::PortUnreachable)
            }
        }
    }

    /// Frames that arrived on the links up to now. Zero if the kernel does not tell: then only
    /// answers prove that this node can hear.
    fn count_frames(&self) -> u64 {
        let text = self.network.counters();
        let is_link = |name: &str| self.links.values().any(|link| &*link.name == name);
        received(&text, is_link)
    }
}

/// The links on whose subnets `to` is, each with our own address there.
fn on_link(
    links: &BTreeMap<LinkId, Link>,
    to: IpAddr,
) -> impl Iterator<Item = (LinkId, &Link, IpAddr)> {
    let links = links.iter().filter(|(_, link)| link.carrier);
    links.filter_map(move |(id, link)| {
        let mut prefixes = link.prefixes.iter();
        let own = prefixes.find(|prefix| prefix.contains(to))?.ip();
        Some((*id, link, own))
    })
}

fn ask(socket: &impl Frames, link: &Link, to: IpAddr, own: IpAddr) {
    let question = wire::question(to, link.mac, own);
    if let Some(Err(error)) = question.map(|frame| socket.send(frame.as_bytes())) {
        debug!(%to, link = &*link.name, %error, "question not sent");
    }
}

/// What a frame tells all that a station announces, or is about to. A kernel's answer is neither.
fn claimant(frame: &[u8]) -> Option<Heard> {
    let message = Message::parse(frame).ok()?;
    let by = message.sender_hardware();
    if !message.is_to_many() || message.is_kernels_answer() {
        return None;
    }
    match message.claimed() {
        Some(vip) => Some(Heard::Announcement(vip, by)),
        None if message.sender().is_unspecified() => Some(Heard::Probe(message.asked()?, by)),
        None => None,
    }
}

/// Takes what is there, as much as has its turn.
fn drain(mut receive: impl FnMut() -> io::Result<()>) {
    for _ in 0..TURN {
        match receive() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                // ENETDOWN: the link's next event tells what has become of it.
                debug!(%error, "cannot receive");
                return;
            }
        }
    }
}

/// `eth0: BYTES PACKETS …` (proc_net(5)).
fn received(text: &str, is_link: impl Fn(&str) -> bool) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(name, _)| is_link(name.trim()))
        .filter_map(|(_, counters)| counters.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_on_links_alone() {
        let text = "Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes
    lo:    5000      40    0    0    0     0          0         0     5000
  eth0: 1234567     789    0    0    0     0          0         0   999
  eth1:      60       1    0    0    0     0          0         0   999
";
        assert_eq!(received(text, |name| name.starts_with("eth")), 790);
        assert_eq!(received("", |_| true), 0);
    }

    /// Needs root.
    #[test]
    fn a_kernel_answers_echoes_and_says_that_nobody_listens() {
        let mut prober = Prober::new(
            crate::port::Kernel::default(),
            0xfe11,
            ferrolb_core::ownership::PORT,
        );
        for own in ["127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().unwrap()) {
            if std::net::UdpSocket::bind((own, 0)).is_err() {
                continue;
            }
            prober.probe(own, Instant::START);
            let mut heard = Vec::new();
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            while heard.is_empty() {
                assert!(std::time::Instant::now() < deadline, "no echo from {own}");
                prober.receive(false, Instant::START, |what| heard.push(what));
            }
            assert_eq!(heard, [Heard::Kernel(own, KernelAnswer::Echo)]);
        }
    }
}
