//! Many addresses on the node that dies: how long until the last one is announced elsewhere.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::kube_proxy;
use ferrolb_tests::wait::wait_until;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::{Value, json};

use super::CALM;
use super::scene::NODES;
use crate::figures::{pause, spread};
use crate::many::create_all;

const POOL: &str = "10.200.0.0/16";
/// Dies. The pod is on n1, which never announces.
const VICTIM: &str = "n2";
const OTHERS: [&str; 2] = ["n3", "n4"];
/// For a thousand Services on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a node says that may announce what another one does. The stopped kube-proxy is missed after a
/// while, on all nodes alike.
const MAY: [&str; 2] = ["not_owner", "kube_proxy_unhealthy"];

pub(crate) fn run(counts: &[u16], rounds: usize) -> Result<()> {
    let cluster = Cluster::start("bench-crowd", NODES.len() as u8, POOL)?;
    // They would use the cores that are measured, and nothing goes through them.
    for node in NODES {
        let node = cluster.lab.host(node)?;
        cluster.lab.stop(&kube_proxy::process_name(node))?;
    }
    let _pod = cluster.create_pod("web", "n1")?;
    let mut there = 0;
    for count in counts {
        create(&cluster, there, *count)?;
        there = there.max(*count);
        let times = (0..rounds)
            .map(|number| {
                round(&cluster, there.into())
                    .with_context(|| format!("{there} addresses, round {number}"))
            })
            .collect::<Result<Vec<_>>>()?;
        println!(
            "| silent cut of a node with {there} addresses, the last one | {rounds} | {} | – | – | – | – |",
            spread(times)
        );
    }
    Ok(())
}

fn create(cluster: &Cluster, from: u16, to: u16) -> Result<()> {
    let service = |number| {
        json!({
            "metadata": { "name": format!("web-{number}") },
            "spec": { "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                      "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
        })
    };
    cluster.lab.api(async |client| {
        let api: Api<Service> = Api::default_namespaced(client);
        create_all(&api, (from..to).map(service)).await
    })
}

/// From the cut to the first announcement, by another node, of the address that comes last.
fn round(cluster: &Cluster, count: usize) -> Result<Duration> {
    gather(cluster, count)?;
    let mac = cluster.lab.host(VICTIM)?.mac;
    let cut = Instant::now();
    cluster.lab.cut(VICTIM, false)?;
    let first_ones = || {
        let mut first = BTreeMap::<Ipv4Addr, Instant>::new();
        for frame in cluster.frames.since(cut) {
            let arp = frame.arp().filter(|arp| arp.is_gratuitous());
            if let Some(arp) = arp.filter(|_| frame.source != mac) {
                first.entry(arp.sender).or_insert(frame.at);
            }
        }
        first
    };
    let all = || Ok(first_ones().len() == count);
    wait_until(SOON, all, || Ok(()))
        .with_context(|| format!("{} are announced", first_ones().len()))?;
    let last = first_ones().into_values().max().unwrap_or(cut);
    cluster.lab.heal(VICTIM)?;
    cluster.wait_until_all_live()?;
    Ok(last - cut)
}

/// Brings every address to one node, and then lets the others have them too.
fn gather(cluster: &Cluster, count: usize) -> Result<()> {
    configure(cluster, &[VICTIM])?;
    let has_all = || Ok(cluster.announced(VICTIM)? == count as f64);
    wait_until(PATIENCE, has_all, || Ok(()))
        .with_context(|| format!("{VICTIM} does not announce {count} addresses"))?;
    configure(cluster, &[&[VICTIM], &OTHERS[..]].concat())?;
    let may_all = || {
        for node in OTHERS {
            let status = cluster.status(node)?;
            let vips = status["vips"].as_array().cloned().unwrap_or_default();
            let may = |vip: &Value| vip["reason"].as_str().is_some_and(|it| MAY.contains(&it));
            if vips.len() != count || !vips.iter().all(may) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    wait_until(PATIENCE, may_all, || Ok(())).context("the others do not know that they may")?;
    pause(CALM);
    Ok(())
}

fn configure(cluster: &Cluster, nodes: &[&str]) -> Result<()> {
    let nodes = nodes.join(", ");
    cluster.lab.apply(&format!(
        r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
             "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
             "data": {{ "config": "address-pools: [{{name: lan, protocol: layer2, addresses: [{POOL}], node-selectors: [{{match-expressions: [{{key: kubernetes.io/hostname, operator: In, values: [{nodes}]}}]}}]}}]" }} }}"#
    ))?;
    Ok(())
}
