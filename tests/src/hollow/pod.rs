//! Hollow pods: a Pod object that says Running and Ready, and a small server that really has its
//! address.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::json;

use super::condition;
use crate::lab::Lab;
use crate::net::{Host, ip_batch};
use crate::process::ProcessSpec;

/// A pod to be made.
#[derive(Clone, Debug)]
#[must_use]
pub struct HollowPod {
    /// Its name; also what its server calls itself.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its node.
    pub node: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its server listens, TCP and UDP.
    pub port: u16,
}

/// The addresses of a pod that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddresses {
    /// In the node's pod network.
    pub ipv4: Ipv4Addr,
    /// In the node's pod network.
    pub ipv6: Ipv6Addr,
}

impl HollowPod {
    /// A pod in namespace `default` on `node`, its server on port 3000.
    pub fn new(name: &str, node: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            node: node.to_owned(),
            labels: BTreeMap::new(),
            port: 3000,
        }
    }

    /// Adds a label.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Another port for its server.
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Another namespace.
    pub fn namespace(self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self
        }
    }

    /// The name of its server among the lab's processes.
    pub fn process_name(&self) -> String {
        format!("pod-{}-{}", self.namespace, self.name)
    }
}

impl Lab {
    /// Makes a hollow pod: its server first, then the object that says that it is Ready. One at a
    /// time per node.
    pub fn create_hollow_pod(&self, pod: &HollowPod) -> Result<PodAddresses> {
        let node = self.host(&pod.node)?;
        let last = self.api(async |client| free_address(&client, node).await)?;
        let pods = node
            .pods
            .with_context(|| format!("{} is no node", node.name))?;
        let addresses = PodAddresses {
            ipv4: pods.ipv4(last),
            ipv6: pods.ipv6(last),
        };
        self.start_server(pod, node, addresses)?;
        self.api(async |client| create_object(&client, pod, node, addresses).await)
            .with_context(|| format!("cannot create pod {}/{}", pod.namespace, pod.name))?;
        Ok(addresses)
    }

    fn start_server(&self, pod: &HollowPod, node: &Host, at: PodAddresses) -> Result<()> {
        let netns = node.pods_namespace();
        ip_batch(
            &netns,
            &[
                format!("addr replace {}/32 dev eth0", at.ipv4),
                format!("addr replace {}/128 dev eth0 nodad", at.ipv6),
            ],
        )?;
        self.spawn(
            ProcessSpec::new(pod.process_name(), &netns, lab_program()?)
                .args([
                    "serve-echo",
                    "--pod",
                    &pod.name,
                    "--port",
                    &pod.port.to_string(),
                ])
                .args([at.ipv4.to_string(), at.ipv6.to_string()]),
        )
    }

    /// Removes a hollow pod: the object at once (nobody else would), then its server.
    pub fn delete_hollow_pod(&self, pod: &HollowPod) -> Result<()> {
        self.api(async |client| {
            let pods: Api<Pod> = Api::namespaced(client, &pod.namespace);
            pods.delete(&pod.name, &DeleteParams::default().grace_period(0))
                .await?;
            Ok(())
        })
        .with_context(|| format!("cannot delete pod {}/{}", pod.namespace, pod.name))?;
        self.stop(&pod.process_name())
    }
}

/// The last part of an address that no pod of this node has.
async fn free_address(client: &Client, node: &Host) -> Result<u8> {
    let pods: Api<Pod> = Api::all(client.clone());
    let on_node = ListParams::default().fields(&format!("spec.nodeName={}", node.name));
    let taken: Vec<String> = pods
        .list(&on_node)
        .await?
        .into_iter()
        .filter_map(|pod| pod.status?.pod_ip)
        .collect();
    let Some(net) = node.pods else {
        bail!("{} is no node", node.name)
    };
    (2..=254)
        .find(|last| !taken.contains(&net.ipv4(*last).to_string()))
        .with_context(|| format!("{} has no free pod address", node.name))
}

async fn create_object(
    client: &Client,
    pod: &HollowPod,
    node: &Host,
    at: PodAddresses,
) -> Result<()> {
    // The API server refuses pods of a namespace until the controller manager has made this.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &pod.namespace);
    await_condition(accounts, "default", |account: Option<&ServiceAccount>| {
        account.is_some()
    })
    .await
    .context("cannot wait for service account default")?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let object: Pod = serde_json::from_value(json!({
        "metadata": { "name": pod.name, "labels": pod.labels },
        "spec": {
            "nodeName": node.name,
            "containers": [{
                "name": "server",
                "image": "none.invalid/hollow:1",
                "ports": [
                    { "containerPort": pod.port, "protocol": "TCP" },
                    { "containerPort": pod.port, "protocol": "UDP" },
                ],
            }],
        },
    }))?;
    pods.create(&PostParams::default(), &object).await?;
    let conditions: Vec<_> = ["Initialized", "ContainersReady", "Ready", "PodScheduled"]
        .map(|kind| {
            let mut condition = condition(kind, "Hollow");
            // Nodes have a heartbeat, pods have not.
            condition
                .as_object_mut()
                .map(|fields| fields.remove("lastHeartbeatTime"));
            condition
        })
        .into();
    let status = json!({ "status": {
        "phase": "Running",
        "hostIP": node.ipv4,
        "podIP": at.ipv4,
        "podIPs": [{ "ip": at.ipv4 }, { "ip": at.ipv6 }],
        "conditions": conditions,
    }});
    pods.patch_status(&pod.name, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}

/// The `lab` program, whose `serve-echo` the pods run: this one, or the one that cargo builds
/// beside a test.
fn lab_program() -> Result<PathBuf> {
    let me = std::env::current_exe().context("cannot tell where this program is")?;
    // target/debug/lab, or target/debug/deps/test-0123.
    let found = me
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("lab"))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "no lab program beside {}: run `cargo build -p ferrolb-tests`",
            me.display()
        )
    })
}
