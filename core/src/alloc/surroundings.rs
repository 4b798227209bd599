//! What a choice depends on beside pools and Services: the addresses that the cluster itself has or that
//! other Services list, the labels of namespaces, and addresses that cannot serve.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::external::ExternalIps;
use super::node_ports::needed_port;
use super::reserved::{ClusterNetwork, Reserved};
use crate::address::Family;
use crate::config::Pool;
use crate::conflict::Finding;
use crate::labels::Labels;
use crate::view::{Protocol, ServiceView};

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// The nodes' own addresses, each with the node's name. Empty where nodes cannot be read.
    pub(super) nodes: BTreeMap<IpAddr, String>,
    /// What else the cluster uses, as far as it can be read.
    pub(super) network: ClusterNetwork,
    /// Derived: all of both.
    pub(super) reserved: Reserved,
    /// What other Services list in `externalIPs`.
    pub(super) external: ExternalIps,
    /// Labels by namespace; `None` where namespaces cannot be read.
    pub(super) namespaces: Option<BTreeMap<String, Labels>>,
    /// Addresses that cannot serve, and why.
    pub(super) conflicts: BTreeMap<IpAddr, Finding>,
}

impl Surroundings {
    /// Whether that is news.
    pub(super) fn set_nodes(&mut self, nodes: BTreeMap<IpAddr, String>) -> bool {
        let news = self.nodes != nodes;
        self.nodes = nodes;
        self.derive(news)
    }

    /// Whether that is news.
    pub(super) fn set_network(&mut self, network: ClusterNetwork) -> bool {
        let news = self.network != network;
        self.network = network;
        self.derive(news)
    }

    fn derive(&mut self, news: bool) -> bool {
        if news {
            self.reserved = Reserved::of(self.nodes.keys().copied(), &self.network);
        }
        news
    }

    /// The node whose own address it is, and the port of it that the Service would take away.
    pub(super) fn shadowed(
        &self,
        address: IpAddr,
        view: &ServiceView,
        pool: Option<&Pool>,
    ) -> Option<(&str, (Protocol, u16))> {
        let node = self.nodes.get(&address)?;
        Some((node, needed_port(view, pool)?))
    }

    /// How many of the pool's addresses of that family are nodes' own.
    pub(super) fn nodes_in(&self, pool: &Pool, family: Family) -> usize {
        let ranges = pool.ranges.iter().filter(|range| range.family() == family);
        ranges
            .flat_map(|range| self.nodes.range(range.first()..=range.last()))
            .filter(|(address, _)| pool.contains(**address))
            .count()
    }

    /// Whether the pool has addresses of that family, and all of them are nodes' own.
    pub(super) fn only_nodes_in(&self, pool: &Pool, family: Family) -> bool {
        let capacity = pool.capacity_of(family);
        capacity > 0 && u128::try_from(self.nodes_in(pool, family)) == Ok(capacity)
    }

    /// Whether the pool has addresses of that family, and the cluster has all of them.
    pub(super) fn only_reserved_in(&self, pool: &Pool, family: Family) -> bool {
        let capacity = pool.capacity_of(family);
        capacity > 0 && self.reserved.count_in(pool, family) == capacity
    }
}
