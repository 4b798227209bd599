//! One lab with one load balancer: five hollow nodes, of which four have its daemon and the fifth has the pod.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::cluster::{Cluster, PORT, SOON};
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::net::{Host, ip_batch};
use ferrolb_tests::observe::{FrameObserver, http_get};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, NodeKind};
use serde_json::{Value, json};

use super::figures::Figure;
use super::peer::{IDLE, NODES, POD_NODE, Peer, VIP, idle_address};
use crate::figures::pause;

/// After all daemons were started anew: those that look for each other have found each other.
const SETTLE: Duration = Duration::from_secs(5);
/// For a daemon that starts, and for an address that is announced by one.
const PATIENCE: Duration = Duration::from_secs(60);
/// The subnet of many Services.
const MANY: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);

pub(crate) struct Scene<'a> {
    pub(crate) cluster: Cluster,
    pub(crate) peer: &'a dyn Peer,
    /// The pod of all Services.
    web: HollowPod,
}

impl<'a> Scene<'a> {
    /// A lab without a load balancer yet.
    pub(crate) fn prepare(peer: &'a dyn Peer) -> Result<Self> {
        let lab = Lab::builder("bench-peers")
            .nodes(NODES.len() as u8 + 1)
            .kind(NodeKind::Hollow)
            .start()?;
        for host in lab.network().hosts() {
            let own = u32::from(host.ipv4.octets()[3]);
            let own = Ipv4Addr::from_bits(MANY.to_bits() + own);
            ip_batch(&host.namespace, &[format!("addr add {own}/16 dev eth0")])?;
        }
        let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
        let cluster = Cluster { lab, frames };
        let web = cluster.create_pod("web", POD_NODE)?;
        Ok(Self { cluster, peer, web })
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.cluster.lab
    }

    /// Starts the load balancer, and waits until [`VIP`] answers.
    pub(crate) fn start(&self) -> Result<()> {
        self.peer.start(self.lab())?;
        for node in NODES {
            self.wait_until_ready(node)?;
        }
        self.create_service("web", VIP)?;
        if matches!(self.peer.knows_services(), Figure::None(_)) {
            for number in 0..IDLE {
                self.create_service(&format!("idle-{number}"), idle_address(number))?;
            }
        }
        self.wait_for_page()
    }

    pub(crate) fn create_service(&self, name: &str, address: Ipv4Addr) -> Result<()> {
        self.lab()
            .apply(&self.service(name, address).to_string())
            .map(drop)
    }

    /// A Service that asks for its address in the one way that all understand; or has it as an external one, where
    /// nobody announces Services.
    pub(crate) fn service(&self, name: &str, address: Ipv4Addr) -> Value {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "selector": { "app": "web" },
                      "allocateLoadBalancerNodePorts": false, "loadBalancerIP": address,
                      "ports": [
                { "name": "tcp", "protocol": "TCP", "port": PORT, "targetPort": 3000 },
                { "name": "udp", "protocol": "UDP", "port": PORT, "targetPort": 3000 } ] },
        });
        if matches!(self.peer.knows_services(), Figure::None(_)) {
            service["spec"] = json!({ "selector": { "app": "web" }, "externalIPs": [address],
                                      "ports": service["spec"]["ports"] });
        }
        service
    }

    pub(crate) fn wait_until_ready(&self, node: &str) -> Result<()> {
        let daemon = self.peer.daemon(node);
        let is_ready = || self.peer.is_ready(self.lab(), node);
        wait_until(PATIENCE, is_ready, || self.lab().check_alive(&daemon))
            .with_context(|| format!("{daemon} is not ready"))
    }

    fn wait_for_page(&self) -> Result<()> {
        let at = SocketAddr::from((IpAddr::V4(VIP), PORT));
        let page = || {
            let page = self
                .cluster
                .on_lan(|| http_get(at, "/", Duration::from_secs(1)))?;
            Ok(page.is_ok())
        };
        wait_until(PATIENCE, page, || Ok(())).context("the address does not answer")
    }

    /// Ends all daemons and starts them again, so that no round suffers from what the one before has left.
    pub(crate) fn renew(&self) -> Result<()> {
        for node in NODES {
            self.end(node)?;
        }
        for node in NODES {
            forget_addresses(self.lab().host(node)?)?;
        }
        for node in NODES {
            self.lab().start(&self.peer.daemon(node))?;
        }
        for node in NODES {
            self.wait_until_ready(node)?;
        }
        // The server never heard of the end of connections that a round has broken, and each has a thread.
        let server = self.web.process_name();
        self.lab().stop(&server)?;
        self.lab().start(&server)?;
        self.wait_for_page()?;
        pause(SETTLE);
        Ok(())
    }

    /// Ends a daemon as a kubelet does, if it runs: some end by themselves when they lose the API server.
    pub(crate) fn end(&self, node: &str) -> Result<()> {
        let daemon = self.peer.daemon(node);
        match self.lab().alive(&daemon) {
            Some(_) => self.lab().stop(&daemon),
            None => Ok(()),
        }
    }

    /// The node that answers for [`VIP`], once it is one alone.
    pub(crate) fn owner(&self) -> Result<String> {
        let deadline = Instant::now() + 3 * SOON;
        loop {
            match self.cluster.owner(VIP) {
                Ok(owner) => return Ok(owner),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
        }
    }
}

/// Removes addresses of Services that a killed daemon has left on its node.
fn forget_addresses(node: &Host) -> Result<()> {
    let (said, _) = node.run("ip", &["-json", "-4", "addr", "show", "dev", "eth0"])?;
    let links: Value = serde_json::from_str(&said).context("ip says no JSON")?;
    let addresses = links[0]["addr_info"].as_array();
    let left = addresses
        .into_iter()
        .flatten()
        .filter(|one| one["prefixlen"] == 32)
        .filter_map(|one| one["local"].as_str());
    let lines: Vec<_> = left
        .map(|address| format!("addr del {address}/32 dev eth0"))
        .collect();
    match lines.is_empty() {
        true => Ok(()),
        false => ip_batch(&node.namespace, &lines),
    }
}
