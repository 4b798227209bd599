//! The default gateways, as rtnetlink tells them: who else on the LAN is there for sure.

use std::convert::Infallible;
use std::net::IpAddr;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};

use crate::links::AbortOnDrop;

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
    let questions = [
        RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
        RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
    ];
    let mut gateways = Vec::new();
    for question in questions {
        let routes: Vec<_> = handle
            .route()
            .get(question)
            .execute()
            .try_collect()
            .await
            .context("cannot list routes")?;
        gateways.extend(routes.iter().filter_map(default_gateway));
    }
    gateways.sort_unstable();
    gateways.dedup();
    Ok(gateways)
}

fn default_gateway(route: &RouteMessage) -> Option<IpAddr> {
    let is_default = route.header.destination_prefix_length == 0;
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
            _ => None,
        })
        .filter(|_| is_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateway_of_a_default_route_counts() {
        let gateway = RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, 1].into()));
        let mut route = RouteMessage::default();
        assert_eq!(default_gateway(&route), None);
        route.attributes.push(gateway);
        assert_eq!(default_gateway(&route), Some([10, 0, 0, 1].into()));
        route.header.destination_prefix_length = 16;
        assert_eq!(default_gateway(&route), None);
    }
}
