//! What another load balancer has left, and what nobody reads: the words lead out of it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{Cluster, eventually, load_balancer, one};

/// Of the control plane and of n1: what ServiceLB of k3s writes.
const NODES: [&str; 2] = ["192.168.64.11", "192.168.64.12"];

#[test]
fn what_k3s_has_left_is_taken_over_by_the_command_that_is_said() -> Result<()> {
    let cluster = Cluster::start("adopt")?;
    cluster.lab.stop(&cluster.controller)?;
    cluster.create(&["traefik", "kept", "busy"])?;
    cluster.write_status("traefik", "k3s", &NODES)?;
    cluster.write_status("kept", "k3s", &["192.168.64.25"])?;
    cluster.write_status("busy", "k3s", &NODES)?;
    for name in ["traefik", "kept"] {
        an_hour_ago(&cluster, name, "k3s")?;
    }
    cluster.configure("192.168.64.20-192.168.64.30")?;
    cluster.lab.start(&cluster.controller)?;

    // An hour of silence alone changes nothing, and what to do is said.
    let command = "kubectl ferrolb adopt -n default svc/traefik";
    cluster.event_like("default", "traefik", |said| {
        said.starts_with("k3s (ServiceLB) wrote this Service's status") && said.contains(command)
    })?;
    let plugin = |args: &[&str]| cluster.lab.plugin(args);
    let explained = plugin(&["explain", "svc/traefik"])?;
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    ensure!(explained.contains(command), "{explained}");
    ensure!(explained.contains("--disable=servicelb"), "{explained}");
    assert_eq!(cluster.held()?["traefik"], NODES);

    // Who wrote a moment ago runs, as far as anybody knows.
    let refused = plugin(&["adopt", "svc/busy", "-o", "json"])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let answer: Value = serde_json::from_slice(&refused.stdout)?;
    assert_eq!(answer["services"][0]["outcome"], "refused", "{answer}");
    ensure!(answer["services"][0]["notBefore"].is_string(), "{answer}");

    let dry = plugin(&["adopt", "--manager", "k3s", "--all", "-A", "--dry-run"])?;
    let dry = String::from_utf8_lossy(&dry.stdout).into_owned();
    ensure!(dry.contains("default/kept: would be taken over"), "{dry}");
    assert_eq!(cluster.held()?["traefik"], NODES, "nothing is done yet");

    // The command as it was said.
    let words: Vec<_> = command.split(' ').skip(2).collect();
    let adopted = plugin(&words)?;
    assert_eq!(adopted.status.code(), Some(0), "{adopted:?}");
    cluster.until("traefik has an address of the pool", |held| {
        held.get("traefik") == Some(&one("192.168.64.20"))
    })?;
    let said = cluster.event("default", "traefik", "StatusAdopted")?;
    ensure!(said.contains("192.168.64.20"), "{said}");

    // An address that lies in the pool is kept. By hand, as the Event says it for who has no plugin.
    let annotate = ["annotate", "svc/kept", "ferrolb.io/adopt-from=k3s"];
    cluster.lab.kubectl(&annotate)?;
    let said = cluster.event("default", "kept", "StatusAdopted")?;
    ensure!(said.ends_with("keeps 192.168.64.25"), "{said}");

    // The annotation stays, as it would in Git. It changes nothing, also after a restart.
    cluster.restart()?;
    cluster.create(&["last"])?;
    let held = cluster.until("last has an address", |held| held.contains_key("last"))?;
    assert_eq!(held["traefik"], ["192.168.64.20"]);
    assert_eq!(held["kept"], ["192.168.64.25"]);
    assert_eq!(held["busy"], NODES);
    // Asked by the annotation alone, the controller says how long it waits.
    cluster
        .lab
        .kubectl(&["annotate", "svc/busy", "ferrolb.io/adopt-from=k3s"])?;
    cluster.event_like("default", "busy", |said| {
        said.contains("it is taken over at")
    })?;
    assert_eq!(cluster.held()?["busy"], NODES);
    Ok(())
}

/// As if the manager had written the status an hour ago.
fn an_hour_ago(cluster: &Cluster, name: &str, manager: &str) -> Result<()> {
    let service = [
        "get",
        "service",
        name,
        "-o",
        "json",
        "--show-managed-fields",
    ];
    let mut service: Value = serde_json::from_str(&cluster.lab.kubectl(&service)?)?;
    let entries = service["metadata"]["managedFields"].as_array_mut();
    let entries = entries.context("no managedFields")?;
    let of_manager = entries.iter_mut().find(|entry| entry["manager"] == manager);
    let entry = of_manager.context("the manager wrote nothing")?;
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    entry["time"] = json!(hour_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    // Of a change of times alone the API server makes none.
    let patch = json!({ "metadata": {
        "managedFields": service["metadata"]["managedFields"],
        "annotations": { "example.com/written": "an-hour-ago" },
    } });
    let patch = patch.to_string();
    let patch = [
        "patch",
        "service",
        name,
        "--type=merge",
        "-p",
        patch.as_str(),
    ];
    cluster.lab.kubectl(&patch).map(drop)
}

#[test]
fn an_annotation_that_nobody_reads_is_said_once_also_after_a_restart() -> Result<()> {
    let cluster = Cluster::start("slips")?;
    cluster.configure("192.168.64.20-192.168.64.30")?;
    let mut service = load_balancer("typo");
    service["metadata"]["annotations"] = json!({
        "metallb.universe.tf/allow-shared": "test-shareip",
        "metallb.universe.tf/loadBalancerIP": "192.168.64.27",
        "metallb.universe.tf/ip-allocated-from-pool": "default",
    });
    cluster.lab.apply(&service.to_string())?;
    let said = cluster.event("default", "typo", "UnknownAnnotation")?;
    for meant in ["allow-shared-ip?", "loadBalancerIPs?"] {
        ensure!(said.contains(meant), "{said}");
    }
    ensure!(!said.contains("from-pool"), "{said}");
    cluster.restart()?;
    // Whatever the new process says, it has said when this one has its address.
    cluster.create(&["after"])?;
    cluster.until("after has an address", |held| held.contains_key("after"))?;
    cluster.patch(
        "typo",
        &json!({ "metadata": { "labels": { "touched": "yes" } } }),
    )?;
    let slip = || -> Result<usize> {
        let events = ["get", "events", "-o", "json"];
        let events: Value = serde_json::from_str(&cluster.lab.kubectl(&events)?)?;
        let events = events["items"].as_array().context("no list")?.iter();
        Ok(events
            .filter(|one| one["reason"] == "UnknownAnnotation")
            .count())
    };
    cluster.event("default", "after", "IPAllocated")?;
    eventually(|| {
        ensure!(slip()? == 1);
        Ok(())
    })?;

    // Both ways of asking for the same, with a comma too many.
    let mut both = load_balancer("both");
    both["spec"]["loadBalancerIP"] = json!("192.168.64.28");
    both["metadata"]["annotations"] = json!({ "metallb.io/loadBalancerIPs": "192.168.64.28," });
    cluster.lab.apply(&both.to_string())?;
    cluster.until("it has the address that both ask for", |held| {
        held.get("both") == Some(&one("192.168.64.28"))
    })?;
    Ok(())
}
