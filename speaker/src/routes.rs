//! Which link the kernel uses for a subnet that several of them lead into.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use ferrolb_core::announce::{Link, LinkId};
use futures::TryStreamExt as _;
use ipnetwork::IpNetwork;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};

/// The networks that more than one link has an address in. Link-local ones are no subnets that
/// anything is announced on, and every link has one.
pub fn shared(links: &BTreeMap<LinkId, Link>) -> BTreeSet<IpNetwork> {
    let mut networks: BTreeMap<IpNetwork, BTreeSet<LinkId>> = BTreeMap::new();
    for (id, link) in links {
        let prefixes = link.prefixes.iter();
        let networks_of =
            prefixes.filter_map(|one| IpNetwork::new(one.network(), one.prefix()).ok());
        for network in networks_of.filter(|network| !is_link_local(network.ip())) {
            networks.entry(network).or_default().insert(*id);
        }
    }
    networks.retain(|_, links| links.len() > 1);
    networks.into_keys().collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The links that lead directly into each of these networks, the one that the kernel takes first.
pub async fn list(
    handle: &Handle,
    networks: &BTreeSet<IpNetwork>,
) -> anyhow::Result<BTreeMap<IpNetwork, Vec<LinkId>>> {
    let all = all(handle).await?;
    let routes = all.iter().filter_map(direct);
    Ok(in_order(
        routes.filter(|route| networks.contains(&route.network)),
    ))
}

/// Every route of the kernel, of both families.
pub(crate) async fn all(handle: &Handle) -> anyhow::Result<Vec<RouteMessage>> {
    let mut routes = Vec::new();
    for question in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let listed = handle.route().get(question).execute();
        let listed: Vec<_> = listed.try_collect().await.context("cannot list routes")?;
        routes.extend(listed);
    }
    Ok(routes)
}

/// A route without a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Direct {
    network: IpNetwork,
    metric: u32,
    link: LinkId,
}

/// By metric; of equal ones the kernel takes, and lists, the older first.
fn in_order(routes: impl Iterator<Item = Direct>) -> BTreeMap<IpNetwork, Vec<LinkId>> {
    let mut routes: Vec<Direct> = routes.collect();
    routes.sort_by_key(|route| route.metric);
    let mut order: BTreeMap<IpNetwork, Vec<LinkId>> = BTreeMap::new();
    for route in routes {
        let links = order.entry(route.network).or_default();
        if !links.contains(&route.link) {
            links.push(route.link);
        }
    }
    order
}

fn direct(route: &RouteMessage) -> Option<Direct> {
    let (mut metric, mut link, mut gateway) = (0, None, false);
    let mut table = u32::from(route.header.table);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => link = Some(LinkId(*index)),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => gateway = true,
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let is_direct = table == u32::from(RouteHeader::RT_TABLE_MAIN) && !gateway;
    Some(Direct {
        network: network(route)?,
        metric,
        link: link.filter(|_| is_direct)?,
    })
}

/// Where a route leads.
pub fn network(route: &RouteMessage) -> Option<IpNetwork> {
    let mut attributes = route.attributes.iter();
    let address = attributes.find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let address = address.or(match route.header.address_family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    });
    IpNetwork::new(address?, route.header.destination_prefix_length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrolb_core::wire::MacAddr;

    fn route(network: [u8; 4], link: u32, metric: u32) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.destination_prefix_length = 24;
        route.attributes = vec![
            RouteAttribute::Destination(RouteAddress::Inet(network.into())),
            RouteAttribute::Oif(link),
            RouteAttribute::Priority(metric),
        ];
        route
    }

    #[test]
    fn the_kernel_takes_the_lowest_metric_and_of_equal_ones_the_older() {
        let lan = [192, 168, 64, 0];
        let mut by_gateway = route(lan, 9, 0);
        let gateway = RouteAddress::Inet([192, 168, 64, 1].into());
        by_gateway.attributes.push(RouteAttribute::Gateway(gateway));
        let mut elsewhere = route(lan, 8, 0);
        elsewhere.header.table = 100;
        let routes = [
            by_gateway,
            elsewhere,
            route(lan, 3, 600),
            route(lan, 2, 100),
            route(lan, 4, 100),
            route([10, 9, 0, 0], 4, 0),
        ];
        let order = in_order(routes.iter().filter_map(direct));
        let lan: IpNetwork = "192.168.64.0/24".parse().unwrap();
        assert_eq!(order[&lan], [2, 4, 3].map(LinkId));
        assert_eq!(order.len(), 2);
    }

    #[test]
    fn only_subnets_that_two_links_lead_into_are_looked_up() {
        let link = |prefixes: &[&str]| Link {
            name: "eth0".into(),
            mac: MacAddr::zero(),
            prefixes: prefixes.iter().map(|one| one.parse().unwrap()).collect(),
            routes: BTreeMap::new(),
            carrier: true,
        };
        let mut links: BTreeMap<LinkId, Link> = [
            (
                LinkId(2),
                link(&["192.168.64.11/24", "192.168.64.12/24", "fe80::1/64"]),
            ),
            (LinkId(3), link(&["10.9.0.11/24", "fe80::2/64"])),
        ]
        .into();
        assert_eq!(shared(&links), [].into());
        links.insert(LinkId(4), link(&["192.168.64.111/24"]));
        assert_eq!(shared(&links), ["192.168.64.0/24".parse().unwrap()].into());
    }
}
