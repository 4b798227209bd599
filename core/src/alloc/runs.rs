//! Which addresses are taken, as maximal runs: finding the lowest free one costs O(log n), in a
//! full pool too.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::{AddressRange, successor, to_number};

/// A set of addresses, stored as first → last of every maximal run of neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Runs {
    runs: BTreeMap<IpAddr, IpAddr>,
}

impl Runs {
    /// The run that holds `address`.
    fn run_of(&self, address: IpAddr) -> Option<(IpAddr, IpAddr)> {
        let (first, last) = self.runs.range(..=address).next_back()?;
        // IPv4 sorts before IPv6, so the ends alone tell the family too.
        (address <= *last).then_some((*first, *last))
    }

    /// Adds `address`; nothing happens if it is there already.
    pub(super) fn insert(&mut self, address: IpAddr) {
        if self.run_of(address).is_some() {
            return;
        }
        let before = self
            .runs
            .range(..address)
            .next_back()
            .map(|(first, last)| (*first, *last));
        let first = match before {
            Some((first, last)) if successor(last) == Some(address) => first,
            _ => address,
        };
        let after = successor(address).and_then(|next| self.runs.remove(&next));
        self.runs.insert(first, after.unwrap_or(address));
    }

    /// Removes `address`; nothing happens if it is not there.
    pub(super) fn remove(&mut self, address: IpAddr) {
        let Some((first, last)) = self.run_of(address) else {
            return;
        };
        self.runs.remove(&first);
        if let Some(before) = predecessor(address).filter(|_| first < address) {
            self.runs.insert(first, before);
        }
        if let Some(after) = successor(address).filter(|_| address < last) {
            self.runs.insert(after, last);
        }
    }

    /// The lowest address of `range` that is not in the set and that `skips` does not rule out. It says
    /// up to which address: whole ranges are passed in one step.
    pub(super) fn lowest_free(
        &self,
        range: &AddressRange,
        skips: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let mut candidate = range.first();
        while range.contains(candidate) {
            candidate = match self.run_of(candidate) {
                Some((_, last)) => successor(last)?,
                None => match skips(candidate) {
                    Some(last) => successor(last)?,
                    None => return Some(candidate),
                },
            };
        }
        None
    }

    /// How many addresses of `range` are in the set.
    pub(super) fn count_in(&self, range: &AddressRange) -> u128 {
        let start = self
            .run_of(range.first())
            .map_or(range.first(), |(first, _)| first);
        self.runs
            .range(start..=range.last())
            .map(|(first, last)| (*first.max(&range.first()), *last.min(&range.last())))
            .map(|(first, last)| (to_number(last) - to_number(first)).saturating_add(1))
            .fold(0, u128::saturating_add)
    }
}

fn predecessor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|n| IpAddr::V6(n.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn address(last_octet: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last_octet).into()
    }

    fn range(first: IpAddr, last: IpAddr) -> AddressRange {
        AddressRange::new(first, last).expect("ascending")
    }

    #[test]
    fn the_ends_of_a_family_are_addresses_like_any_other() {
        let (low, high) = (
            "0.0.0.0".parse().unwrap(),
            "255.255.255.255".parse().unwrap(),
        );
        let mut runs = Runs::default();
        runs.insert(low);
        runs.insert(high);
        assert_eq!(runs.lowest_free(&range(high, high), |_| None), None);
        runs.remove(low);
        runs.remove(high);
        assert_eq!(runs, Runs::default());
    }

    #[test]
    fn the_last_ipv4_address_does_not_run_on_into_ipv6() {
        let mut runs = Runs::default();
        runs.insert("255.255.255.255".parse().unwrap());
        runs.insert("::".parse().unwrap());
        assert_eq!(runs.runs.len(), 2);
    }

    proptest! {
        /// The runs behave as a plain set does, and stay maximal.
        #[test]
        fn runs_are_a_set(operations in prop::collection::vec((any::<bool>(), 0_u8..24), 0..80)) {
            let mut runs = Runs::default();
            let mut model = BTreeSet::new();
            for (insert, octet) in operations {
                if insert {
                    runs.insert(address(octet));
                    model.insert(address(octet));
                } else {
                    runs.remove(address(octet));
                    model.remove(&address(octet));
                }
                let whole = range(address(2), address(20));
                let held = |address: &IpAddr| model.contains(address);
                let odd = |address: IpAddr| to_number(address) % 2 == 1;
                let free = (2..=20).map(address).find(|address| !held(address) && !odd(*address));
                let skips = |address| odd(address).then_some(address);
                prop_assert_eq!(runs.lowest_free(&whole, skips), free);
                let count = (2..=20).map(address).filter(held).count();
                prop_assert_eq!(runs.count_in(&whole), count as u128);
                for last in runs.runs.values() {
                    prop_assert!(!held(&successor(*last).expect("10.0.0.x has a successor")));
                }
            }
        }
    }
}
