//! The network interfaces that we may announce on, and every address that this node has, as rtnetlink
//! tells them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;

use anyhow::Context as _;
use ferrolb_core::announce::{Link, LinkId};
use ferrolb_core::own_address::LocalAddress;
use ferrolb_core::wire::MacAddr;
use futures::{StreamExt as _, TryStreamExt as _};
use ipnetwork::IpNetwork;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use crate::routes;

/// Interfaces of pods, tunnels and virtual bridges, by the beginning of their names: nobody on the
/// LAN is behind them. `MetalLB`'s list.
pub const EXCLUDED: [&str; 13] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "nodelocaldns",
    "lxc",
];

/// What the kernel tells of this node's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    /// Those that we may announce on.
    pub links: BTreeMap<LinkId, Link>,
    /// The addresses of all, but for the loopback's own: a node may be reached by a tunnel.
    pub addresses: Vec<LocalAddress>,
}

/// Calls `found` with all links, now and after each event, until that fails. If `named` are any, they
/// are the only ones, and none of them is left out for its name.
pub async fn watch(named: &[String], found: &mut dyn FnMut(Interfaces)) -> anyhow::Error {
    match follow(named, found).await {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

async fn follow(named: &[String], found: &mut dyn FnMut(Interfaces)) -> anyhow::Result<Infallible> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)
        .context("cannot open a netlink socket for link events")?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    // Each event is taken as "look again": nothing can be missed or seen in the wrong order, also
    // when the kernel dropped events because there were too many.
    let mut events = messages.ready_chunks(1_024);
    loop {
        let interfaces = list(&handle, named).await?;
        let shared = routes::shared(&interfaces.links);
        found(interfaces);
        loop {
            let Some(batch) = events.next().await else {
                anyhow::bail!("the netlink socket for link events was closed");
            };
            // A node on which pods come and go has many routes, that change often.
            if batch.iter().any(|(message, _)| match &message.payload {
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
                ) => routes::network(route).is_some_and(|network| shared.contains(&network)),
                // Also where events were lost.
                _ => true,
            }) {
                break;
            }
        }
    }
}

/// All links as they are now; see [`watch`].
pub async fn now(named: &[String]) -> anyhow::Result<BTreeMap<LinkId, Link>> {
    let (connection, handle, _) =
        rtnetlink::new_connection().context("cannot open a netlink socket")?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    Ok(list(&handle, named).await?.links)
}

/// The task behind a netlink socket; it ends with whoever asks by it.
pub(crate) struct AbortOnDrop(pub(crate) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn list(handle: &Handle, named: &[String]) -> anyhow::Result<Interfaces> {
    let all: Vec<_> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .context("cannot list links")?;
    let addresses: Vec<_> = handle
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .context("cannot list addresses")?;
    let mut links: BTreeMap<_, _> = all
        .iter()
        .filter_map(|link| announceable(link, named))
        .collect();
    for message in &addresses {
        if let Some(link) = links.get_mut(&LinkId(message.header.index)) {
            link.prefixes.extend(prefix(message));
        }
    }
    // Most nodes have one link into each subnet, and need not ask.
    let shared = routes::shared(&links);
    if !shared.is_empty() {
        for (network, order) in routes::list(handle, &shared).await? {
            for (id, place) in order.into_iter().zip(0..) {
                if let Some(link) = links.get_mut(&id) {
                    link.routes.entry(network).or_insert(place);
                }
            }
        }
    }
    let addresses = addresses.iter();
    let addresses = addresses
        .filter_map(|message| local(message, &all))
        .collect();
    Ok(Interfaces { links, addresses })
}

/// The link, if frames of ours may ever leave on it: Ethernet, up, with broadcast and ARP, and not
/// a port of a bridge or a bond (there the bridge or the bond is the link).
fn announceable(message: &LinkMessage, named: &[String]) -> Option<(LinkId, Link)> {
    let flags = message.header.flags;
    let mut name = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            LinkAttribute::Controller(index) if *index != 0 => return None,
            _ => {}
        }
    }
    let name = name?;
    let usable = message.header.link_layer_type == LinkLayerType::Ether
        && flags.contains(LinkFlags::Up | LinkFlags::Broadcast)
        && !flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback)
        && match named {
            [] => !EXCLUDED.iter().any(|prefix| name.starts_with(prefix)),
            named => named.contains(&name),
        };
    let link = Link {
        name: name.into(),
        mac: MacAddr::from(mac?),
        prefixes: Vec::new(),
        routes: BTreeMap::new(),
        carrier: flags.contains(LinkFlags::LowerUp),
    };
    usable.then_some((LinkId(message.header.index), link))
}

/// `None` for what only this node itself can speak to.
fn local(message: &AddressMessage, links: &[LinkMessage]) -> Option<LocalAddress> {
    let prefix = prefix(message).filter(|prefix| !prefix.ip().is_loopback())?;
    let mut links = links.iter();
    let link = links.find(|link| link.header.index == message.header.index)?;
    let flags = message.header.flags;
    // Of IPv6 it means "temporary", of IPv4 "not the first of its subnet".
    let is_temporary = prefix.is_ipv6() && flags.contains(AddressHeaderFlags::Secondary);
    Some(LocalAddress {
        link: LinkId(message.header.index),
        prefix,
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
        lasting: !is_temporary && !flags.contains(AddressHeaderFlags::Deprecated),
    })
}

/// `None` also of an IPv6 address that another host may have: nobody can speak from it yet, and the
/// kernel tells when that is settled (RFC 4862 §5.4).
fn prefix(message: &AddressMessage) -> Option<IpNetwork> {
    let flags = message.header.flags;
    let is_tentative = flags.contains(AddressHeaderFlags::Tentative)
        && !flags.contains(AddressHeaderFlags::Optimistic);
    if is_tentative || flags.contains(AddressHeaderFlags::Dadfailed) {
        return None;
    }
    let mut address: Option<IpAddr> = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link `Address` is the other end.
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(other) => address = address.or(Some(*other)),
            _ => {}
        }
    }
    IpNetwork::new(address?, message.header.prefix_len).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, change: impl FnOnce(&mut LinkMessage)) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::Broadcast | LinkFlags::LowerUp;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
        ];
        change(&mut message);
        message
    }

    #[test]
    fn links_that_nobody_on_the_lan_is_behind_are_left_out() {
        type Change = fn(&mut LinkMessage);
        let plain: Change = |_| {};
        let rows: [(&str, &str, Change, bool); 9] = [
            ("an Ethernet link", "eth0", plain, true),
            ("a bridge", "br0", plain, true),
            ("a pod's end", "veth1a2b", plain, false),
            ("kube-proxy's", "kube-ipvs0", plain, false),
            (
                "down",
                "eth0",
                |m| m.header.flags.remove(LinkFlags::Up),
                false,
            ),
            (
                "without ARP",
                "eth0",
                |m| m.header.flags.insert(LinkFlags::Noarp),
                false,
            ),
            (
                "without broadcast",
                "eth0",
                |m| m.header.flags.remove(LinkFlags::Broadcast),
                false,
            ),
            (
                "a port",
                "eth0",
                |m| m.attributes.push(LinkAttribute::Controller(3)),
                false,
            ),
            (
                "no Ethernet",
                "ib0",
                |m| m.header.link_layer_type = LinkLayerType::Infiniband,
                false,
            ),
        ];
        for (what, name, change, kept) in rows {
            assert_eq!(
                announceable(&message(name, change), &[]).is_some(),
                kept,
                "{what}"
            );
        }
    }

    #[test]
    fn links_that_are_named_are_the_only_ones_whatever_they_are_called() {
        let named = ["eth1".to_owned(), "docker-lan".to_owned()];
        for (name, kept) in [("eth0", false), ("eth1", true), ("docker-lan", true)] {
            let found = announceable(&message(name, |_| {}), &named);
            assert_eq!(found.is_some(), kept, "{name}");
        }
    }

    #[test]
    fn of_addresses_it_is_told_whether_they_can_be_used_and_will_last() {
        let links = [message("wg0", |message| {
            message.header.link_layer_type = LinkLayerType::None;
        })];
        let found = |address: &str, flags: AddressHeaderFlags, index: u32| {
            let mut message = AddressMessage::default();
            (message.header.index, message.header.prefix_len) = (index, 24);
            message.header.flags = flags;
            let address = AddressAttribute::Local(address.parse().unwrap());
            message.attributes = vec![address];
            local(&message, &links).map(|one| (one.prefix.to_string(), one.carrier, one.lasting))
        };
        let none = AddressHeaderFlags::empty();
        let usable = |text: &str, lasting| Some((text.to_owned(), true, lasting));
        use AddressHeaderFlags as Flags;
        for (address, flags, expected) in [
            ("10.0.0.1", none, usable("10.0.0.1/24", true)),
            ("10.0.0.1", Flags::Secondary, usable("10.0.0.1/24", true)),
            ("fd00::1", Flags::Permanent, usable("fd00::1/24", true)),
            ("fd00::1", Flags::Secondary, usable("fd00::1/24", false)),
            ("fd00::1", Flags::Deprecated, usable("fd00::1/24", false)),
            ("fd00::1", Flags::Tentative, None),
            ("fd00::1", Flags::Dadfailed, None),
            (
                "fd00::1",
                Flags::Tentative | Flags::Optimistic,
                usable("fd00::1/24", true),
            ),
            ("127.0.0.1", none, None),
            ("::1", none, None),
        ] {
            assert_eq!(found(address, flags, 7), expected, "{address} {flags:?}");
        }
        assert_eq!(found("10.0.0.1", none, 8), None, "its link is gone");
    }

    #[test]
    fn a_link_without_carrier_is_kept_and_marked() {
        let down = message("eth0", |message| {
            message.header.flags.remove(LinkFlags::LowerUp)
        });
        let (id, link) = announceable(&down, &[]).unwrap();
        assert_eq!(
            (id, link.carrier, link.mac),
            (LinkId(7), false, MacAddr(2, 0, 0, 0, 0, 7))
        );
    }
}
