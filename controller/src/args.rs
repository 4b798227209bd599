//! Options, as `MetalLB`'s manifests give them, and ours.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use ferrolb_core::names::DEFAULT_CONFIG_NAME;

const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Gives every LoadBalancer Service an address from the pools of a ConfigMap.
#[derive(Debug, Clone, Parser)]
#[command(name = "controller", version)]
pub struct Args {
    /// Port of /metrics, /healthz and /readyz
    #[arg(long, default_value_t = 7472)]
    pub port: u16,
    /// Address to serve them on [default: all]
    #[arg(long, env = "METALLB_HOST")]
    pub host: Option<IpAddr>,
    /// Name of the ConfigMap
    #[arg(long, default_value = DEFAULT_CONFIG_NAME)]
    pub config: String,
    /// Namespace of the ConfigMap [default: $FERROLB_NAMESPACE, $METALLB_NAMESPACE, else the pod's]
    #[arg(long)]
    pub namespace: Option<String>,
    /// Kubeconfig to use outside a cluster
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Serve the Services of this spec.loadBalancerClass instead of those without one
    #[arg(long)]
    pub lb_class: Option<String>,
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
        let variable = |name| std::env::var(name).ok();
        let given = self
            .namespace
            .clone()
            .or_else(|| variable("FERROLB_NAMESPACE"))
            .or_else(|| variable("METALLB_NAMESPACE"));
        let given = given.filter(|namespace| !namespace.is_empty());
        given.map_or_else(|| read_namespace(Path::new(NAMESPACE_FILE)), Ok)
    }

    /// The class to serve; the empty one is none.
    #[must_use]
    pub fn class(&self) -> Option<String> {
        self.lb_class.clone().filter(|class| !class.is_empty())
    }
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
