//! What a load balancer has to tell about itself to be measured. A driver is one file beside this one; how to
//! write one is said in CONTRIBUTING.md.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;
use ferrolb_tests::Lab;
use ferrolb_tests::control_plane::user_kubeconfig;
use ferrolb_tests::net::lan_address;

use super::figures::Figure;

/// The nodes with a daemon. The pod is on another one, which has none: what is measured is the announcement, and
/// not kube-proxy's view of dead endpoints.
pub(crate) const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
/// The node with the pod.
pub(crate) const POD_NODE: &str = "n5";
/// The address to which the faults are done.
pub(crate) const VIP: Ipv4Addr = lan_address(200);
/// Further addresses, as many as there are beside it while nothing happens.
pub(crate) const IDLE: u8 = 20;
/// A range with [`VIP`] and those: for the configuration of a driver.
pub(crate) const RANGE: &str = "192.168.64.200-192.168.64.230";
/// Addresses for many Services at once, in a subnet that all hosts are in.
pub(crate) const MANY_RANGE: &str = "10.200.4.0-10.200.5.255";

/// The address of the Service with this number.
pub(crate) const fn idle_address(number: u8) -> Ipv4Addr {
    lan_address(201 + number)
}

/// One load balancer with one set of settings.
pub(crate) trait Peer: Sync {
    /// As its users call it.
    fn name(&self) -> &'static str;

    /// Of the program that runs.
    fn version(&self) -> Result<String>;

    /// `defaults`, or what differs from them.
    fn settings(&self) -> &'static str;

    /// Writes its configuration and starts its daemons, on [`NODES`] and where else it has some.
    fn start(&self, lab: &Lab) -> Result<()>;

    /// The process of the lab that announces on a node.
    fn daemon(&self, node: &str) -> String;

    /// The process that there is once in a cluster.
    fn controller(&self) -> Option<&'static str> {
        None
    }

    /// What the readiness probe of its manifest asks; without a probe, a daemon that runs is ready.
    fn is_ready(&self, _lab: &Lab, _node: &str) -> Result<bool> {
        Ok(true)
    }

    /// What its documentation says to do with a node before it goes down, beside `kubectl drain`, which cordons;
    /// or takes that back.
    fn drain(&self, _lab: &Lab, _node: &str, _begin: bool) -> Result<()> {
        Ok(())
    }

    /// [`Self::drain`] in words.
    fn drain_words(&self) -> &'static str {
        "nothing: it stops with the node"
    }

    /// Whether it announces Services; if not, why not. Its addresses are then [`VIP`] and [`idle_address`]es.
    fn knows_services(&self) -> Figure<()> {
        Figure::Of(())
    }

    /// The file that runs on each node, and the one that the controller is.
    fn programs(&self) -> Result<(PathBuf, Option<PathBuf>)>;
}

/// The kubeconfig of all that are measured but FerroLB, which has its chart's rights: an administrator's.
pub(crate) fn kubeconfig(lab: &Lab) -> Result<PathBuf> {
    user_kubeconfig(lab, "peer", Some("system:masters"))
}
