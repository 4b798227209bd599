//! kube-proxy on a node, hollow or real.

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::control_plane::kubeconfig_on;
use crate::lab::Lab;
use crate::net::{Host, POD_CIDR_V4, POD_CIDR_V6};
use crate::preflight::Program;
use crate::process::ProcessSpec;

/// The mode of kube-proxy in labs that say nothing else: `make test PROXY=nftables` sets it.
pub const CHOICE: &str = "FERROLB_PROXY";

/// What there is of IPVS in a kernel that has it.
const IPVS: &str = "/proc/net/ip_vs";

/// How kube-proxy forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// Kubernetes' default.
    #[default]
    Iptables,
    /// From Kubernetes 1.33 on. It needs Linux 5.13.
    Nftables,
    /// It needs a kernel with IPVS.
    Ipvs,
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs => "ipvs",
        })
    }
}

impl ProxyMode {
    /// What [`CHOICE`] says.
    pub fn chosen() -> Result<Self> {
        Self::of(&std::env::var(CHOICE).unwrap_or_default())
    }

    fn of(text: &str) -> Result<Self> {
        match text {
            "" => Ok(Self::default()),
            text => Self::from_str(text, false)
                .or_else(|_| bail!("{CHOICE}={text}: iptables, nftables and ipvs are possible")),
        }
    }

    /// What it runs beside what every lab runs.
    pub fn programs(self) -> &'static [Program] {
        match self {
            Self::Iptables => &[],
            Self::Nftables => &[("nft", "nftables")],
            Self::Ipvs => &[("ipset", "ipset")],
        }
    }

    /// Whether this machine's kernel can do it.
    pub fn check_kernel(self) -> Result<()> {
        ensure!(
            self != Self::Ipvs || Path::new(IPVS).exists(),
            "this machine's kernel has no IPVS (CONFIG_IP_VS, or modprobe ip_vs)"
        );
        Ok(())
    }
}

/// kube-proxy of a node.
pub fn process(lab: &Lab, node: &Host) -> Result<ProcessSpec> {
    let kubeconfig = kubeconfig_on(lab, node, "system:kube-proxy", None)?;
    let program = lab.tools().binary("kube-proxy")?;
    let mode = lab.plan().proxy;
    let strict_arp = (mode == ProxyMode::Ipvs).then(|| "--ipvs-strict-arp".to_owned());
    Ok(node
        .process(process_name(node), program)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--hostname-override={}", node.name))
        .arg(format!("--cluster-cidr={POD_CIDR_V4},{POD_CIDR_V6}"))
        .arg(format!("--proxy-mode={mode}"))
        .args(strict_arp)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_that_there_is_not_is_refused_with_those_that_there_are() {
        assert_eq!(ProxyMode::of("").unwrap(), ProxyMode::Iptables);
        for mode in [ProxyMode::Iptables, ProxyMode::Nftables, ProxyMode::Ipvs] {
            assert_eq!(ProxyMode::of(&mode.to_string()).unwrap(), mode);
        }
        let error = ProxyMode::of("nft").unwrap_err().to_string();
        assert_eq!(
            error,
            "FERROLB_PROXY=nft: iptables, nftables and ipvs are possible"
        );
    }
}
