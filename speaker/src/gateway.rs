//! The default gateways, as rtnetlink tells them: who else on the LAN is there for sure.

use std::convert::Infallible;
use std::net::IpAddr;

use anyhow::Context as _;
use futures::StreamExt as _;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use rtnetlink::{Handle, MulticastGroup};

use crate::links::AbortOnDrop;
use crate::routes;

/// Calls `found` with all default gateways, now and after each event, until that fails.
pub async fn watch(found: &mut dyn FnMut(Vec<IpAddr>)) -> anyhow::Error {
    match follow(found).await {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// All default gateways as they are now.
pub async fn now() -> anyhow::Result<Vec<IpAddr>> {
    let (connection, handle, _) =
        rtnetlink::new_connection().context("cannot open a netlink socket")?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    list(&handle).await
}

async fn follow(found: &mut dyn FnMut(Vec<IpAddr>)) -> anyhow::Result<Infallible> {
    let groups = [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];
    let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)
        .context("cannot open a netlink socket for route events")?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    let mut events = messages.ready_chunks(1_024);
    loop {
        found(list(&handle).await?);
        loop {
            let Some(batch) = events.next().await else {
                anyhow::bail!("the netlink socket for route events was closed");
            };
            // A node on which pods come and go has many routes, that change often.
            if batch
                .iter()
                .any(|(message, _)| concerns_default(&message.payload))
            {
                break;
            }
        }
    }
}

fn concerns_default(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => route.header.destination_prefix_length == 0,
        // Events were lost, or there is something new to understand.
        _ => true,
    }
}

async fn list(handle: &Handle) -> anyhow::Result<Vec<IpAddr>> {
    let routes = routes::all(handle).await?;
    let mut gateways: Vec<_> = routes.iter().flat_map(default_gateways).collect();
    gateways.sort_unstable();
    gateways.dedup();
    Ok(gateways)
}

/// Several where the kernel shares the traffic out (`RTA_MULTIPATH`).
fn default_gateways(route: &RouteMessage) -> Vec<IpAddr> {
    if route.header.destination_prefix_length != 0 {
        return Vec::new();
    }
    let hops = route
        .attributes
        .iter()
        .flat_map(|attribute| match attribute {
            RouteAttribute::MultiPath(hops) => {
                hops.iter().flat_map(|hop| &hop.attributes).collect()
            }
            attribute => vec![attribute],
        });
    hops.filter_map(gateway).collect()
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use rtnetlink::packet_route::route::RouteNextHop;

    use super::*;

    #[test]
    fn only_the_gateway_of_a_default_route_counts() {
        let gateway = RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, 1].into()));
        let mut route = RouteMessage::default();
        assert_eq!(default_gateways(&route), Vec::<IpAddr>::new());
        route.attributes.push(gateway);
        assert_eq!(default_gateways(&route), [IpAddr::from([10, 0, 0, 1])]);
        route.header.destination_prefix_length = 16;
        assert_eq!(default_gateways(&route), Vec::<IpAddr>::new());
    }

    #[test]
    fn each_next_hop_of_a_route_with_several_is_a_gateway_also_of_the_other_family() {
        let hop = |attribute| {
            let mut hop = RouteNextHop::default();
            hop.attributes.push(attribute);
            hop
        };
        let six: Ipv6Addr = "fe80::1".parse().unwrap();
        let mut route = RouteMessage::default();
        let hops = vec![
            hop(RouteAttribute::Gateway(RouteAddress::Inet(
                [10, 0, 0, 1].into(),
            ))),
            hop(RouteAttribute::Via(RouteVia::Inet6(six))),
        ];
        route.attributes.push(RouteAttribute::MultiPath(hops));
        let both = [IpAddr::from([10, 0, 0, 1]), six.into()];
        assert_eq!(default_gateways(&route), both);
    }
}
