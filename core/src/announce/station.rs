//! One address, one station: of several links into one subnet one announces a Vip.
//!
//! Two that answer each question with two hardware addresses make neighbours change their minds
//! (cable and Wi-Fi of one machine, two network cards on one switch). The one that the kernel itself
//! uses for the subnet is taken: what it sends leaves there, and what arrives elsewhere is dropped
//! where the reverse path is checked strictly (`rp_filter`). It depends on nothing else, so each start
//! comes to the same, and the address is back on that link as soon as its carrier is.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::link::{Assignment, Link, LinkId, allows, on_a_subnet};

/// The links that carry `vip` now: of those that are allowed, the first into its subnet; all, if it
/// lies on no node's subnet, since each may lead to another LAN. A subnet's link without carrier is
/// not replaced by a link of another subnet: nobody there would ask for the address.
pub fn carrying(
    vip: IpAddr,
    wanted: &Assignment,
    links: &BTreeMap<LinkId, Link>,
) -> impl Iterator<Item = LinkId> {
    let everywhere = !wanted.on_subnet_only && !on_a_subnet(vip, wanted, links);
    let all = links.iter();
    let all = all.filter(move |(_, link)| everywhere && link.carrier && allows(wanted, link));
    let station = in_order(vip, wanted, links).into_iter().next();
    station.into_iter().chain(all.map(|(id, _)| *id))
}

/// The links into the subnet of `vip` that could carry it and leave that to another one of this node
/// (`standby_link`).
#[must_use]
pub fn standing_by(
    vip: IpAddr,
    wanted: &Assignment,
    links: &BTreeMap<LinkId, Link>,
) -> Vec<LinkId> {
    in_order(vip, wanted, links).into_iter().skip(1).collect()
}

/// The links with carrier into the subnet of `vip`, as the kernel prefers them: by the most specific
/// network, then by its route to it. Where there is none, the older link is the first.
fn in_order(vip: IpAddr, wanted: &Assignment, links: &BTreeMap<LinkId, Link>) -> Vec<LinkId> {
    let able = links.iter();
    let able = able.filter(|(_, link)| link.carrier && allows(wanted, link));
    let mut order: Vec<_> = able
        .filter_map(|(id, link)| Some((precedence(vip, link)?, *id)))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, id)| id).collect()
}

/// The least is the first.
fn precedence(vip: IpAddr, link: &Link) -> Option<(Reverse<u8>, u32)> {
    let prefixes = link.prefixes.iter().filter(|prefix| prefix.contains(vip));
    let ranked = prefixes.filter_map(|prefix| {
        let network = IpNetwork::new(prefix.network(), prefix.prefix()).ok()?;
        let place = link.routes.get(&network).copied().unwrap_or(u32::MAX);
        Some((Reverse(prefix.prefix()), place))
    });
    ranked.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    /// `eth0 100 192.168.64.11/24 …`: name, the kernel's order of preference, addresses; a name in
    /// parentheses has no carrier.
    fn links(lines: &[&str]) -> BTreeMap<LinkId, Link> {
        let link = |line: &str| {
            let mut words = line.split(' ');
            let (name, place) = (words.next().unwrap(), words.next().unwrap());
            let prefixes: Vec<IpNetwork> = words.map(|word| word.parse().unwrap()).collect();
            let network = |one: &IpNetwork| IpNetwork::new(one.network(), one.prefix()).unwrap();
            let place = place.parse().ok();
            Link {
                name: name.trim_matches(['(', ')']).into(),
                mac: MacAddr::zero(),
                routes: place
                    .iter()
                    .flat_map(|place| prefixes.iter().map(|one| (network(one), *place)))
                    .collect(),
                prefixes,
                carrier: !name.starts_with('('),
            }
        };
        (1..)
            .map(LinkId)
            .zip(lines.iter().map(|line| link(line)))
            .collect()
    }

    fn names(links: &BTreeMap<LinkId, Link>, ids: impl IntoIterator<Item = LinkId>) -> String {
        let names: Vec<&str> = ids.into_iter().map(|id| &*links[&id].name).collect();
        names.join(" ")
    }

    #[test]
    fn of_several_links_into_one_subnet_the_first_by_route_with_carrier_announces() {
        let (cable, wifi) = (
            "192.168.64.11/24 fd00:64::11/64",
            "192.168.64.12/24 fd00:64::12/64",
        );
        let two = |eth0: &str, wlan0: &str| [format!("{eth0} {cable}"), format!("{wlan0} {wifi}")];
        let (v4, v6, storage) = ("192.168.64.200", "fd00:64::200", "10.9.0.200");
        // Links; the interfaces that the user named; the Vip; who carries it; who stands by.
        let rows: [([String; 2], &str, &str, &str, &str); 16] = [
            (two("eth0 0", "wlan0 1"), "", v4, "eth0", "wlan0"),
            (two("eth0 0", "wlan0 1"), "", v6, "eth0", "wlan0"),
            (two("eth0 1", "wlan0 0"), "", v4, "wlan0", "eth0"),
            (two("(eth0) 0", "wlan0 1"), "", v4, "wlan0", ""),
            (two("(eth0) 0", "(wlan0) 1"), "", v4, "", ""),
            // The kernel tells nothing.
            (two("eth0 -", "wlan0 -"), "", v4, "eth0", "wlan0"),
            (two("eth0 -", "wlan0 0"), "", v4, "wlan0", "eth0"),
            // What the user named is never overruled, and it is one station all the same.
            (two("eth0 0", "wlan0 1"), "wlan0", v4, "wlan0", ""),
            (two("eth0 0", "(wlan0) 1"), "wlan0", v4, "", ""),
            (two("eth0 0", "wlan0 1"), "eth0 wlan0", v6, "eth0", "wlan0"),
            (two("(eth0) 0", "wlan0 1"), "eth0 wlan0", v4, "wlan0", ""),
            // On no subnet of this node each link may lead to another LAN.
            (two("eth0 0", "wlan0 1"), "", storage, "eth0 wlan0", ""),
            (two("eth0 0", "(wlan0) 1"), "", storage, "eth0", ""),
            // The more specific network, as for the kernel.
            (
                ["eth0 0 10.0.0.11/8".into(), "eth1 0 10.9.0.11/24".into()],
                "",
                storage,
                "eth1",
                "eth0",
            ),
            (
                ["eth0 0 10.0.0.11/8".into(), "eth1 0 10.9.0.11/24".into()],
                "",
                "10.8.0.200",
                "eth0",
                "",
            ),
            // Each family for itself.
            (
                [
                    "eth0 1 192.168.64.11/24".into(),
                    "eth1 0 192.168.64.12/24 fd00:64::12/64".into(),
                ],
                "",
                v6,
                "eth1",
                "",
            ),
        ];
        for (lines, interfaces, vip, carries, stands_by) in rows {
            let links = links(&lines.each_ref().map(String::as_str));
            let interfaces = interfaces.split_whitespace().map(str::to_owned).collect();
            let wanted = Assignment {
                interfaces,
                ..Assignment::default()
            };
            let vip = vip.parse().unwrap();
            let why = format!("{lines:?} {wanted:?} {vip}");
            let carrying = names(&links, carrying(vip, &wanted, &links));
            assert_eq!(carrying, carries, "{why}");
            let standing_by = names(&links, standing_by(vip, &wanted, &links));
            assert_eq!(standing_by, stands_by, "{why}");
        }
    }

    #[test]
    fn where_other_nodes_are_on_the_subnet_it_is_announced_there_or_nowhere() {
        let links = links(&["eth0 0 192.168.64.11/24", "eth1 0 10.9.0.11/24"]);
        for (vip, carries, carries_only) in [
            ("192.168.64.200", "eth0", "eth0"),
            ("172.16.0.1", "eth0 eth1", ""),
            ("fd00::1", "eth0 eth1", ""),
        ] {
            let vip = vip.parse().unwrap();
            for (on_subnet_only, expected) in [(false, carries), (true, carries_only)] {
                let wanted = Assignment {
                    on_subnet_only,
                    ..Assignment::default()
                };
                assert_eq!(
                    names(&links, carrying(vip, &wanted, &links)),
                    expected,
                    "{vip}"
                );
            }
        }
    }

    #[test]
    fn an_address_with_another_prefix_on_the_same_link_is_no_second_link() {
        let links = links(&["eth0 0 192.168.64.11/24 192.168.64.12/32 192.168.0.9/16"]);
        let vip = "192.168.64.200".parse().unwrap();
        let any = Assignment::default();
        assert_eq!(names(&links, carrying(vip, &any, &links)), "eth0");
        assert_eq!(standing_by(vip, &any, &links), []);
    }
}
