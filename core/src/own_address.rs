//! A1: Which addresses a node has among speakers: what its Node object says, as far as its links bear it out.
//!
//! The Node object may be out of date (a DHCP server gave another address, and the kubelet tells so
//! seconds later), and may list addresses in any order. What is on a link is true at once. Where neither
//! a link has what the Node says, nor ever had it, the node is behind address translation: then the
//! Node object is all there is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::address::Family;
use crate::announce::LinkId;

/// An address that the kernel has, on any interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAddress {
    /// The interface.
    pub link: LinkId,
    /// The address, with the length of its prefix.
    pub prefix: IpNetwork,
    /// Whether frames can leave the interface.
    pub carrier: bool,
    /// Neither made for privacy, to be replaced soon, nor about to end (RFC 8981, RFC 4862).
    pub lasting: bool,
}

/// One address of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// The interface that has it; `None` behind address translation.
    pub link: Option<LinkId>,
    /// The address that the Node lists is on a link without carrier into the same subnet, and this one
    /// stands in for it: what leaves must leave by this link, whatever the routes say.
    pub stands_in: bool,
}

/// The addresses at which this node's speaker is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnAddresses {
    /// One of each family that the Node lists, in its order; empty if it has none any more.
    addresses: Vec<OwnAddress>,
    /// The interface that last had the one of that family.
    was_on: BTreeMap<Family, LinkId>,
}

impl OwnAddresses {
    /// Follows the Node object, which has these addresses, and the kernel, which has those.
    pub fn follow(&mut self, listed: &[IpAddr], local: &[LocalAddress]) {
        let mut families: Vec<Family> = Vec::new();
        for family in listed.iter().map(|address| Family::of(*address)) {
            if !families.contains(&family) {
                families.push(family);
            }
        }
        let found = families.iter().filter_map(|family| {
            let is_of = |address: IpAddr| Family::of(address) == *family;
            let listed: Vec<IpAddr> = listed.iter().copied().filter(|one| is_of(*one)).collect();
            let local = local.iter().filter(|one| is_of(one.prefix.ip()));
            self.find(*family, &listed, &local.copied().collect::<Vec<_>>())
        });
        let mut addresses: Vec<OwnAddress> = found.collect();
        if let Some(&first) = listed.first()
            && self.is_translated(first, local)
        {
            let (address, link) = (first, None);
            addresses.retain(|one| Family::of(one.address) != Family::of(first));
            addresses.insert(
                0,
                OwnAddress {
                    address,
                    link,
                    stands_in: false,
                },
            );
        }
        for one in &addresses {
            let link = one.link.map(|link| (Family::of(one.address), link));
            self.was_on.extend(link);
        }
        self.addresses = addresses;
    }

    fn find(
        &self,
        family: Family,
        listed: &[IpAddr],
        local: &[LocalAddress],
    ) -> Option<OwnAddress> {
        let on_links = || {
            let found = listed.iter().filter_map(|address| {
                let is_it = |one: &&LocalAddress| one.prefix.ip() == *address;
                local.iter().find(is_it)
            });
            found.collect::<Vec<_>>()
        };
        let in_its_subnet = |carrier: bool| {
            let mut of_subnet = local.iter().filter(|one| {
                let is_subnet = listed.iter().any(|address| one.prefix.contains(*address));
                is_subnet && one.lasting && (one.carrier || !carrier)
            });
            of_subnet.next()
        };
        let on_its_link = || {
            let link = self.was_on.get(&family)?;
            let mut local = local.iter();
            local.find(|one| one.link == *link && one.lasting && !is_link_local(one.prefix.ip()))
        };
        let told = on_links();
        let with_carrier = told.iter().copied().find(|one| one.carrier);
        let stand_in = in_its_subnet(true).filter(|_| with_carrier.is_none() && !told.is_empty());
        let found = with_carrier
            .or(stand_in)
            .or(told.first().copied())
            .or_else(|| in_its_subnet(true))
            .or_else(|| in_its_subnet(false))
            .or_else(on_its_link)?;
        Some(OwnAddress {
            address: found.prefix.ip(),
            link: Some(found.link),
            stands_in: stand_in == Some(found),
        })
    }

    /// Nothing on this node has, had or could have had it.
    fn is_translated(&self, first: IpAddr, local: &[LocalAddress]) -> bool {
        let is_near = |one: &LocalAddress| one.prefix.contains(first);
        !self.was_on.contains_key(&Family::of(first)) && !local.iter().any(is_near)
    }

    /// One of each family, the first as the Node lists them.
    #[must_use]
    pub fn all(&self) -> &[OwnAddress] {
        &self.addresses
    }

    /// The one that other speakers are told.
    #[must_use]
    pub fn first(&self) -> Option<OwnAddress> {
        self.addresses.first().copied()
    }

    /// Whether the first is on no link: then other speakers reach this node by address translation.
    #[must_use]
    pub fn is_behind_translation(&self) -> bool {
        self.first().is_some_and(|first| first.link.is_none())
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1 192.168.64.11/24 …`: a link and what is on it; a number in parentheses has no carrier, an
    /// address with a `~` does not last.
    fn local(lines: &[&str]) -> Vec<LocalAddress> {
        let line = |line: &&str| {
            let (link, addresses) = line.split_once(' ').unwrap_or((line, ""));
            let carrier = !link.starts_with('(');
            let link = LinkId(link.trim_matches(['(', ')']).parse().unwrap());
            let address = |text: &str| LocalAddress {
                link,
                prefix: text.trim_start_matches('~').parse().unwrap(),
                carrier,
                lasting: !text.starts_with('~'),
            };
            addresses
                .split_whitespace()
                .map(address)
                .collect::<Vec<_>>()
        };
        lines.iter().flat_map(line).collect()
    }

    fn listed(text: &str) -> Vec<IpAddr> {
        text.split_whitespace()
            .map(|one| one.parse().unwrap())
            .collect()
    }

    fn shown(own: &OwnAddresses) -> String {
        let show = |one: &OwnAddress| match (one.link, one.stands_in) {
            (None, _) => format!("{} translated", one.address),
            (Some(link), false) => format!("{} on {}", one.address, link.0),
            (Some(link), true) => format!("{} on {} alone", one.address, link.0),
        };
        own.all().iter().map(show).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_is_on_a_link_is_true_whatever_the_node_object_says() {
        // What the Node lists; what the links have; this node's addresses.
        let rows: [(&str, &[&str], &str); 17] = [
            ("10.0.0.1", &["2 10.0.0.1/24"], "10.0.0.1 on 2"),
            // Each family, in the Node's order.
            (
                "10.0.0.1 fd00::1",
                &["2 10.0.0.1/24 fd00::1/64"],
                "10.0.0.1 on 2, fd00::1 on 2",
            ),
            (
                "fd00::1 10.0.0.1",
                &["2 10.0.0.1/24 fd00::1/64"],
                "fd00::1 on 2, 10.0.0.1 on 2",
            ),
            // Another lease in the same subnet, and the Node does not know yet.
            ("10.0.0.1", &["2 10.0.0.7/24"], "10.0.0.7 on 2"),
            ("fd00::1", &["2 ~fd00::5/64 fd00::7/64"], "fd00::7 on 2"),
            // The Node lists what was and what is, in any order.
            ("10.0.0.1 10.0.0.7", &["2 10.0.0.7/24"], "10.0.0.7 on 2"),
            (
                "10.0.0.7 10.0.0.1",
                &["2 10.0.0.1/24 10.0.0.7/24"],
                "10.0.0.7 on 2",
            ),
            // An interface that nobody announces on will do.
            (
                "100.64.0.1",
                &["2 10.0.0.1/24", "9 100.64.0.1/32"],
                "100.64.0.1 on 9",
            ),
            // Behind address translation.
            ("203.0.113.1", &["2 10.0.0.1/24"], "203.0.113.1 translated"),
            (
                "203.0.113.1 10.0.0.1",
                &["2 10.0.0.1/24"],
                "203.0.113.1 translated",
            ),
            (
                "203.0.113.1 fd00::1",
                &["2 10.0.0.1/24 fd00::1/64"],
                "203.0.113.1 translated, fd00::1 on 2",
            ),
            // A second family that is on no link is none.
            (
                "10.0.0.1 2001:db8::1",
                &["2 10.0.0.1/24 fd00::1/64"],
                "10.0.0.1 on 2",
            ),
            ("203.0.113.1", &[], "203.0.113.1 translated"),
            // Without carrier another link into the subnet stands in.
            (
                "10.0.0.1",
                &["(2) 10.0.0.1/24", "3 10.0.0.101/24"],
                "10.0.0.101 on 3 alone",
            ),
            (
                "10.0.0.1",
                &["(2) 10.0.0.1/24", "3 10.9.0.1/24"],
                "10.0.0.1 on 2",
            ),
            (
                "10.0.0.1 10.0.0.101",
                &["(2) 10.0.0.1/24", "3 10.0.0.101/24"],
                "10.0.0.101 on 3",
            ),
            ("", &["2 10.0.0.1/24"], ""),
        ];
        for (node, links, expected) in rows {
            let mut own = OwnAddresses::default();
            own.follow(&listed(node), &local(links));
            assert_eq!(shown(&own), expected, "{node:?} {links:?}");
        }
    }

    #[test]
    fn what_was_on_a_link_and_is_gone_is_no_address_translation() {
        let mut own = OwnAddresses::default();
        let node = listed("10.0.0.1 fd00::1");
        let steps: [(&[&str], &str); 5] = [
            (&["2 10.0.0.1/24 fd00::1/64"], "10.0.0.1 on 2, fd00::1 on 2"),
            // The lease is lost.
            (&["2 fd00::1/64"], "fd00::1 on 2"),
            (&["2"], ""),
            // Another network, by the same link; that of the pods is none.
            (
                &["1 172.16.0.1/24", "2 fe80::1/64 10.8.0.9/24"],
                "10.8.0.9 on 2",
            ),
            (&["2 10.0.0.1/24 fd00::1/64"], "10.0.0.1 on 2, fd00::1 on 2"),
        ];
        for (links, expected) in steps {
            own.follow(&node, &local(links));
            assert_eq!(shown(&own), expected, "{links:?}");
        }
    }
}
