//! Addresses of a subnet that no host can have.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Why no host of a subnet can have an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHost {
    /// The first of an IPv4 subnet.
    Network,
    /// The last of an IPv4 subnet.
    Broadcast,
    /// The first of an IPv6 subnet: every router answers for it, and so does the kernel of every node
    /// (RFC 4291 §2.6.1).
    Routers,
}

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "the network address",
            Self::Broadcast => "the broadcast address",
            Self::Routers => "the address of all routers (RFC 4291)",
        })
    }
}

/// Why no host can have `address` in `subnet`, if that is so. A subnet of two addresses has none of
/// those (RFC 3021, RFC 6164), and one of a single address neither.
#[must_use]
pub fn no_host(address: IpAddr, subnet: IpNetwork) -> Option<NoHost> {
    let last_of_many = if subnet.is_ipv4() { 30 } else { 126 };
    if subnet.prefix() > last_of_many {
        return None;
    }
    match subnet {
        _ if address == subnet.network() => Some(match address {
            IpAddr::V4(_) => NoHost::Network,
            IpAddr::V6(_) => NoHost::Routers,
        }),
        IpNetwork::V4(subnet) if address == subnet.broadcast() => Some(NoHost::Broadcast),
        _ => None,
    }
}

/// The subnet of a host whose address and prefix `subnet` are.
#[must_use]
pub fn of_host(subnet: IpNetwork) -> IpNetwork {
    IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_ipv4_address_and_the_first_ipv6_address_are_no_hosts() {
        use NoHost::{Broadcast, Network, Routers};
        let rows = [
            ("192.168.64.11/24", "192.168.64.0", Some(Network)),
            ("192.168.64.11/24", "192.168.64.255", Some(Broadcast)),
            ("192.168.64.11/24", "192.168.64.1", None),
            ("192.168.64.11/24", "192.168.65.0", None),
            ("192.168.64.11/24", "192.168.63.255", None),
            // What looks like one is none in a larger subnet, and the other way round.
            ("192.168.64.11/16", "192.168.64.0", None),
            ("192.168.64.11/16", "192.168.64.255", None),
            ("192.168.64.11/16", "192.168.255.255", Some(Broadcast)),
            ("192.168.64.11/28", "192.168.64.15", Some(Broadcast)),
            ("10.0.0.5/30", "10.0.0.4", Some(Network)),
            ("10.0.0.5/30", "10.0.0.7", Some(Broadcast)),
            ("10.0.0.4/31", "10.0.0.4", None),
            ("10.0.0.4/31", "10.0.0.5", None),
            ("10.0.0.4/32", "10.0.0.4", None),
            ("0.0.0.0/0", "255.255.255.255", Some(Broadcast)),
            ("fd00:64::11/64", "fd00:64::", Some(Routers)),
            ("fd00:64::11/64", "fd00:64::ffff:ffff:ffff:ffff", None),
            ("fd00:64::11/64", "fd00:64::1", None),
            ("fd00:64::11/120", "fd00:64::", Some(Routers)),
            ("fd00:64::/127", "fd00:64::", None),
            ("fd00:64::/128", "fd00:64::", None),
            ("fd00:64::11/64", "192.168.64.0", None),
            ("192.168.64.11/24", "fd00:64::", None),
        ];
        for (subnet, address, expected) in rows {
            let found = no_host(address.parse().unwrap(), subnet.parse().unwrap());
            assert_eq!(found, expected, "{address} in {subnet}");
        }
    }

    #[test]
    fn a_hosts_prefix_names_its_subnet() {
        for (prefix, subnet) in [
            ("192.168.64.11/24", "192.168.64.0/24"),
            ("fd00:64::11/64", "fd00:64::/64"),
        ] {
            assert_eq!(of_host(prefix.parse().unwrap()).to_string(), subnet);
        }
    }
}
