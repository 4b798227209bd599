//! Addresses that no host can have, and those that something else in the cluster has.

use anyhow::{Result, ensure};
use serde_json::json;

use super::super::{Cluster, eventually, load_balancer, one};

#[test]
fn what_no_host_can_have_is_left_out_and_said_and_no_status_is_rewritten() -> Result<()> {
    let cluster = Cluster::start("impossible")?;
    cluster.configure("127.0.0.2-127.0.0.10")?;
    cluster.create(&["a"])?;
    let message = cluster.event("metallb-system", "config", "AddressesLeftOut")?;
    ensure!(
        message.contains("line 5, column 5: `127.0.0.2-127.0.0.10`"),
        "{message}"
    );
    let message = cluster.event("default", "a", "AllocationFailed")?;
    ensure!(message.contains("no usable address"), "{message}");
    assert!(cluster.metric("ferrolb_config_entries_left_out", "1")?);
    assert!(cluster.metric("metallb_k8s_client_config_loaded_bool", "1")?);
    assert!(cluster.metric("metallb_k8s_client_config_stale_bool", "0")?);

    cluster.configure("224.0.0.10/31\n  - 192.168.64.200")?;
    cluster.until("a gets the one that is left", |held| {
        held.get("a") == Some(&one("192.168.64.200"))
    })?;
    // The third one comes to wait after whatever would have been rewritten meanwhile.
    cluster.create(&["b"])?;
    cluster.event("default", "b", "AllocationFailed")?;
    assert!(cluster.metric("ferrolb_writes_total{outcome=\"written\"}", "1")?);
    assert!(cluster.metric("ferrolb_write_loops", "0")?);
    cluster.lab.check_alive(&cluster.controller)
}

#[test]
fn what_the_cluster_has_is_given_to_who_asks_and_what_a_cluster_ip_service_lists_comes_last()
-> Result<()> {
    let cluster = Cluster::start("claimed")?;
    let greedy = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "greedy", "namespace": "default" },
        "spec": {
            "selector": { "app": "greedy" },
            "ports": [{ "port": 80 }],
            "externalIPs": ["192.168.64.200"],
        },
    });
    cluster.lab.apply(&greedy.to_string())?;
    let get = [
        "get",
        "endpointslice",
        "kubernetes",
        "-o",
        "jsonpath={.endpoints[0].addresses[0]}",
    ];
    let api_server = cluster.lab.kubectl(&get)?;
    let api_server = api_server.trim();
    let get = [
        "get",
        "service",
        "kubernetes",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ];
    let cluster_ip = cluster.lab.kubectl(&get)?;
    let cluster_ip = cluster_ip.trim();
    cluster.configure(&format!(
        "{api_server}\n  - {cluster_ip}\n  - 192.168.64.200-192.168.64.201"
    ))?;
    cluster.create(&["a"])?;
    cluster.until("a has the only one that nobody else has", |held| {
        held.get("a") == Some(&one("192.168.64.201"))
    })?;
    cluster.create(&["b"])?;
    cluster.until("b has the one that is listed", |held| {
        held.get("b") == Some(&one("192.168.64.200"))
    })?;
    let message = cluster.event("default", "b", "AddressClaimed")?;
    ensure!(message.contains("Service default/greedy"), "{message}");
    cluster.create(&["c"])?;
    let message = cluster.event("default", "c", "AllocationFailed")?;
    ensure!(message.contains("own networks left out"), "{message}");
    for (name, address, words) in [
        ("api", api_server, "the API server's"),
        ("ip", cluster_ip, "cluster IPs of Services"),
    ] {
        let mut asks = load_balancer(name);
        asks["spec"]["loadBalancerIP"] = json!(address);
        cluster.lab.apply(&asks.to_string())?;
        cluster.until("it has what it asks for", |held| {
            held.get(name) == Some(&one(address))
        })?;
        let message = cluster.event("default", name, "AddressClaimed")?;
        ensure!(message.contains(words), "{message}");
    }
    // Once it is listed no more, nothing is left to be said.
    let none = json!({ "spec": { "externalIPs": null } });
    cluster.patch("greedy", &none)?;
    eventually(|| {
        let status: serde_json::Value = serde_json::from_str(&cluster.page("/status")?)?;
        let services = status["services"].as_array().into_iter().flatten();
        let b = services.into_iter().find(|service| service["name"] == "b");
        ensure!(b.is_some_and(|b| b["problem"].is_null()), "{status}");
        Ok(())
    })
}
