//! The kubelet of a node.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::containerd;
use super::machine::{Machine, cgroup_of};
use crate::control_plane::{DNS_SERVICE_IP, kubeconfig_on, pki};
use crate::net::Host;
use crate::pki::Certificate;

/// The name of a node's kubelet among the lab's processes.
pub(super) fn process_name(node: &Host) -> String {
    format!("kubelet-{}", node.name)
}

/// Starts the kubelet, which registers its node.
pub(super) fn start(machine: &Machine<'_>) -> Result<()> {
    let Machine {
        lab, host, config, ..
    } = machine;
    let user = format!("system:node:{}", host.name);
    let kubeconfig = kubeconfig_on(lab, host, &user, Some("system:nodes"))?;
    let file = config.join("kubelet.yaml");
    // JSON is YAML.
    fs::write(&file, format!("{:#}\n", configuration(machine)?))
        .context("cannot write the configuration of the kubelet")?;
    let spec = host
        .process(process_name(host), lab.tools().binary("kubelet")?)
        .arg(format!("--config={}", file.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--hostname-override={}", host.name))
        .arg(format!("--node-ip={},{}", host.ipv4, host.ipv6));
    lab.spawn(machine.inside(spec)?)
}

fn configuration(machine: &Machine<'_>) -> Result<Value> {
    let Machine {
        lab, host, config, ..
    } = machine;
    // The machine's own resolver is on no network of the lab.
    let resolver = config.join("resolv.conf");
    fs::write(&resolver, "").with_context(|| format!("cannot write {}", resolver.display()))?;
    let pki = pki(lab)?;
    let Certificate { cert, key } = pki.server(&process_name(host), host, &[], &[])?;
    // The machine's disk and memory are not the lab's to judge: nothing is evicted, no image goes.
    let never = "0%";
    Ok(json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki.ca() },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": cert,
        "tlsPrivateKeyFile": key,
        "containerRuntimeEndpoint": format!("unix://{}", containerd::SOCKET),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_of(host),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // From 1.35 on the kubelet refuses cgroup v1 otherwise; 1.31 is the first that knows the field.
        "failCgroupV1": false,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE_IP],
        "resolvConf": resolver,
        "evictionHard": {
            "memory.available": never,
            "nodefs.available": never,
            "nodefs.inodesFree": never,
            "imagefs.available": never,
            "imagefs.inodesFree": never,
        },
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
    }))
}
