//! A LAN in memory, for tests: several hosts with the sockets of [`Network`], a station that a test speaks
//! for, and faults. Its sockets have real files, so that the loops wait for them as they do on a node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard};

use ferrolb_core::address::Family;
use ferrolb_core::announce::{Link, LinkId};
use ferrolb_core::own_address::LocalAddress;
use ferrolb_core::wire::{MacAddr, Message};

use super::{Datagrams, Echo, Frames, MAX_FRAME, MAX_ICMP, Network};
use crate::links::Interfaces;

/// The link of every host into the LAN. It has the number of the loopback interface: what a test has joined
/// to multicast groups there disturbs nobody.
pub(crate) const LINK: LinkId = LinkId(1);

/// What becomes of something that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    IsLost,
    ArrivesTwice,
    /// Behind what is sent to that host next.
    IsOvertaken,
    /// The sender is told so.
    IsRefused(io::ErrorKind),
}

/// What is sent: by which host, and whether as a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent<'a> {
    pub(crate) by: u8,
    pub(crate) is_frame: bool,
    pub(crate) bytes: &'a [u8],
}

type Rule = Box<dyn FnMut(Sent<'_>) -> Fate + Send>;

/// Several hosts on one link. 192.168.64.N is host N, its Vips are from 192.168.64.200 on.
#[derive(Clone, Default)]
pub(crate) struct Lan(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: usize,
    endpoints: BTreeMap<usize, Endpoint>,
    frames: Vec<(u8, Vec<u8>)>,
    rule: Option<Rule>,
    overtaken: Vec<(usize, Vec<u8>, Option<SocketAddr>)>,
    frame_errors: VecDeque<io::ErrorKind>,
    bind_errors: VecDeque<io::ErrorKind>,
    received: BTreeMap<u8, u64>,
    hosts: BTreeSet<u8>,
}

struct Endpoint {
    host: u8,
    kind: Kind,
    /// Readable as long as something waits.
    waker: UnixDatagram,
    queue: VecDeque<(Vec<u8>, Option<SocketAddr>)>,
    errors: VecDeque<io::ErrorKind>,
}

enum Kind {
    Frames(BTreeSet<IpAddr>),
    Replies,
    Datagrams(SocketAddr),
}

/// A host's side of it.
#[derive(Clone)]
pub(crate) struct Host {
    lan: Lan,
    number: u8,
}

pub(crate) const fn address(host: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 64, host))
}

pub(crate) const fn mac(host: u8) -> MacAddr {
    MacAddr(2, 0, 0, 0, 0, host)
}

impl Lan {
    pub(crate) fn host(&self, number: u8) -> Host {
        self.state().hosts.insert(number);
        Host {
            lan: self.clone(),
            number,
        }
    }

    /// From now on, what is sent has the fate that `rule` says.
    pub(crate) fn set_rule(&self, rule: impl FnMut(Sent<'_>) -> Fate + Send + 'static) {
        self.state().rule = Some(Box::new(rule));
    }

    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.rule = None;
        for (to, bytes, from) in std::mem::take(&mut state.overtaken) {
            state.push(to, bytes, from);
        }
    }

    /// The next sockets for frames cannot be opened.
    pub(crate) fn fail_to_open(&self, errors: &[io::ErrorKind]) {
        self.state().frame_errors.extend(errors);
    }

    /// The next sockets for datagrams cannot be bound.
    pub(crate) fn fail_to_bind(&self, errors: &[io::ErrorKind]) {
        self.state().bind_errors.extend(errors);
    }

    /// The host's power is gone: nothing leaves it, nothing reaches it, and its kernel answers nobody.
    pub(crate) fn cut(&self, host: u8) {
        self.state().hosts.remove(&host);
    }

    /// Each socket of a host reports an error when it is read next.
    pub(crate) fn fail_to_receive(&self, host: u8, error: io::ErrorKind) {
        let mut state = self.state();
        let endpoints = state.endpoints.values_mut();
        for endpoint in endpoints.filter(|endpoint| endpoint.host == host) {
            endpoint.errors.push_back(error);
            let _ = endpoint.waker.send(&[0]);
        }
    }

    /// A station that is no host says this to all.
    pub(crate) fn say(&self, frame: &[u8]) {
        self.state().pass_frame(0, frame, 1);
    }

    /// The frames that a host has sent so far.
    pub(crate) fn frames_of(&self, host: u8) -> Vec<Vec<u8>> {
        let state = self.state();
        let frames = state.frames.iter().filter(|(by, _)| *by == host);
        frames.map(|(_, frame)| frame.clone()).collect()
    }

    /// How many sockets a host has open.
    pub(crate) fn sockets_of(&self, host: u8) -> usize {
        let state = self.state();
        let endpoints = state.endpoints.values();
        endpoints.filter(|endpoint| endpoint.host == host).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn open(&mut self, lan: &Lan, host: u8, kind: Kind) -> io::Result<Memory> {
        let errors = match kind {
            Kind::Datagrams(_) => &mut self.bind_errors,
            Kind::Frames(_) | Kind::Replies => &mut self.frame_errors,
        };
        if let Some(error) = errors.pop_front() {
            return Err(error.into());
        }
        let (waker, woken) = UnixDatagram::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let id = self.next;
        self.next += 1;
        let endpoint = Endpoint {
            host,
            kind,
            waker,
            queue: VecDeque::new(),
            errors: VecDeque::new(),
        };
        self.endpoints.insert(id, endpoint);
        Ok(Memory {
            lan: lan.clone(),
            id,
            host,
            woken,
        })
    }

    fn fate(&mut self, sent: Sent<'_>) -> Fate {
        if !self.hosts.contains(&sent.by) {
            return Fate::IsLost;
        }
        self.rule.as_mut().map_or(Fate::Arrives, |rule| rule(sent))
    }

    /// To all other hosts that listen for it; a host's kernel answers for the host's own address.
    fn pass_frame(&mut self, by: u8, frame: &[u8], times: usize) {
        let Ok(message) = Message::parse(frame) else {
            return;
        };
        for host in self.hosts.iter().filter(|host| **host != by) {
            *self.received.entry(*host).or_default() += 1;
        }
        let hears = |endpoint: &Endpoint| match &endpoint.kind {
            Kind::Frames(vips) => [message.claimed(), message.asked()]
                .iter()
                .flatten()
                .any(|vip| vips.contains(vip)),
            Kind::Replies => {
                let is_its = message.ethernet.destination == mac(endpoint.host);
                is_its && message.is_kernels_answer()
            }
            Kind::Datagrams(_) => false,
        };
        let all = self.endpoints.iter();
        let is_up = |endpoint: &Endpoint| self.hosts.contains(&endpoint.host);
        let to = all.filter(|(_, one)| one.host != by && is_up(one) && hears(one));
        let to: Vec<usize> = to.map(|(id, _)| *id).collect();
        for id in to {
            for _ in 0..times {
                self.push(id, frame.to_vec(), None);
            }
        }
        let asked = self.hosts.iter().copied();
        let mut asked = asked.filter(|host| *host != by && message.asked() == Some(address(*host)));
        if let Some(asked) = asked.next() {
            let reply = message.reply(mac(asked));
            self.pass_frame(asked, reply.as_bytes(), 1);
        }
    }

    fn push(&mut self, to: usize, bytes: Vec<u8>, from: Option<SocketAddr>) {
        if let Some(endpoint) = self.endpoints.get_mut(&to) {
            endpoint.queue.push_back((bytes, from));
            // One byte is enough, as long as something waits.
            let _ = endpoint.waker.send(&[0]);
        }
    }
}

/// A socket of either kind.
pub(crate) struct Memory {
    lan: Lan,
    id: usize,
    host: u8,
    woken: UnixDatagram,
}

impl Memory {
    fn take(&self) -> io::Result<(Vec<u8>, Option<SocketAddr>)> {
        let mut state = self.lan.state();
        let endpoint = state.endpoints.get_mut(&self.id);
        let endpoint = endpoint.ok_or(io::ErrorKind::NotConnected)?;
        let error = endpoint.errors.pop_front();
        let next = match error {
            Some(error) => Err(error.into()),
            None => endpoint
                .queue
                .pop_front()
                .ok_or_else(|| io::ErrorKind::WouldBlock.into()),
        };
        if endpoint.queue.is_empty() && endpoint.errors.is_empty() {
            while self.woken.recv(&mut [0]).is_ok() {}
        }
        next
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.lan.state().endpoints.remove(&self.id);
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "socket {} of host {}", self.id, self.host)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host {}", self.number)
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

impl Host {
    /// Its only link, with its only address.
    pub(crate) fn interfaces(&self) -> Interfaces {
        let prefix = format!("{}/24", address(self.number)).parse().unwrap();
        let link = Link {
            name: "lan0".into(),
            mac: mac(self.number),
            prefixes: vec![prefix],
            routes: BTreeMap::new(),
            carrier: true,
        };
        let local = LocalAddress {
            link: LINK,
            prefix,
            carrier: true,
            lasting: true,
        };
        Interfaces {
            links: [(LINK, link)].into(),
            addresses: vec![local],
        }
    }

    fn open(&self, kind: Kind) -> io::Result<Memory> {
        self.lan.state().open(&self.lan, self.number, kind)
    }
}

impl Network for Host {
    type Frames = Memory;
    type Datagrams = Memory;
    type Echo = Memory;

    fn frames(&self, _: LinkId, _: MacAddr, _: Family) -> io::Result<Memory> {
        self.open(Kind::Frames(BTreeSet::new()))
    }

    fn arp_replies(&self, _: LinkId, _: MacAddr) -> io::Result<Memory> {
        self.open(Kind::Replies)
    }

    fn datagrams(&self, own: Option<IpAddr>, port: u16, _: Option<&str>) -> io::Result<Memory> {
        let own = own.unwrap_or(address(self.number));
        self.open(Kind::Datagrams(SocketAddr::new(own, port)))
    }

    /// As on a node whose kernel lacks it: ARP is answered.
    fn echo(&self, _: Family) -> io::Result<Memory> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn counters(&self) -> String {
        let state = self.lan.state();
        let frames = state.received.get(&self.number).copied();
        format!("lan0: 0 {}\n", frames.unwrap_or_default())
    }
}

impl Frames for Memory {
    fn listen(&mut self, addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
        let mut state = self.lan.state();
        if let Some(endpoint) = state.endpoints.get_mut(&self.id) {
            endpoint.kind = Kind::Frames(addresses.collect());
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8; MAX_FRAME]) -> io::Result<usize> {
        let (frame, _) = self.take()?;
        buffer[..frame.len()].copy_from_slice(&frame);
        Ok(frame.len())
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut state = self.lan.state();
        let sent = Sent {
            by: self.host,
            is_frame: true,
            bytes: frame,
        };
        let times = match state.fate(sent) {
            Fate::IsRefused(error) => return Err(error.into()),
            Fate::Arrives | Fate::IsOvertaken => 1,
            Fate::ArrivesTwice => 2,
            Fate::IsLost => return Ok(()),
        };
        state.frames.push((self.host, frame.to_vec()));
        state.pass_frame(self.host, frame, times);
        Ok(())
    }
}

impl Datagrams for Memory {
    fn at(&self) -> io::Result<SocketAddr> {
        let state = self.lan.state();
        match state.endpoints.get(&self.id).map(|one| &one.kind) {
            Some(Kind::Datagrams(at)) => Ok(*at),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (datagram, from) = self.take()?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        let from = from.ok_or(io::ErrorKind::InvalidData)?;
        Ok((length, from))
    }

    fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let from = Some(self.at()?);
        let mut state = self.lan.state();
        let sent = Sent {
            by: self.host,
            is_frame: false,
            bytes: datagram,
        };
        let fate = state.fate(sent);
        if let Fate::IsRefused(error) = fate {
            return Err(error.into());
        }
        let mut all = state.endpoints.iter();
        let hosts = &state.hosts;
        let is_it = |endpoint: &Endpoint| {
            let is_there = matches!(endpoint.kind, Kind::Datagrams(at) if at == to);
            is_there && hosts.contains(&endpoint.host)
        };
        let Some((&to, endpoint)) = all.find(|(_, endpoint)| is_it(endpoint)) else {
            return Ok(());
        };
        let host = endpoint.host;
        *state.received.entry(host).or_default() += 1;
        let times = match fate {
            Fate::IsOvertaken => {
                state.overtaken.push((to, datagram.to_vec(), from));
                return Ok(());
            }
            Fate::IsLost | Fate::IsRefused(_) => return Ok(()),
            Fate::Arrives => 1,
            Fate::ArrivesTwice => 2,
        };
        for _ in 0..times {
            state.push(to, datagram.to_vec(), from);
        }
        let overtaken = std::mem::take(&mut state.overtaken);
        let (late, other) = overtaken.into_iter().partition(|(whose, ..)| *whose == to);
        state.overtaken = other;
        let late: Vec<_> = late;
        for (to, bytes, from) in late.into_iter().rev() {
            state.push(to, bytes, from);
        }
        Ok(())
    }

    fn admit_only(&self, _: &BTreeSet<IpAddr>) -> io::Result<()> {
        Ok(())
    }

    fn admit_all(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Echo for Memory {
    fn receive(&self, _: &mut [u8; MAX_ICMP]) -> io::Result<(usize, IpAddr)> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&self, _: IpAddr, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
