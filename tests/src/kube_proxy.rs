//! kube-proxy on a node, hollow or real.

use anyhow::Result;

use crate::control_plane::user_kubeconfig;
use crate::lab::Lab;
use crate::net::{Host, POD_CIDR_V4, POD_CIDR_V6};
use crate::process::ProcessSpec;

/// kube-proxy of a node.
pub fn process(lab: &Lab, node: &Host) -> Result<ProcessSpec> {
    let kubeconfig = user_kubeconfig(lab, "system:kube-proxy", None)?;
    let program = lab.tools().binary("kube-proxy")?;
    Ok(node
        .process(process_name(node), program)
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
        ]))
}

/// The name of a node's kube-proxy among the lab's processes.
pub fn process_name(node: &Host) -> String {
    format!("kube-proxy-{}", node.name)
}
