//! Prefixes without their first and last address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The range of a prefix without both ends, as other programs leave them out: all of a prefix of one or
/// two addresses. `None` if it is no prefix.
pub(super) fn without_ends(prefix: &str) -> Option<String> {
    let (address, length) = prefix.split_once('/')?;
    let (address, length) = (address.trim().parse().ok()?, length.trim().parse().ok()?);
    let (number, bits, make): (u128, u32, fn(u128) -> IpAddr) = match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32, |number| {
            // The number of an IPv4 address fits.
            Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into()
        }),
        IpAddr::V6(v6) => (u128::from(v6), 128, |number| Ipv6Addr::from(number).into()),
    };
    let host_bits = bits.checked_sub(length)?;
    if host_bits < 2 {
        return Some(prefix.to_owned());
    }
    let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
    let first = number & !hosts;
    Some(format!("{}-{}", make(first + 1), make((first | hosts) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_left_out_but_for_prefixes_of_one_or_two_addresses() {
        for (prefix, range) in [
            ("192.168.64.0/28", Some("192.168.64.1-192.168.64.14")),
            ("192.168.64.7/28", Some("192.168.64.1-192.168.64.14")),
            ("192.168.64.0/30", Some("192.168.64.1-192.168.64.2")),
            ("192.168.64.0/31", Some("192.168.64.0/31")),
            ("192.168.64.1/32", Some("192.168.64.1/32")),
            ("0.0.0.0/0", Some("0.0.0.1-255.255.255.254")),
            ("fd00::/126", Some("fd00::1-fd00::2")),
            ("fd00::/127", Some("fd00::/127")),
            ("192.168.64.0/33", None),
            ("192.168.64.0", None),
        ] {
            assert_eq!(without_ends(prefix).as_deref(), range, "{prefix}");
        }
    }
}
