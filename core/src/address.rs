//! IP addresses as users write them, and ranges of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod host;

/// An address family (`spec.ipFamilies` of a Service).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `IPv4`
    V4,
    /// `IPv6`
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Reads an address leniently, as statuses and `spec.loadBalancerIP` may hold it: blanks around it
/// are dropped, IPv4-mapped IPv6 becomes IPv4, leading zeros in IPv4 are decimal
/// (`192.168.064.1` is 192.168.64.1, as the API server reads it). `None` if it is no address.
#[must_use]
pub fn canonical(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let parsed = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| ipv4_with_leading_zeros(text))?;
    Some(parsed.to_canonical())
}

fn ipv4_with_leading_zeros(text: &str) -> Option<IpAddr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts
        .next()
        .is_none()
        .then(|| Ipv4Addr::from(octets).into())
}

/// A contiguous range of addresses of one family, both ends included. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// `None` if the ends are of different families or `first` is above `last`.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(Self { first, last })
    }

    /// All addresses of a prefix such as `10.96.0.0/12`; host bits are of no account. `None` if it is none.
    #[must_use]
    pub fn of_prefix(text: &str) -> Option<Self> {
        let network: IpNetwork = text.trim().parse().ok()?;
        Self::new(network.network(), network.broadcast())
    }

    /// The lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of every address in it.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Number of addresses, saturated at `u128::MAX` (only `::/0` has more).
    #[must_use]
    pub fn size(&self) -> u128 {
        (to_number(self.last) - to_number(self.first)).saturating_add(1)
    }

    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first <= address && address <= self.last
    }

    /// Whether any address lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The addresses that lie in both; `None` if there are none.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (self.family() == other.family())
            .then(|| Self::new(first, last))
            .flatten()
    }
}

/// `first-last`, or the bare address if there is just one.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// As it is displayed.
impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let ends = first.parse().ok().zip(last.parse().ok());
        let range = ends.and_then(|(first, last)| Self::new(first, last));
        range.ok_or_else(|| serde::de::Error::custom("no range of addresses"))
    }
}

/// The same addresses as disjoint ranges with room between them, ascending.
pub(crate) fn joined(ranges: impl Iterator<Item = AddressRange>) -> Vec<AddressRange> {
    let mut all: Vec<_> = ranges.collect();
    all.sort_unstable();
    let mut ranges: Vec<AddressRange> = Vec::new();
    for range in all {
        let joined = ranges.last().and_then(|last| {
            let adjoins =
                range.first() <= last.last() || successor(last.last()) == Some(range.first());
            // None across families.
            adjoins
                .then(|| AddressRange::new(last.first(), last.last().max(range.last())))
                .flatten()
        });
        match (joined, ranges.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => ranges.push(range),
        }
    }
    ranges.shrink_to_fit();
    ranges
}

/// The address as a number within its family.
#[must_use]
pub fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address after `address`; `None` after the last one of its family.
#[must_use]
pub fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4)
            .checked_add(1)
            .map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(v6) => u128::from(v6)
            .checked_add(1)
            .map(|n| Ipv6Addr::from(n).into()),
    }
}

/// The address before `address`; `None` before the first one of its family.
#[must_use]
pub fn predecessor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4)
            .checked_sub(1)
            .map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(v6) => u128::from(v6)
            .checked_sub(1)
            .map(|n| Ipv6Addr::from(n).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> Option<AddressRange> {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn statuses_are_read_leniently_and_made_canonical() {
        let rows = [
            ("192.168.64.1", Some("192.168.64.1")),
            (" 192.168.64.1\n", Some("192.168.64.1")),
            ("192.168.064.1", Some("192.168.64.1")),
            ("::ffff:1.2.3.4", Some("1.2.3.4")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("192.168.64", None),
            ("192.168.64.1.2", None),
            ("192.168.64.256", None),
            ("0192.168.64.1", None),
            ("+1.2.3.4", None),
            ("web.example", None),
            ("", None),
        ];
        for (text, want) in rows {
            assert_eq!(
                canonical(text),
                want.map(|want| want.parse().unwrap()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_range_has_one_family_and_ascends() {
        assert!(range("10.0.0.1", "10.0.0.9").is_some());
        assert!(range("10.0.0.9", "10.0.0.1").is_none());
        assert!(range("10.0.0.1", "fd00::1").is_none());
    }

    #[test]
    fn size_counts_both_ends_and_saturates_only_for_all_of_ipv6() {
        assert_eq!(range("10.0.0.1", "10.0.0.1").unwrap().size(), 1);
        assert_eq!(range("0.0.0.0", "255.255.255.255").unwrap().size(), 1 << 32);
        let all = range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").unwrap();
        assert_eq!(all.size(), u128::MAX);
    }

    #[test]
    fn an_ipv4_address_is_in_no_ipv6_range() {
        let all = range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").unwrap();
        assert!(!all.contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn neighbours_do_not_overlap_but_a_shared_end_does() {
        let low = range("10.0.0.1", "10.0.0.5").unwrap();
        assert!(!low.overlaps(&range("10.0.0.6", "10.0.0.9").unwrap()));
        assert!(low.overlaps(&range("10.0.0.5", "10.0.0.9").unwrap()));
    }

    #[test]
    fn the_last_address_of_a_family_has_no_successor() {
        assert_eq!(
            successor("10.0.0.255".parse().unwrap()),
            Some("10.0.1.0".parse().unwrap())
        );
        assert_eq!(successor("255.255.255.255".parse().unwrap()), None);
    }

    #[test]
    fn the_first_address_of_a_family_has_no_predecessor() {
        assert_eq!(
            predecessor("10.0.1.0".parse().unwrap()),
            Some("10.0.0.255".parse().unwrap())
        );
        assert_eq!(predecessor("::".parse().unwrap()), None);
    }
}
