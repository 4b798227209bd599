//! What the API server and the kernel say, as the protocol takes it: who may be there, what is wanted,
//! and on which links.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::announce::{Assignment, Link, LinkId, carrying, on_a_subnet, standing_by};
use ferrolb_core::ownership::{self, Identity, NodeId, Ownership};
use ferrolb_core::subnet::of_host;
use ferrolb_core::vip::Standing;
use ferrolb_core::wire::MacAddr;
use ipnetwork::IpNetwork;
use tracing::{info, warn};

use super::driver::Driver;
use super::status::OnLinks;
use super::{FromPeers, Wish, Wishes};
use crate::port::Network;

impl<N: Network> Driver<N> {
    pub(super) fn follow_nodes(&mut self, now: Instant) {
        let (Some(nodes), Some(links)) = (&self.nodes, &self.links) else {
            return;
        };
        let listed = nodes.get(&self.me).map_or(&[][..], Vec::as_slice);
        let Some(&listed_first) = listed.first() else {
            if self.ownership.is_none() {
                warn!(
                    node = self.me,
                    "the API server lists no Node of this name with an address"
                );
            }
            return;
        };
        self.own.follow(listed, &self.local);
        let own = self.own.all().iter().map(|own| own.address);
        let own: Vec<IpAddr> = own.collect();
        let address = own.first().copied().unwrap_or(listed_first);
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
        let names = |id: LinkId| links.get(&id).map(|link| link.name.to_string());
        self.socket.set_own(&self.own, &self.local, names, now);
        let at = (own.clone(), self.local.clone());
        if self.told_at.as_ref() != Some(&at) {
            if self.told_at.as_ref().map(|(own, _)| own) != Some(&own) {
                info!(addresses = ?own, "this node's addresses");
            }
            let _ = self.tell.send(FromPeers::At(own.clone()));
            self.told_at = Some(at);
        }
        let members = nodes.iter().filter(|(_, addresses)| !addresses.is_empty());
        let members = members.map(|(name, addresses)| (NodeId::of(name), addresses.clone()));
        if let Some(ownership) = &mut self.ownership {
            ownership.set_station(&own, mac, now);
            ownership.set_nodes(&members.collect(), now);
        }
        self.follow_networks();
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
        self.follow_networks();
        self.tell_wire(false);
    }

    fn wanted(&self) -> BTreeMap<IpAddr, ownership::Wanted> {
        let wishes = self.wishes.iter().flatten();
        let wanted = wishes.map(|(vip, wish)| {
            let links = self.links.iter();
            let mut on_subnet = links.map(|links| on_a_subnet(*vip, &wish.on_links(), links));
            let wanted = ownership::Wanted {
                eligible: self.standing(*vip, wish).may.is_ok(),
                on_subnet: on_subnet.next().unwrap_or(false),
                candidates: wish.candidates.clone(),
            };
            (*vip, wanted)
        });
        wanted.collect()
    }

    /// Whether this node may announce it: the API server says so, and a link can carry it.
    pub(super) fn standing(&self, vip: IpAddr, wish: &Wish) -> Standing {
        wish.standing()
            .on(self.links.as_ref(), vip, &wish.on_links())
    }

    /// On which links it is announced, if this node does. Where other nodes are on its subnet, and this
    /// one is not any more, there is none: the frames end before anybody has taken over (S2).
    pub(super) fn on_links(&self, vip: IpAddr, wish: &Wish) -> Assignment {
        let ownership = self.ownership.as_ref();
        Assignment {
            on_subnet_only: ownership.is_some_and(|one| one.is_on_anothers_subnet(vip)),
            ..wish.on_links()
        }
    }

    /// The links that announce the Vip if this node does, and those in the same subnet that leave it
    /// to them.
    pub(super) fn links_of(&self, vip: IpAddr, wish: &Wish) -> OnLinks {
        let Some(links) = &self.links else {
            return Default::default();
        };
        let wanted = self.on_links(vip, wish);
        let name = |id: LinkId| links.get(&id).map(|link| link.name.to_string());
        let standing_by = standing_by(vip, &wanted, links).into_iter();
        OnLinks {
            announcing: carrying(vip, &wanted, links).filter_map(name).collect(),
            standing_by: standing_by.filter_map(name).collect(),
        }
    }

    /// What other speakers are told of this node's links.
    fn follow_networks(&mut self) {
        let (Some(wishes), Some(links)) = (&self.wishes, &self.links) else {
            return;
        };
        let Some(ownership) = &mut self.ownership else {
            return;
        };
        if let Some(own) = self.own.first() {
            ownership.set_further_links(&further_links(own.address, wishes, links));
        }
        let (subnets, are_all) = subnets(wishes, links);
        ownership.set_subnets(subnets, are_all);
    }
}

/// The subnets of links, each with this node's address there, those of wanted addresses first; and
/// whether these are all. A subnet is left out on which a pool's `interfaces` keep an address from
/// the link that leads into it: for that address this node is as good as not there.
fn subnets(wishes: &Wishes, links: &BTreeMap<LinkId, Link>) -> (Vec<(IpNetwork, IpAddr)>, bool) {
    let prefixes = links.values().flat_map(|link| &link.prefixes);
    let all: BTreeMap<IpNetwork, IpAddr> = prefixes
        .filter(|prefix| !is_host_or_link_local(prefix))
        .map(|prefix| (of_host(*prefix), prefix.ip()))
        .collect();
    let is_kept_out = |network: &IpNetwork| {
        let mut there = wishes.iter().filter(|(vip, _)| network.contains(**vip));
        there.any(|(vip, wish)| !on_a_subnet(*vip, &wish.on_links(), links))
    };
    let count = all.len();
    let told = all.into_iter().filter(|(network, _)| !is_kept_out(network));
    let matters = |network: &IpNetwork| wishes.keys().any(|vip| network.contains(*vip));
    let (first, rest): (Vec<_>, Vec<_>) = told.partition(|(network, _)| matters(network));
    let told = [first, rest].concat();
    let are_all = told.len() == count;
    (told, are_all)
}

fn is_host_or_link_local(prefix: &IpNetwork) -> bool {
    match prefix {
        IpNetwork::V4(prefix) => prefix.prefix() >= 32 || prefix.ip().is_link_local(),
        IpNetwork::V6(prefix) => prefix.prefix() >= 128 || prefix.ip().is_unicast_link_local(),
    }
}

/// Where wanted addresses lie on other links than the one of this node's address: the networks, and
/// this node's address in each.
fn further_links(
    own: IpAddr,
    wishes: &Wishes,
    links: &BTreeMap<LinkId, Link>,
) -> BTreeMap<IpNetwork, IpAddr> {
    let mut further = BTreeMap::new();
    // Beats leave by the link that the kernel prefers, whatever other one has the node's address.
    let main = station(own, links);
    for (vip, wish) in wishes {
        let on_links = wish.on_links();
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
    let any = Assignment::default();
    let is_there = on_a_subnet(address, &any, links);
    carrying(address, &any, links).next().filter(|_| is_there)
}

fn has(link: &Link, address: IpAddr) -> bool {
    link.prefixes.iter().any(|prefix| prefix.ip() == address)
}

#[cfg(test)]
mod tests {
    use ferrolb_core::ownership::Candidates;

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
        let wishes = [(vip.parse().unwrap(), wish(interface).into())].into();
        let own = "192.168.64.11".parse().unwrap();
        let further = further_links(own, &wishes, &links).into_iter();
        further
            .map(|(network, own)| format!("{network} {own}"))
            .collect()
    }

    fn wish(interface: Option<&str>) -> Wish {
        Wish {
            may: Ok(()),
            drawback: None,
            candidates: Candidates::default(),
            interfaces: interface.map(str::to_owned).into_iter().collect(),
            in_conflict: false,
        }
    }

    #[test]
    fn subnets_are_told_those_of_wanted_addresses_first_and_none_that_a_pool_keeps_this_node_from()
    {
        let links = |lines: &[(&str, &[&str])]| -> BTreeMap<LinkId, Link> {
            let links = lines
                .iter()
                .map(|(name, prefixes)| link(name, true, prefixes));
            (1..).map(LinkId).zip(links).collect()
        };
        let lan: &[&str] = &[
            "192.168.64.11/24",
            "fd00:64::11/64",
            "fe80::1/64",
            "192.168.64.9/32",
        ];
        let two = links(&[("eth0", lan), ("dmz0", &["10.9.0.11/24", "169.254.1.1/16"])]);
        let rows = [
            (vec![], "10.9.0.0/24 192.168.64.0/24 fd00:64::/64", true),
            (
                vec![("192.168.64.200", None)],
                "192.168.64.0/24 10.9.0.0/24 fd00:64::/64",
                true,
            ),
            (
                vec![("10.9.0.200", Some("dmz0"))],
                "10.9.0.0/24 192.168.64.0/24 fd00:64::/64",
                true,
            ),
            // There it is announced as one on no subnet, so nobody may be kept from it.
            (
                vec![("10.9.0.200", Some("eth0"))],
                "192.168.64.0/24 fd00:64::/64",
                false,
            ),
        ];
        for (wishes, expected, are_all) in rows {
            let wishes = wishes.into_iter();
            let wishes =
                wishes.map(|(vip, interface)| (vip.parse().unwrap(), wish(interface).into()));
            let (told, all) = subnets(&wishes.collect(), &two);
            let told: Vec<String> = told
                .iter()
                .map(|(network, _)| network.to_string())
                .collect();
            assert_eq!((told.join(" "), all), (expected.to_owned(), are_all));
        }
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
