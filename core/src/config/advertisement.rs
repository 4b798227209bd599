//! How and where the addresses of pools are announced. Addresses and announcing are apart: a pool may
//! have several advertisements, or none.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Config, LabelSelector, Pool};
use crate::view::{NodeView, ServiceView};

/// What an advertisement is about, and who announces it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// `ipAddressPools`: it covers the addresses of the pools of these names. Not each has to exist.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub pools: BTreeSet<String>,
    /// `ipAddressPoolSelectors`: and those of pools with such labels, OR-ed. If it neither names nor
    /// selects pools it covers all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pool_selectors: Vec<LabelSelector>,
    /// `serviceSelectors`: of the Services with such an address only these, OR-ed; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,
    /// `nodeSelectors`: the nodes that may announce, OR-ed; empty means any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,
}

impl Scope {
    /// Whether it covers an address of `pool` that `service` has.
    #[must_use]
    pub fn covers(&self, pool: &Pool, service: &ServiceView) -> bool {
        self.selects_service(service) && self.covers_pool(pool)
    }

    /// Whether it is about some Services alone.
    #[must_use]
    pub const fn chooses_services(&self) -> bool {
        !self.service_selectors.is_empty()
    }

    /// Whether it is about `service`, if that has an address of a pool that it covers.
    #[must_use]
    pub fn selects_service(&self, service: &ServiceView) -> bool {
        let mut selectors = self.service_selectors.iter();
        self.service_selectors.is_empty()
            || selectors.any(|selector| selector.matches(&service.labels))
    }

    /// Whether it covers addresses of `pool`, be it of some Services alone.
    #[must_use]
    pub fn covers_pool(&self, pool: &Pool) -> bool {
        let mut selectors = self.pool_selectors.iter();
        self.covers_all_pools()
            || self.pools.contains(&pool.name)
            || selectors.any(|selector| selector.matches(&pool.labels))
    }

    /// Whether it covers all pools, since it neither names nor selects any.
    #[must_use]
    pub fn covers_all_pools(&self) -> bool {
        self.pools.is_empty() && self.pool_selectors.is_empty()
    }

    /// Whether `node` may announce what it covers.
    #[must_use]
    pub fn selects(&self, node: &NodeView) -> bool {
        let mut selectors = self.node_selectors.iter();
        self.node_selectors.is_empty() || selectors.any(|selector| selector.matches(&node.labels))
    }
}

/// By ARP and neighbour discovery, by one node at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Layer2Advertisement {
    /// `metadata.name`; of an entry of a `ConfigMap`, its pool's.
    pub name: String,
    /// Of what, and by which nodes.
    pub scope: Scope,
    /// Names of the links to announce on; empty means all that fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// `preferredNodeSelectors`; `preferred-nodes` (ours): the nodes that are preferred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferred_nodes: Vec<PreferredNodes>,
}

/// Nodes of which one rather announces than another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreferredNodes {
    /// 1 to 100: those of all entries that select a node are added up.
    pub weight: u8,
    /// The nodes.
    pub selector: LabelSelector,
}

/// By BGP, by each node that may. No BGP speaker exists yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpAdvertisement {
    /// `metadata.name`; of an entry of a `ConfigMap`, its pool's.
    pub name: String,
    /// Of what, and by which nodes.
    pub scope: Scope,
    /// What is told to routers.
    pub route: RouteAttributes,
    /// `peers`: to the routers of these names; empty means to all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub peers: BTreeSet<String>,
}

/// What a BGP advertisement makes of an address: one entry of `bgp-advertisements`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteAttributes {
    /// `aggregation-length`: IPv4 prefix length, default 32.
    pub aggregation_length: u8,
    /// `aggregation-length-v6`: IPv6 prefix length, default 128.
    pub aggregation_length_v6: u8,
    /// `localpref`, default 0.
    pub localpref: u32,
    /// `asPathPrepend`: how often the own AS number is put in front of the path once more, up to 10. A
    /// `ConfigMap` has no such key.
    #[serde(skip_serializing_if = "is_zero")]
    pub as_path_prepend: u8,
    /// `communities`, aliases resolved, ascending (RFC 1997).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<u32>,
    /// Those that are written `large:1:2:3`, ascending (RFC 8092).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub large_communities: Vec<[u32; 3]>,
}

impl Default for RouteAttributes {
    fn default() -> Self {
        Self {
            aggregation_length: 32,
            aggregation_length_v6: 128,
            localpref: 0,
            as_path_prepend: 0,
            communities: Vec::new(),
            large_communities: Vec::new(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// By which protocols the addresses of a pool are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols {
    /// Some layer-2 advertisement covers it.
    pub layer2: bool,
    /// Some BGP advertisement covers it.
    pub bgp: bool,
}

impl Protocols {
    /// Whether nothing announces its addresses until there is a BGP speaker.
    #[must_use]
    pub const fn is_bgp_alone(self) -> bool {
        self.bgp && !self.layer2
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.layer2, self.bgp) {
            (true, false) => "layer2",
            (false, true) => "bgp",
            (true, true) => "layer2, bgp",
            (false, false) => "none",
        })
    }
}

impl Config {
    /// By which protocols addresses of the pool of that name are announced, be it of some Services and by
    /// some nodes alone.
    #[must_use]
    pub fn protocols_of(&self, pool: &str) -> Protocols {
        let Some(pool) = self.pool(pool) else {
            return Protocols::default();
        };
        Protocols {
            layer2: self.layer2.iter().any(|one| one.scope.covers_pool(pool)),
            bgp: self.bgp.iter().any(|one| one.scope.covers_pool(pool)),
        }
    }
}
