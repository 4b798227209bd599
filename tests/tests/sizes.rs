//! What a tenant may write costs a daemon little memory, also while it starts: against a real API
//! server, with as much as that one takes.
//!
//! Needs root and the built daemons. One at a time (`--test-threads=1`): each starts a control plane.

#![expect(clippy::print_stdout, reason = "the figures are worth reading")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use ferrolb_tests::wait::wait_until;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Map, Value, json};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
/// MiB: the chart's limit leaves room above it.
const MOST: f64 = 48.0;
/// To list hundreds of megabytes takes an API server a while.
const LISTED: Duration = Duration::from_secs(120);

#[test]
fn a_tenants_big_objects_kill_nobody_and_others_are_served_meanwhile() -> Result<()> {
    let cluster = Cluster::start("sizes", 1, "192.168.64.200-192.168.64.230")?;
    // The others take what they get; one address is for whom asks for it.
    let pools = "address-pools:
- {name: lan, protocol: layer2, addresses: [192.168.64.201-192.168.64.230]}
- {name: mine, protocol: layer2, addresses: [192.168.64.200/32], auto-assign: false}
";
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "config", "namespace": NAMESPACE },
        "data": { "config": pools },
    });
    cluster.lab.apply(&map.to_string())?;
    let _pod = cluster.create_pod("web", "n1")?;
    let daemons = [Daemon::controller("cp"), Daemon::speaker("n1")].map(|one| one.process_name());
    let [controller, speaker] = &daemons;
    println!("{}", peaks(&cluster, "with nothing", &daemons)?);

    let begin = Instant::now();
    create(&cluster, big_objects())?;
    println!("created in {:?}", begin.elapsed());
    println!("{}", peaks(&cluster, "watching them", &daemons)?);

    let begin = Instant::now();
    cluster.lab.stop(controller)?;
    cluster.lab.start(controller)?;
    // Not until it is ready: that takes as long as it takes to list.
    cluster.lab.stop(speaker)?;
    cluster.lab.start(speaker)?;
    cluster.create_service("Cluster", VIP)?;
    let is_served = || Ok(!cluster.answering(VIP)?.is_empty());
    let both_live = || {
        cluster.lab.check_alive(controller)?;
        cluster.lab.check_alive(speaker)
    };
    wait_until(LISTED, is_served, both_live)?;
    assert!(cluster.page(VIP)?.starts_with("pod=web "));
    println!(
        "both restarted, and another Service served after {:?}",
        begin.elapsed()
    );
    println!("{}", peaks(&cluster, "restarted", &daemons)?);

    let refused = || {
        let events = cluster
            .lab
            .kubectl(&["get", "events", "-o", "custom-columns=M:.message"])?;
        let text =
            "metallb.io/address-pool has 260000 bytes, and at most 1024 are read: shorten it";
        Ok(events.contains(text))
    };
    wait_until(SOON, refused, || Ok(()))?;
    for daemon in &daemons {
        let log = cluster.lab.log(daemon)?;
        let longest = log.lines().map(str::len).max().unwrap_or_default();
        ensure!(longest < 10_000, "{daemon} writes lines of {longest} bytes");
    }
    Ok(())
}

/// 100 Services of 1.4 MB, mostly of labels, of which ten have EndpointSlices, which copy them, and 300
/// with as many annotations as there may be. It takes minutes to create them, so a quarter of each has to
/// do, unless `FERROLB_LONG` is set (make test-long).
fn big_objects() -> impl Iterator<Item = Value> {
    let part = if std::env::var_os("FERROLB_LONG").is_some() {
        1
    } else {
        4
    };
    // The API server writes each name a second time, into managedFields.
    let labels: Map<_, _> = (0..7_000)
        .map(|n| (format!("label-{n:057}"), json!("v".repeat(63))))
        .collect();
    let labelled = (0..100 / part).map(move |n| {
        let mut service = load_balancer(&format!("labels-{n:03}"), &labels, &Map::new());
        if n < 10 {
            service["spec"]["selector"] = json!({ "app": "nothing" });
        }
        service
    });
    let annotated = (0..300 / part).map(|n| {
        let (name, value) = match n % 3 {
            0 => ("example.com/note", "n"),
            1 => ("metallb.io/allow-shared-ip", "k"),
            // Six bytes each in JSON.
            _ => ("metallb.io/address-pool", "\u{1}"),
        };
        let annotations = [(name.to_owned(), json!(value.repeat(260_000)))];
        load_balancer(
            &format!("annotations-{n:03}"),
            &Map::new(),
            &annotations.into_iter().collect(),
        )
    });
    labelled.chain(annotated)
}

fn load_balancer(
    name: &str,
    labels: &Map<String, Value>,
    annotations: &Map<String, Value>,
) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "labels": labels, "annotations": annotations },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    })
}

fn create(cluster: &Cluster, services: impl Iterator<Item = Value> + Send) -> Result<()> {
    cluster.lab.api(async |client| {
        let api: Api<Service> = Api::default_namespaced(client);
        let created = futures::stream::iter(services).map(|service| {
            let api = api.clone();
            async move {
                let service = serde_json::from_value(service)?;
                api.create(&PostParams::default(), &service).await?;
                anyhow::Ok(())
            }
        });
        let begin = Instant::now();
        let mut created = std::pin::pin!(created.buffered(4).enumerate());
        while let Some((n, one)) = created.next().await {
            one?;
            if n % 20 == 19 {
                println!("{} created after {:?}", n + 1, begin.elapsed());
            }
        }
        Ok(())
    })
}

/// The most memory that each daemon has had since it started; too much is an error.
fn peaks(cluster: &Cluster, when: &str, daemons: &[String]) -> Result<String> {
    let mut text = when.to_owned();
    for daemon in daemons {
        let process = cluster
            .lab
            .alive(daemon)
            .with_context(|| format!("{daemon} is gone"))?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let peak = kib.context("no VmHWM")?.trim().parse::<f64>()? / 1_024.0;
        text = format!("{text}; {daemon}: peak {peak:.1} MiB");
        // For figures of a version that does not keep to it.
        let is_measuring = std::env::var_os("FERROLB_MEASURE").is_some();
        ensure!(peak < MOST || is_measuring, "{text}");
    }
    Ok(text)
}
