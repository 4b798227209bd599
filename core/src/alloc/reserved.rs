//! Addresses that the cluster itself has: its nodes', its API server's, those of its Services and pods.
//!
//! They are given to who asks for one by name, and out of a pool that has no others: whoever wrote that
//! means them. Those of Services and pods are ranges of millions of addresses, so none is looked at alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::address::{AddressRange, Family, joined};
use crate::config::Pool;

/// What the cluster uses beside its nodes' addresses, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterNetwork {
    /// Where the API server is reached: the endpoints of the Service `default/kubernetes`.
    pub api_server: BTreeSet<IpAddr>,
    /// The ranges of cluster IPs (kind `ServiceCIDR`).
    pub service_ranges: BTreeSet<AddressRange>,
    /// The ranges of the nodes' pods (`spec.podCIDRs`).
    pub pod_ranges: BTreeSet<AddressRange>,
}

impl ClusterNetwork {
    /// What the address is to the cluster, as the end of a sentence: `, which …`.
    pub(super) fn which(&self, address: IpAddr) -> Option<String> {
        let among = |ranges: &BTreeSet<AddressRange>| {
            let mut ranges = ranges.iter();
            ranges.find(|range| range.contains(address)).copied()
        };
        if self.api_server.contains(&address) {
            return Some(
                "which is the API server's (an endpoint of Service default/kubernetes)".to_owned(),
            );
        }
        let services = among(&self.service_ranges)
            .map(|range| format!("which lies among the cluster IPs of Services ({range})"));
        services.or_else(|| {
            among(&self.pod_ranges)
                .map(|range| format!("which lies among the addresses of pods ({range})"))
        })
    }
}

/// All of them, as disjoint ranges with room between them, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reserved {
    ranges: Vec<AddressRange>,
}

impl Reserved {
    pub(super) fn of(nodes: impl Iterator<Item = IpAddr>, network: &ClusterNetwork) -> Self {
        let single = |address: IpAddr| AddressRange::new(address, address);
        let api_server = network.api_server.iter().copied();
        let all = nodes
            .chain(api_server)
            .filter_map(single)
            .chain(network.service_ranges.iter().copied())
            .chain(network.pod_ranges.iter().copied());
        Self {
            ranges: joined(all),
        }
    }

    /// The last one of the stretch of them that `address` lies in.
    pub(super) fn end_of(&self, address: IpAddr) -> Option<IpAddr> {
        let after = self.ranges.partition_point(|one| one.first() <= address);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        range.contains(address).then_some(range.last())
    }

    /// How many addresses of that family that the pool gives out are among them.
    pub(super) fn count_in(&self, pool: &Pool, family: Family) -> u128 {
        let ranges = pool.ranges.iter().filter(|range| range.family() == family);
        let parts = ranges.flat_map(|range| {
            let begin = self
                .ranges
                .partition_point(|one| one.last() < range.first());
            let after = self.ranges[begin..].iter();
            after
                .take_while(|one| one.first() <= range.last())
                .filter_map(|one| one.shared_with(range))
        });
        let counts = parts.map(|part| pool.capacity_in(&part));
        counts.fold(0, u128::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::pool;
    use super::*;
    use crate::address::to_number;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    fn range() -> impl Strategy<Value = AddressRange> {
        (0_u8..60, 0_u8..6).prop_map(|(first, more)| {
            AddressRange::new(address(first), address(first + more)).unwrap()
        })
    }

    proptest! {
        /// As by looking at each address.
        #[test]
        fn stretches_and_counts_are_those_of_a_plain_set(
            nodes in prop::collection::btree_set(0_u8..64, 0..6),
            services in prop::collection::btree_set(range(), 0..4),
            pods in prop::collection::btree_set(range(), 0..4),
            first in 0_u8..60,
            more in 0_u8..30,
        ) {
            let network = ClusterNetwork {
                service_ranges: services,
                pod_ranges: pods,
                ..ClusterNetwork::default()
            };
            let reserved = Reserved::of(nodes.iter().map(|node| address(*node)), &network);
            let is_one = |number: u8| {
                let ranges = network.service_ranges.iter().chain(&network.pod_ranges);
                nodes.contains(&number) || ranges.into_iter().any(|one| one.contains(address(number)))
            };
            for number in 0..90_u8 {
                let last = (number..=91).take_while(|one| is_one(*one)).last();
                prop_assert_eq!(reserved.end_of(address(number)), last.map(address));
            }
            let last = first + more;
            let text = [address(first).to_string(), address(last).to_string()];
            let pool = pool("p", &[(&text[0], &text[1])]);
            let count = (first..=last).filter(|one| is_one(*one)).count();
            prop_assert_eq!(reserved.count_in(&pool, Family::V4), count as u128);
        }
    }

    #[test]
    fn a_range_of_ipv6_is_skipped_in_one_step_and_families_do_not_run_into_each_other() {
        let whole = |first: &str, last: &str| {
            AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
        };
        let network = ClusterNetwork {
            service_ranges: [
                whole("fd96::", "fd96::ffff:ffff:ffff:ffff"),
                whole("255.255.255.0", "255.255.255.255"),
            ]
            .into(),
            pod_ranges: [whole("::", "::ff")].into(),
            ..ClusterNetwork::default()
        };
        let reserved = Reserved::of(std::iter::empty(), &network);
        let end = reserved.end_of("fd96::1".parse().unwrap()).unwrap();
        assert_eq!(to_number(end) & u128::from(u64::MAX), u128::from(u64::MAX));
        assert_eq!(
            reserved.end_of("255.255.255.9".parse().unwrap()),
            Some("255.255.255.255".parse().unwrap())
        );
        assert_eq!(
            reserved.end_of("::1".parse().unwrap()),
            Some("::ff".parse().unwrap())
        );
    }
}
