//! The command line, compatible with `MetalLB`'s controller.

use std::net::IpAddr;

use clap::Parser;
use ferrolb_core::names::LEASE_NAME;
use ferrolb_core::source::{Choice, Source};
use ferrolb_kube::args::{Shared, address};
use ferrolb_kube::client::Patience;

use crate::dead::Endpoints;

/// Gives every LoadBalancer Service an address from the pools of a ConfigMap.
#[derive(Debug, Clone, Parser)]
#[command(name = "controller", version)]
pub struct Args {
    #[command(flatten)]
    pub shared: Shared,

    /// Address of the node, from which its kubelet sends probes [env: FERROLB_NODE_IP]
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,

    /// Never lead without a Lease: wait for the right to one. Without this option and that right the
    /// controller leads alone, and must be the only one
    #[arg(long)]
    pub leader_elect: bool,

    /// Name of that Lease. Controllers that serve different classes need one each
    #[arg(long, value_name = "NAME", default_value = LEASE_NAME)]
    pub lease_name: String,

    /// Where the configuration comes from: the ConfigMap, MetalLB's objects, or whichever is in force
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t)]
    pub config_source: ConfigSource,

    /// Create this Secret with a key for the speakers, unless it exists
    #[arg(long, value_name = "NAME")]
    pub peers_secret: Option<String>,

    /// What is done with the endpoints of a node that speakers found dead: leave them in rotation until
    /// Kubernetes removes them after 50 s, or remove them within a second
    #[arg(long, value_enum, default_value_t = Endpoints::Leave)]
    pub dead_nodes: Endpoints,
}

/// See [`Args::config_source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ConfigSource {
    /// One at a time: what is in force stays until the other one holds all addresses in use.
    #[default]
    Auto,
    /// The ConfigMap alone.
    Configmap,
    /// IPAddressPools, L2Advertisements and so on, alone.
    Objects,
}

impl From<ConfigSource> for Choice {
    fn from(source: ConfigSource) -> Self {
        match source {
            ConfigSource::Auto => Self::Auto,
            ConfigSource::Configmap => Self::Only(Source::ConfigMap),
            ConfigSource::Objects => Self::Only(Source::Objects),
        }
    }
}

impl Args {
    /// Whether `MetalLB`'s objects can be in force.
    #[must_use]
    pub fn reads_objects(&self) -> bool {
        self.config_source != ConfigSource::Configmap
    }

    /// How long to wait for an API server that is silent: with pods to take out of rotation, less.
    #[must_use]
    pub fn patience(&self) -> Patience {
        match self.dead_nodes {
            Endpoints::Leave => Patience::USUAL,
            Endpoints::Remove => Patience::SHORT,
        }
    }

    /// Fills in what was not given, from the environment. `environment` looks a variable up.
    ///
    /// # Errors
    /// A variable holds no address.
    pub fn complete(
        mut self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        if self.node_ip.is_none() {
            self.node_ip = address(&environment, "NODE_IP")?;
        }
        self.shared.complete(environment)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_node_is_the_flag_or_the_variable() {
        let node_ip = |args: &[&str]| {
            let args = Args::try_parse_from([&["controller"], args].concat()).unwrap();
            let told = |name: &str| (name == "FERROLB_NODE_IP").then(|| "fd00::1".to_owned());
            args.complete(told).unwrap().node_ip
        };
        assert_eq!(node_ip(&[]), Some("fd00::1".parse().unwrap()));
        let flag = node_ip(&["--node-ip=192.168.64.11"]);
        assert_eq!(flag, Some("192.168.64.11".parse().unwrap()));
    }

    #[test]
    fn a_silent_api_server_is_given_less_time_only_where_dead_nodes_endpoints_are_removed() {
        let patience = |args: &[&str]| {
            let args = Args::try_parse_from([&["controller"], args].concat()).unwrap();
            args.patience()
        };
        assert_eq!(patience(&[]), Patience::USUAL);
        assert_eq!(patience(&["--dead-nodes=remove"]), Patience::SHORT);
    }
}
