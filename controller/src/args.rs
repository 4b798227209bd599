//! Options, as `MetalLB`'s manifests give them, and ours.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use ferrolb_core::names::{DEFAULT_CONFIG_NAME, LEASE_NAME};

const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Gives every LoadBalancer Service an address from the pools of a ConfigMap.
#[derive(Debug, Clone, Parser)]
#[command(name = "controller", version)]
pub struct Args {
    /// Port of /metrics, /healthz and /readyz
    #[arg(long, default_value_t = 7472)]
    pub port: u16,
    /// Address to serve them on [default: $FERROLB_HOST, $METALLB_HOST, else all]
    #[arg(long)]
    pub host: Option<IpAddr>,
    /// Address of the node, which its kubelet asks them from [default: $FERROLB_NODE_IP]
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,
    /// Name of the ConfigMap
    #[arg(long, default_value = DEFAULT_CONFIG_NAME)]
    pub config: String,
    /// Namespace of the ConfigMap [default: $FERROLB_NAMESPACE, $METALLB_NAMESPACE, else the pod's]
    #[arg(long)]
    pub namespace: Option<String>,
    /// Kubeconfig to use outside a cluster [default: $KUBECONFIG, else the pod's ServiceAccount]
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Serve the Services of this spec.loadBalancerClass instead of those without one
    #[arg(long)]
    pub lb_class: Option<String>,
    /// Never lead without a Lease: wait for the right to one. Without this option and that right the
    /// controller leads alone, and must be the only one
    #[arg(long)]
    pub leader_elect: bool,
    /// Name of that Lease. Controllers that serve different classes need one each
    #[arg(long, value_name = "NAME", default_value = LEASE_NAME)]
    pub lease_name: String,
    /// Create this Secret with a key for the speakers, unless it exists
    #[arg(long, value_name = "NAME")]
    pub peers_secret: Option<String>,
    /// How much to log
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// How to write log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// `--log-level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything
    All,
    /// What helps to find a fault
    Debug,
    /// What belongs into a timeline
    Info,
    /// What somebody should look at
    Warn,
    /// What does not work
    Error,
    /// Nothing
    None,
}

/// `--log-format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line
    Json,
    /// For a terminal
    Text,
}

impl Args {
    /// The namespace of the `ConfigMap`.
    ///
    /// # Errors
    /// Nothing tells it.
    pub fn namespace(&self) -> anyhow::Result<String> {
        let given = self.namespace.clone().or_else(|| variable("NAMESPACE"));
        given.map_or_else(|| read_namespace(Path::new(NAMESPACE_FILE)), Ok)
    }

    /// The address to serve metrics on; `None` for all.
    ///
    /// # Errors
    /// A variable holds no address.
    pub fn host(&self) -> anyhow::Result<Option<IpAddr>> {
        self.host
            .map_or_else(|| address("HOST"), |host| Ok(Some(host)))
    }

    /// The address of the node, if anything tells it.
    ///
    /// # Errors
    /// A variable holds no address.
    pub fn node_ip(&self) -> anyhow::Result<Option<IpAddr>> {
        let told = |address| Ok(Some(address));
        self.node_ip.map_or_else(|| address("NODE_IP"), told)
    }

    /// The class to serve; the empty one is none.
    #[must_use]
    pub fn class(&self) -> Option<String> {
        self.lb_class.clone().filter(|class| !class.is_empty())
    }
}

/// The address in that environment variable.
fn address(name: &str) -> anyhow::Result<Option<IpAddr>> {
    let parse = |text: String| {
        let address = text.parse();
        address.with_context(|| format!("{name}: not an IP address: {text:?}"))
    };
    variable(name).map(parse).transpose()
}

/// The environment variable of that name with our prefix, or with MetalLB's.
fn variable(name: &str) -> Option<String> {
    ["FERROLB", "METALLB"].iter().find_map(|prefix| {
        let value = std::env::var(format!("{prefix}_{name}")).ok();
        value.filter(|value| !value.is_empty())
    })
}

fn read_namespace(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "no namespace: give --namespace (outside a pod there is no {})",
            path.display()
        )
    })?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_metallbs_manifests_are_understood() {
        let args = Args::try_parse_from(["controller", "--port=7472", "--config=config"]).unwrap();
        assert_eq!((args.port, args.config.as_str()), (7472, "config"));
        let args = Args::try_parse_from(["controller", "--log-level=all", "--lb-class="]).unwrap();
        assert_eq!((args.log_level, args.class()), (LogLevel::All, None));
    }
}
