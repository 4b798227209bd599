//! Options that both daemons have: those of `MetalLB`'s manifests, and ours.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use ferrolb_core::names::{COMPILED_NAME, DEFAULT_CONFIG_NAME, DEFAULT_NAMESPACE};

use crate::log::{Format, Level};

/// Where a pod finds the namespace that it runs in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Of environment variables: ours wins.
const PREFIXES: [&str; 2] = ["FERROLB_", "METALLB_"];

/// See the module's documentation. What was not given is filled in by [`Shared::complete`].
#[derive(Debug, Clone, clap::Args)]
pub struct Shared {
    /// TCP port of /metrics, /healthz and /readyz
    #[arg(long, default_value_t = 7472)]
    pub port: u16,

    /// Address to serve them on [env: FERROLB_HOST, METALLB_HOST] [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,

    /// Name of the ConfigMap with the configuration
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CONFIG_NAME)]
    pub config: String,

    /// Name of the ConfigMap in which the controller tells the speakers what is in force. Controllers that
    /// serve different classes in one namespace need one each
    #[arg(long, value_name = "NAME", default_value = COMPILED_NAME)]
    pub compiled: String,

    /// Namespace of the ConfigMap [env: FERROLB_NAMESPACE, METALLB_NAMESPACE] [default: the pod's]
    #[arg(long)]
    pub namespace: Option<String>,

    /// A kubeconfig, to run outside of a cluster [default: $KUBECONFIG, else the pod's ServiceAccount]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Serve only Services of this spec.loadBalancerClass [default: Services without a class]
    #[arg(long, value_name = "CLASS")]
    pub lb_class: Option<String>,

    /// How much to log: error, warn, info, debug, all or none; or a list of target=level
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Level,

    /// How log lines look
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub log_format: Format,
}

impl Shared {
    /// Fills in what was not given, from the environment and from the pod. `environment` looks a
    /// variable up.
    ///
    /// # Errors
    /// A variable holds no address.
    pub fn complete(&mut self, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
        if self.host.is_none() {
            self.host = address(&environment, "HOST")?;
        }
        if self.namespace.is_none() {
            self.namespace = variable(&environment, "NAMESPACE").or_else(pods_namespace);
        }
        Ok(())
    }

    /// The namespace of the `ConfigMap`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The `ConfigMap`, as `namespace/name`.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{}/{}", self.namespace(), self.config)
    }

    /// The class to serve. The empty one is none.
    #[must_use]
    pub fn class(&self) -> Option<String> {
        self.lb_class.clone().filter(|class| !class.is_empty())
    }
}

/// The variable of that name with our prefix, or with `MetalLB`'s. An empty one counts as absent.
pub fn variable(environment: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    PREFIXES.iter().find_map(|prefix| {
        let value = environment(&format!("{prefix}{name}"));
        value.filter(|value| !value.is_empty())
    })
}

/// The IP address in that variable.
///
/// # Errors
/// It holds something else.
pub fn address(
    environment: impl Fn(&str) -> Option<String>,
    name: &str,
) -> anyhow::Result<Option<IpAddr>> {
    let parse = |text: String| {
        let address = text.parse();
        address.with_context(|| {
            format!("FERROLB_{name} or METALLB_{name}: {text:?} is not an IP address")
        })
    };
    variable(environment, name).map(parse).transpose()
}

fn pods_namespace() -> Option<String> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).ok()?;
    Some(text.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Daemon {
        #[command(flatten)]
        shared: Shared,
    }

    fn parse(args: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Shared> {
        let mut shared = Daemon::try_parse_from([&["daemon"], args].concat())?.shared;
        shared.complete(|name| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })?;
        Ok(shared)
    }

    #[test]
    fn the_arguments_of_metallbs_manifests_are_taken() {
        let environment = [("METALLB_HOST", "192.168.64.11")];
        let shared = parse(&["--port=7472", "--config=config"], &environment).unwrap();
        assert_eq!((shared.port, shared.config.as_str()), (7472, "config"));
        assert_eq!(shared.host, Some(IpAddr::from([192, 168, 64, 11])));
        let shared = parse(&["--log-level=all", "--lb-class="], &[]).unwrap();
        assert_eq!(shared.class(), None);
        assert_eq!(
            parse(&["--lb-class=x"], &[]).unwrap().class().as_deref(),
            Some("x")
        );
    }

    #[test]
    fn a_flag_wins_over_our_variable_and_ours_over_metallbs() {
        let both = [
            ("FERROLB_NAMESPACE", "ours"),
            ("METALLB_NAMESPACE", "theirs"),
        ];
        let namespace = |args: &[&str], environment: &[_]| {
            parse(args, environment).unwrap().namespace().to_owned()
        };
        assert_eq!(namespace(&["--namespace=flag"], &both), "flag");
        assert_eq!(namespace(&[], &both), "ours");
        assert_eq!(namespace(&[], &both[1..]), "theirs");
        let empty = [("FERROLB_NAMESPACE", ""), both[1]];
        assert_eq!(namespace(&[], &empty), "theirs");
        assert_eq!(namespace(&[], &[]), "metallb-system");
    }

    #[test]
    fn what_is_no_address_and_what_is_no_level_is_named() {
        let error = format!(
            "{:#}",
            parse(&[], &[("METALLB_HOST", "n1.example")]).unwrap_err()
        );
        assert!(
            error.contains("METALLB_HOST") && error.contains("n1.example"),
            "{error}"
        );
        let error = format!("{:#}", parse(&["--log-level=loud"], &[]).unwrap_err());
        assert!(error.contains("loud") && error.contains("debug"), "{error}");
    }
}
