//! Real nodes: containerd, kubelet and kube-proxy, with containers that runc starts.
//!
//! ```text
//! a node = namespaces of its own: network, mounts, processes, host name, IPC
//!   catatonit          process 1: whoever kills it cuts the node's power
//!   containerd ── shim ── pause, containers of a pod     images of `image`
//!   kubelet            asks containerd for pods, CNI bridge + portmap for their network
//!   kube-proxy
//!   /run, /var/lib, /var/log   the node's own; /run/ferrolb-lab/LAB as on the machine
//! ```
//!
//! All that a node mounts and runs lives in its namespaces, so it goes with process 1, however
//! that ends. A cgroup and two directories stay; the lab's state has them noted.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use crate::image;
use crate::lab::Lab;
use crate::net::Host;
use crate::preflight::Program;
use crate::{hollow, kube_proxy};

pub(crate) mod cgroup;
mod cni;
mod containerd;
mod dns;
mod kubelet;
mod lab;
mod logs;
mod machine;

pub(crate) use logs::pod_logs;
use machine::Machine;

/// What real nodes run beside what every lab runs.
pub const PROGRAMS: &[Program] = &[
    ("catatonit", "catatonit"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("hostname", "hostname"),
    ("ldd", "libc-bin"),
    ("runc", "runc"),
];

/// Ready in 2 s on an idle machine; a busy one gets its time.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Starts the nodes of a lab and its DNS.
pub(crate) fn start_nodes(lab: &Lab) -> Result<()> {
    cni::plugin_dir()?;
    let began = Timestamp::now();
    for node in lab.nodes() {
        lab.state().note_cgroup(&machine::cgroup_of(node))?;
        boot(lab, node).with_context(|| format!("cannot start node {}", node.name))?;
    }
    let coredns = image::coredns(&lab.tools().binary("coredns")?);
    // Image files go to disk while the nodes introduce themselves to the API server.
    thread::scope(|scope| {
        let load = scope.spawn(|| lab.load_images(&[image::pause(), coredns]));
        lab.nodes()
            .iter()
            .try_for_each(|node| wait_ready(lab, node, began))?;
        load.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    dns::start(lab)
}

fn boot(lab: &Lab, node: &Host) -> Result<()> {
    let machine = Machine::new(lab, node)?;
    machine.boot()?;
    containerd::start(&machine)?;
    kubelet::start(&machine)?;
    lab.spawn(machine.inside(kube_proxy::process(lab, node)?)?)
}

/// Did the kubelet itself say so after this time? What it said before it died stays for 50 s.
fn is_ready(node: Option<&Node>, since: Timestamp) -> bool {
    let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        condition.type_ == "Ready"
            && condition.status == "True"
            // The API counts whole seconds.
            && condition
                .last_heartbeat_time
                .as_ref()
                .is_some_and(|heard| heard.0.as_second() >= since.as_second())
    })
}

fn wait_ready(lab: &Lab, node: &Host, since: Timestamp) -> Result<()> {
    lab.api(async |client| {
        let nodes: Api<Node> = Api::all(client);
        let ready = await_condition(nodes.clone(), &node.name, |node: Option<&Node>| {
            is_ready(node, since)
        });
        match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(waited) => waited?,
            Err(_) => bail!(
                "node {} is not Ready after {READY_WITHIN:?}: see {}",
                node.name,
                lab.state().log(&kubelet::process_name(node)).display()
            ),
        };
        // A kubelet may not give itself these: as kubeadm does, the administrator does it.
        let labels = json!({ "metadata": { "labels": hollow::labels(lab.plan(), node) } });
        nodes
            .patch(&node.name, &PatchParams::default(), &Patch::Merge(&labels))
            .await?;
        Ok(())
    })
}
