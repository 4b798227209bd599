//! Speakers on machines on a LAN, in virtual time: every speaker is the real state machine, every
//! datagram goes through the real codec. What is simulated is the time that things take, and faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::ownership::{
    Cause, Event, Identity, KernelAnswer, Keys, Leaving, Mac, NodeId, Ownership, Settings,
    Standing, Transmit, Verdict, Wanted, rank,
};

use crate::network::{Network, Station};
use crate::random::Random;

pub(crate) type Vip = IpAddr;

/// A socket's receive buffer holds about so many small datagrams (212,992 bytes by default).
const SOCKET_BUFFER: usize = 256;
/// Linux answers with so many port-unreachables at once, then with one per second and peer.
const UNREACHABLE_BURST: u64 = 6;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
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
    pub(crate) address: IpAddr,
    mac: Mac,
    /// Its kernel runs.
    pub(crate) powered: bool,
    /// Its speaker runs.
    pub(crate) speaker: Option<Ownership>,
    /// What the speaker was told to announce and not to withdraw.
    pub(crate) announcing: BTreeSet<Vip>,
    /// The speaker's process is stopped until then; the kernel is not.
    pub(crate) stopped_until: Instant,
    inbox: VecDeque<Input>,
    wake_at: Option<Instant>,
    boot: u64,
    api_at: Instant,
    unreachables: BTreeMap<Station, (u64, Instant)>,
    pub(crate) leaving: bool,
    pub(crate) counters: Counters,
}

/// Packets of one speaker.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) bytes: u64,
}

#[derive(Clone)]
enum Input {
    Datagram { from: IpAddr, bytes: Arc<[u8]> },
    Kernel { from: IpAddr, answer: KernelAnswer },
    Gateway,
    Api(Arc<Truth>),
}

#[derive(Clone)]
enum Happening {
    Wake(Station),
    Arrive(Station, Input),
    Do(Fault),
}

/// What is done to the world.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// kill -9 of the speaker.
    Kill(Station),
    /// The machine loses power.
    Die(Station),
    /// The machine has power again, and starts its speaker.
    Boot(Station),
    /// The speaker starts, if the machine runs and none runs yet.
    Start(Station),
    /// The speaker starts; its clock went back since the last time.
    StartInThePast(Station),
    /// SIGSTOP for this long.
    Stop(Station, Duration),
    /// SIGTERM.
    Leave(Station, Leaving),
    /// Each host's segment; the client is in segment 0.
    Split(Vec<u8>),
    Heal,
    Mute(Station, bool),
    Deaf(Station, bool),
    Cut(Station, Station, bool),
    Slow(Station, Station, Duration),
    Blackout(bool),
    Loss(u64),
    Busy(bool),
    /// Which hosts may announce it.
    Eligible(Vip, Vec<bool>),
    Want(Vip, bool),
    Move(Vip, Station),
}

/// What the API says: which addresses are wanted, and who may announce them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) wanted: BTreeMap<Vip, (Vec<bool>, Arc<[NodeId]>)>,
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
    pub(crate) hosts: Vec<Host>,
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    pub(crate) truth: Arc<Truth>,
    /// The longest time until a speaker learns what the API says.
    pub(crate) api_lag: Duration,
    /// Speakers that start learn nothing from the API.
    pub(crate) api_down: bool,
    busy: bool,
    queue: BTreeMap<(Instant, u64), Happening>,
    happenings: u64,
    /// Whose frame the client heard last, for each address.
    pub(crate) neighbours: BTreeMap<Vip, Station>,
    pub(crate) moves: Vec<Move>,
    /// Announcements of any kind: when, by whom, why.
    pub(crate) announcements: Vec<(Instant, Station, Vip, Cause)>,
    pub(crate) verdicts: Vec<(Instant, Station, NodeId, Option<Verdict>)>,
    /// Falling silent before anybody else announced: when it should have been make before break.
    pub(crate) dark: Vec<(Instant, Vip)>,
    pub(crate) disturbed_at: Instant,
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
            hosts: (0..hosts).map(Host::new).collect(),
            settings: settings.clone(),
            keys: Keys::default(),
            truth: Arc::default(),
            api_lag: ms(20),
            api_down: false,
            busy: false,
            queue: BTreeMap::new(),
            happenings: 0,
            neighbours: BTreeMap::new(),
            moves: Vec::new(),
            announcements: Vec::new(),
            verdicts: Vec::new(),
            dark: Vec::new(),
            disturbed_at: Instant::START,
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
        self.verdicts.clear();
        self.dark.clear();
        for host in &mut self.hosts {
            host.counters = Counters::default();
        }
    }

    fn offer(&self, vip: Vip, eligible: Vec<bool>) -> (Vec<bool>, Arc<[NodeId]>) {
        let mut hosts: Vec<&Host> = self
            .hosts
            .iter()
            .zip(&eligible)
            .filter(|(_, is)| **is)
            .map(|(host, _)| host)
            .collect();
        hosts.sort_by_key(|host| rank(&host.name, vip));
        let candidates = hosts.iter().map(|host| host.id).collect();
        (eligible, candidates)
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

    fn put(&mut self, at: Instant, happening: Happening) {
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
                Happening::Do(fault) => self.inflict(fault),
            }
        }
        self.now = end;
    }

    /// How late a thread wakes up.
    fn latency(&mut self) -> Duration {
        if !self.busy {
            return Duration::from_micros(20 + self.random.below(100));
        }
        match self.random.below(100) {
            0 => self.random.millis(20..150),
            1..=10 => self.random.millis(0..25),
            _ => self.random.millis(0..4),
        }
    }

    fn wake_host(&mut self, host: Station, at: Instant) {
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
                Input::Gateway => speaker.handle_gateway_answer(now),
                Input::Api(truth) => self.tell_api(host, &truth, &mut speaker),
            }
        }
        speaker.handle_timeout(now);
        let mut is_done = false;
        while let Some(event) = speaker.poll_event() {
            is_done |= self.carry_out(host, event);
        }
        while let Some(transmit) = speaker.poll_transmit() {
            self.transmit(host, transmit);
        }
        if is_done {
            self.hosts[host].announcing.clear();
            return;
        }
        if let Some((at, _)) = speaker.poll_timeout() {
            let late = self.latency();
            self.wake_host(host, at.max(now) + late);
        }
        self.hosts[host].speaker = Some(speaker);
    }

    fn tell_api(&self, host: Station, truth: &Truth, speaker: &mut Ownership) {
        let wanted = truth.wanted.iter().map(|(&vip, (eligible, candidates))| {
            (
                vip,
                Wanted {
                    eligible: eligible[host],
                    candidates: Arc::clone(candidates),
                },
            )
        });
        speaker.set_wanted(wanted.collect());
    }

    fn carry_out(&mut self, host: Station, event: Event) -> bool {
        if self.trace {
            println!("{:>10} n{host} {event:?}", self.now.as_micros());
        }
        match event {
            Event::Announce { vip, cause } => {
                self.hosts[host].announcing.insert(vip);
                self.announcements.push((self.now, host, vip, cause));
                self.hear_announcement(host, vip);
            }
            Event::Withdraw { vip, .. } => {
                self.hosts[host].announcing.remove(&vip);
                self.note_darkness(vip);
            }
            Event::Gone { node, verdict } => {
                self.verdicts.push((self.now, host, node, Some(verdict)));
            }
            Event::Lost { node } => self.verdicts.push((self.now, host, node, None)),
            Event::Isolated | Event::NameShared => {}
            Event::MayExit => return true,
        }
        false
    }

    fn hear_announcement(&mut self, host: Station, vip: Vip) {
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

    // --- packets ---

    fn transmit(&mut self, host: Station, transmit: Transmit) {
        let gateway = self.hosts.len();
        let counters = &mut self.hosts[host].counters;
        counters.sent += 1;
        match transmit {
            Transmit::Datagram { to, bytes } => {
                counters.bytes += 42 + bytes.len() as u64;
                let Some(target) = self.hosts.iter().position(|host| host.address == to) else {
                    return;
                };
                let bytes: Arc<[u8]> = bytes.into();
                let from = self.hosts[host].address;
                for delay in self.network.deliver(host, target, &mut self.random) {
                    let input = Input::Datagram {
                        from,
                        bytes: Arc::clone(&bytes),
                    };
                    self.put(self.now + delay, Happening::Arrive(target, input));
                }
            }
            Transmit::Probe(to) => {
                counters.bytes += 42;
                let Some(target) = self.hosts.iter().position(|host| host.address == to) else {
                    return;
                };
                if self.hosts[target].powered {
                    let answer = KernelAnswer::Neighbour(self.hosts[target].mac);
                    self.answer(host, target, Input::Kernel { from: to, answer });
                }
            }
            Transmit::ProbeGateway => self.answer(host, gateway, Input::Gateway),
        }
    }

    fn answer(&mut self, host: Station, target: Station, input: Input) {
        if let Some(delay) = self.network.round_trip(host, target, &mut self.random) {
            self.put(self.now + delay, Happening::Arrive(host, input));
        }
    }

    fn arrive(&mut self, host: Station, input: Input) {
        if !self.hosts[host].powered {
            return;
        }
        if self.hosts[host].speaker.is_none() {
            if let Input::Datagram { from, .. } = input {
                self.say_unreachable(host, from);
            }
            return;
        }
        if self.hosts[host].inbox.len() < SOCKET_BUFFER || matches!(input, Input::Api(_)) {
            self.hosts[host].inbox.push_back(input);
        }
        let late = self.latency();
        self.wake_host(host, self.now + late);
    }

    fn say_unreachable(&mut self, host: Station, to: IpAddr) {
        let Some(asker) = self.hosts.iter().position(|host| host.address == to) else {
            return;
        };
        let now = self.now;
        let (tokens, since) = self.hosts[host]
            .unreachables
            .entry(asker)
            .or_insert((UNREACHABLE_BURST, now));
        let earned = now.saturating_since(*since).as_secs();
        if earned > 0 {
            (*tokens, *since) = ((*tokens + earned).min(UNREACHABLE_BURST), now);
        }
        if *tokens == 0 {
            return;
        }
        *tokens -= 1;
        let input = Input::Kernel {
            from: self.hosts[host].address,
            answer: KernelAnswer::PortUnreachable,
        };
        for delay in self
            .network
            .deliver(host, asker, &mut self.random)
            .into_iter()
            .take(1)
        {
            self.put(now + delay, Happening::Arrive(asker, input.clone()));
        }
    }

    // --- faults ---

    pub(crate) fn inflict(&mut self, fault: Fault) {
        if self.trace {
            println!("{:>10} ---- {fault:?}", self.now.as_micros());
        }
        let now = self.now;
        match fault {
            Fault::Kill(host) => {
                self.end_speaker(host);
                self.disturb();
            }
            Fault::Die(host) => {
                self.end_speaker(host);
                self.hosts[host].powered = false;
                self.disturb();
            }
            Fault::Boot(host) => {
                self.hosts[host].powered = true;
                self.start(host, false);
            }
            Fault::Start(host) => self.start(host, false),
            Fault::StartInThePast(host) => self.start(host, true),
            Fault::Stop(host, duration) => {
                self.hosts[host].stopped_until = now + duration;
                self.disturbed_at = self.disturbed_at.max(now + duration);
            }
            Fault::Leave(host, why) => {
                if let Some(speaker) = &mut self.hosts[host].speaker {
                    speaker.set_leaving(why, now);
                    self.hosts[host].leaving = why == Leaving::Draining;
                    self.disturbed_at = self.disturbed_at.max(now);
                    self.wake_host(host, now);
                }
            }
            Fault::Split(segments) => {
                self.network.segment = segments.into_iter().enumerate().collect();
                self.disturb();
            }
            Fault::Heal => {
                let loss = self.network.loss;
                self.network = Network {
                    loss,
                    ..Network::default()
                };
                self.disturb();
            }
            Fault::Mute(host, is) => {
                set(&mut self.network.mute, host, is);
                self.disturb();
            }
            Fault::Deaf(host, is) => {
                set(&mut self.network.deaf, host, is);
                self.disturb();
            }
            Fault::Cut(from, to, is) => {
                set(&mut self.network.cut, (from, to), is);
                self.disturb();
            }
            Fault::Slow(a, b, by) => {
                self.network.slow.insert((a.min(b), a.max(b)), by);
                self.disturb();
            }
            Fault::Blackout(is) => {
                self.network.blackout = is;
                self.disturb();
            }
            Fault::Loss(loss) => self.network.loss = loss,
            Fault::Busy(busy) => self.busy = busy,
            Fault::Eligible(vip, eligible) => {
                if self.truth.wanted.contains_key(&vip) {
                    let offer = self.offer(vip, eligible);
                    self.change_truth(|truth| drop(truth.wanted.insert(vip, offer)));
                }
            }
            Fault::Want(vip, true) => {
                let offer = self.offer(vip, vec![true; self.hosts.len()]);
                self.change_truth(|truth| drop(truth.wanted.insert(vip, offer)));
            }
            Fault::Want(vip, false) => {
                self.neighbours.remove(&vip);
                self.change_truth(|truth| drop(truth.wanted.remove(&vip)));
            }
            Fault::Move(vip, to) => {
                let to = self.hosts[to].id;
                for owner in self.owners(vip) {
                    if let Some(speaker) = &mut self.hosts[owner].speaker {
                        speaker
                            .request_move(vip, to, now)
                            .expect("an owner can give");
                        self.wake_host(owner, now);
                    }
                }
            }
        }
    }

    fn disturb(&mut self) {
        self.disturbed_at = self.disturbed_at.max(self.now);
    }

    fn end_speaker(&mut self, host: Station) {
        let host = &mut self.hosts[host];
        host.speaker = None;
        host.leaving = false;
        host.announcing.clear();
        host.inbox.clear();
        host.stopped_until = Instant::START;
    }

    fn start(&mut self, host: Station, in_the_past: bool) {
        if !self.hosts[host].powered || self.hosts[host].speaker.is_some() {
            return;
        }
        self.disturb();
        self.end_speaker(host);
        let now = self.now;
        let seed = self.random.next();
        let boot = self.hosts[host].boot;
        let boot = if in_the_past {
            boot.saturating_sub(500).max(1)
        } else {
            boot.max(now.as_micros()) + 1_000
        };
        self.hosts[host].boot = boot;
        let identity = Identity {
            node: self.hosts[host].name.clone(),
            address: self.hosts[host].address,
            mac: self.hosts[host].mac,
            boot,
        };
        let mut speaker = Ownership::new(
            identity,
            self.settings.clone(),
            self.keys.clone(),
            seed,
            now,
        );
        if !self.api_down {
            let nodes = self
                .hosts
                .iter()
                .map(|host| (host.id, host.address))
                .collect();
            speaker.set_nodes(&nodes, now);
            self.tell_api(host, &Arc::clone(&self.truth), &mut speaker);
        }
        self.hosts[host].speaker = Some(speaker);
        self.hosts[host].wake_at = None;
        self.wake_host(host, now);
    }

    fn change_truth(&mut self, change: impl FnOnce(&mut Truth)) {
        self.disturb();
        change(Arc::make_mut(&mut self.truth));
        for host in 0..self.hosts.len() {
            let lag = self.api_lag.as_micros() as u64;
            let after = Duration::from_micros(1_000 + self.random.below(lag));
            // A watch tells things in order.
            let at = (self.now + after).max(self.hosts[host].api_at + Duration::from_micros(1));
            self.hosts[host].api_at = at;
            let truth = Arc::clone(&self.truth);
            self.put(at, Happening::Arrive(host, Input::Api(truth)));
        }
    }
}

impl Host {
    fn new(n: usize) -> Self {
        let name = format!("n{n}");
        let n = n as u16;
        let [high, low] = n.to_be_bytes();
        Self {
            id: NodeId::of(&name),
            name,
            address: Ipv4Addr::new(10, 0, high, low).into(),
            mac: [2, 0, 0, 0, high, low],
            powered: true,
            speaker: None,
            announcing: BTreeSet::new(),
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

fn set<T: Ord>(set: &mut BTreeSet<T>, element: T, is: bool) {
    if is {
        set.insert(element);
    } else {
        set.remove(&element);
    }
}
