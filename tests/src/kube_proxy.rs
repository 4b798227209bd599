//! kube-proxy on a node, hollow or real.

use anyhow::Result;

use crate::control_plane::user_kubeconfig;
use crate::lab::Lab;
use crate::net::{Host, POD_CIDR_V4, POD_CIDR_V6};

/// Starts kube-proxy on each node of the lab.
pub fn start(lab: &Lab) -> Result<()> {
    let kubeconfig = user_kubeconfig(lab, "system:kube-proxy", None)?;
    let program = lab.tools().binary("kube-proxy")?;
    for node in lab.nodes() {
        lab.spawn(
            node.process(process_name(node), &program)
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .arg(format!("--hostname-override={}", node.name))
                .arg(format!("--cluster-cidr={POD_CIDR_V4},{POD_CIDR_V6}"))
                .arg("--proxy-mode=iptables")
                // These limits are the machine's, not the namespace's; a namespace may not set
                // them.
                .args([
                    "--conntrack-max-per-core=0",
                    "--conntrack-tcp-timeout-established=0",
                    "--conntrack-tcp-timeout-close-wait=0",
                ]),
        )?;
    }
    Ok(())
}

/// The name of a node's kube-proxy among the lab's processes.
pub fn process_name(node: &Host) -> String {
    format!("kube-proxy-{}", node.name)
}
