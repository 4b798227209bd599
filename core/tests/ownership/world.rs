//! Speakers on machines on a LAN, in virtual time: every speaker is the real state machine, every
//! datagram goes through the real codec. What is simulated is the time that things take, and faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::elect::rank;
use ferrolb_core::ownership::{
    Candidate, Candidates, Cause, Event, KernelAnswer, Keys, NodeId, Ownership, Settings, Standing,
    Verdict, Wanted,
};
use ferrolb_core::wire::MacAddr;
use ipnetwork::IpNetwork;

use crate::faults::Fault;
use crate::network::{Network, Station};
use crate::random::Random;

pub(crate) type Vip = IpAddr;

/// The daemon's driver looks at least this often, whatever the speaker waits for.
const LONGEST_WAIT: Duration = ms(400);
/// Three probes and a pause after each, as the announcer sends them.
const PROBING: Duration = Duration::from_millis(240);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The host's address on the second LAN.
pub(crate) fn on_second_lan(host: Station) -> IpAddr {
    let [high, low] = (host as u16).to_be_bytes();
    Ipv4Addr::new(192, 168, 250 + high, low).into()
}

/// The second LAN: every address that the cluster announces is in it.
pub(crate) fn second_lan() -> IpNetwork {
    "192.168.0.0/16".parse().expect("a network")
}

/// The n-th address that the cluster announces.
pub(crate) fn vip(n: usize) -> Vip {
    Ipv4Addr::new(192, 168, (n / 250) as u8, (n % 250 + 1) as u8).into()
}

/// A machine.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) id: NodeId,
    /// What its links have, one of each family, first the one that others are told.
    pub(crate) addresses: Vec<IpAddr>,
    /// What its Node object lists.
    pub(crate) listed: Vec<IpAddr>,
    pub(crate) mac: MacAddr,
    /// Its kernel runs.
    pub(crate) powered: bool,
    /// Its speaker runs.
    pub(crate) speaker: Option<Ownership>,
    /// What the speaker was told to announce and not to withdraw.
    pub(crate) announcing: BTreeSet<Vip>,
    /// Of these, what it asks for first, since when (C9).
    pub(crate) asking: BTreeMap<Vip, Instant>,
    /// What it was told last that the cluster wants.
    pub(crate) wanted: BTreeSet<Vip>,
    /// The speaker's process is stopped until then; the kernel is not.
    pub(crate) stopped_until: Instant,
    pub(crate) inbox: VecDeque<Input>,
    pub(crate) wake_at: Option<Instant>,
    pub(crate) boot: u64,
    pub(crate) api_at: Instant,
    pub(crate) unreachables: BTreeMap<Station, (u64, Instant)>,
    pub(crate) leaving: bool,
    pub(crate) counters: Counters,
}

/// Packets of one speaker, and what they and its timers wake it for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) bytes: u64,
    pub(crate) turns: u64,
}

#[derive(Clone)]
pub(crate) enum Input {
    Datagram { from: IpAddr, bytes: Arc<[u8]> },
    Kernel { from: IpAddr, answer: KernelAnswer },
    Gateway,
    Announcement { vip: Vip, by: MacAddr },
    Probe { vip: Vip, by: MacAddr },
    Api(Arc<Truth>),
    Nodes(Arc<BTreeMap<NodeId, Vec<IpAddr>>>),
}

#[derive(Clone)]
pub(crate) enum Happening {
    Wake(Station),
    Arrive(Station, Input),
    /// It probes this address, if it still asks.
    Probe(Station, Vip),
    /// Its probes were not answered.
    Free(Station, Vip),
    Do(Fault),
}

/// What the API says: which addresses are wanted, and who may announce them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) wanted: BTreeMap<Vip, (Vec<bool>, Candidates)>,
}

/// An address got another owner, as the client's neighbour table sees it.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub(crate) at: Instant,
    pub(crate) vip: Vip,
    pub(crate) to: Station,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) network: Network,
    /// A second LAN, that the addresses are on, and who is on it; no datagram passes it.
    pub(crate) second_lan: Network,
    pub(crate) on_second_lan: BTreeSet<Station>,
    /// Whether speakers tell which subnets they have: those of a version before do not.
    pub(crate) tell_subnets: bool,
    /// Who is not on the subnet of the addresses.
    pub(crate) off_subnet: BTreeSet<Station>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    /// Hosts whose speakers have another version of the protocol.
    pub(crate) newer: BTreeSet<Station>,
    /// Hosts whose speakers neither make offers nor answer them (H3), from before they start.
    pub(crate) asks_nobody: BTreeSet<Station>,
    /// What a host cannot announce, and the API does not know.
    pub(crate) unable: BTreeSet<(Vip, Station)>,
    pub(crate) truth: Arc<Truth>,
    /// Nodes of worse tiers.
    pub(crate) cordoned: BTreeSet<NodeId>,
    pub(crate) excluded: BTreeSet<NodeId>,
    /// Preferred nodes.
    pub(crate) weights: BTreeMap<NodeId, u32>,
    /// Hosts whose speakers have a version that knows no weights.
    pub(crate) knows_no_weights: BTreeSet<Station>,
    /// Where somebody wants an address.
    pub(crate) move_to: BTreeMap<Vip, NodeId>,
    /// The longest time until a speaker learns what the API says.
    pub(crate) api_lag: Duration,
    pub(crate) api_down: bool,
    pub(crate) busy: bool,
    /// Kernels answer echo requests, besides ARP.
    pub(crate) echo: bool,
    queue: BTreeMap<(Instant, u64), Happening>,
    happenings: u64,
    /// Whose frame the client heard last, for each address.
    pub(crate) neighbours: BTreeMap<Vip, Station>,
    pub(crate) moves: Vec<Move>,
    /// Announcements of any kind: when, by whom, why.
    pub(crate) announcements: Vec<(Instant, Station, Vip, Cause)>,
    pub(crate) withdrawals: Vec<(Instant, Station, Vip)>,
    /// What was asked for first, because it was free.
    pub(crate) probes: Vec<(Instant, Station, Vip)>,
    /// Addresses that another host has.
    pub(crate) taken: BTreeSet<Vip>,
    pub(crate) verdicts: Vec<(Instant, Station, NodeId, Option<Verdict>)>,
    /// Who would vote that a process's node is dead.
    pub(crate) votes: BTreeMap<(NodeId, u64, u32), BTreeSet<Station>>,
    /// Whose kernel who found to answer nothing, and whom who cannot hear though its node lives.
    pub(crate) silent_kernels: Vec<(Station, NodeId)>,
    pub(crate) blocked: Vec<(Station, NodeId)>,
    /// Whose link to the second LAN was found silent.
    pub(crate) silent_links: Vec<Station>,
    /// Falling silent before anybody else announced: when it should have been make before break.
    pub(crate) dark: Vec<(Instant, Vip)>,
    pub(crate) disturbed_at: Instant,
    /// Faults inflicted so far.
    pub(crate) faults: u64,
    pub(crate) violations: Vec<String>,
    /// Prints what happens.
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(hosts: usize, vips: usize, seed: u64, settings: &Settings) -> Self {
        let mut world = Self {
            now: Instant::START,
            random: Random::new(seed),
            network: Network::default(),
            second_lan: Network::default(),
            on_second_lan: BTreeSet::new(),
            tell_subnets: false,
            off_subnet: BTreeSet::new(),
            hosts: (0..hosts).map(Host::new).collect(),
            settings: settings.clone(),
            keys: Keys::default(),
            newer: BTreeSet::new(),
            asks_nobody: BTreeSet::new(),
            unable: BTreeSet::new(),
            excluded: BTreeSet::new(),
            weights: BTreeMap::new(),
            knows_no_weights: BTreeSet::new(),
            move_to: BTreeMap::new(),
            truth: Arc::default(),
            cordoned: BTreeSet::new(),
            api_lag: ms(20),
            api_down: false,
            busy: false,
            echo: false,
            queue: BTreeMap::new(),
            happenings: 0,
            neighbours: BTreeMap::new(),
            moves: Vec::new(),
            announcements: Vec::new(),
            withdrawals: Vec::new(),
            probes: Vec::new(),
            taken: BTreeSet::new(),
            verdicts: Vec::new(),
            votes: BTreeMap::new(),
            silent_kernels: Vec::new(),
            blocked: Vec::new(),
            silent_links: Vec::new(),
            dark: Vec::new(),
            disturbed_at: Instant::START,
            faults: 0,
            violations: Vec::new(),
            trace: false,
        };
        let wanted = (0..vips)
            .map(|n| (vip(n), world.offer(vip(n), vec![true; hosts])))
            .collect();
        world.truth = Arc::new(Truth { wanted });
        world
    }

    /// A cluster that started some time ago and is at peace.
    pub(crate) fn settled(hosts: usize, vips: usize, seed: u64, settings: &Settings) -> Self {
        let mut world = Self::new(hosts, vips, seed, settings);
        for host in 0..hosts {
            let at = world.random.millis(0..50);
            world.schedule(at, Fault::Start(host));
        }
        // The leases of those who watched while others still started have ended.
        world.run(ms(3_700));
        world.check("start");
        world.forget_past();
        world
    }

    /// Counts and judges only what happens from now on.
    pub(crate) fn forget_past(&mut self) {
        self.moves.clear();
        self.announcements.clear();
        self.withdrawals.clear();
        self.probes.clear();
        self.verdicts.clear();
        self.votes.clear();
        self.dark.clear();
        for host in &mut self.hosts {
            host.counters = Counters::default();
        }
    }

    pub(crate) fn offer(&self, vip: Vip, eligible: Vec<bool>) -> (Vec<bool>, Candidates) {
        let mut hosts: Vec<&Host> = self
            .hosts
            .iter()
            .zip(&eligible)
            .filter(|(_, is)| **is)
            .map(|(host, _)| host)
            .collect();
        let chosen = self.move_to.get(&vip);
        let tier = |host: &Host| {
            4 * u8::from(self.cordoned.contains(&host.id))
                + 2 * u8::from(self.excluded.contains(&host.id))
                + u8::from(chosen.is_some_and(|chosen| *chosen != host.id))
        };
        let all: u32 = self.weights.values().sum();
        let unpreferred = |host: &Host| all - self.weights.get(&host.id).copied().unwrap_or(0);
        hosts.sort_by_key(|host| (tier(host), unpreferred(host), rank(&host.name, vip)));
        let candidates = hosts.iter().map(|host| Candidate {
            node: host.id,
            tier: tier(host),
            unpreferred: unpreferred(host),
        });
        (eligible, Candidates::of(vip, candidates))
    }

    pub(crate) fn is_eligible(&self, vip: Vip, host: Station) -> bool {
        self.truth
            .wanted
            .get(&vip)
            .is_some_and(|(eligible, _)| eligible[host])
    }

    pub(crate) fn station(&self, id: NodeId) -> Station {
        self.hosts
            .iter()
            .position(|host| host.id == id)
            .expect("every member is a host")
    }

    /// Those who may announce it, the best first.
    pub(crate) fn order_of(&self, vip: Vip) -> Vec<Station> {
        let (_, candidates) = &self.truth.wanted[&vip];
        let order = candidates.in_order().map(|one| self.station(one.node));
        order.collect()
    }

    /// Whom the speaker of `host` takes for the owner of `vip`.
    pub(crate) fn owner_known_to(&self, host: Station, vip: Vip) -> Option<NodeId> {
        let speaker = self.hosts[host].speaker.as_ref()?;
        let (owner, _) = speaker.vip_status(vip, self.now).owner?;
        Some(owner)
    }

    /// Whether the speaker of `host` holds this member gone, for whatever reason.
    pub(crate) fn knows_gone(&self, host: Station, id: NodeId) -> bool {
        self.hosts[host].speaker.as_ref().is_none_or(|speaker| {
            speaker
                .members()
                .any(|member| member.node == id && member.standing != Standing::Live)
        })
    }

    pub(crate) fn vips(&self) -> Vec<Vip> {
        self.truth.wanted.keys().copied().collect()
    }

    /// The node of the best rank announces, for each address that is wanted, and nobody else.
    pub(crate) fn assert_the_best_rank_owns(&self, seed: u64) {
        for vip in self.vips() {
            let best = self.order_of(vip)[0];
            assert_eq!(self.owners(vip), [best], "seed {seed}: {vip}");
        }
    }

    /// The hosts whose speakers announce `vip`.
    pub(crate) fn owners(&self, vip: Vip) -> Vec<Station> {
        let hosts = self.hosts.iter().enumerate();
        hosts
            .filter(|(_, host)| host.powered && host.announcing.contains(&vip))
            .map(|(i, _)| i)
            .collect()
    }

    /// A host that announces something, at random.
    pub(crate) fn some_owner(&mut self) -> Station {
        let owners: Vec<Station> = (0..self.hosts.len())
            .filter(|&i| !self.hosts[i].announcing.is_empty())
            .collect();
        owners[self.random.index(owners.len())]
    }

    // --- time ---

    pub(crate) fn schedule(&mut self, after: Duration, fault: Fault) {
        self.put(self.now + after, Happening::Do(fault));
    }

    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((at, self.happenings), happening);
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            match happening {
                Happening::Wake(host) => self.wake(host),
                Happening::Arrive(host, input) => self.arrive(host, input),
                Happening::Probe(host, vip) => {
                    let by = self.hosts[host].mac;
                    if self.hosts[host].asking.contains_key(&vip) {
                        self.tell_listeners(host, &Input::Probe { vip, by });
                    }
                }
                Happening::Free(host, vip) => self.find_free(host, vip),
                Happening::Do(fault) => self.inflict(fault),
            }
        }
        self.now = end;
    }

    /// Runs until `is_so`, for a second at most.
    pub(crate) fn run_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let began = self.now;
        while !is_so(self) {
            self.run(Duration::from_micros(50));
            assert!(self.now <= began + ms(1_000), "it never came to that");
        }
    }

    /// How late a thread wakes up.
    pub(crate) fn latency(&mut self) -> Duration {
        if !self.busy {
            return Duration::from_micros(20 + self.random.below(100));
        }
        match self.random.below(100) {
            0 => self.random.millis(20..150),
            1..=10 => self.random.millis(0..25),
            _ => self.random.millis(0..4),
        }
    }

    pub(crate) fn wake_host(&mut self, host: Station, at: Instant) {
        let at = at.max(self.hosts[host].stopped_until);
        if self.hosts[host].wake_at.is_none_or(|planned| at < planned) {
            self.hosts[host].wake_at = Some(at);
            self.put(at, Happening::Wake(host));
        }
    }

    /// The speaker's loop, once: drain the inputs, do what is due, carry out what comes back.
    fn wake(&mut self, host: Station) {
        let now = self.now;
        if self.hosts[host].wake_at != Some(now) {
            return;
        }
        self.hosts[host].wake_at = None;
        if now < self.hosts[host].stopped_until {
            let until = self.hosts[host].stopped_until;
            return self.wake_host(host, until);
        }
        let Some(mut speaker) = self.hosts[host].speaker.take() else {
            return;
        };
        while let Some(input) = self.hosts[host].inbox.pop_front() {
            match input {
                Input::Datagram { from, bytes } => {
                    self.hosts[host].counters.received += 1;
                    let _counted = speaker.handle_datagram(from, &bytes, now);
                }
                Input::Kernel { from, answer } => speaker.handle_kernel_answer(from, answer, now),
                Input::Announcement { vip, by } => speaker.handle_announcement(vip, by, now),
                Input::Probe { vip, by } => speaker.handle_probe(vip, by, now),
                Input::Gateway => speaker.handle_gateway_answer(now),
                Input::Api(truth) => self.tell_api(host, &truth, &mut speaker),
                Input::Nodes(nodes) => speaker.set_nodes(&nodes, now),
            }
        }
        speaker.handle_timeout(now);
        self.hosts[host].counters.turns += 1;
        let mut is_done = false;
        while let Some(event) = speaker.poll_event() {
            is_done |= self.carry_out(host, event);
        }
        while let Some(transmit) = speaker.poll_transmit() {
            self.transmit(host, transmit);
        }
        if is_done {
            self.hosts[host].announcing.clear();
            self.hosts[host].asking.clear();
            return;
        }
        let longest = now + LONGEST_WAIT;
        let at = speaker
            .poll_timeout()
            .map_or(longest, |(at, _)| at.min(longest));
        let late = self.latency();
        self.wake_host(host, at.max(now) + late);
        self.hosts[host].speaker = Some(speaker);
    }

    pub(crate) fn tell_api(&mut self, host: Station, truth: &Truth, speaker: &mut Ownership) {
        self.hosts[host].wanted = truth.wanted.keys().copied().collect();
        let wanted = truth.wanted.iter().map(|(&vip, (eligible, candidates))| {
            (
                vip,
                Wanted {
                    eligible: eligible[host] && !self.unable.contains(&(vip, host)),
                    on_subnet: !self.off_subnet.contains(&host),
                    candidates: match self.knows_no_weights.contains(&host) {
                        true => self.without_weights(vip, candidates),
                        false => candidates.clone(),
                    },
                },
            )
        });
        speaker.set_wanted(wanted.collect());
        let further = (second_lan(), on_second_lan(host));
        let further = self.on_second_lan.contains(&host).then_some(further);
        speaker.set_further_links(&further.into_iter().collect());
        if self.tell_subnets {
            speaker.set_subnets(self.subnets_of(host), true);
        }
    }

    fn without_weights(&self, vip: Vip, candidates: &Candidates) -> Candidates {
        let without = candidates.all().map(|one| Candidate {
            unpreferred: 0,
            ..*one
        });
        let mut without: Vec<_> = without.collect();
        let name = |id: NodeId| &self.hosts[self.station(id)].name;
        without.sort_by_key(|one| (one.tier, rank(name(one.node), vip)));
        Candidates::of(vip, without)
    }

    fn subnets_of(&self, host: Station) -> Vec<(IpNetwork, IpAddr)> {
        let of_cluster = (second_lan(), on_second_lan(host));
        let subnets = Some(of_cluster).filter(|_| !self.off_subnet.contains(&host));
        subnets.into_iter().collect()
    }

    fn carry_out(&mut self, host: Station, event: Event) -> bool {
        if self.trace {
            println!("{:>10} n{host} {event:?}", self.now.as_micros());
        }
        match event {
            Event::Announce {
                vip,
                cause,
                probe_first,
            } => {
                if !self.hosts[host].wanted.contains(&vip) {
                    self.violate(
                        "ever",
                        &format!("n{host} announces {vip}, which it knows is unwanted"),
                    );
                }
                self.hosts[host].announcing.insert(vip);
                self.announcements.push((self.now, host, vip, cause));
                if probe_first {
                    self.probes.push((self.now, host, vip));
                    self.hosts[host].asking.insert(vip, self.now);
                    for pause in [0, 80, 160] {
                        self.put(self.now + ms(pause), Happening::Probe(host, vip));
                    }
                    self.put(self.now + PROBING, Happening::Free(host, vip));
                } else if !self.hosts[host].asking.contains_key(&vip) {
                    self.hear_announcement(host, vip);
                }
            }
            Event::Withdraw { vip, .. } => {
                self.hosts[host].announcing.remove(&vip);
                self.hosts[host].asking.remove(&vip);
                self.withdrawals.push((self.now, host, vip));
                self.note_darkness(vip);
            }
            Event::Gone { node, verdict } => {
                self.verdicts.push((self.now, host, node, Some(verdict)));
            }
            Event::FoundDead {
                node,
                boot,
                incarnation,
                ..
            } => {
                let voters = self.votes.entry((node, boot, incarnation)).or_default();
                voters.insert(host);
                self.check_vote(host, node);
            }
            Event::Lost { node } => self.verdicts.push((self.now, host, node, None)),
            Event::KernelSilent { node } => self.silent_kernels.push((host, node)),
            Event::Blocked { node } => self.blocked.push((host, node)),
            Event::Link { silent: true, .. } => self.silent_links.push(host),
            Event::Link { .. } | Event::Isolated | Event::NameShared => {}
            Event::MayExit => return true,
        }
        false
    }

    /// Unless another host has it, for good.
    pub(crate) fn find_free(&mut self, host: Station, vip: Vip) {
        let since = self.hosts[host].asking.get(&vip);
        if since.is_none_or(|&since| self.now < since + PROBING) || self.taken.contains(&vip) {
            return;
        }
        self.hosts[host].asking.remove(&vip);
        if let Some(speaker) = &mut self.hosts[host].speaker {
            speaker.set_announced(vip);
            self.hear_announcement(host, vip);
            self.wake_host(host, self.now);
        }
    }

    fn hear_announcement(&mut self, host: Station, vip: Vip) {
        self.tell_listeners(
            host,
            &Input::Announcement {
                vip,
                by: self.hosts[host].mac,
            },
        );
        let client = self.hosts.len();
        let from = self.neighbours.get(&vip).copied();
        if !self.network.connects(host, client) || from == Some(host) {
            return;
        }
        self.neighbours.insert(vip, host);
        self.moves.push(Move {
            at: self.now,
            vip,
            to: host,
        });
    }

    fn note_darkness(&mut self, vip: Vip) {
        let could = (0..self.hosts.len()).any(|host| {
            let joined = self.hosts[host]
                .speaker
                .as_ref()
                .is_some_and(Ownership::is_joined);
            joined && !self.hosts[host].leaving && self.is_eligible(vip, host)
        });
        if self.owners(vip).is_empty() && could {
            self.dark.push((self.now, vip));
        }
    }
}

impl Host {
    /// What it speaks from to this address, if it can.
    pub(crate) fn towards(&self, to: IpAddr) -> Option<IpAddr> {
        let mut own = self.addresses.iter().copied();
        own.find(|own| own.is_ipv4() == to.is_ipv4())
    }

    fn new(n: usize) -> Self {
        let name = format!("n{n}");
        let n = n as u16;
        let [high, low] = n.to_be_bytes();
        Self {
            id: NodeId::of(&name),
            name,
            addresses: vec![Ipv4Addr::new(10, 0, high, low).into()],
            listed: vec![Ipv4Addr::new(10, 0, high, low).into()],
            mac: MacAddr::from([2, 0, 0, 0, high, low]),
            powered: true,
            speaker: None,
            announcing: BTreeSet::new(),
            asking: BTreeMap::new(),
            wanted: BTreeSet::new(),
            stopped_until: Instant::START,
            inbox: VecDeque::new(),
            wake_at: None,
            boot: 0,
            api_at: Instant::START,
            unreachables: BTreeMap::new(),
            leaving: false,
            counters: Counters::default(),
        }
    }
}
