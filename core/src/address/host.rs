//! Which addresses a host can have. What can be given to a Service, what it may keep and what a
//! configuration may name is one question, and this is its one answer.
//!
//! Link-local addresses and those of 0.0.0.0/8 are possible: Linux takes them, kube-proxy and the API
//! server too. They are seldom meant, so a configuration that names them is told ([`unusual_in`]).
//! 240.0.0.0/4 is reserved, and networks that run out of addresses do use it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AddressRange, predecessor, successor};

/// Addresses with something in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Which ones.
    pub range: AddressRange,
    /// What they are, in the plural, and by which document.
    pub what: &'static str,
}

const fn v4(first: [u8; 4], last: [u8; 4], what: &'static str) -> Block {
    let [a, b, c, d] = first;
    let [e, f, g, h] = last;
    let range = AddressRange {
        first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        last: IpAddr::V4(Ipv4Addr::new(e, f, g, h)),
    };
    Block { range, what }
}

const fn v6(first: u128, last: u128, what: &'static str) -> Block {
    let range = AddressRange {
        first: IpAddr::V6(Ipv6Addr::from_bits(first)),
        last: IpAddr::V6(Ipv6Addr::from_bits(last)),
    };
    Block { range, what }
}

/// Ascending within each family, and disjoint.
const IMPOSSIBLE: [Block; 8] = [
    v4(
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        "the unspecified address (RFC 1122)",
    ),
    v4(
        [127, 0, 0, 0],
        [127, 255, 255, 255],
        "loopback addresses (RFC 1122)",
    ),
    v4(
        [224, 0, 0, 0],
        [239, 255, 255, 255],
        "multicast addresses (RFC 5771)",
    ),
    v4(
        [255, 255, 255, 255],
        [255, 255, 255, 255],
        "the broadcast address (RFC 919)",
    ),
    v6(0, 0, "the unspecified address (RFC 4291)"),
    v6(1, 1, "the loopback address (RFC 4291)"),
    // Written into a status they are read back as IPv4: no Service would ever have one.
    v6(
        0xffff_0000_0000,
        0xffff_ffff_ffff,
        "IPv4 addresses in the form of IPv6 (RFC 4291)",
    ),
    v6(0xff << 120, u128::MAX, "multicast addresses (RFC 4291)"),
];

const UNUSUAL: [Block; 3] = [
    v4(
        [0, 0, 0, 1],
        [0, 255, 255, 255],
        "addresses of `this network` (RFC 1122), which many hosts and routers do not take",
    ),
    v4(
        [169, 254, 0, 0],
        [169, 254, 255, 255],
        "link-local addresses (RFC 3927), which no router forwards and which hosts give themselves",
    ),
    v6(
        0xfe80 << 112,
        (0xfec0 << 112) - 1,
        "link-local addresses (RFC 4291), which no router forwards and which clients reach only with a \
         zone, as in `fe80::1%eth0`",
    ),
];

/// Whether a host can have the address, so that a Service can be given it, and may keep it.
#[must_use]
pub fn can_be_a_hosts(address: IpAddr) -> bool {
    why_no_host(address).is_none()
}

/// What the address is that no host can have; `None` if one can.
#[must_use]
pub fn why_no_host(address: IpAddr) -> Option<&'static str> {
    let mut blocks = IMPOSSIBLE.iter();
    let block = blocks.find(|block| block.range.contains(address))?;
    Some(block.what)
}

/// The parts of `range` that no host can have, ascending.
pub fn impossible_in(range: AddressRange) -> impl Iterator<Item = Block> {
    parts_in(range, &IMPOSSIBLE)
}

/// The parts of `range` that are possible and probably not meant, ascending.
pub fn unusual_in(range: AddressRange) -> impl Iterator<Item = Block> {
    parts_in(range, &UNUSUAL)
}

fn parts_in(range: AddressRange, blocks: &'static [Block]) -> impl Iterator<Item = Block> {
    blocks.iter().filter_map(move |block| {
        Some(Block {
            range: range.shared_with(&block.range)?,
            what: block.what,
        })
    })
}

/// What is left of `range` without the addresses that no host can have, ascending; at most as many
/// parts as there are kinds of those, and one.
#[must_use]
pub fn possible_in(range: AddressRange) -> Vec<AddressRange> {
    let mut parts = Vec::new();
    let mut rest = Some(range.first);
    for Block { range: gap, .. } in impossible_in(range) {
        let below = rest.zip(predecessor(gap.first));
        parts.extend(below.and_then(|(first, last)| AddressRange::new(first, last)));
        rest = successor(gap.last);
    }
    parts.extend(rest.and_then(|first| AddressRange::new(first, range.last)));
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    }

    fn possible(first: &str, last: &str) -> Vec<String> {
        let parts = possible_in(range(first, last));
        parts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_host_can_have_what_is_neither_unspecified_loopback_multicast_nor_broadcast() {
        let impossible = [
            "0.0.0.0",
            "127.0.0.0",
            "127.255.255.255",
            "224.0.0.0",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:0:0",
            "::ffff:255.255.255.255",
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        let possible = [
            "0.0.0.1",
            "1.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.254.1.1",
            "223.255.255.255",
            "240.0.0.0",
            "255.255.255.254",
            "::2",
            "::fffe:ffff:ffff",
            "::1:0:0:0",
            "fe80::1",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        for (addresses, want) in [(&impossible[..], false), (&possible[..], true)] {
            for address in addresses {
                assert_eq!(can_be_a_hosts(address.parse().unwrap()), want, "{address}");
            }
        }
    }

    #[test]
    fn a_range_without_what_no_host_can_have_is_what_is_left_around_it() {
        assert_eq!(possible("127.0.0.2", "127.0.0.10"), [""; 0]);
        assert_eq!(
            possible("10.0.0.0", "10.255.255.255"),
            ["10.0.0.0-10.255.255.255"]
        );
        assert_eq!(
            possible("223.255.255.0", "224.0.0.5"),
            ["223.255.255.0-223.255.255.255"]
        );
        assert_eq!(
            possible("0.0.0.0", "255.255.255.255"),
            [
                "0.0.0.1-126.255.255.255",
                "128.0.0.0-223.255.255.255",
                "240.0.0.0-255.255.255.254"
            ]
        );
        assert_eq!(
            possible("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            [
                "::2-::fffe:ffff:ffff",
                "::1:0:0:0-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
            ]
        );
    }

    /// Ends near those of the blocks, where mistakes are made.
    fn edge() -> impl Strategy<Value = IpAddr> {
        let ends: Vec<_> = IMPOSSIBLE
            .iter()
            .chain(&UNUSUAL)
            .flat_map(|block| [block.range.first, block.range.last])
            .flat_map(|end| [Some(end), successor(end), predecessor(end)])
            .flatten()
            .collect();
        prop_oneof![
            4 => prop::sample::select(ends),
            1 => any::<u32>().prop_map(|n| IpAddr::V4(n.into())),
            1 => any::<u128>().prop_map(|n| IpAddr::V6(n.into())),
        ]
    }

    proptest! {
        /// No part holds an impossible address, and nothing possible is lost.
        #[test]
        fn parts_and_gaps_are_the_whole_range(first in edge(), last in edge(), probe in edge()) {
            let Some(range) = AddressRange::new(first, last) else {
                return Ok(());
            };
            let parts = possible_in(range);
            let gaps = impossible_in(range);
            let sizes = parts.iter().copied().chain(gaps.map(|gap| gap.range)).map(|one| one.size());
            prop_assert_eq!(sizes.fold(0, u128::saturating_add), range.size());
            let kept = parts.iter().any(|part| part.contains(probe));
            prop_assert_eq!(kept, range.contains(probe) && can_be_a_hosts(probe));
        }
    }
}
