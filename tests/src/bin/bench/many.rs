//! What the areas with many Services have in common.

use std::fmt::Display;
use std::fs;

use anyhow::Result;
use ferrolb_tests::{Lab, NodeKind, kube_proxy};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

/// Creations at once.
pub(crate) const CLIENTS: usize = 8;

/// A node without kubelet and kube-proxy: both would use the cores that are measured.
pub(crate) fn quiet_lab(name: &str) -> Result<Lab> {
    let lab = Lab::builder(name).nodes(1).kind(NodeKind::Hollow).start()?;
    lab.stop(&kube_proxy::process_name(lab.host("n1")?))?;
    Ok(lab)
}

/// Creates Services of these names, each of which selects pods of a label that none has.
pub(crate) async fn create_services(
    api: &Api<Service>,
    names: impl IntoIterator<Item = String>,
) -> Result<()> {
    let created = futures::stream::iter(names).map(|name| async move {
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                      "selector": { "app": name }, "ports": [{ "port": 80 }] },
        }))?;
        api.create(&PostParams::default(), &service).await?;
        anyhow::Ok(())
    });
    created
        .buffer_unordered(CLIENTS)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

/// Resident memory of a process, and what it was at most, in MiB: `VmRSS` and `VmHWM`.
pub(crate) fn memory_of(pid: impl Display) -> Result<[f64; 2]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(["VmRSS:", "VmHWM:"].map(|key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<f64>().ok())
            .unwrap_or_default()
            / 1_024.0
    }))
}
