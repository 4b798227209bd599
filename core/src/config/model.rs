//! What a valid configuration says. Parsing makes these values; nothing else checks them again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BgpAdvertisement, Layer2Advertisement, Peer, Scope};
use crate::address::{AddressRange, Family, to_number};
use crate::labels::{LabelNames, Labels, NamedLabels};

/// A whole configuration, already checked: pool names are unique and no two ranges overlap. A `ConfigMap`
/// and `MetalLB`'s objects are two ways to write it. Objects stand in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The addresses of `address-pools`, in the order of the file; `IPAddressPool` objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// How they are announced by ARP and neighbour discovery: one for each pool of protocol `layer2`;
    /// `L2Advertisement` objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layer2: Vec<Layer2Advertisement>,
    /// How they are announced to BGP routers: those of each pool of protocol `bgp`; `BGPAdvertisement`
    /// objects. Checked and kept; no BGP speaker exists yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bgp: Vec<BgpAdvertisement>,
    /// BGP routers: `peers`; `BGPPeer` objects. Checked and kept; no BGP speaker exists yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
    /// `bfd-profiles`; `BFDProfile` objects. Checked and kept; no BGP speaker exists yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bfd_profiles: Vec<BfdProfile>,
}

impl Config {
    /// Without anything.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pools: Vec::new(),
            layer2: Vec::new(),
            bgp: Vec::new(),
            peers: Vec::new(),
            bfd_profiles: Vec::new(),
        }
    }

    /// The pool of that name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The pool that holds `address`; at most one does.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.contains(address))
    }

    /// The labels of pools that advertisements select them by.
    pub(super) fn pool_label_names(&self) -> LabelNames {
        let layer2 = self.layer2.iter().map(|one| &one.scope);
        let scopes = layer2.chain(self.bgp.iter().map(|one| &one.scope));
        let selectors = scopes.flat_map(|scope| &scope.pool_selectors);
        selectors.flat_map(LabelSelector::names).collect()
    }

    /// The labels that decide which pool serves a Service, and whether anything announces its address: what
    /// the controller reads.
    #[must_use]
    pub fn labels_for_giving(&self) -> NamedLabels {
        let of_pools = self.pools.iter().flat_map(|pool| &pool.service_selectors);
        let namespaces = self.pools.iter().flat_map(|pool| &pool.namespace_selectors);
        NamedLabels {
            services: names_in(
                of_pools.chain(self.scopes().flat_map(|one| &one.service_selectors)),
            ),
            namespaces: names_in(namespaces),
            nodes: LabelNames::new(),
        }
    }

    /// The labels that decide who announces an address: what a speaker reads.
    #[must_use]
    pub fn labels_for_announcing(&self) -> NamedLabels {
        let of_scopes = self.scopes().flat_map(|one| &one.node_selectors);
        let preferred = self.layer2.iter().flat_map(|one| &one.preferred_nodes);
        NamedLabels {
            services: names_in(self.scopes().flat_map(|one| &one.service_selectors)),
            namespaces: LabelNames::new(),
            nodes: names_in(of_scopes.chain(preferred.map(|one| &one.selector))),
        }
    }

    /// What its advertisements are about.
    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        let layer2 = self.layer2.iter().map(|one| &one.scope);
        layer2.chain(self.bgp.iter().map(|one| &one.scope))
    }
}

fn names_in<'a>(selectors: impl Iterator<Item = &'a LabelSelector>) -> LabelNames {
    selectors.flat_map(LabelSelector::names).collect()
}

/// Addresses that are given to Services, and to which: one entry of `address-pools`, or one
/// `IPAddressPool`. How they are announced is said by the advertisements that select it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// `name`; `metadata.name`
    pub name: String,
    /// `metadata.labels`, as far as advertisements select pools by them. A `ConfigMap` gives pools none.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// `addresses`, in the order of the file: the order of allocation. Without those that no host can
    /// have, and without [`Self::exclude`]; nothing is left of a pool that had no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<AddressRange>,
    /// `exclude` (ours): what is left out of [`Self::ranges`], as it is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<AddressRange>,
    /// `auto-assign`: whether services that do not name the pool get addresses from it.
    pub auto_assign: bool,
    /// `avoid-buggy-ips`: never give out IPv4 addresses that end in .0 or .255.
    pub avoid_buggy_ips: bool,
    /// Pools that are meant for somebody go before all others: those with a `serviceAllocation`; in a
    /// `ConfigMap` those with a `priority`.
    pub pinned: bool,
    /// `priority` (ours), `serviceAllocation.priority`: lower is tried first; `None` comes last, then in
    /// the order of [`Config::pools`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// `namespaces` (ours): only services in these; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// `namespace-selectors` (ours), OR-ed; empty means any namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// `service-selectors` (ours), OR-ed; empty means any service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,
    /// `share-within` (ours): whose Services may come to share an address.
    pub share_within: ShareWithin,
    /// `sharing` (ours): Services come to share its addresses without a key, where their ports allow it;
    /// default false.
    pub sharing: bool,
    /// `allow-node-ports` (ours): whether a Service's annotation may take a port that a node needs from
    /// it, on the node's own address; default true.
    pub allow_node_ports: bool,
}

/// `share-within`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShareWithin {
    /// `cluster`, the default: whoever has the same sharing key.
    #[default]
    Cluster,
    /// `namespace`: of these only Services of one namespace.
    Namespace,
}

/// Who may come to share an address of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sharing {
    /// Also Services without a sharing key.
    pub without_key: bool,
    /// Of which namespaces.
    pub within: ShareWithin,
}

impl Pool {
    /// Who may come to share its addresses.
    #[must_use]
    pub const fn shares(&self) -> Sharing {
        Sharing {
            without_key: self.sharing,
            within: self.share_within,
        }
    }

    /// Whether `address` is one of the pool's and may be given out (`avoid-buggy-ips`).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address)) && !self.avoids(address)
    }

    /// Whether `avoid-buggy-ips` keeps `address` from being given out.
    #[must_use]
    pub fn avoids(&self, address: IpAddr) -> bool {
        self.avoid_buggy_ips
            && matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
    }

    /// How many addresses it may give out, saturated at `u128::MAX`.
    #[must_use]
    pub fn capacity(&self) -> u128 {
        self.capacity_of(Family::V4)
            .saturating_add(self.capacity_of(Family::V6))
    }

    /// How many addresses of that family it may give out, saturated at `u128::MAX`.
    #[must_use]
    pub fn capacity_of(&self, family: Family) -> u128 {
        let ranges = self.ranges.iter().filter(|range| range.family() == family);
        let usable = ranges.map(|range| self.capacity_in(range));
        usable.fold(0, u128::saturating_add)
    }

    /// How many addresses of `part`, which lies in one of its ranges, it may give out.
    #[must_use]
    pub fn capacity_in(&self, part: &AddressRange) -> u128 {
        match part.family() {
            Family::V4 if self.avoid_buggy_ips => part.size() - buggy(part),
            _ => part.size(),
        }
    }

    /// Whether it has any address of that family.
    #[must_use]
    pub fn has_family(&self, family: Family) -> bool {
        self.ranges.iter().any(|range| range.family() == family)
    }
}

/// How many addresses of an IPv4 range end in .0 or .255.
fn buggy(range: &AddressRange) -> u128 {
    let (first, last) = (to_number(range.first()), to_number(range.last()));
    let zeros = last / 256 + 1 - first.div_ceil(256);
    let ones = (last + 1) / 256 - first / 256;
    zeros + ones
}

/// One entry of `bfd-profiles`, or one `BFDProfile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BfdProfile {
    /// `name`
    pub name: String,
    /// `receive-interval`, 10 to 60,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_interval: Option<Duration>,
    /// `transmit-interval`, 10 to 60,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_interval: Option<Duration>,
    /// `echo-interval`, 10 to 60,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_interval: Option<Duration>,
    /// `detect-multiplier`, 2 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_multiplier: Option<u8>,
    /// `minimum-ttl`, 1 to 254.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_ttl: Option<u8>,
    /// `echo-mode`
    pub echo_mode: bool,
    /// `passive-mode`
    pub passive_mode: bool,
}

/// Labels that an object must have: all of `match_labels` and all of `match_expressions`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// `match-labels`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// `match-expressions`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelExpression>,
}

/// One entry of `match-expressions`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelExpression {
    /// `key`
    pub key: String,
    /// `operator` with its `values`
    pub operator: LabelOperator,
}

/// `operator` of a label expression, with the semantics of `metav1.LabelSelector`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LabelOperator {
    /// `In`: present, with one of these values.
    In(Vec<String>),
    /// `NotIn`: absent, or present with none of these values.
    NotIn(Vec<String>),
    /// `Exists`
    Exists,
    /// `DoesNotExist`
    DoesNotExist,
}

impl LabelSelector {
    /// The labels that it reads.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let expressions = self.match_expressions.iter().map(|one| &one.key);
        self.match_labels.keys().chain(expressions).cloned()
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value.as_str()))
            && self
                .match_expressions
                .iter()
                .all(|expression| expression.matches(labels))
    }
}

impl LabelExpression {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let is_among = |values: &[String], value| values.iter().any(|one| one == value);
        match &self.operator {
            LabelOperator::In(values) => value.is_some_and(|value| is_among(values, value)),
            LabelOperator::NotIn(values) => value.is_none_or(|value| !is_among(values, value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}
