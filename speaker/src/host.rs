//! At which of this node's addresses it is monitored.

use std::net::{IpAddr, UdpSocket};

/// Where to be monitored instead of at `host`, which is gone; `None` as long as it is not.
pub(crate) fn next_host(
    host: IpAddr,
    own: &[IpAddr],
    is_here: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    if own.contains(&host) || is_here(host) {
        return None;
    }
    let of_its_family = own.iter().find(|one| one.is_ipv4() == host.is_ipv4());
    of_its_family.or(own.first()).copied()
}

/// Only to an address of this network namespace a socket can be bound.
pub(crate) fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monitoring_port_leaves_an_address_only_once_that_is_gone() {
        let parse = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace()
                .map(|one| one.parse().unwrap())
                .collect()
        };
        // Where it is; this node's own addresses; all of this node; where it goes.
        for (host, own, here, expected) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", ""),
            ("10.0.0.1", "10.0.0.7", "10.0.0.7", "10.0.0.7"),
            (
                "10.0.0.1",
                "fd00::7 10.0.0.7",
                "10.0.0.7 fd00::7",
                "10.0.0.7",
            ),
            ("10.0.0.1", "fd00::7", "fd00::7", "fd00::7"),
            // It is still on a link, or another one was meant.
            ("10.0.0.1", "10.0.0.7", "10.0.0.1 10.0.0.7", ""),
            ("10.9.0.1", "10.0.0.7", "10.9.0.1 10.0.0.7", ""),
            ("127.0.0.1", "10.0.0.7", "127.0.0.1 10.0.0.7", ""),
            ("10.0.0.1", "", "", ""),
        ] {
            let here = parse(here);
            let next = next_host(parse(host)[0], &parse(own), |one| here.contains(&one));
            assert_eq!(next, parse(expected).first().copied(), "{host} {own:?}");
        }
    }
}
