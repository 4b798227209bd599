//! The controller against a real API server, with the chart's rights.
//!
//! Needs root and the built controller. One at a time (`--test-threads=1`): each starts a control
//! plane.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrolb_tests::daemon::{Daemon, NAMESPACE, program};
use ferrolb_tests::observe::http_get;
use ferrolb_tests::{Lab, NodeKind};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Service};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

mod controller {
    mod foreign;
    mod network;
    mod sharing;
}

/// Longer than anything takes here; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn services_wait_for_a_configuration_and_get_addresses_as_soon_as_there_are_any() -> Result<()> {
    let cluster = Cluster::start("wait")?;
    cluster.create(&["a", "b", "c"])?;
    let message = cluster.event("default", "a", "AllocationFailed")?;
    assert_eq!(
        message,
        "no addresses yet: create ConfigMap metallb-system/config with address pools"
    );
    assert!(
        cluster.page("/readyz")?.starts_with("ok"),
        "nothing hinders it"
    );

    cluster.configure("192.168.64.200-192.168.64.201")?;
    let given = cluster.until("two addresses", |held| held.len() == 2)?;
    assert_eq!(given["a"], ["192.168.64.200"]);
    assert_eq!(given["b"], ["192.168.64.201"]);
    let message = cluster.event("default", "a", "IPAllocated")?;
    assert_eq!(message, "assigned 192.168.64.200 from pool default");
    assert!(cluster.metric("ferrolb_pending_services{reason=\"pool_exhausted\"}", "1")?);

    // A larger pool, a deletion, a change of type: each helps those who wait at once.
    cluster.configure("192.168.64.200-192.168.64.202")?;
    cluster.until("c gets the new address", |held| {
        held.get("c") == Some(&one("192.168.64.202"))
    })?;
    cluster.create(&["d", "e"])?;
    for name in ["d", "e"] {
        cluster.event("default", name, "AllocationFailed")?;
    }
    cluster.lab.kubectl(&["delete", "service", "a"])?;
    cluster.until("d gets a's address", |held| {
        held.get("d") == Some(&one("192.168.64.200"))
    })?;
    cluster.patch("b", &json!({ "spec": { "type": "ClusterIP" } }))?;
    let held = cluster.until("e gets b's", |held| {
        held.get("e") == Some(&one("192.168.64.201"))
    })?;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["c", "d", "e"]);
    assert!(cluster.metric(
        "metallb_allocator_addresses_in_use_total{pool=\"default\"}",
        "3.0"
    )?);
    let given = |message: &str| message.starts_with("assigned 192.168.64.201");
    cluster.event_like("default", "e", given)?;
    cluster.nothing_is_written_but_the_lease()
}

#[test]
fn a_report_replaces_what_is_not_in_use_yet_and_what_no_host_can_have_and_nothing_else()
-> Result<()> {
    let cluster = Cluster::start("in-use")?;
    cluster.configure("192.168.64.0-192.168.64.9")?;
    cluster.create(&["a"])?;
    cluster.until("a has an address", |held| held.contains_key("a"))?;
    cluster.create(&["b"])?;
    cluster.until("b has an address", |held| held.contains_key("b"))?;
    // Whatever statuses show to a new leader is in use.
    cluster.restart()?;
    cluster.create(&["new"])?;
    cluster.until("new has an address", |held| {
        held.get("new") == Some(&one("192.168.64.3"))
    })?;
    cluster.report(&[
        ("192.168.64.0", Some("192.168.64.0/24")),
        ("192.168.64.1", None),
        ("192.168.64.3", None),
    ])?;
    let held = cluster.until("a and new have others", |held| {
        let has_other = |name, former| held.get(name).is_some_and(|has| *has != one(former));
        has_other("a", "192.168.64.0") && has_other("new", "192.168.64.3") && held.contains_key("b")
    })?;
    assert_eq!(held["b"], ["192.168.64.1"], "in use, whatever is reported");
    let message = cluster.event("default", "b", "addressConflict")?;
    assert!(message.contains("MAC 02:00:c0:a8:40:64"), "{message}");
    let metric = "ferrolb_addresses_in_conflict{ip=\"192.168.64.1\",mac=\"02:00:c0:a8:40:64\",\
                  reason=\"address_conflict\"}";
    assert!(cluster.metric(metric, "1")?);
    // The command in the Event works as it stands, with an address filled in.
    let (_, command) = message.split_once(": kubectl ").context("a command")?;
    let command = command.replace("ADDRESS", "192.168.64.9");
    cluster
        .lab
        .kubectl(&command.split(' ').collect::<Vec<_>>())?;
    cluster.until("b has the address that a person chose", |held| {
        held.get("b") == Some(&one("192.168.64.9"))
    })?;
    Ok(())
}

#[test]
fn a_broken_edit_changes_nothing_and_is_said_where_people_look() -> Result<()> {
    let cluster = Cluster::start("broken")?;
    cluster.configure("192.168.64.200-192.168.64.201")?;
    cluster.create(&["a"])?;
    cluster.until("a has an address", |held| held.len() == 1)?;

    // The range ends before it starts, in line 5.
    cluster.configure("192.168.64.209-192.168.64.203")?;
    let message = cluster.event(NAMESPACE, "config", "ConfigRefused")?;
    assert!(message.contains("line 5, column "), "{message}");
    assert!(
        message.contains("the last good configuration stays in force"),
        "{message}"
    );
    assert!(cluster.metric("metallb_k8s_client_config_stale_bool", "1")?);
    assert!(cluster.metric("metallb_k8s_client_config_loaded_bool", "1")?);
    cluster.log_until(|line| {
        line["level"] == "ERROR" && line.to_string().contains("line 5, column ")
    })?;
    cluster.create(&["b"])?;
    let held = cluster.until("b gets an address all the same", |held| held.len() == 2)?;
    assert_eq!(held["a"], ["192.168.64.200"]);

    // A restart begins with what was in force: what is held stays, and what is new waits for a larger pool.
    cluster.restart()?;
    cluster.create(&["c"])?;
    let message = cluster.event("default", "c", "AllocationFailed")?;
    assert!(message.contains("no IPv4 address is left"), "{message}");
    assert_eq!(cluster.held()?, held);
    assert!(cluster.metric("metallb_k8s_client_config_stale_bool", "1")?);

    cluster.configure("192.168.64.200-192.168.64.209")?;
    cluster.event(NAMESPACE, "config", "ConfigAccepted")?;
    cluster.until("c gets its address", |held| held.len() == 3)?;
    assert!(cluster.metric("metallb_k8s_client_config_stale_bool", "0")?);
    Ok(())
}

#[test]
fn a_status_write_leaves_the_users_metadata_alone_with_and_without_the_right_to_patch() -> Result<()>
{
    let cluster = Cluster::start("metadata")?;
    cluster.configure("192.168.64.200-192.168.64.209")?;
    cluster.check_metadata("patched")?;

    // MetalLB's manifests, minikube's among them, allow update alone.
    let role = [
        "clusterrole",
        "-l",
        "app.kubernetes.io/component=controller",
        "-o",
        "name",
    ];
    let role = cluster.lab.kubectl(&[&["get"][..], &role].concat())?;
    let rules: Vec<Value> = serde_json::from_str(&cluster.lab.kubectl(&[
        "get",
        role.trim(),
        "-o",
        "jsonpath={.rules}",
    ])?)?;
    let without_patch = rules.into_iter().filter_map(|mut rule| {
        if rule["resources"] == json!(["services"]) {
            rule["verbs"] = json!(["get", "list", "watch", "update"]);
        }
        if rule["resources"] == json!(["services/status"]) {
            rule["verbs"] = json!(["update"]);
        }
        let taken = [
            json!(["nodes", "namespaces"]),
            json!(["endpointslices"]),
            json!(["servicecidrs"]),
        ];
        (!taken.contains(&rule["resources"])).then_some(rule)
    });
    let rules = json!({ "rules": without_patch.collect::<Vec<_>>() }).to_string();
    cluster
        .lab
        .kubectl(&["patch", role.trim(), "--type=merge", "-p", &rules])?;
    let only_config = json!({ "rules": [{
        "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"],
    }] });
    let namespaced = [
        "patch",
        "role",
        "ferrolb-controller",
        "-n",
        NAMESPACE,
        "--type=merge",
    ];
    let patch = ["-p", &only_config.to_string()];
    cluster.lab.kubectl(&[&namespaced[..], &patch].concat())?;
    cluster.restart()?;
    cluster.check_metadata("replaced")?;
    for word in ["nodes", "namespaces", "leases", "servicecidrs"] {
        let said = format!("no right to watch {word}").replace("watch leases", "leases");
        let log = cluster.lab.log(&cluster.controller)?;
        assert_eq!(log.matches(&said).count(), 1, "{said} is said once:\n{log}");
    }
    assert!(cluster.metric("ferrolb_leader", "1")?, "it is the only one");
    // One that was told to be one of several waits instead: two would write against each other.
    let waits = Daemon::controller("n1").arg("--leader-elect");
    cluster.lab.start_daemon(&waits)?;
    eventually(|| {
        let ready = page(&cluster.lab, "n1", "/readyz")?;
        ensure!(ready.contains("no right to leases"), "{ready}");
        Ok(())
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "with --nocapture it tells how long")]
fn of_two_controllers_one_gives_addresses_and_the_other_takes_over_in_seconds() -> Result<()> {
    const SERVICES: usize = 100;
    let cluster = Cluster::start("two")?;
    cluster.configure("192.168.65.0/24")?;
    assert!(
        cluster.metric("ferrolb_leader", "1")?,
        "the first one leads"
    );
    let second = Daemon::controller("n1").arg("--peers-secret=ferrolb-peers");
    let other = cluster.lab.start_daemon(&second)?;
    eventually(|| {
        ensure!(
            leads(&cluster.lab, "n1")? == Some(false),
            "the second one does not follow"
        );
        ensure!(
            page(&cluster.lab, "n1", "/readyz")?.starts_with("ok"),
            "nor is it ready"
        );
        Ok(())
    })?;
    let key = || {
        let secret = ["get", "secret", "-n", NAMESPACE, "ferrolb-peers", "-o"];
        let key = "jsonpath={.data.key-1}";
        cluster.lab.kubectl(&[&secret[..], &[key]].concat())
    };
    let made = key()?;
    assert_ne!(made, "", "the speakers have a key");
    let secret = ["get", "secret", "-n", NAMESPACE, "ferrolb-peers", "-o"];
    let created = [&secret[..], &[r"jsonpath={.data.\.created}"]].concat();
    let created = cluster.lab.kubectl(&created)?;
    assert_ne!(created, "", "and know when it was made");

    // For this one there is no address, which the first one says.
    let mut hopeless = load_balancer("hopeless");
    hopeless["metadata"]["annotations"] = json!({ "metallb.io/address-pool": "none" });
    cluster.lab.apply(&hopeless.to_string())?;
    cluster.event("default", "hopeless", "AllocationFailed")?;

    // Killed in the middle of its work, without a word.
    let names: Vec<_> = (0..SERVICES)
        .map(|number| format!("s{number:03}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (before, killed) = std::thread::scope(|scope| {
        let creating = scope.spawn(|| cluster.create(&names));
        cluster.until("some have an address", |held| held.len() >= 30)?;
        cluster.lab.kill(&cluster.controller)?;
        let killed = Instant::now();
        let before = cluster.held()?;
        creating
            .join()
            .map_err(|_| anyhow::anyhow!("creating panicked"))??;
        anyhow::Ok((before, killed))
    })?;
    // Whatever the first one got done, these are for the second one.
    cluster.create(&["t0", "t1"])?;
    let after = cluster.until("all have an address", |held| held.len() == SERVICES + 2)?;
    println!(
        "takeover after kill -9: all served after {:?}",
        killed.elapsed()
    );
    assert_no_address_twice(&after);
    for (name, addresses) in &before {
        assert_eq!(&after[name], addresses, "{name} keeps its address");
    }

    // It comes back, follows, and takes over at once when the other one is asked to end.
    cluster.lab.start(&cluster.controller)?;
    eventually(|| {
        ensure!(
            leads(&cluster.lab, "cp")? == Some(false),
            "it does not follow yet"
        );
        ensure!(
            cluster.page("/readyz")?.starts_with("ok"),
            "nor is it ready"
        );
        Ok(())
    })?;
    let asked = Instant::now();
    cluster.lab.stop(&other)?;
    cluster.create(&["last"])?;
    let last = cluster.until("the last one has an address", |held| {
        held.contains_key("last") && held.len() == SERVICES + 3
    })?;
    println!(
        "takeover after SIGTERM: a new Service served after {:?}",
        asked.elapsed()
    );
    assert_no_address_twice(&last);
    for (name, addresses) in &after {
        assert_eq!(&last[name], addresses, "{name} keeps its address");
    }
    // Both have looked at the hopeless one too: for the Service that they served last, they had to.
    let events = ["get", "events", "-o", "json"];
    let events: Value = serde_json::from_str(&cluster.lab.kubectl(&events)?)?;
    let events = events["items"].as_array().into_iter().flatten();
    let said = events.filter(|event| event["involvedObject"]["name"] == "hopeless");
    assert_eq!(said.count(), 1, "a new leader repeats nothing");
    cluster.lab.start(&other)?;
    page(&cluster.lab, "n1", "/healthz")?;
    eventually(|| {
        let ready = page(&cluster.lab, "n1", "/readyz")?;
        ensure!(ready.starts_with("ok"), "{ready}");
        Ok(())
    })?;
    assert_eq!(key()?, made, "it keeps the key that is there");
    let renewed = cluster.lease_renewed()?;
    let digits = renewed.rsplit_once('.').map(|(_, fraction)| fraction.len());
    assert_eq!(digits, Some("123456Z".len()), "{renewed}");
    Ok(())
}

#[test]
fn what_the_cluster_and_its_network_need_is_not_taken_from_them() -> Result<()> {
    let cluster = Cluster::start("needs")?;
    let node = cluster.lab.host("n1")?.ipv4;
    assert_eq!(node.to_string(), "192.168.64.11");
    cluster.configure("192.168.64.11-192.168.64.14")?;

    // A node's own address goes to whom asks for it, and no port that the node needs with it.
    cluster.create(&["a"])?;
    let held = cluster.until("a has an address", |held| held.contains_key("a"))?;
    assert_eq!(held["a"], ["192.168.64.12"], "not the node's own");
    let asking = |name: &str, port: u16, annotations: Value| {
        let mut service = load_balancer(name);
        service["spec"]["loadBalancerIP"] = json!("192.168.64.11");
        service["spec"]["ports"] = json!([{ "port": port }]);
        service["metadata"]["annotations"] = annotations;
        cluster.lab.apply(&service.to_string()).map(drop)
    };
    asking("ssh", 22, json!({}))?;
    let message = cluster.event("default", "ssh", "AllocationFailed")?;
    assert!(
        message.contains("192.168.64.11 is the address of node n1"),
        "{message}"
    );
    asking("ssh", 22, json!({ "ferrolb.io/allow-node-ports": "true" }))?;
    cluster.until("ssh has it, since it insists", |held| {
        held.get("ssh") == Some(&one("192.168.64.11"))
    })?;
    cluster.event("default", "ssh", "NodeAddressGiven")?;

    // It goes to another address by a person's word, and a speaker's report keeps the old one back. What a
    // new leader finds in a status is in use from the first moment.
    cluster.restart()?;
    cluster.report(&[("192.168.64.12", None)])?;
    cluster.event("default", "a", "addressConflict")?;
    let wish =
        json!({ "metadata": { "annotations": { "metallb.io/loadBalancerIPs": "192.168.64.13" } } });
    cluster.patch("a", &wish)?;
    cluster.until("a has another address", |held| {
        held.get("a") == Some(&one("192.168.64.13"))
    })?;
    // The report is an old one: its time is over soon, and the address is tried again.
    eventually(|| {
        let map = ["get", "configmap", "-n", NAMESPACE, "ferrolb-conflicts"];
        let data = cluster
            .lab
            .kubectl(&[&map[..], &["-o", "jsonpath={.data}"]].concat())?;
        ensure!(!data.contains("192.168.64.12"), "{data}");
        Ok(())
    })?;
    cluster.create(&["again"])?;
    cluster.until("the address is given again", |held| {
        held.get("again") == Some(&one("192.168.64.12"))
    })?;

    // Another load balancer that insists gets the Service; one that was there first keeps it.
    for _ in 0..2 {
        cluster.until("a has our address", |held| {
            held.get("a") == Some(&one("192.168.64.13"))
        })?;
        cluster.write_status("a", "rival", &["10.9.9.9"])?;
    }
    let said = |message: &str| message.starts_with("rival rewrites this Service's status");
    cluster.event_like("default", "a", said)?;
    assert_eq!(
        cluster.held()?["a"],
        ["10.9.9.9"],
        "it is left to the rival"
    );
    // One that only takes addresses away leaves no name.
    for _ in 0..2 {
        cluster.until("again has our address", |held| {
            held.get("again") == Some(&one("192.168.64.12"))
        })?;
        cluster.write_status("again", "rival", &[])?;
    }
    let said = |message: &str| message.starts_with("a program without a name empties");
    cluster.event_like("default", "again", said)?;
    assert_eq!(cluster.held()?.get("again"), None, "it is left so");
    cluster.lab.stop(&cluster.controller)?;
    cluster.create(&["theirs", "metallbs"])?;
    cluster.write_status("theirs", "rival", &["192.168.64.13"])?;
    cluster.write_status("metallbs", "controller", &["192.168.64.14"])?;
    cluster.lab.start(&cluster.controller)?;
    let left = |message: &str| message.starts_with("rival wrote this Service's status");
    cluster.event_like("default", "theirs", left)?;
    let held = cluster.held()?;
    assert_eq!(held["theirs"], ["192.168.64.13"]);
    assert_eq!(held["metallbs"], ["192.168.64.14"]);

    // All of that stands in the status, for this host alone.
    let status: Value = serde_json::from_str(&cluster.page("/status")?)?;
    let reason = |name: &str| {
        let services = status["services"].as_array().into_iter().flatten();
        let mut named = services.filter(|service| service["name"] == name);
        named
            .next()
            .map(|service| service["problem"]["reason"].clone())
    };
    assert_eq!(reason("theirs"), Some(json!("foreign_status")));
    assert_eq!(reason("metallbs"), Some(Value::Null));
    assert_eq!(status["pools"][0]["total"], 4);
    assert_eq!(status["leading"], true);
    let at = SocketAddr::from((cluster.lab.host("cp")?.ipv4, 7472));
    let stranger = cluster.lab.client()?;
    let refused = stranger.enter(|| http_get(at, "/status", Duration::from_secs(2)))??;
    assert_eq!(refused.status, 403);
    Ok(())
}

#[test]
fn a_controller_killed_amid_two_hundred_creations_gives_no_address_twice_and_changes_none()
-> Result<()> {
    const SERVICES: usize = 200;
    let cluster = Cluster::start("killed")?;
    cluster.configure("192.168.65.0/24")?;
    let names: Vec<_> = (0..SERVICES)
        .map(|number| format!("s{number:03}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let before = std::thread::scope(|scope| {
        // The last ones come when it is dead: it cannot have served all before it is killed.
        let (first, rest) = names.split_at(SERVICES * 3 / 4);
        let (killed, is_killed) = mpsc::channel::<()>();
        let cluster = &cluster;
        let creating = scope.spawn(move || {
            cluster.create(first)?;
            let _ = is_killed.recv();
            cluster.create(rest)
        });
        cluster.until("some have an address", |held| held.len() >= 50)?;
        cluster.lab.kill(&cluster.controller)?;
        drop(killed);
        // Nobody writes now, so this is what the dead one left.
        let before = cluster.held()?;
        creating
            .join()
            .map_err(|_| anyhow::anyhow!("creating panicked"))??;
        anyhow::Ok(before)
    })?;
    assert!(
        (50..SERVICES).contains(&before.len()),
        "killed in the middle, not at {}",
        before.len()
    );

    cluster.lab.start(&cluster.controller)?;
    let after = cluster.until("all have an address", |held| held.len() == SERVICES)?;
    let distinct: BTreeSet<_> = after.values().flatten().collect();
    assert_eq!(distinct.len(), SERVICES, "no address twice");
    for (name, addresses) in &before {
        assert_eq!(&after[name], addresses, "{name} keeps its address");
    }
    Ok(())
}

#[test]
fn what_happened_while_the_api_server_was_away_is_picked_up() -> Result<()> {
    let cluster = Cluster::start_as(
        "apiless",
        &Daemon::controller("cp").arg("--log-level=debug"),
    )?;
    cluster.configure("192.168.64.200-192.168.64.201")?;
    cluster.create(&["a", "b"])?;
    let before = cluster.until("both have an address", |held| held.len() == 2)?;
    cluster.lab.stop("kube-apiserver")?;
    cluster.log_until(|line| {
        let line = line.to_string();
        line.contains("watch interrupted") || line.contains("watch failed")
    })?;
    cluster.lab.start("kube-apiserver")?;
    cluster.lab.wait_until_ready()?;
    cluster.create(&["c"])?;
    cluster.lab.kubectl(&["delete", "service", "a"])?;
    let held = cluster.until("c gets a's address", |held| held.contains_key("c"))?;
    assert_eq!(held["c"], before["a"]);
    assert_eq!(held["b"], before["b"]);
    // A server that has just started knows no history: it says 410 Gone, and everything is listed anew.
    cluster.log_until(|line| line.to_string().contains("too old resource version"))?;
    cluster.lab.check_alive(&cluster.controller)
}

#[test]
fn an_api_server_that_falls_silent_is_noticed_within_seconds() -> Result<()> {
    let cluster = Cluster::start_on("silent", "n1")?;
    cluster.configure("192.168.64.200-192.168.64.201")?;
    cluster.create(&["a"])?;
    cluster.until("a has an address", |held| held.len() == 1)?;
    // No packet says that the connection is dead: kube's own client would wait for 295 s.
    let cut = Instant::now();
    cluster.lab.cut("cp", false)?;
    cluster.log_until(|line| {
        let line = line.to_string();
        line.contains("watch interrupted") || line.contains("watch failed")
    })?;
    let noticed = cut.elapsed();
    assert!(
        noticed < Duration::from_secs(15),
        "noticed after {noticed:?}"
    );
    cluster.create(&["b"])?;
    cluster.lab.heal("cp")?;
    cluster.until("b has an address too", |held| held.len() == 2)?;
    cluster.lab.check_alive(&cluster.controller)
}

#[test]
fn a_port_that_a_predecessor_still_has_is_waited_for() -> Result<()> {
    let cluster = Cluster::start("port")?;
    cluster
        .page("/readyz")
        .context("the first one has the port")?;
    let host = cluster.lab.host("cp")?;
    let other = host
        .process("second", program("controller")?)
        .arg(format!(
            "--kubeconfig={}",
            cluster.lab.kubeconfig().display()
        ))
        .args(["--namespace=metallb-system", "--lb-class=none.example/none"])
        .env("FERROLB_HOST", host.ipv4.to_string());
    cluster.lab.spawn(other)?;
    log_until(&cluster.lab, "second", |line| {
        line.to_string().contains("the port is in use")
    })?;
    cluster.lab.stop(&cluster.controller)?;
    cluster.page("/readyz").map(drop)?;
    cluster.lab.check_alive("second")
}

/// A lab with a controller.
struct Cluster {
    lab: Lab,
    controller: String,
}

/// Addresses by Service; those without any are left out.
type Held = BTreeMap<String, Vec<String>>;

impl Cluster {
    fn start(name: &str) -> Result<Self> {
        Self::start_on(name, "cp")
    }

    fn start_on(name: &str, host: &str) -> Result<Self> {
        Self::start_as(name, &Daemon::controller(host))
    }

    fn start_as(name: &str, controller: &Daemon) -> Result<Self> {
        let lab = Lab::builder(name).nodes(1).kind(NodeKind::Hollow).start()?;
        let controller = lab.start_daemon(controller)?;
        Ok(Self { lab, controller })
    }

    fn restart(&self) -> Result<()> {
        self.lab.stop(&self.controller)?;
        self.lab.start(&self.controller)
    }

    /// Reports addresses in place of a speaker: another host has them, or no host of that subnet can.
    fn report(&self, addresses: &[(&str, Option<&str>)]) -> Result<()> {
        let entries = addresses.iter().map(|(address, subnet)| {
            let mut report = json!({
                "address": address, "mac": "02:00:c0:a8:40:64", "node": "n1",
                "service": "default/a", "time": "2026-11-25T18:00:00Z",
            });
            if let Some(subnet) = subnet {
                report["subnet"] = json!(subnet);
            }
            ((*address).to_owned(), json!(report.to_string()))
        });
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "ferrolb-conflicts", "namespace": NAMESPACE },
            "data": Value::Object(entries.collect()),
        });
        // Not by kubectl: an address is in use 10 s after it was given.
        self.lab.api(async |client| {
            let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
            let by = PatchParams::apply("lab").force();
            maps.patch("ferrolb-conflicts", &by, &Patch::Apply(&map))
                .await?;
            Ok(())
        })
    }

    /// Writes the ConfigMap with one pool.
    fn configure(&self, addresses: &str) -> Result<()> {
        let config = format!(
            "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - {addresses}\n"
        );
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "config", "namespace": NAMESPACE },
            "data": { "config": config },
        });
        self.lab.apply(&map.to_string()).map(drop)
    }

    /// Creates LoadBalancer Services, eight at a time.
    fn create(&self, names: &[&str]) -> Result<()> {
        self.lab.api(async |client| {
            let api: Api<Service> = Api::default_namespaced(client);
            let created = futures::stream::iter(names).map(|name| {
                let api = api.clone();
                let service = serde_json::from_value(load_balancer(name));
                async move {
                    Ok(api
                        .create(&PostParams::default(), &service?)
                        .await
                        .map(drop)?)
                }
            });
            let created: Vec<Result<()>> = created.buffered(8).collect().await;
            created.into_iter().collect()
        })
    }

    fn patch(&self, name: &str, patch: &Value) -> Result<()> {
        self.lab
            .kubectl(&["patch", "service", name, "-p", &patch.to_string()])
            .map(drop)
    }

    /// Creates a Service full of metadata, and looks at it when its address is there.
    fn check_metadata(&self, name: &str) -> Result<()> {
        let mut service = load_balancer(name);
        service["metadata"]["labels"] = json!({ "mine": "label" });
        service["metadata"]["annotations"] = json!({ "mine": "annotation" });
        service["metadata"]["finalizers"] = json!(["example.com/mine"]);
        self.lab.apply(&service.to_string())?;
        self.until("it has an address", |held| held.contains_key(name))?;
        let text = self.lab.kubectl(&[
            "get",
            "service",
            name,
            "-o",
            "json",
            "--show-managed-fields",
        ])?;
        let seen: Value = serde_json::from_str(&text)?;
        let meta = &seen["metadata"];
        assert_eq!(meta["labels"], json!({ "mine": "label" }));
        assert_eq!(meta["finalizers"], json!(["example.com/mine"]));
        assert_eq!(meta["annotations"]["mine"], "annotation");
        let applied = &meta["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
        assert!(applied.is_string(), "kubectl's own annotation survives");
        assert_eq!(
            seen["status"]["loadBalancer"]["ingress"][0]["ipMode"],
            "VIP"
        );
        let entries = meta["managedFields"]
            .as_array()
            .context("no managedFields")?;
        let ours = entries
            .iter()
            .find(|entry| entry["manager"] == "ferrolb-controller");
        let ours = ours.context("the status has no manager called ferrolb-controller")?;
        assert_eq!(ours["subresource"], "status");
        // Gone with its finalizer, so that the lab's namespace is as it was.
        self.patch(name, &json!({ "metadata": { "finalizers": null } }))
    }

    fn held(&self) -> Result<Held> {
        let list = self.lab.kubectl(&["get", "services", "-o", "json"])?;
        let list: Value = serde_json::from_str(&list)?;
        let items: Vec<Service> = serde_json::from_value(list["items"].clone())?;
        Ok(items.iter().filter_map(holding).collect())
    }

    /// Watches until `want` is true of what the Services hold.
    fn until(&self, what: &str, want: impl Fn(&Held) -> bool + Send + Sync) -> Result<Held> {
        let mut held = Held::new();
        let seen = watch_until(&self.lab, None, |event: watcher::Event<Service>| {
            match event {
                watcher::Event::Init => held.clear(),
                watcher::Event::Delete(service) => drop(held.remove(&service.name_any())),
                watcher::Event::Apply(service) | watcher::Event::InitApply(service) => {
                    held.remove(&service.name_any());
                    held.extend(holding(&service));
                }
                watcher::Event::InitDone => {}
            }
            want(&held).then(|| held.clone())
        });
        seen.with_context(|| format!("waited for: {what}"))
    }

    /// The message of the Event with that reason on that object, when it is there.
    fn event(&self, namespace: &str, object: &str, reason: &str) -> Result<String> {
        let seen = watch_until(
            &self.lab,
            Some(namespace),
            |event: watcher::Event<Event>| match event {
                watcher::Event::Apply(event) | watcher::Event::InitApply(event) => {
                    let named = event.involved_object.name.as_deref() == Some(object);
                    let same = named && event.reason.as_deref() == Some(reason);
                    same.then(|| event.message.unwrap_or_default())
                }
                _ => None,
            },
        );
        seen.with_context(|| format!("waited for an Event {reason} on {object}"))
    }

    /// Waits for an Event on the object whose message is like that.
    fn event_like(
        &self,
        namespace: &str,
        object: &str,
        like: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<()> {
        let seen = watch_until(
            &self.lab,
            Some(namespace),
            |event: watcher::Event<Event>| match event {
                watcher::Event::Apply(event) | watcher::Event::InitApply(event) => {
                    let named = event.involved_object.name.as_deref() == Some(object);
                    (named && like(&event.message.unwrap_or_default())).then_some(())
                }
                _ => None,
            },
        );
        seen.with_context(|| format!("waited for an Event on {object}"))
    }

    /// Writes a status as another load balancer does.
    fn write_status(&self, name: &str, manager: &str, addresses: &[&str]) -> Result<()> {
        self.lab.api(async |client| {
            let api: Api<Service> = Api::default_namespaced(client);
            let ingress: Vec<_> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
            let status = json!({ "status": { "loadBalancer": { "ingress": ingress } } });
            let params = PatchParams {
                field_manager: Some(manager.to_owned()),
                ..PatchParams::default()
            };
            api.patch_status(name, &params, &Patch::Merge(status))
                .await?;
            Ok(())
        })
    }

    /// What the controller answers.
    fn page(&self, path: &str) -> Result<String> {
        page(&self.lab, "cp", path)
    }

    /// Whether the metric gets that value.
    fn metric(&self, name: &str, value: &str) -> Result<bool> {
        let line = format!("{name} {value}");
        let found = eventually(|| {
            let page = self.page("/metrics")?;
            ensure!(
                page.lines().any(|one| one == line),
                "{line} is missing in\n{page}"
            );
            Ok(())
        });
        found.map(|()| true)
    }

    /// `spec.renewTime` of the Lease.
    fn lease_renewed(&self) -> Result<String> {
        let lease = ["get", "lease", "-n", NAMESPACE, "ferrolb-controller"];
        let renewed = "jsonpath={.spec.renewTime}";
        self.lab.kubectl(&[&lease[..], &["-o", renewed]].concat())
    }

    /// The version of everything that the controller has the right to write, but the Lease.
    fn versions(&self) -> Result<String> {
        let version = r#"jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}"#;
        let of = |what: &[&str]| {
            let get = [&["get"][..], what, &["-o", version]].concat();
            self.lab.kubectl(&get)
        };
        let ours = "--field-selector=reportingComponent=ferrolb-controller";
        // The controller manager's, in its own time.
        let not_ours = "--field-selector=metadata.name!=kube-root-ca.crt";
        let all = [
            of(&["services"])?,
            of(&["configmaps,secrets", "-n", NAMESPACE, not_ours])?,
            of(&["events", "-A", ours])?,
        ];
        Ok(all.concat())
    }

    /// Looks at three renewals of the Lease.
    fn nothing_is_written_but_the_lease(&self) -> Result<()> {
        let mut renewed = BTreeSet::from([self.lease_renewed()?]);
        let before = self.versions()?;
        for one in ["Service c ", "ConfigMap config ", "Event c."] {
            ensure!(before.contains(one), "{one} is missing: {before}");
        }
        eventually(|| {
            renewed.insert(self.lease_renewed()?);
            ensure!(renewed.len() > 3, "{renewed:?}");
            Ok(())
        })?;
        assert_eq!(self.versions()?, before);
        Ok(())
    }

    fn log_until(&self, want: impl Fn(&Value) -> bool) -> Result<()> {
        log_until(&self.lab, &self.controller, want)
    }
}

/// What the controller on `host` answers there, over the loopback interface.
fn page(lab: &Lab, host: &str, path: &str) -> Result<String> {
    let host = lab.host(host)?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 7472));
    let fetch = || http_get(at, path, Duration::from_secs(2));
    // The port comes a moment after the process.
    let page = host.enter(|| eventually(|| Ok(fetch()?)))??;
    Ok(page.body)
}

/// Whether the controller on `host` leads, if it says so.
fn leads(lab: &Lab, host: &str) -> Result<Option<bool>> {
    let status: Value = serde_json::from_str(&page(lab, host, "/status")?)?;
    Ok(status["leading"].as_bool())
}

fn assert_no_address_twice(held: &Held) {
    let addresses: BTreeSet<_> = held.values().flatten().collect();
    assert_eq!(addresses.len(), held.len(), "no address twice: {held:?}");
}

fn load_balancer(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "type": "LoadBalancer", "selector": { "app": name }, "ports": [{ "port": 80 }] },
    })
}

fn holding(service: &Service) -> Option<(String, Vec<String>)> {
    let ingress = service
        .status
        .as_ref()?
        .load_balancer
        .as_ref()?
        .ingress
        .as_ref()?;
    let addresses: Vec<_> = ingress
        .iter()
        .filter_map(|entry| entry.ip.clone())
        .collect();
    (!addresses.is_empty()).then(|| (service.name_any(), addresses))
}

fn one(address: &str) -> Vec<String> {
    vec![address.to_owned()]
}

/// Watches until `look` finds what it looks for.
fn watch_until<K, T: Send>(
    lab: &Lab,
    namespace: Option<&str>,
    mut look: impl FnMut(watcher::Event<K>) -> Option<T> + Send,
) -> Result<T>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    lab.api(async |client| {
        let api: Api<K> = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = events.next().await {
                if let Some(found) = event.ok().and_then(&mut look) {
                    return Ok(found);
                }
            }
            bail!("the watch ended")
        });
        found.await.context("waited in vain")?
    })
}

/// Waits for a line of the log.
fn log_until(lab: &Lab, process: &str, want: impl Fn(&Value) -> bool) -> Result<()> {
    eventually(|| {
        let log = lab.log(process)?;
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        ensure!(
            lines.any(|line| want(&line)),
            "no such line in the log of {process}:\n{log}"
        );
        Ok(())
    })
}

/// Tries again until it works.
fn eventually<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = attempt();
        if result.is_ok() || Instant::now() > deadline {
            return result;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "logs and metrics cannot be watched"
        )]
        std::thread::sleep(Duration::from_millis(20));
    }
}
