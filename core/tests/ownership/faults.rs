//! What is done to the world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::ownership::{Identity, Leaving, NodeId, Ownership};
use ferrolb_core::wire::MacAddr;

use crate::network::{Kind, Network, Station};
use crate::world::{Happening, Input, Truth, Vip, World};

/// One fault, or its end.
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
    /// No datagram leaves or reaches it; all else does.
    Firewall(Station, bool),
    /// Its kernel answers nothing.
    Unanswering(Station, bool),
    /// The fabric answers ARP for the dead.
    AnswerForTheDead(bool),
    /// Its kube-proxy is not well.
    Doubtful(Station, bool),
    /// Kernels answer echo requests, besides ARP.
    Echo(bool),
    Loss(u64),
    /// Messages of this kind are lost on these paths, and on no others.
    Lose(Kind, Vec<(Station, Station)>),
    Busy(bool),
    /// Which hosts may announce it.
    Eligible(Vip, Vec<bool>),
    /// The node serves only as long as no other one does.
    Cordon(Station, bool),
    /// The node has the exclude label.
    Exclude(Station, bool),
    /// The weights of these hosts; all others have none.
    Weigh(Vec<(Station, u32)>),
    /// The address is wanted on this node, if anywhere.
    MoveTo(Vip, Option<Station>),
    Want(Vip, bool),
    /// It is wanted, and these hosts may announce it.
    WantOn(Vip, Vec<bool>),
    /// Its links have these addresses from now on, and its speaker sees that.
    Readdress(Station, Vec<IpAddr>),
    /// Its Node object lists these, and speakers hear of it.
    List(Station, Vec<IpAddr>),
    /// Its network card is another one.
    Mac(Station, MacAddr),
    /// Whether it is on the subnet of the addresses.
    Subnet(Station, bool),
    /// Speakers that start learn nothing from the API.
    ApiDown(bool),
}

impl World {
    pub(crate) fn inflict(&mut self, fault: Fault) {
        if self.trace {
            println!("{:>10} ---- {fault:?}", self.now.as_micros());
        }
        let now = self.now;
        self.faults += 1;
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
            Fault::Firewall(host, is) => {
                set(&mut self.network.firewalled, host, is);
                self.disturb();
            }
            Fault::Unanswering(host, is) => set(&mut self.network.unanswering, host, is),
            Fault::Doubtful(host, is) => {
                if let Some(speaker) = &mut self.hosts[host].speaker {
                    speaker.set_doubtful(is);
                    self.wake_host(host, now);
                }
            }
            Fault::AnswerForTheDead(is) => self.network.answers_for_the_dead = is,
            Fault::Echo(is) => self.echo = is,
            Fault::Loss(loss) => self.network.loss = loss,
            Fault::Lose(kind, paths) => {
                let losing = &mut self.network.losing;
                losing.retain(|&(other, ..)| other != kind);
                losing.extend(paths.into_iter().map(|(from, to)| (kind, from, to)));
            }
            Fault::Busy(busy) => self.busy = busy,
            Fault::Eligible(vip, eligible) => {
                if self.truth.wanted.contains_key(&vip) {
                    let offer = self.offer(vip, eligible);
                    self.change_truth(|truth| drop(truth.wanted.insert(vip, offer)));
                }
            }
            Fault::Cordon(host, is) => {
                let id = self.hosts[host].id;
                set(&mut self.cordoned, id, is);
                self.offer_again();
            }
            Fault::Exclude(host, is) => {
                let id = self.hosts[host].id;
                set(&mut self.excluded, id, is);
                self.offer_again();
            }
            Fault::Weigh(weights) => {
                let weights = weights.into_iter();
                self.weights = weights
                    .map(|(host, weight)| (self.hosts[host].id, weight))
                    .collect();
                self.offer_again();
            }
            Fault::MoveTo(vip, to) => {
                match to {
                    Some(to) => drop(self.move_to.insert(vip, self.hosts[to].id)),
                    None => drop(self.move_to.remove(&vip)),
                }
                self.offer_again();
            }
            Fault::Want(vip, true) => {
                self.inflict(Fault::WantOn(vip, vec![true; self.hosts.len()]));
            }
            Fault::WantOn(vip, eligible) => {
                let offer = self.offer(vip, eligible);
                self.change_truth(|truth| drop(truth.wanted.insert(vip, offer)));
            }
            Fault::Want(vip, false) => {
                self.neighbours.remove(&vip);
                self.change_truth(|truth| drop(truth.wanted.remove(&vip)));
            }
            Fault::Readdress(host, addresses) => {
                self.hosts[host].addresses = addresses;
                self.tell_station(host);
            }
            Fault::Mac(host, mac) => {
                self.hosts[host].mac = mac;
                self.tell_station(host);
            }
            Fault::List(host, addresses) => {
                self.disturb();
                self.hosts[host].listed = addresses;
                let nodes = Arc::new(self.nodes());
                for host in 0..self.hosts.len() {
                    let at = self.next_api_time(host);
                    let input = Input::Nodes(Arc::clone(&nodes));
                    self.put(at, Happening::Arrive(host, input));
                }
            }
            Fault::Subnet(host, is) => {
                set(&mut self.off_subnet, host, !is);
                self.disturb();
                if let Some(mut speaker) = self.hosts[host].speaker.take() {
                    self.tell_api(host, &Arc::clone(&self.truth), &mut speaker);
                    self.hosts[host].speaker = Some(speaker);
                    self.wake_host(host, now);
                }
            }
            Fault::ApiDown(is) => {
                self.api_down = is;
                for host in 0..self.hosts.len() {
                    if let Some(mut speaker) = self.hosts[host].speaker.take() {
                        self.list(host, &mut speaker);
                        self.hosts[host].speaker = Some(speaker);
                        self.wake_host(host, now);
                    }
                }
            }
        }
    }

    /// Who may announce what, after somebody changed it.
    fn offer_again(&mut self) {
        let wanted = self.truth.wanted.iter();
        let offers: Vec<_> = wanted
            .map(|(&vip, (eligible, _))| (vip, self.offer(vip, eligible.clone())))
            .collect();
        self.change_truth(|truth| truth.wanted.extend(offers));
    }

    fn disturb(&mut self) {
        self.disturbed_at = self.disturbed_at.max(self.now);
    }

    fn end_speaker(&mut self, host: Station) {
        let host = &mut self.hosts[host];
        host.speaker = None;
        host.leaving = false;
        host.announcing.clear();
        host.asking.clear();
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
            address: self.hosts[host].addresses[0],
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
        speaker.set_station(&self.hosts[host].addresses, self.hosts[host].mac, now);
        self.hosts[host].wanted.clear();
        self.list(host, &mut speaker);
        self.hosts[host].speaker = Some(speaker);
        self.hosts[host].wake_at = None;
        self.wake_host(host, now);
    }

    /// What a speaker learns of the API when it has listed everything.
    fn list(&mut self, host: Station, speaker: &mut Ownership) {
        if self.api_down {
            return;
        }
        speaker.set_nodes(&self.nodes(), self.now);
        self.tell_api(host, &Arc::clone(&self.truth), speaker);
    }

    fn nodes(&self) -> BTreeMap<NodeId, Vec<IpAddr>> {
        let nodes = self.hosts.iter();
        nodes.map(|host| (host.id, host.listed.clone())).collect()
    }

    /// The kernel tells it at once.
    fn tell_station(&mut self, host: Station) {
        self.disturb();
        let (addresses, mac) = (self.hosts[host].addresses.clone(), self.hosts[host].mac);
        if let Some(speaker) = &mut self.hosts[host].speaker {
            speaker.set_station(&addresses, mac, self.now);
            self.wake_host(host, self.now);
        }
    }

    /// A watch tells things in order.
    fn next_api_time(&mut self, host: Station) -> Instant {
        let lag = self.api_lag.as_micros() as u64;
        let after = Duration::from_micros(1_000 + self.random.below(lag));
        let at = (self.now + after).max(self.hosts[host].api_at + Duration::from_micros(1));
        self.hosts[host].api_at = at;
        at
    }

    fn change_truth(&mut self, change: impl FnOnce(&mut Truth)) {
        self.disturb();
        change(Arc::make_mut(&mut self.truth));
        for host in 0..self.hosts.len() {
            let at = self.next_api_time(host);
            let truth = Arc::clone(&self.truth);
            self.put(at, Happening::Arrive(host, Input::Api(truth)));
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
