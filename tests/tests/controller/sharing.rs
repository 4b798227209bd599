//! Services that share an address: they are edited one after the other, and both are told of each other.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::super::{Cluster, NAMESPACE, eventually, load_balancer, one};

const SHARED: &str = "192.168.64.20";

/// A Service that shares under that key, with one port.
fn sharing(name: &str, key: &str, protocol: &str, port: u16) -> Value {
    let mut service = load_balancer(name);
    service["metadata"]["annotations"] = json!({ "metallb.universe.tf/allow-shared-ip": key });
    service["spec"]["selector"] = json!({ "app": "dns" });
    service["spec"]["ports"] = ports(&[(protocol, port)]);
    service
}

fn ports(ports: &[(&str, u16)]) -> Value {
    let ports = ports.iter();
    let ports = ports.map(|(protocol, port)| {
        json!({ "name": format!("p{port}"), "port": port, "protocol": protocol })
    });
    ports.collect()
}

impl Cluster {
    fn both_share(&self, names: [&str; 2]) -> Result<()> {
        self.until("both have the address", |held| {
            names
                .iter()
                .all(|name| held.get(*name) == Some(&one(SHARED)))
        })?;
        Ok(())
    }

    /// Lists are replaced, not merged.
    fn replace(&self, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let args = ["patch", "service", name, "--type", "merge", "-p", &patch];
        self.lab.kubectl(&args).map(drop)
    }

    /// How often the addresses in the status of the Service have changed: the controller says so in an
    /// Event each time.
    fn writes_of(&self, name: &str) -> Result<usize> {
        self.lab.api(async |client| {
            let api: Api<Event> = Api::default_namespaced(client);
            let events = api.list(&ListParams::default()).await?;
            let of_status = events.items.iter().filter(|event| {
                let reason = event.reason.as_deref().unwrap_or_default();
                event.involved_object.name.as_deref() == Some(name)
                    && ["IPAllocated", "ClearAssignment"].contains(&reason)
            });
            Ok(of_status.count())
        })
    }
}

#[test]
fn two_services_that_share_an_address_are_edited_one_by_one_and_both_keep_it() -> Result<()> {
    let cluster = Cluster::start("sharing")?;
    cluster.configure("192.168.64.20-192.168.64.30")?;
    let [t2, u2] = [("t2", "TCP"), ("u2", "UDP")]
        .map(|(name, protocol)| sharing(name, "y", protocol, 53).to_string());
    cluster.lab.apply(&t2)?;
    cluster.lab.apply(&u2)?;
    cluster.both_share(["t2", "u2"])?;
    for (name, other) in [("t2", "u2"), ("u2", "t2")] {
        let said = cluster.event("default", name, "AddressShared")?;
        let want = format!("shares {SHARED} with Service default/{other}");
        assert_eq!(said, want);
    }

    let policy = |policy: &str| json!({ "spec": { "externalTrafficPolicy": policy } });
    let key = |key: &str| json!({ "metadata": { "annotations": { "metallb.universe.tf/allow-shared-ip": key } } });
    for (first, second, edit, restarts) in [
        ("t2", "u2", policy("Local"), false),
        ("u2", "t2", policy("Cluster"), true),
        ("u2", "t2", key("renamed"), false),
    ] {
        cluster.patch(first, &edit)?;
        if restarts {
            cluster.restart()?;
        }
        for (one, other) in [(first, second), (second, first)] {
            let like = |said: &str| {
                said.starts_with(&format!(
                    "shares {SHARED} with Service default/{other}, and"
                ))
            };
            cluster.event_like("default", one, like)?;
        }
        cluster.patch(second, &edit)?;
        // Whatever is decided after that edit shows that it was seen.
        let probe = format!("seen-{first}-{}", u8::from(restarts));
        cluster.create(&[&probe])?;
        cluster.until("another one has an address", |held| {
            held.contains_key(&probe)
        })?;
        cluster.both_share(["t2", "u2"])?;
        cluster.lab.kubectl(&["delete", "service", &probe])?;
    }
    for name in ["t2", "u2"] {
        assert_eq!(
            cluster.writes_of(name)?,
            1,
            "the status of {name} was written once, at first"
        );
    }

    // A port that moves, the new place first: one leaves for a moment, is told why, and returns.
    let tcp = |numbers: &[u16]| {
        let all: Vec<_> = numbers.iter().map(|port| ("TCP", *port)).collect();
        json!({ "spec": { "ports": ports(&all) } })
    };
    for (name, port) in [("p1", 443), ("p2", 8080)] {
        cluster
            .lab
            .apply(&sharing(name, "p", "TCP", port).to_string())?;
    }
    let held = cluster.until("p1 and p2 share", |held| {
        held.contains_key("p1") && held.get("p1") == held.get("p2")
    })?;
    cluster.replace("p2", &tcp(&[8080, 443]))?;
    let said = cluster.event("default", "p2", "SharedPortTaken")?;
    ensure!(
        said.contains("with Service default/p1 (both want port 443/TCP)"),
        "{said}"
    );
    cluster.until("p2 has another address", |now| {
        now.contains_key("p2") && now.get("p2") != held.get("p2")
    })?;
    cluster.replace("p1", &tcp(&[80]))?;
    cluster.until("p2 is back", |now| now.get("p2") == held.get("p2"))?;
    assert_eq!(cluster.held()?["p1"], held["p1"]);
    Ok(())
}

#[test]
fn a_lodger_from_another_namespace_is_told_of_in_one_event_and_a_pool_may_keep_it_out() -> Result<()>
{
    let cluster = Cluster::start("tenants")?;
    cluster.configure("192.168.64.20-192.168.64.30")?;
    cluster
        .lab
        .apply(&sharing("host", "shared", "TCP", 80).to_string())?;
    cluster.until("the host has an address", |held| held.contains_key("host"))?;
    cluster.lab.kubectl(&["create", "namespace", "other"])?;
    let lodge = |name: &str, port: u16| {
        let mut lodger = sharing(name, "shared", "TCP", port);
        lodger["metadata"]["namespace"] = json!("other");
        cluster.lab.apply(&lodger.to_string())
    };
    let address_of = |name: &str| {
        eventually(|| {
            let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
            let get = ["get", "service", "-n", "other", name, "-o", path];
            let address = cluster.lab.kubectl(&get)?;
            ensure!(!address.is_empty(), "{name} has no address yet");
            Ok(address)
        })
    };
    let since = Instant::now();
    lodge("lodger", 81)?;
    assert_eq!(address_of("lodger")?, SHARED);
    for (namespace, name, other) in [
        ("default", "host", "other/lodger"),
        ("other", "lodger", "default/host"),
    ] {
        let said = cluster.event(namespace, name, "AddressShared")?;
        let want = format!("shares {SHARED} with Service {other}, since");
        ensure!(said.starts_with(&want), "{said}");
    }
    // It goes and comes under other names.
    for n in 0..5 {
        let former = if n == 0 {
            "lodger".to_owned()
        } else {
            format!("lodger{}", n - 1)
        };
        cluster
            .lab
            .kubectl(&["delete", "service", "-n", "other", &former])?;
        let name = format!("lodger{n}");
        lodge(&name, 81)?;
        assert_eq!(address_of(&name)?, SHARED);
        cluster.event("other", &name, "AddressShared")?;
    }
    let of_host = cluster.lab.kubectl(&[
        "get",
        "events",
        "--field-selector",
        "involvedObject.name=host,reason=AddressShared",
        "-o",
        "name",
    ])?;
    // One a minute at most.
    let most = 1 + usize::try_from(since.elapsed().as_secs() / 60)?;
    let count = of_host.lines().count();
    ensure!((1..=most).contains(&count), "{of_host}");

    // Who is there stays; who comes new gets an address of its own.
    let config = "address-pools:\n- name: default\n  protocol: layer2\n  share-within: namespace\n  \
                  addresses: [192.168.64.20-192.168.64.30]\n";
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "config", "namespace": NAMESPACE },
        "data": { "config": config },
    });
    cluster.lab.apply(&map.to_string())?;
    let said = cluster
        .event("default", "host", "SharedInDiscord")
        .context("the pool forbids it")?;
    ensure!(said.contains("share-within: namespace"), "{said}");
    lodge("late", 82)?;
    assert_eq!(address_of("late")?, "192.168.64.21");
    assert_eq!(address_of("lodger4")?, SHARED);
    assert_eq!(cluster.held()?["host"], [SHARED]);
    Ok(())
}
