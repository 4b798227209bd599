//! What the API server and the kernel say, as the protocol takes it: who may be there, what is wanted,
//! and on which links.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_core::announce::{Link, LinkId, Wanted, carrying, on_a_subnet, standing_by};
use ferrolb_core::ownership::{self, Identity, NodeId, Ownership};
use ferrolb_core::wire::MacAddr;
use ferrolb_core::{Instant, Reason};
use ipnetwork::IpNetwork;
use tracing::warn;

use super::Wish;
use super::driver::Driver;

impl Driver {
    pub(super) fn follow_nodes(&mut self, now: Instant) {
        let (Some(nodes), Some(links)) = (&self.nodes, &self.links) else {
            return;
        };
        let Some(&address) = nodes.get(&self.me).and_then(|addresses| addresses.first()) else {
            if self.ownership.is_none() {
                warn!(
                    node = self.me,
                    "the API server lists no Node of this name with an address"
                );
            }
            return;
        };
        let mac = mac_of(address, links);
        if self.ownership.is_none() {
            let Some(keys) = self.keys.clone() else {
                return;
            };
            if self.wishes.is_none() || self.leaving.is_some() {
                return;
            }
            // Not before: now the clock is good enough for the API server's certificate.
            let boot = super::boot_id();
            let identity = Identity {
                node: self.me.clone(),
                address,
                mac,
                boot,
            };
            let settings = self.settings.clone();
            let mut ownership = Ownership::new(identity, settings, keys, boot, now);
            ownership.set_wanted(self.wanted());
            ownership.set_doubtful(self.doubtful);
            self.ownership = Some(ownership);
        }
        self.socket.set_own(address, now);
        let members = nodes
            .iter()
            .filter_map(|(name, addresses)| Some((NodeId::of(name), *addresses.first()?)));
        if let Some(ownership) = &mut self.ownership {
            ownership.set_station(address, mac, now);
            ownership.set_nodes(&members.collect(), now);
            ownership.set_sources(nodes.values().flatten().copied().collect());
        }
        self.follow_further_links();
    }

    pub(super) fn follow_wishes(&mut self) {
        if self.ownership.is_none() {
            self.follow_nodes(self.clock.now());
            return;
        }
        let wanted = self.wanted();
        if let Some(ownership) = &mut self.ownership {
            ownership.set_wanted(wanted);
        }
        self.follow_further_links();
        self.tell_wire();
    }

    fn wanted(&self) -> BTreeMap<IpAddr, ownership::Wanted> {
        let wishes = self.wishes.iter().flatten();
        let wanted = wishes.map(|(vip, wish)| {
            let eligible = self.may(*vip, wish).is_ok();
            let candidates = Arc::clone(&wish.candidates);
            (
                *vip,
                ownership::Wanted {
                    eligible,
                    candidates,
                },
            )
        });
        wanted.collect()
    }

    /// Whether this node may announce it: the API server says so, and a link can carry it.
    pub(super) fn may(&self, vip: IpAddr, wish: &Wish) -> Result<(), Reason> {
        wish.may?;
        let links = self.links.as_ref().ok_or(Reason::NoLink)?;
        let carried = carrying(vip, &on_links(wish), links).next();
        carried.map(drop).ok_or(Reason::NoLink)
    }

    /// The links that announce the Vip if this node does, and those in the same subnet that leave it
    /// to them.
    pub(super) fn links_of(&self, vip: IpAddr, wish: &Wish) -> [Vec<String>; 2] {
        let Some(links) = &self.links else {
            return Default::default();
        };
        let wanted = on_links(wish);
        let name = |id: LinkId| links.get(&id).map(|link| link.name.to_string());
        let carrying = carrying(vip, &wanted, links).filter_map(name).collect();
        let standing_by = standing_by(vip, &wanted, links).into_iter();
        [carrying, standing_by.filter_map(name).collect()]
    }

    fn follow_further_links(&mut self) {
        let own = self.nodes.as_ref().and_then(|nodes| nodes.get(&self.me));
        let own = own.and_then(|addresses| addresses.first());
        let (Some(&own), Some(wishes), Some(links)) = (own, &self.wishes, &self.links) else {
            return;
        };
        let further = further_links(own, wishes, links);
        if let Some(ownership) = &mut self.ownership {
            ownership.set_further_links(&further);
        }
    }
}

/// Where wanted addresses lie on other links than the one of this node's address: the networks, and
/// this node's address in each.
fn further_links(
    own: IpAddr,
    wishes: &BTreeMap<IpAddr, Wish>,
    links: &BTreeMap<LinkId, Link>,
) -> BTreeMap<IpNetwork, IpAddr> {
    let mut further = BTreeMap::new();
    // Beats leave by the link that the kernel prefers, whatever other one has the node's address.
    let main = station(own, links);
    for (vip, wish) in wishes {
        let on_links = on_links(wish);
        let carrying = carrying(*vip, &on_links, links).filter(|id| Some(*id) != main);
        let carrying = carrying.filter_map(|id| links.get(&id));
        for link in carrying.filter(|link| !has(link, own)) {
            let mut prefixes = link.prefixes.iter();
            if let Some(prefix) = prefixes.find(|prefix| prefix.contains(*vip))
                && let Ok(network) = IpNetwork::new(prefix.network(), prefix.prefix())
            {
                further.entry(network).or_insert(prefix.ip());
            }
        }
    }
    further
}

pub(super) fn on_links(wish: &Wish) -> Wanted {
    Wanted {
        interfaces: wish.interfaces.clone(),
        probe_first: false,
        in_conflict: wish.in_conflict,
    }
}

/// The hardware address by which `address` is reached; none if it is on no link. Linux answers ARP for
/// it on every link into its subnet: of several the one counts that announces, so that other speakers
/// know its announcements for this node's.
fn mac_of(address: IpAddr, links: &BTreeMap<LinkId, Link>) -> MacAddr {
    let owner = links.values().find(|link| has(link, address));
    let station = station(address, links).and_then(|id| links.get(&id));
    owner.map_or(MacAddr::zero(), |owner| station.unwrap_or(owner).mac)
}

/// The link that this node reaches the subnet of its own `address` by.
fn station(address: IpAddr, links: &BTreeMap<LinkId, Link>) -> Option<LinkId> {
    let any = Wanted::default();
    let is_there = on_a_subnet(address, &any, links);
    carrying(address, &any, links).next().filter(|_| is_there)
}

fn has(link: &Link, address: IpAddr) -> bool {
    link.prefixes.iter().any(|prefix| prefix.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, carrier: bool, prefixes: &[&str]) -> Link {
        let prefixes = prefixes.iter().map(|text| text.parse().unwrap());
        Link {
            name: name.into(),
            mac: MacAddr(2, 0, 0, 0, 0, 1),
            prefixes: prefixes.collect(),
            routes: BTreeMap::new(),
            carrier,
        }
    }

    fn further_for(vip: &str, interface: Option<&str>) -> Vec<String> {
        let main = ["192.168.64.11/24", "fd00:64::11/64"];
        let dmz = ["10.9.0.11/24", "fd00:9::11/64", "fe80::1/64"];
        let links = [
            link("eth0", true, &main),
            link("dmz0", true, &dmz),
            link("down0", false, &["10.8.0.11/24"]),
        ];
        let links = (1..).map(LinkId).zip(links).collect();
        let wish = Wish {
            may: Ok(()),
            drawback: None,
            candidates: [].into(),
            interfaces: interface.map(str::to_owned).into_iter().collect(),
            in_conflict: false,
        };
        let wishes = [(vip.parse().unwrap(), wish)].into();
        let own = "192.168.64.11".parse().unwrap();
        let further = further_links(own, &wishes, &links).into_iter();
        further
            .map(|(network, own)| format!("{network} {own}"))
            .collect()
    }

    #[test]
    fn only_links_with_carrier_that_no_beat_passes_and_that_carry_an_address_are_asked_on() {
        let rows = [
            ("192.168.64.200", None, ""),
            ("fd00:64::200", None, ""),
            ("10.9.0.200", None, "10.9.0.0/24 10.9.0.11"),
            ("fd00:9::200", None, "fd00:9::/64 fd00:9::11"),
            ("10.9.0.200", Some("eth0"), ""),
            ("10.8.0.200", None, ""),
            ("172.16.0.1", None, ""),
        ];
        for (vip, interface, expected) in rows {
            let further = further_for(vip, interface).join(", ");
            assert_eq!(further, expected, "{vip} {interface:?}");
        }
    }
}
