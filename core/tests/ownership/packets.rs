//! What becomes of what a speaker sends: peers, and the kernels that answer.

use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_core::ownership::{KernelAnswer, Ownership, Transmit};

use crate::network::{Kind, Station};
use crate::world::{Happening, Input, World, on_second_lan};

/// A socket's receive buffer holds about so many small datagrams (212,992 bytes by default).
const SOCKET_BUFFER: usize = 256;
/// Linux answers with so many port-unreachables at once, then with one per second and peer.
const UNREACHABLE_BURST: u64 = 6;

impl World {
    pub(crate) fn transmit(&mut self, host: Station, transmit: Transmit) {
        let gateway = self.hosts.len();
        let counters = &mut self.hosts[host].counters;
        counters.sent += 1;
        match transmit {
            Transmit::Datagram { to, bytes } => {
                counters.bytes += 42 + bytes.len() as u64;
                let Some(target) = self.host_at(to) else {
                    return;
                };
                let firewalled = &self.network.firewalled;
                let is_unknown = self.asks_nobody.contains(&target)
                    && bytes.get(3) == Some(&(Kind::Offer as u8));
                if firewalled.contains(&host)
                    || firewalled.contains(&target)
                    || is_unknown
                    || self.network.loses(host, target, &bytes)
                {
                    return;
                }
                let bytes: Arc<[u8]> = self.in_version(host, target, bytes).into();
                let Some(from) = self.hosts[host].towards(to) else {
                    return;
                };
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
                let mut second = self.on_second_lan.iter().copied();
                if let Some(target) = second.find(|&host| on_second_lan(host) == to) {
                    return self.answer_on_second_lan(host, target, to);
                }
                let Some(target) = self.host_at(to) else {
                    return;
                };
                if self.network.unanswering.contains(&target) {
                    return;
                }
                let powered = self.hosts[target].powered;
                if powered || self.network.answers_for_the_dead {
                    let answer = KernelAnswer::Neighbour(self.hosts[target].mac);
                    self.answer(host, target, Input::Kernel { from: to, answer });
                }
                if powered && self.echo {
                    let answer = KernelAnswer::Echo;
                    self.answer(host, target, Input::Kernel { from: to, answer });
                }
            }
            Transmit::ProbeGateway => self.answer(host, gateway, Input::Gateway),
        }
    }

    fn host_at(&self, address: IpAddr) -> Option<Station> {
        let mut hosts = self.hosts.iter();
        hosts.position(|host| host.addresses.contains(&address))
    }

    fn answer_on_second_lan(&mut self, host: Station, target: Station, to: IpAddr) {
        let delay = self.second_lan.round_trip(host, target, &mut self.random);
        let answer = KernelAnswer::Neighbour(self.hosts[target].mac);
        if let Some(delay) = delay.filter(|_| self.hosts[target].powered) {
            let answer = Input::Kernel { from: to, answer };
            self.put(self.now + delay, Happening::Arrive(host, answer));
        }
    }

    fn answer(&mut self, host: Station, target: Station, input: Input) {
        if let Some(delay) = self.network.round_trip(host, target, &mut self.random) {
            self.put(self.now + delay, Happening::Arrive(host, input));
        }
    }

    /// Between speakers of two versions every datagram has a version byte that its receiver does not
    /// know; its other bytes mean nothing then.
    fn in_version(&self, from: Station, to: Station, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.newer.contains(&from) != self.newer.contains(&to)
            && let Some(version) = bytes.get_mut(2)
        {
            *version += 1;
        }
        if [from, to]
            .iter()
            .any(|host| self.asks_nobody.contains(host))
        {
            as_of_a_version_that_asks_nobody(&mut bytes);
        }
        bytes
    }

    /// Those who cannot hear each other's datagrams listen to the wire.
    pub(crate) fn tell_listeners(&mut self, host: Station, input: &Input) {
        for listener in (0..self.hosts.len()).filter(|&listener| listener != host) {
            let speaker = self.hosts[listener].speaker.as_ref();
            if !speaker.is_some_and(Ownership::needs_the_wire) {
                continue;
            }
            for delay in self.network.deliver(host, listener, &mut self.random) {
                self.put(self.now + delay, Happening::Arrive(listener, input.clone()));
            }
        }
    }

    pub(crate) fn arrive(&mut self, host: Station, input: Input) {
        if !self.hosts[host].powered {
            return;
        }
        if self.hosts[host].speaker.is_none() {
            if let Input::Datagram { from, .. } = input {
                self.say_unreachable(host, from);
            }
            return;
        }
        if self.hosts[host].inbox.len() < SOCKET_BUFFER
            || matches!(input, Input::Api(_) | Input::Nodes(_))
        {
            self.hosts[host].inbox.push_back(input);
        }
        let late = self.latency();
        self.wake_host(host, self.now + late);
    }

    fn say_unreachable(&mut self, host: Station, to: IpAddr) {
        let Some(asker) = self.host_at(to) else {
            return;
        };
        if self.network.unanswering.contains(&host) {
            return;
        }
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
        let Some(from) = self.hosts[host].towards(to) else {
            return;
        };
        let input = Input::Kernel {
            from,
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
}

/// What release 0.1 says and hears of a record: three flags of it, and the prefixes of links, mean
/// nothing there.
fn as_of_a_version_that_asks_nobody(bytes: &mut [u8]) {
    const HEADER: usize = 40;
    const ASKING: u8 = 0b10;
    const CONSENTS: u8 = 0b10;
    const TELLS_SUBNETS: u8 = 0b100;
    const SILENT: u8 = 1;
    if bytes.get(3) != Some(&(Kind::Records as u8)) {
        return;
    }
    let count =
        |bytes: &[u8], at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let mut at = HEADER + 2;
    for _ in 0..count(bytes, HEADER) {
        bytes[at + 30] &= !(CONSENTS | TELLS_SUBNETS);
        at += 53;
        let links = count(bytes, at);
        at += 2;
        for _ in 0..links {
            bytes[at + 16] &= SILENT;
            at += 17;
        }
        let claims = count(bytes, at);
        at += 2;
        for _ in 0..claims {
            bytes[at + 24] &= !ASKING;
            at += 25;
        }
    }
}
