//! FerroLB as its chart installs it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use ferrolb_tests::Lab;
use ferrolb_tests::daemon::{Daemon, NAMESPACE, program};
use ferrolb_tests::observe::http_get;

use super::peer::{MANY_RANGE, NODES, Peer, RANGE};

pub(crate) struct FerroLb;

impl Peer for FerroLb {
    fn name(&self) -> &'static str {
        "FerroLB"
    }

    fn version(&self) -> Result<String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn settings(&self) -> &'static str {
        "defaults"
    }

    fn start(&self, lab: &Lab) -> Result<()> {
        lab.start_daemon(&Daemon::controller("cp"))?;
        for node in NODES {
            lab.start_daemon(&Daemon::speaker(node))?;
        }
        lab.apply(&config_map())?;
        Ok(())
    }

    fn daemon(&self, node: &str) -> String {
        Daemon::speaker(node).process_name()
    }

    fn controller(&self) -> Option<&'static str> {
        Some("controller-cp")
    }

    fn is_ready(&self, lab: &Lab, node: &str) -> Result<bool> {
        answers(lab, node, "/readyz")
    }

    fn drain_words(&self) -> &'static str {
        "nothing: it hands over when a node is cordoned"
    }

    fn programs(&self) -> Result<(PathBuf, Option<PathBuf>)> {
        Ok((program("speaker")?, Some(program("controller")?)))
    }
}

/// The form of MetalLB 0.9 to 0.12, which FerroLB reads too.
pub(crate) fn config_map() -> String {
    format!(
        r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
             "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
             "data": {{ "config": "address-pools: [{{name: lan, protocol: layer2, addresses: [{RANGE}, {MANY_RANGE}]}}]" }} }}"#
    )
}

/// Whether a daemon of a node answers this with 200, at the port that FerroLB and MetalLB share.
pub(crate) fn answers(lab: &Lab, node: &str, path: &str) -> Result<bool> {
    let at = SocketAddr::from((lab.host(node)?.ipv4, 7472));
    let page = lab
        .client()?
        .enter(|| http_get(at, path, Duration::from_secs(1)))?;
    Ok(page.is_ok_and(|page| page.status == 200))
}
