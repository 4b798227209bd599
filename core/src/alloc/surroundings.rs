//! What a choice depends on beside pools and Services: the nodes' own addresses, the labels of
//! namespaces, and addresses that cannot serve.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::Family;
use crate::config::Pool;
use crate::conflict::Finding;
use crate::labels::Labels;
use crate::view::{Protocol, ServiceView};

/// Ports that a node itself needs: SSH, API server, kubelet, etcd, our own. On a node's own address
/// kube-proxy would take them from the host, and lock people out of the node or the cluster.
const NODE_PORTS: [(Protocol, u16); 9] = [
    (Protocol::Tcp, 22),
    (Protocol::Tcp, 6443),
    (Protocol::Tcp, 8443),
    (Protocol::Tcp, 10250),
    (Protocol::Tcp, 2379),
    (Protocol::Tcp, 2380),
    (Protocol::Tcp, 7472),
    (Protocol::Tcp, 7946),
    (Protocol::Udp, 7946),
];

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Surroundings {
    /// The nodes' own addresses, each with the node's name. Empty where nodes cannot be read.
    pub(super) nodes: BTreeMap<IpAddr, String>,
    /// Labels by namespace; `None` where namespaces cannot be read.
    pub(super) namespaces: Option<BTreeMap<String, Labels>>,
    /// Addresses that cannot serve, and why.
    pub(super) conflicts: BTreeMap<IpAddr, Finding>,
}

impl Surroundings {
    /// The node whose own address it is, and the port of it that the Service would take away.
    pub(super) fn shadowed(
        &self,
        address: IpAddr,
        view: &ServiceView,
    ) -> Option<(&str, Protocol, u16)> {
        let node = self.nodes.get(&address)?;
        let (protocol, port) = needed_port(view)?;
        Some((node, protocol, port))
    }

    /// How many of the pool's addresses of that family are nodes' own.
    pub(super) fn nodes_in(&self, pool: &Pool, family: Family) -> usize {
        let ranges = pool.ranges.iter().filter(|range| range.family() == family);
        ranges
            .flat_map(|range| self.nodes.range(range.first()..=range.last()))
            .filter(|(address, _)| pool.contains(**address))
            .count()
    }

    /// Whether the pool has addresses of that family, and all of them are nodes' own: whoever
    /// wrote that means them.
    pub(super) fn only_nodes_in(&self, pool: &Pool, family: Family) -> bool {
        let capacity = pool.capacity_of(family);
        capacity > 0 && u128::try_from(self.nodes_in(pool, family)) == Ok(capacity)
    }
}

/// The first port of the Service that a node needs, unless the Service may take it.
pub(super) fn needed_port(view: &ServiceView) -> Option<(Protocol, u16)> {
    let needed = view.ports.iter().find(|port| NODE_PORTS.contains(port));
    needed.filter(|_| !view.allow_node_ports).copied()
}
