//! The pods' network: a bridge per node, addresses out of the node's own ranges.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::machine::Machine;
use crate::debian;

/// Where Debian puts the plugins.
const DEBIANS: &str = "/usr/lib/cni";

/// Where everyone else does.
const COMMON: &str = "/opt/cni/bin";

/// Those that [`write_config`] names, and the one that containerd itself wants.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "portmap", "loopback"];

/// The folder with the plugins.
pub(super) fn plugin_dir() -> Result<PathBuf> {
    let has_all = |dir: &PathBuf| PLUGINS.iter().all(|plugin| dir.join(plugin).exists());
    [debian::file(DEBIANS), DEBIANS.into(), COMMON.into()]
        .into_iter()
        .find(has_all)
        .with_context(|| {
            format!(
                "the lab needs the CNI plugins {} in {DEBIANS} or {COMMON}: `make setup` brings them",
                PLUGINS.join(", "),
            )
        })
}

/// Writes the network's configuration; its folder.
pub(super) fn write_config(machine: &Machine<'_>) -> Result<String> {
    let Some(pods) = &machine.host.pods else {
        bail!("host {} is no node", machine.host.name);
    };
    let config = json!({
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                // A pod reaches itself through its Service.
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    // Forgotten by a restart, as the pods' networks are.
                    "dataDir": "/run/cni",
                    "ranges": [
                        [{ "subnet": pods.cidr_v4() }],
                        [{ "subnet": pods.cidr_v6() }],
                    ],
                    "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    let dir = machine.config.join("cni");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::write(dir.join("lab.conflist"), config.to_string())
        .context("cannot write the CNI configuration")?;
    Ok(dir.to_string_lossy().into_owned())
}
