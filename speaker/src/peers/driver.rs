//! The loop around [`Ownership`]: sockets and commands in, frames' orders and datagrams out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::announce::{Assignment, ClusterNodes, Link, LinkId};
use ferrolb_core::dead::Process;
use ferrolb_core::own_address::{LocalAddress, OwnAddresses};
use ferrolb_core::ownership::{
    self, Cause, Event, KeyProblem, KeyRing, Keys, Leaving, MAX_DATAGRAM, NodeId, Ownership,
    STOPPED, Settings, Transmit,
};
use ferrolb_core::wire::MacAddr;
use ferrolb_core::{Instant, Reason};
use ferrolb_kube::clock::Clock;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, trace, warn};

use super::deaths::Deaths;
use super::flood::Flood;
use super::probe::{Heard, Prober};
use super::socket::PeerSocket;
use super::{Command, FromPeers, Start, Wishes};
use crate::keep::Keeper;
use crate::links::Interfaces;
use crate::mailbox;
use crate::metrics::Metrics;
use crate::port::{Network, Poll};
use crate::pulse::Pulse;
use crate::wire::Wire;

/// The wire thread takes this one for stopped if it is silent for too long: of two waits one may be late.
const LONGEST_WAIT: Duration = Duration::from_millis(400);
const _: () = assert!(LONGEST_WAIT.as_micros() * 2 < STOPPED.as_micros());
/// Datagrams, and answers of one kind, that are taken before timers are looked at: as many as a
/// socket's buffer holds (L3), and with their signatures no more than a few milliseconds.
pub(super) const TURN: usize = 256;

/// The thread's state, all of it.
pub(super) struct Driver<N: Network> {
    pub(super) me: String,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pulse: Pulse,
    metrics: Arc<Metrics>,
    wire: Wire,
    pub(super) tell: UnboundedSender<FromPeers>,
    woken: UnixDatagram,
    pub(super) socket: PeerSocket<N>,
    pub(super) prober: Prober<N>,
    pub(super) key_ring: KeyRing,
    /// None before it was looked for keys: until then it is unknown who has to sign.
    pub(super) keys: Option<Keys>,
    /// What was wrong with them, as it was said last.
    told_problems: Vec<KeyProblem>,
    /// What has been carried out and not yet logged.
    unsaid: Vec<Event>,
    /// None before Nodes, wishes and links are known: whoever joined with less would give up what
    /// it had before it restarted.
    pub(super) ownership: Option<Ownership>,
    pub(super) nodes: Option<BTreeMap<String, Vec<IpAddr>>>,
    pub(super) names: BTreeMap<NodeId, String>,
    pub(super) wishes: Option<Wishes>,
    pub(super) links: Option<BTreeMap<LinkId, Link>>,
    /// What the kernel has, and what of it is this node's own among speakers.
    pub(super) local: Vec<LocalAddress>,
    pub(super) own: OwnAddresses,
    pub(super) doubtful: bool,
    pub(super) leaving: Option<Leaving>,
    /// What is this node's, as the wire thread was told last to announce it.
    orders: BTreeMap<IpAddr, Assignment>,
    poll: Poll,
    /// What others were told last.
    pub(super) told_at: Option<(Vec<IpAddr>, Vec<LocalAddress>)>,
    told_version: Option<(u64, usize, usize)>,
    told_joined: bool,
    told_unlocked: bool,
    flood: Flood,
    /// With `keepConnections` alone.
    pub(super) keeper: Option<Keeper>,
    deaths: Deaths,
}

impl<N: Network> Driver<N> {
    pub(super) fn new(
        start: Start<N>,
        boot: u64,
        tell: UnboundedSender<FromPeers>,
        woken: UnixDatagram,
    ) -> Self {
        let network = start.network;
        Self {
            me: start.me,
            settings: start.settings,
            clock: start.clock,
            pulse: start.pulse,
            metrics: start.metrics,
            wire: start.wire,
            tell,
            woken,
            socket: PeerSocket::new(network.clone(), start.port),
            // Differs from boot to boot: a late answer is nobody's.
            prober: Prober::new(network, (boot & 0xffff) as u16, start.port),
            key_ring: KeyRing::default(),
            keys: None,
            told_problems: Vec::new(),
            unsaid: Vec::new(),
            ownership: None,
            nodes: None,
            names: BTreeMap::new(),
            wishes: None,
            links: None,
            local: Vec::new(),
            own: OwnAddresses::default(),
            doubtful: false,
            leaving: None,
            orders: BTreeMap::new(),
            poll: Poll::default(),
            told_at: None,
            told_version: None,
            told_joined: false,
            told_unlocked: false,
            flood: Flood::default(),
            keeper: start.keeper,
            deaths: Deaths::default(),
        }
    }

    /// Returns when nobody sends commands any more.
    pub(super) fn run(&mut self, commands: &mailbox::Receiver<Command>) -> anyhow::Result<()> {
        while let Some(commands) = commands.take() {
            for command in commands {
                self.obey(command);
            }
            self.socket.handle_timeout(self.clock.now())?;
            // L3: whatever has arrived counts before any timer does.
            self.receive();
            if let Some(ownership) = &mut self.ownership {
                ownership.handle_timeout(self.clock.now());
            }
            let may_exit = self.carry_out();
            let hears = !self.ownership.as_ref().is_some_and(Ownership::is_isolated);
            self.pulse.beat(hears, self.clock.now());
            self.transmit();
            self.keep_on();
            self.listen();
            self.tell_changes();
            self.say();
            if may_exit {
                // Only now: the last words are out.
                let _ = self.tell.send(FromPeers::MayExit);
            }
            self.wait();
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Nodes(nodes) => {
                self.names = nodes
                    .keys()
                    .map(|name| (NodeId::of(name), name.clone()))
                    .collect();
                self.nodes = Some(nodes);
                self.told_version = None;
                self.follow_nodes(now);
            }
            Command::Wishes(wishes) => {
                self.wishes = Some(wishes);
                self.follow_wishes();
            }
            Command::Interfaces(Interfaces { links, addresses }) => {
                let names: Vec<_> = links.values().map(|link| &link.name).collect();
                info!(?names, "links");
                self.wire.set_links(links.clone());
                self.prober.set_links(links.clone());
                self.links = Some(links);
                self.local = addresses;
                self.follow_nodes(now);
                self.follow_wishes();
            }
            Command::Gateways(gateways) => {
                debug!(?gateways, "default gateways");
                self.prober.set_gateways(gateways);
            }
            Command::Keys(files) => self.set_keys(files, now),
            Command::Doubtful(doubtful) => {
                self.doubtful = doubtful;
                if let Some(ownership) = &mut self.ownership {
                    ownership.set_doubtful(doubtful);
                }
            }
            Command::Announced(vip) => {
                if let Some(ownership) = &mut self.ownership {
                    ownership.set_announced(vip);
                }
            }
            Command::Leave(why) => {
                self.leaving = Some(why);
                match &mut self.ownership {
                    Some(ownership) => ownership.set_leaving(why, now),
                    // Nobody knows this speaker yet.
                    None => drop(self.tell.send(FromPeers::MayExit)),
                }
            }
            Command::Status(answer) => drop(answer.send(self.status(now))),
        }
    }

    fn set_keys(&mut self, files: BTreeMap<String, Vec<u8>>, now: Instant) {
        let set = self.key_ring.set(files, Timestamp::now(), now);
        let problems = set.err().unwrap_or_default();
        if problems != self.told_problems {
            for problem in &problems {
                warn!(%problem, "problem with the speakers' Secret");
            }
            self.told_problems = problems;
        }
        let keys = self.key_ring.keys(now);
        let (accepted, unsigned) = (keys.accepted.len(), keys.unsigned);
        let state = |keys: &Keys| (keys.accepted.len(), keys.unsigned);
        if accepted > 0 && self.keys.as_ref().map(state) != Some((accepted, unsigned)) {
            // Unsigned: those are heard, too, that may not have the first key yet.
            info!(accepted, unsigned, "speakers' keys loaded");
        }
        if accepted == 0 && !self.told_unlocked {
            self.told_unlocked = true;
            info!("no peer key: datagrams from any node's address are trusted");
        }
        if let Some(ownership) = &mut self.ownership {
            ownership.set_keys(keys.clone(), now);
        }
        if self.keys.replace(keys).is_none() {
            self.follow_nodes(now);
        }
    }

    fn receive(&mut self) {
        let now = self.clock.now();
        let mut buffer = [0; MAX_DATAGRAM];
        // The rest is there in the next turn, which comes at once: whoever sends without end keeps no
        // beat from leaving.
        let mut strangers = 0;
        for _ in 0..TURN {
            match self.socket.receive(&mut buffer) {
                Ok((length, from)) => {
                    strangers += usize::from(self.take(from, &buffer[..length], now));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    debug!(%error, "cannot receive");
                    break;
                }
            }
        }
        let Self {
            prober, ownership, ..
        } = self;
        let Some(ownership) = ownership else {
            prober.receive(false, now, |_| {});
            return;
        };
        self.flood.follow(strangers, &self.socket, ownership, now);
        let mut heard = Vec::new();
        prober.receive(ownership.is_isolated(), now, |what| heard.push(what));
        for what in heard {
            trace!(?what, "heard");
            match what {
                Heard::Kernel(from, answer) => {
                    if prober.is_gateway(from) {
                        ownership.handle_gateway_answer(now);
                    }
                    ownership.handle_kernel_answer(from, answer, now);
                    if let Some(keeper) = &mut self.keeper {
                        keeper.hear(from, answer);
                    }
                }
                Heard::Announcement(vip, by) => ownership.handle_announcement(vip, by, now),
                Heard::Probe(vip, by) => ownership.handle_probe(vip, by, now),
                Heard::Frame => ownership.handle_any_frame(now),
            }
        }
        if let Some(gap) = ownership.poll_gap() {
            self.metrics.heartbeat_gap(gap);
        }
    }

    /// Whether it was a stranger's, and no use.
    fn take(&mut self, from: IpAddr, datagram: &[u8], now: Instant) -> bool {
        let Some(ownership) = &mut self.ownership else {
            return false;
        };
        let outcome = ownership.handle_datagram(from, datagram, now);
        self.metrics.datagram(outcome);
        if let Err(reason) = outcome {
            trace!(%from, %reason, "datagram dropped");
        }
        outcome.is_err() && ownership.is_stranger(from, now)
    }

    /// Orders what has been decided; whether the process may exit.
    fn carry_out(&mut self) -> bool {
        let mut may_exit = false;
        let mut remind = false;
        let mut changed = false;
        // Those that the wire thread still announces.
        let mut given_up = BTreeSet::new();
        let mut taken = Vec::new();
        while let Some(event) = self.ownership.as_mut().and_then(Ownership::poll_event) {
            match event {
                Event::Announce {
                    vip,
                    cause,
                    probe_first,
                } => {
                    if self.orders.contains_key(&vip) {
                        remind = true;
                        continue;
                    }
                    if probe_first && given_up.contains(&vip) {
                        // It was given up just now, and is claimed afresh.
                        self.tell_wire(true);
                        given_up.clear();
                    }
                    let order = Assignment {
                        cause,
                        probe_first,
                        ..Assignment::default()
                    };
                    self.orders.insert(vip, order);
                    changed = true;
                    self.metrics.moved(cause);
                    if matches!(cause, Cause::Handover | Cause::Orphan) && !probe_first {
                        taken.push(vip);
                    }
                }
                Event::Withdraw { vip, .. } => {
                    if self.orders.remove(&vip).is_some() {
                        given_up.insert(vip);
                        changed = true;
                    }
                    taken.retain(|one| *one != vip);
                    if let Some(keeper) = &mut self.keeper {
                        keeper.give(vip);
                    }
                }
                Event::Gone { verdict, .. } => self.metrics.verdict(verdict.as_str()),
                Event::FoundDead {
                    node,
                    boot,
                    incarnation,
                    with,
                    ago,
                } => {
                    let process = Process { boot, incarnation };
                    let (node, with) = ((node, self.name(node)), (self.name(with), ago));
                    let notice = self.deaths.found(node, process, with);
                    let _ = self.tell.send(notice);
                }
                Event::Lost { .. } => self.metrics.verdict("lost"),
                Event::KernelSilent { .. } => self.metrics.verdict(Reason::KernelSilent.as_str()),
                Event::Blocked { .. } => self.metrics.verdict(Reason::PeerBlocked.as_str()),
                Event::Link { silent: true, .. } => {
                    self.metrics.verdict(Reason::LinkSilent.as_str());
                }
                Event::Link { .. } | Event::Isolated | Event::NameShared => {}
                Event::MayExit => may_exit = true,
            }
            self.unsaid.push(event);
        }
        // Before anybody sends a packet here.
        self.keep(&taken);
        if changed {
            self.tell_wire(true);
        }
        if remind {
            self.wire.announce_again();
        }
        may_exit
    }

    /// Whoever takes the log may be slow (a disk, a runtime that copies it): others wait for what was
    /// decided, and have it by now.
    fn say(&mut self) {
        for event in std::mem::take(&mut self.unsaid) {
            match event {
                Event::Announce {
                    vip,
                    cause,
                    probe_first: true,
                } => {
                    info!(%vip, ?cause, "checking that no other host has the address, then announcing it")
                }
                Event::Announce { vip, cause, .. } => info!(%vip, ?cause, "announcing"),
                Event::Withdraw { vip, reason } => info!(%vip, %reason, "silent"),
                Event::Gone { node, verdict } => {
                    warn!(node = self.name(node), ?verdict, "a speaker is down");
                }
                Event::Lost { node } => warn!(
                    node = self.name(node),
                    "a speaker can no longer be heard, and no node knows why"
                ),
                Event::KernelSilent { node } => warn!(
                    node = self.name(node), reason = %Reason::KernelSilent,
                    "a node answers neither ARP nor ping: if it dies, detection takes a second"
                ),
                Event::Blocked { node } => warn!(
                    node = self.name(node), reason = %Reason::PeerBlocked, port = self.socket.port(),
                    "a node is up but its speaker cannot be heard: allow this UDP port between nodes, and \
                     give all speakers the same port"
                ),
                Event::Link {
                    network,
                    silent: true,
                } => warn!(
                    %network, reason = %Reason::LinkSilent,
                    "no other node answers on this link: its addresses move to a node that gets answers"
                ),
                Event::Link { network, .. } => {
                    info!(%network, "a node answers on this link again")
                }
                Event::Isolated => warn!(
                    reason = %Reason::Isolated,
                    "this node receives nothing: it keeps what it announces and takes no more addresses"
                ),
                Event::NameShared => warn!(
                    reason = %Reason::NameShared,
                    "another speaker runs under this node's name: this one stays silent"
                ),
                Event::FoundDead {
                    node, with, ago, ..
                } => info!(
                    node = self.name(node),
                    with = self.name(with),
                    silent_for = ?ago,
                    "a node is dead: its pods can leave rotation"
                ),
                Event::MayExit => {}
            }
        }
    }

    pub(super) fn name(&self, node: NodeId) -> String {
        let name = self.names.get(&node).cloned();
        name.unwrap_or_else(|| format!("{node:?}"))
    }

    /// Straight to the thread that announces: whoever takes over must not wait for this one's
    /// other duties. `changed` if there are other orders than it was told; on which links they are to be
    /// carried out is looked up here.
    pub(super) fn tell_wire(&mut self, mut changed: bool) {
        let mut orders = std::mem::take(&mut self.orders);
        for (vip, order) in &mut orders {
            let wish = self.wishes.as_ref().and_then(|wishes| wishes.get(vip));
            let on_links = wish.map(|wish| self.on_links(*vip, wish));
            let now = Assignment {
                probe_first: order.probe_first,
                cause: order.cause,
                ..on_links.unwrap_or_default()
            };
            if *order != now {
                *order = now;
                changed = true;
            }
        }
        if changed {
            self.wire.set_wanted(orders.clone());
        }
        self.orders = orders;
    }

    fn transmit(&mut self) {
        let now = self.clock.now();
        while let Some(transmit) = self.ownership.as_mut().and_then(Ownership::poll_transmit) {
            match transmit {
                Transmit::Datagram { to, bytes } => {
                    if let Err(error) = self.socket.send(to, &bytes) {
                        trace!(%to, %error, "datagram not sent");
                    }
                }
                Transmit::Probe(to) => self.prober.probe(to, now),
                Transmit::ProbeGateway => self.prober.probe_gateways(now),
            }
        }
    }

    /// Where members cannot be heard, what they announce is.
    fn listen(&mut self) {
        let needed = self.ownership.as_ref().filter(|one| one.needs_the_wire());
        let vips = needed.and(self.wishes.as_ref()).into_iter().flatten();
        self.prober.listen(vips.map(|(vip, _)| *vip).collect());
    }

    fn tell_changes(&mut self) {
        let Some(ownership) = &self.ownership else {
            return;
        };
        let joined = ownership.is_joined();
        if std::mem::replace(&mut self.told_joined, joined) != joined {
            let _ = self.tell.send(FromPeers::Joined(joined));
        }
        let version = Some(ownership.version());
        if std::mem::replace(&mut self.told_version, version) == version {
            return;
        }
        while let Some((node, process)) = self.deaths.poll_alive(ownership) {
            let _ = self.tell.send(FromPeers::Alive(self.name(node), process));
        }
        let me = NodeId::of(&self.me);
        let others = || ownership.members().filter(|member| member.node != me);
        let macs = others().map(|member| (member.mac, self.name(member.node)));
        let nodes = self.nodes.iter().flatten();
        let cluster = ClusterNodes {
            macs: macs.filter(|(mac, _)| *mac != MacAddr::zero()).collect(),
            addresses: nodes
                .filter(|(name, _)| **name != self.me)
                .flat_map(|(_, addresses)| addresses.iter().copied())
                .chain(ownership.further_addresses())
                .chain(others().map(|member| member.address))
                .collect(),
        };
        self.wire.set_cluster_nodes(cluster);
        let live = others().filter(|member| member.standing == ownership::Standing::Live);
        self.metrics.set_peers_alive(live.count() + 1);
        // Who is on which subnet may be another thing, too (S2).
        self.tell_wire(false);
    }

    fn wait(&mut self) {
        let now = self.clock.now();
        let due = self.ownership.as_ref().and_then(Ownership::poll_timeout);
        let kept = self.keeper.as_ref().and_then(Keeper::poll_timeout);
        let deadline = [due.map(|(at, _)| at), self.socket.poll_timeout(), kept];
        let deadline = deadline.into_iter().flatten().min();
        let timeout = deadline.map_or(LONGEST_WAIT, |at| {
            at.saturating_since(now).min(LONGEST_WAIT)
        });
        let udp = self.socket.sockets().map(AsFd::as_fd);
        let files = std::iter::once(self.woken.as_fd())
            .chain(udp)
            .chain(self.prober.files())
            .chain(self.keeper.as_ref().and_then(Keeper::file));
        if let Err(error) = self.poll.wait(files, Some(timeout)).map(drop) {
            // ENOMEM at most: there is nothing better than to try again.
            warn!(%error, "cannot wait for datagrams");
        }
        let mut bytes = [0];
        while self.woken.recv(&mut bytes).is_ok() {}
    }
}
