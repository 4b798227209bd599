//! MetalLB's objects as the configuration of a hollow cluster: from the start, beside a ConfigMap, with
//! errors, and with their kinds deleted under us.
//!
//! Needs root and the built daemons. One at a time (`--test-threads=1`): each starts a control plane.

mod objects {
    mod metallbs;
}

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use ferrolb_tests::manifests;
use ferrolb_tests::observe::FrameObserver;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, NodeKind};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use rustix::process::Signal;
use serde_json::{Value, json};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const NEXT: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 201);
const LATE: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 202);
const CONTROLLER: &str = "controller-cp";
const COMPILED: &str = "ferrolb-config";

fn metallb(kind: &str, name: &str, spec: &Value) -> String {
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": kind,
            "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec })
    .to_string()
}

fn pool(name: &str, addresses: &str) -> String {
    metallb("IPAddressPool", name, &json!({ "addresses": [addresses] }))
}

fn layer2(name: &str, spec: &Value) -> String {
    metallb("L2Advertisement", name, spec)
}

fn config_map(text: &str) -> String {
    json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "config", "namespace": NAMESPACE }, "data": { "config": text } })
    .to_string()
}

/// The kinds, as the chart defines them.
fn define_kinds(lab: &Lab) -> Result<()> {
    let file = lab.state().dir().join("crds.yaml");
    std::fs::write(&file, manifests::definitions()?)?;
    let file = file.to_string_lossy();
    lab.kubectl(&["apply", "--server-side", "-f", &file])?;
    lab.wait_for_kinds()
}

/// A cluster of three nodes where these objects were there before any daemon.
fn start_with(name: &str, objects: &[String]) -> Result<Cluster> {
    let before = |lab: &Lab| {
        define_kinds(lab)?;
        objects
            .iter()
            .try_for_each(|object| lab.apply(object).map(drop))
    };
    start_after(name, before, Daemon::speaker)
}

/// A cluster of three nodes where this was done before there was any daemon, with such speakers.
fn start_after(
    name: &str,
    before: impl FnOnce(&Lab) -> Result<()>,
    speaker: impl Fn(&str) -> Daemon,
) -> Result<Cluster> {
    let lab = Lab::builder(name).nodes(3).kind(NodeKind::Hollow).start()?;
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    lab.apply(&namespace.to_string())?;
    before(&lab)?;
    let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
    lab.start_daemon(&Daemon::controller("cp"))?;
    let names: Vec<_> = lab.nodes().iter().map(|node| node.name.clone()).collect();
    for node in &names {
        lab.start_daemon(&speaker(node))?;
    }
    let cluster = Cluster { lab, frames };
    for node in &names {
        cluster.wait_until_ready(node)?;
    }
    Ok(cluster)
}

fn get(lab: &Lab, object: &str, path: &str) -> Result<String> {
    let path = format!("jsonpath={{{path}}}");
    lab.kubectl(&["-n", NAMESPACE, "get", object, "-o", &path])
}

/// Until an object says this there.
fn until(lab: &Lab, object: &str, path: &str, value: &str) -> Result<()> {
    let is = || Ok(get(lab, object, path).is_ok_and(|it| it == value));
    wait_until(SOON, is, || Ok(()))
        .with_context(|| format!("{object} {path}: {:?}, not {value}", get(lab, object, path)))
}

/// Whether there are such kinds is asked each 30 s.
const KINDS_AND_SOON: Duration = Duration::from_secs(60);

/// Until there is an Event of that reason on that object; its message.
fn event(lab: &Lab, kind: &str, name: &str, reason: &str) -> Result<String> {
    let fields = format!("involvedObject.kind={kind},involvedObject.name={name},reason={reason}");
    let list = || {
        let path = "jsonpath={.items[*].message}";
        lab.kubectl(&[
            "get",
            "events",
            "-A",
            "--field-selector",
            &fields,
            "-o",
            path,
        ])
    };
    wait_until(KINDS_AND_SOON, || Ok(!list()?.is_empty()), || Ok(()))
        .with_context(|| format!("no {reason} on {kind} {name}"))?;
    list()
}

/// The first address of a Service.
fn address(lab: &Lab, service: &str) -> Result<String> {
    let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    lab.kubectl(&["get", "service", service, "-o", path])
}

/// A Service that asks for nothing.
fn create_service(lab: &Lab, name: &str) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "type": "LoadBalancer", "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    });
    lab.apply(&service.to_string())?;
    Ok(())
}

fn until_given(lab: &Lab, service: &str, expected: Ipv4Addr) -> Result<()> {
    let is = || Ok(address(lab, service)? == expected.to_string());
    wait_until(SOON, is, || lab.check_alive(CONTROLLER))
        .with_context(|| format!("{service} has {:?}, not {expected}", address(lab, service)))
}

/// Nothing is written for a while: what is in force, and the statuses of pools.
fn nothing_is_written(lab: &Lab, objects: &[&str]) -> Result<()> {
    let versions = || -> Result<Vec<_>> {
        let version = |object: &&str| get(lab, object, ".metadata.resourceVersion");
        objects.iter().map(version).collect()
    };
    let before = versions()?;
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        ensure!(versions()? == before, "written again: {objects:?}");
    }
    Ok(())
}

#[test]
fn objects_that_were_there_first_are_in_force_and_a_forgotten_configmap_is_not() -> Result<()> {
    let cluster = start_with(
        "objects-first",
        &[
            config_map(
                "address-pools: [{name: old, protocol: layer2, addresses: [192.168.64.230/32]}]",
            ),
            pool("lan", "192.168.64.200-192.168.64.203"),
            layer2("all", &json!({})),
        ],
    )?;
    let lab = &cluster.lab;
    let _pod = cluster.create_pod("web", "n3")?;
    cluster.create_service("Cluster", VIP)?;
    cluster.owner(VIP)?;
    assert!(cluster.page(VIP)?.starts_with("pod=web "));
    event(lab, "ConfigMap", "config", "ConfigIgnored")?;
    until(
        lab,
        &format!("configmap/{COMPILED}"),
        ".data.source",
        "objects",
    )?;
    until(lab, "ipaddresspool/lan", ".status.assignedIPv4", "1")?;
    until(lab, "ipaddresspool/lan", ".status.availableIPv4", "3")?;
    until(
        lab,
        "configurationstate/controller",
        ".status.result",
        "Valid",
    )?;
    // Put right again, whoever edits it.
    let edit =
        r#"{"status":{"assignedIPv4":5,"assignedIPv6":5,"availableIPv4":5,"availableIPv6":5}}"#;
    let patch = [
        "patch",
        "ipaddresspool",
        "lan",
        "--type=merge",
        "--subresource=status",
        "-p",
        edit,
    ];
    lab.kubectl(&[&["-n", NAMESPACE][..], &patch].concat())?;
    until(lab, "ipaddresspool/lan", ".status.assignedIPv4", "1")?;
    let compiled = format!("configmap/{COMPILED}");
    nothing_is_written(
        lab,
        &[
            &compiled,
            "ipaddresspool/lan",
            "configurationstate/controller",
        ],
    )?;
    // What is applied is in force within a second, and a moment.
    lab.apply(&pool("more", "192.168.64.210/32"))?;
    let begin = Instant::now();
    let is_compiled = lab.api(async |client| {
        let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        while begin.elapsed() < Duration::from_secs(2) {
            let data = maps.get(COMPILED).await?.data.unwrap_or_default();
            if data["config"].contains("192.168.64.210") {
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    ensure!(is_compiled, "not in force after two seconds");
    Ok(())
}

#[test]
fn a_change_over_from_the_configmap_moves_and_withdraws_nothing_and_neither_do_deleted_kinds()
-> Result<()> {
    let cluster = Cluster::start("objects-over", 3, "192.168.64.200-192.168.64.201")?;
    let lab = &cluster.lab;
    let log = lab.log(CONTROLLER)?;
    ensure!(
        !log.contains("metallb.io"),
        "no word of kinds that are missing: {log}"
    );
    let _pod = cluster.create_pod("web", "n3")?;
    cluster.create_service("Cluster", VIP)?;
    let owner = cluster.owner(VIP)?;
    let since = Instant::now();
    define_kinds(lab)?;
    // One after the other, as people do.
    lab.apply(&pool("other", "192.168.64.210/32"))?;
    let message = event(lab, "IPAddressPool", "other", "ConfigWaits")?;
    ensure!(message.contains(&VIP.to_string()), "{message}");
    lab.apply(&pool("lan", "192.168.64.200-192.168.64.203"))?;
    let source = format!("configmap/{COMPILED}");
    until(lab, &source, ".data.source", "configmap")?;
    lab.apply(&layer2("all", &json!({})))?;
    until(lab, &source, ".data.source", "objects")?;
    event(lab, "ConfigMap", "config", "ConfigIgnored")?;
    let stays = |when: &str| -> Result<()> {
        assert_eq!(cluster.owner(VIP)?, owner, "{when}");
        assert_eq!(address(lab, "web")?, VIP.to_string(), "{when}");
        assert!(cluster.page(VIP)?.starts_with("pod=web "), "{when}");
        let others = cluster.announcers(VIP, since)?;
        ensure!(
            others.iter().all(|node| *node == owner),
            "{when}: {others:?}"
        );
        Ok(())
    };
    stays("after the change")?;
    // Everything that MetalLB's chart would delete when it is uninstalled.
    let kinds = lab.kubectl(&["get", "crd", "-o", "name"])?;
    let kinds: Vec<_> = kinds
        .lines()
        .filter(|name| name.ends_with(".metallb.io"))
        .collect();
    lab.kubectl(&[&["delete"][..], &kinds].concat())?;
    until(lab, &source, ".data.orphaned", "true")?;
    create_service(lab, "next")?;
    until_given(lab, "next", NEXT)?;
    stays("without the kinds")?;
    lab.stop(CONTROLLER)?;
    lab.start(CONTROLLER)?;
    cluster.restart_speaker(&owner, Signal::TERM)?;
    create_service(lab, "third")?;
    until_given(lab, "third", Ipv4Addr::new(192, 168, 64, 202))?;
    stays("after a restart of everything")?;
    // Back by an act: an edit of the ConfigMap.
    let edited = "address-pools: [{name: back, protocol: layer2, addresses: [192.168.64.200-192.168.64.220]}]";
    lab.apply(&config_map(edited))?;
    until(lab, &source, ".data.source", "configmap")?;
    stays("with the ConfigMap again")
}

#[test]
fn a_bad_object_among_good_ones_changes_nothing_for_them() -> Result<()> {
    let cluster = start_with(
        "objects-bad",
        &[pool("lan", "192.168.64.200/32"), layer2("all", &json!({}))],
    )?;
    let lab = &cluster.lab;
    let _pod = cluster.create_pod("web", "n3")?;
    cluster.create_service("Cluster", VIP)?;
    let owner = cluster.owner(VIP)?;
    lab.apply(&pool("bad", "nonsense"))?;
    event(lab, "IPAddressPool", "bad", "ConfigRefused")?;
    until(
        lab,
        "configurationstate/controller",
        ".status.result",
        "Invalid",
    )?;
    // One that was good: its last good version stays.
    lab.apply(&pool("lan", "192.168.64.203-192.168.64.200"))?;
    event(lab, "IPAddressPool", "lan", "ConfigRefused")?;
    lab.apply(&pool("more", "192.168.64.201/32"))?;
    create_service(lab, "next")?;
    until_given(lab, "next", NEXT)?;
    assert_eq!(cluster.owner(VIP)?, owner);
    lab.apply(&pool("lan", "192.168.64.200/32"))?;
    event(lab, "IPAddressPool", "lan", "ConfigAccepted")?;
    let delete = ["-n", NAMESPACE, "delete", "ipaddresspool", "bad"];
    lab.kubectl(&delete)?;
    until(
        lab,
        "configurationstate/controller",
        ".status.result",
        "Valid",
    )?;
    // The last pool is deleted: nothing is taken from anybody.
    lab.kubectl(&["-n", NAMESPACE, "delete", "ipaddresspools", "--all"])?;
    event(lab, "ConfigMap", COMPILED, "PoolsGone")?;
    assert_eq!(address(lab, "web")?, VIP.to_string());
    assert_eq!(cluster.owner(VIP)?, owner);
    create_service(lab, "late")?;
    event(lab, "Service", "late", "AllocationFailed")?;
    // A ConfigMap that is written after the pools went is in force, and what was said of objects no longer holds.
    lab.apply(&config_map(
        "address-pools: [{name: lan, protocol: layer2, addresses: [192.168.64.200-192.168.64.202]}]",
    ))?;
    until_given(lab, "late", LATE)?;
    until(
        lab,
        "configurationstate/controller",
        ".status.result",
        "Unknown",
    )?;
    Ok(())
}

#[test]
fn advertisements_choose_nodes_and_services_and_speakers_know_the_labels() -> Result<()> {
    let for_web = json!({ "serviceSelectors": [{ "matchLabels": { "expose": "yes" } }],
                          "nodeSelectors": [{ "matchLabels": { "kubernetes.io/hostname": "n2" } }] });
    let cluster = start_with(
        "objects-chosen",
        &[
            pool("lan", "192.168.64.200-192.168.64.201"),
            layer2("web", &for_web),
        ],
    )?;
    let lab = &cluster.lab;
    lab.kubectl(&[
        "label",
        "node",
        "n2",
        "kubernetes.io/hostname=n2",
        "--overwrite",
    ])?;
    let _pod = cluster.create_pod("web", "n3")?;
    cluster.create_service("Cluster", VIP)?;
    event(lab, "Service", "web", "notAnnounced")?;
    assert_eq!(cluster.answering(VIP)?, [""; 0]);
    lab.kubectl(&["label", "service", "web", "expose=yes"])?;
    assert_eq!(cluster.owner(VIP)?, "n2");
    lab.kubectl(&["label", "service", "web", "expose=no", "--overwrite"])?;
    let is_silent = || Ok(cluster.answering(VIP)?.is_empty());
    wait_until(SOON, is_silent, || Ok(()))?;
    Ok(())
}

#[test]
fn a_speaker_that_starts_beside_a_broken_configmap_keeps_its_node_selectors() -> Result<()> {
    let cluster = Cluster::start("objects-broken", 3, "192.168.64.200/32")?;
    let lab = &cluster.lab;
    lab.kubectl(&["label", "node", "n2", "serves=yes"])?;
    let selecting = "address-pools: [{name: lan, protocol: layer2, addresses: [192.168.64.200/32], \
                     node-selectors: [{match-labels: {serves: \"yes\"}}]}]";
    lab.apply(&config_map(selecting))?;
    let compiled = format!("configmap/{COMPILED}");
    let is_compiled = || Ok(get(lab, &compiled, ".data.config")?.contains("serves"));
    wait_until(SOON, is_compiled, || Ok(()))?;
    let _pod = cluster.create_pod("web", "n3")?;
    cluster.create_service("Cluster", VIP)?;
    let is_n2 = || Ok(cluster.answering(VIP)? == ["n2"]);
    wait_until(SOON, is_n2, || Ok(()))?;
    lab.apply(&config_map("address-pools: ["))?;
    event(lab, "ConfigMap", "config", "ConfigRefused")?;
    for node in ["n1", "n2", "n3"] {
        cluster.restart_speaker(node, Signal::TERM)?;
    }
    assert_eq!(cluster.owner(VIP)?, "n2");
    // Nobody else takes it: n1 and n3 know that they are not selected.
    lab.stop(&Daemon::speaker("n2").process_name())?;
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        let answering = cluster.answering(VIP)?;
        ensure!(answering.iter().all(|node| node == "n2"), "{answering:?}");
    }
    Ok(())
}

/// What the chart gives with `speaker.serviceL2Status`.
fn may_write_service_statuses() -> [String; 2] {
    let metadata = json!({ "name": "l2-statuses", "namespace": NAMESPACE });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
        "rules": [
            { "apiGroups": ["metallb.io"], "resources": ["servicel2statuses"], "verbs": ["list", "create", "delete"] },
            { "apiGroups": ["metallb.io"], "resources": ["servicel2statuses/status"], "verbs": ["patch"] },
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "l2-statuses" },
        "subjects": [{ "kind": "ServiceAccount", "name": "ferrolb-speaker", "namespace": NAMESPACE }],
    });
    [role.to_string(), binding.to_string()]
}

#[test]
fn a_service_has_a_status_of_the_node_that_announces_it() -> Result<()> {
    let before = |lab: &Lab| {
        define_kinds(lab)?;
        let objects = [
            pool("lan", "192.168.64.200/32"),
            layer2("all", &json!({ "interfaces": ["eth0"] })),
        ];
        let mut all = may_write_service_statuses().into_iter().chain(objects);
        all.try_for_each(|object| lab.apply(&object).map(drop))
    };
    let speaker = |node: &str| Daemon::speaker(node).arg("--service-l2-status");
    let cluster = start_after("objects-l2-status", before, speaker)?;
    let lab = &cluster.lab;
    let _pod = cluster.create_pod("web", "n3")?;
    cluster.create_service("Cluster", VIP)?;
    let all = || {
        let path = "jsonpath={range .items[*]}{.status.node} {.status.serviceNamespace}/{.status.serviceName} \
                    {.status.interfaces[*].name};{end}";
        lab.kubectl(&["-n", NAMESPACE, "get", "servicel2statuses", "-o", path])
    };
    let until_it_says = |wanted: &str| {
        wait_until(SOON, || Ok(all()? == wanted), || Ok(()))
            .with_context(|| format!("{:?}, not {wanted}", all()))
    };
    let owner = cluster.owner(VIP)?;
    until_it_says(&format!("{owner} default/web eth0;"))?;
    // It moves, and the other one is deleted by whoever announces now.
    lab.stop(&Daemon::speaker(&owner).process_name())?;
    let moved = || Ok(cluster.answering(VIP)?.iter().any(|node| *node != owner));
    wait_until(SOON, moved, || Ok(()))?;
    let next = cluster.owner(VIP)?;
    until_it_says(&format!("{next} default/web eth0;"))?;
    lab.kubectl(&["delete", "service", "web"])?;
    until_it_says("")?;
    let cleanup = lab.plugin(&["cleanup", "-n", NAMESPACE])?;
    let left = String::from_utf8(cleanup.stdout)?;
    ensure!(left.contains("ConfigurationState"), "{left}");
    Ok(())
}
