//! The addresses that a kubelet's probes come from, as a pod in a network of its own can know them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// That of the node, if somebody told it, and the pod's default gateways: with most network add-ons
/// the node has that address on its end of the pod's link, and speaks to the pod with it. In the
/// node's own network the gateway is a router of the LAN, and nobody's kubelet.
#[must_use]
pub fn probes_come_from(node: Option<IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = node.into_iter().collect();
    // Only an address of this network namespace can be bound to.
    let is_ours = |address| UdpSocket::bind((address, 0)).is_ok();
    if !node.is_some_and(is_ours) {
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        addresses.extend(gateways_v4(&read("/proc/net/route")).map(IpAddr::V4));
        addresses.extend(gateways_v6(&read("/proc/net/ipv6_route")).map(IpAddr::V6));
    }
    addresses
}

/// Columns: interface, destination, gateway, …; addresses as the kernel has them in memory.
fn gateways_v4(table: &str) -> impl Iterator<Item = Ipv4Addr> {
    table.lines().filter_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let mut address = || u32::from_str_radix(columns.next()?, 16).ok();
        let (destination, gateway) = (address()?, address()?);
        let is_default = destination == 0 && gateway != 0;
        is_default.then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

/// Columns: destination, its length, source, its length, next hop, …
fn gateways_v6(table: &str) -> impl Iterator<Item = Ipv6Addr> {
    table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (length, gateway) = (columns.get(1)?, columns.get(4)?);
        let gateway = u128::from_str_radix(gateway, 16).ok()?;
        let is_default = *length == "00" && gateway != 0;
        is_default.then(|| Ipv6Addr::from_bits(gateway))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_gateways_are_found_among_the_routes() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t01010AC0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t00010AC0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth1\t0000000A\t01010AC1\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n";
        let found: Vec<_> = gateways_v4(table).collect();
        assert_eq!(found, [Ipv4Addr::new(192, 10, 1, 1)]);
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fd000010024400010000000000000001 00000400 00000001 00000000 00000003 eth0\n\
             fd000010024400010000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        let found: Vec<_> = gateways_v6(&table).collect();
        assert_eq!(found, ["fd00:10:244:1::1".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn in_the_nodes_own_network_the_router_is_nobodys_kubelet() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(probes_come_from(Some(here)), [here]);
    }
}
