//! Hollow nodes: Node objects that say Ready, and a kube-proxy for each, without a kubelet. Cheap,
//! so good for many fast tests and for scale.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::kube_proxy;
use crate::lab::{Lab, Plan};
use crate::net::{Host, create_netns, ip_batch};

mod pod;

pub use pod::{HollowPod, PodAddresses};

/// Nobody renews a hollow node's heartbeat: let it be Ready for as long as any test takes.
pub const NODE_MONITOR_GRACE: &str = "24h";

/// Makes the nodes of a lab.
pub(crate) fn start_nodes(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        lab.spawn(kube_proxy::process(lab, node)?)?;
        create_pods_network(lab, node)
            .with_context(|| format!("cannot make the pods' network of {}", node.name))?;
    }
    lab.api(async |client| {
        for node in lab.nodes() {
            create_node(&client, lab.plan(), node)
                .await
                .with_context(|| format!("cannot create node {}", node.name))?;
        }
        Ok(())
    })
}

/// One namespace for all pods of a node: a test cannot tell, and it starts at once.
fn create_pods_network(lab: &Lab, node: &Host) -> Result<()> {
    let Some(pods) = &node.pods else {
        return Ok(());
    };
    let netns = node.pods_namespace();
    create_netns(lab.state(), &netns)?;
    let (v4, v6) = (pods.ipv4(1), pods.ipv6(1));
    ip_batch(
        &node.namespace,
        &[
            format!("link add pods type veth peer name eth0 netns {netns}"),
            "link set pods up".to_owned(),
            format!("addr add {v4}/24 dev pods"),
            format!("addr add {v6}/64 dev pods nodad"),
        ],
    )?;
    ip_batch(
        &netns,
        &[
            "link set lo up".to_owned(),
            "link set eth0 up".to_owned(),
            // The node's own end is on the link, whatever addresses the pods will have.
            format!("route add {v4} dev eth0"),
            format!("route add default via {v4}"),
            format!("route add {v6} dev eth0"),
            format!("route add default via {v6}"),
        ],
    )
}

async fn create_node(client: &Client, plan: &Plan, host: &Host) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let cidrs: Vec<String> = host
        .pods
        .iter()
        .flat_map(|pods| [pods.cidr_v4(), pods.cidr_v6()])
        .collect();
    let node: Node = serde_json::from_value(json!({
        "metadata": { "name": host.name, "labels": labels(plan, host) },
        "spec": { "podCIDR": cidrs.first(), "podCIDRs": cidrs },
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    let status = json!({ "status": {
        "addresses": [
            { "type": "InternalIP", "address": host.ipv4 },
            { "type": "InternalIP", "address": host.ipv6 },
            { "type": "Hostname", "address": host.name },
        ],
        "capacity": { "cpu": "2", "memory": "4Gi", "pods": "110" },
        "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "110" },
        "conditions": [condition("Ready", "KubeletReady")],
    }});
    nodes
        .patch_status(&host.name, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}

fn condition(kind: &str, reason: &str) -> Value {
    let now = k8s_openapi::jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    json!({
        "type": kind,
        "status": "True",
        "reason": reason,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    })
}

/// The labels of a node, hollow or real.
pub fn labels(plan: &Plan, host: &Host) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": host.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch(),
    });
    if plan.like_minikube {
        for (name, value) in MINIKUBE_LABELS {
            labels[name] = json!(value);
        }
    }
    labels
}

/// As kubeadm labels a control plane, and minikube its only node; minikube leaves the taint out.
const MINIKUBE_LABELS: [(&str, &str); 3] = [
    ("minikube.k8s.io/primary", "true"),
    ("node-role.kubernetes.io/control-plane", ""),
    (
        "node.kubernetes.io/exclude-from-external-load-balancers",
        "",
    ),
];

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
