//! Ports that a node has for itself. On a node's own address kube-proxy would take them from it.

use std::net::IpAddr;

use super::Refusal;
use super::choice::Choice;
use crate::Reason;
use crate::config::Pool;
use crate::names::ALLOW_NODE_PORTS;
use crate::view::{Protocol, ServiceView};

/// Without these people are locked out of the node or the cluster.
const NEEDED: [(Protocol, u16); 13] = [
    // SSH.
    (Protocol::Tcp, 22),
    // The BGP speaker that many pod networks run on each node: without it no pod of it is reached.
    (Protocol::Tcp, 179),
    // The API server, minikube's too.
    (Protocol::Tcp, 6443),
    (Protocol::Tcp, 8443),
    // The kubelet, kube-proxy's health, the controller manager, the scheduler.
    (Protocol::Tcp, 10250),
    (Protocol::Tcp, 10256),
    (Protocol::Tcp, 10257),
    (Protocol::Tcp, 10259),
    // etcd.
    (Protocol::Tcp, 2379),
    (Protocol::Tcp, 2380),
    // Our own.
    (Protocol::Tcp, 7472),
    (Protocol::Tcp, 7946),
    (Protocol::Udp, 7946),
];

/// What many nodes have at that port, and others have not: a word is enough.
const USUAL: [(Protocol, u16, &str); 25] = [
    (Protocol::Tcp, 53, "its DNS cache"),
    (Protocol::Udp, 53, "its DNS cache"),
    // Also renewals come to the node's own address: without them it loses that.
    (Protocol::Udp, 68, "its DHCP client"),
    (Protocol::Tcp, 111, "rpcbind, for NFS"),
    (Protocol::Udp, 111, "rpcbind, for NFS"),
    (Protocol::Udp, 123, "its time server (NTP)"),
    (Protocol::Udp, 500, "IPsec"),
    (Protocol::Tcp, 2049, "an NFS server"),
    (Protocol::Tcp, 4240, "Cilium's health checks"),
    (Protocol::Tcp, 4244, "Cilium's Hubble"),
    (Protocol::Udp, 4500, "IPsec"),
    (Protocol::Udp, 4789, "the pod network (VXLAN)"),
    (Protocol::Tcp, 5473, "Calico's Typha"),
    (Protocol::Udp, 6081, "the pod network (Geneve)"),
    // Of flannel and Cilium.
    (Protocol::Udp, 8472, "the pod network (VXLAN)"),
    (Protocol::Tcp, 9100, "Prometheus' node exporter"),
    (Protocol::Tcp, 9153, "CoreDNS' metrics"),
    (Protocol::Tcp, 9345, "RKE2's supervisor"),
    (Protocol::Tcp, 10249, "kube-proxy's metrics"),
    (Protocol::Tcp, 10255, "the kubelet's read-only port"),
    (Protocol::Tcp, 16443, "MicroK8s' API server"),
    (Protocol::Tcp, 50000, "Talos' API"),
    (Protocol::Tcp, 50001, "Talos' trust service"),
    // Of flannel, Calico and Cilium, for IPv4 and IPv6.
    (Protocol::Udp, 51820, "the pod network (WireGuard)"),
    (Protocol::Udp, 51821, "the pod network (WireGuard)"),
];

/// Whether the Service's word is heard, by which it may take ports from a node.
fn insists(view: &ServiceView, pool: Option<&Pool>) -> bool {
    view.allow_node_ports && pool.is_none_or(|pool| pool.allow_node_ports)
}

/// The first port of the Service that a node needs, unless it may take it at an address of `pool`.
pub(super) fn needed_port(view: &ServiceView, pool: Option<&Pool>) -> Option<(Protocol, u16)> {
    let needed = view.ports.iter().find(|port| NEEDED.contains(port));
    needed.filter(|_| !insists(view, pool)).copied()
}

/// `what` is a node's own address, and the node needs `port` there.
pub(super) fn refusal(
    what: &str,
    (protocol, port): (Protocol, u16),
    pool: Option<&Pool>,
) -> Refusal {
    let remedy = match pool.filter(|pool| !pool.allow_node_ports) {
        Some(pool) => format!(
            "change the port or the address; pool {} has allow-node-ports: false, so no annotation \
             allows it",
            pool.name
        ),
        None => format!(
            "change the port or the address, or, if you mean it, annotate the Service with \
             {ALLOW_NODE_PORTS}: \"true\""
        ),
    };
    Refusal::new(
        Reason::PortShadowsNode,
        format!(
            "{what}, and port {port}/{protocol} there is the node's own, which the Service would \
             take from it: {remedy}"
        ),
    )
}

impl Choice<'_> {
    /// The Service has a node's own address, and a port there that many nodes have for themselves.
    pub(super) fn usual_port_taken(&self, address: IpAddr) -> Option<Refusal> {
        let node = self.surroundings.nodes.get(&address)?;
        let pool = self.config.pool_of(address);
        if insists(self.view, pool) {
            return None;
        }
        let is_taken = |(protocol, port, _): &&(Protocol, u16, &str)| {
            self.view.ports.contains(&(*protocol, *port))
        };
        let (protocol, port, what) = USUAL.iter().find(is_taken)?;
        let unless = match pool.filter(|pool| !pool.allow_node_ports) {
            Some(_) => String::new(),
            None => format!(
                ", or, if you mean it, annotate the Service with {ALLOW_NODE_PORTS}: \"true\""
            ),
        };
        let text = format!(
            "has {address}, the address of node {node}, and port {port}/{protocol} there is on many \
             nodes that of {what}: if it is on this one, nothing gets there any more; change the port or \
             the address{unless}"
        );
        Some(Refusal::new(Reason::PortUsualOnNodes, text))
    }
}

#[cfg(test)]
mod tests;
