//! On nodes without kubelets: nobody but us writes pods' readiness.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::Lab;
use ferrolb_tests::cluster::{Cluster, PORT, SOON};
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use ferrolb_tests::observe::TcpConnects;
use ferrolb_tests::wait::wait_until;
use serde_json::{Value, json};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const POOL: &str = "192.168.64.200-192.168.64.230";
/// Where the controller runs that acts, of four nodes: no test cuts it.
const CONTROLLER: &str = "n4";
/// Longer than a verdict, the wait after it, ten looks, and both replicas' turns.
const LONG: Duration = Duration::from_secs(15);

/// Four nodes with a pod on each of the first three, and rights as the chart gives them. Without the policy
/// that binds votes to their writer: the tokens of hollow nodes' speakers name no node.
fn serving(name: &str) -> Result<Cluster> {
    serving_on(name, 4, CONTROLLER, |_, _| Ok(()))
}

/// The same with so many nodes, and something done to each before its speaker starts.
fn serving_on(
    name: &str,
    nodes: u8,
    controller: &str,
    before: impl Fn(&Lab, &str) -> Result<()>,
) -> Result<Cluster> {
    let cluster = Cluster::start_with(name, nodes, POOL, |lab, node| {
        before(lab, node)?;
        Ok(Daemon::speaker(node).arg("--dead-nodes=remove"))
    })?;
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/ferrolb");
    let rights = ["template", "ferrolb", chart, "--namespace", NAMESPACE];
    let only = [
        "--show-only",
        "templates/dead-nodes.yaml",
        "--kube-version",
        "1.31.0",
    ];
    let set = ["--set", "deadNodes.endpoints=remove"];
    let rights = cluster.lab.helm(&[&rights[..], &only, &set].concat())?;
    cluster.lab.apply(&rights)?;
    // The speaker of that node has the usual port.
    let controller = Daemon::controller(controller)
        .arg("--dead-nodes=remove")
        .arg("--port=7473");
    cluster.lab.start_daemon(&controller)?;
    cluster.lab.stop(&Daemon::controller("cp").process_name())?;
    for node in ["n1", "n2", "n3"].into_iter().take(nodes.into()) {
        let _pod = cluster.create_pod(&format!("web-{node}"), node)?;
    }
    cluster.create_service("Cluster", VIP)?;
    cluster.page(VIP)?;
    let leads = || {
        let log = cluster.lab.log(&controller.process_name())?;
        Ok(log.contains("became leader"))
    };
    wait_until(3 * SOON, leads, || Ok(())).context("the second controller does not lead")?;
    Ok(cluster)
}

/// The status of a pod's condition Ready, and its reason.
fn readiness(cluster: &Cluster, pod: &str) -> Result<(String, String)> {
    let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status} \
                {.status.conditions[?(@.type=='Ready')].reason}";
    let text = cluster.lab.kubectl(&["get", "pod", pod, "-o", path])?;
    let (status, reason) = text.split_once(' ').unwrap_or((&text, ""));
    Ok((status.to_owned(), reason.trim().to_owned()))
}

fn is_marked(cluster: &Cluster, pod: &str) -> Result<bool> {
    Ok(readiness(cluster, pod)? == ("False".to_owned(), "NodeDead".to_owned()))
}

fn marked(cluster: &Cluster) -> Result<Vec<String>> {
    let path = "jsonpath={range .items[*]}{.metadata.name}=\
                {.status.conditions[?(@.type=='Ready')].reason} {end}";
    let pods = cluster.lab.kubectl(&["get", "pods", "-o", path])?;
    let marked = pods
        .split_whitespace()
        .filter_map(|pod| pod.strip_suffix("=NodeDead"));
    Ok(marked.map(str::to_owned).collect())
}

fn votes(cluster: &Cluster) -> Result<String> {
    let map = ["-n", NAMESPACE, "get", "configmap", "ferrolb-votes"];
    cluster
        .lab
        .kubectl(&[&map[..], &["-o", "jsonpath={.data}"]].concat())
}

fn events(cluster: &Cluster) -> Result<String> {
    let events = ["-n", "default", "get", "events", "--field-selector"];
    let of_nodes = [
        "involvedObject.kind=Node",
        "-o",
        "custom-columns=R:.reason,M:.message",
    ];
    cluster.lab.kubectl(&[&events[..], &of_nodes].concat())
}

/// Waits for an Event of a node that has this text: it is written after what it tells of.
fn is_told(cluster: &Cluster, text: &str) -> Result<()> {
    let is_told = || Ok(events(cluster)?.contains(text));
    wait_until(SOON, is_told, || Ok(()))
        .with_context(|| format!("no Event has {text}: {:?}", events(cluster)))
}

/// For `time`, and at its end: no pod is marked.
fn nobody_is_marked(cluster: &Cluster, time: Duration) -> Result<()> {
    let begun = Instant::now();
    let over = || {
        let marked = marked(cluster)?;
        ensure!(
            marked.is_empty(),
            "{marked:?} marked; votes: {}",
            votes(cluster)?
        );
        Ok(begun.elapsed() > time)
    };
    wait_until(time + SOON, over, || Ok(()))
}

fn node_of_no_owner(cluster: &Cluster) -> Result<&'static str> {
    let owner = cluster.owner(VIP)?;
    let others = ["n2", "n1", "n3"].into_iter().find(|node| *node != owner);
    others.context("some node is not the owner")
}

#[test]
fn a_dead_nodes_pod_leaves_rotation_at_once_and_is_back_when_the_node_is_heard() -> Result<()> {
    let cluster = serving("dead")?;
    ensure!(
        votes(&cluster)?.is_empty(),
        "without a death nothing is written"
    );
    let node = node_of_no_owner(&cluster)?;
    let pod = format!("web-{node}");
    let target = SocketAddr::from((VIP, PORT));
    let connects = cluster.on_lan(|| TcpConnects::start(target))?;
    let cut = Instant::now();
    cluster.lab.cut(node, false)?;
    wait_until(SOON, || is_marked(&cluster, &pod), || Ok(()))
        .with_context(|| format!("votes: {:?}; {:?}", votes(&cluster), events(&cluster)))?;
    println!("marked {:?} after the cut", cut.elapsed());
    assert_eq!(marked(&cluster)?, [pod.as_str()]);
    let begun = Instant::now();
    wait_until(
        2 * SOON,
        || Ok(begun.elapsed() > Duration::from_secs(5)),
        || Ok(()),
    )?;
    let report = connects.stop();
    let last = report.last_failed(cut);
    println!("{report}, the last {last:?} after the cut");
    ensure!(
        last.is_none_or(|last| last < Duration::from_secs(4)),
        "the last that failed began {last:?} after the cut: {report}"
    );
    is_told(&cluster, "EndpointsRemoved")?;

    let healed = Instant::now();
    cluster.lab.heal(node)?;
    let is_back = || Ok(readiness(&cluster, &pod)?.0 == "True");
    wait_until(SOON, is_back, || Ok(())).context("the mark is not taken back")?;
    println!("ready again {:?} after the heal", healed.elapsed());
    is_told(&cluster, "EndpointsRestored")?;
    let is_silent = || Ok(votes(&cluster)?.is_empty() || votes(&cluster)? == "{}");
    wait_until(6 * SOON, is_silent, || Ok(())).context("votes stay")
}

#[test]
fn a_node_that_is_back_after_three_seconds_has_its_pod_back() -> Result<()> {
    let cluster = serving("dead-short")?;
    let node = node_of_no_owner(&cluster)?;
    let pod = format!("web-{node}");
    cluster.lab.cut(node, false)?;
    let begun = Instant::now();
    let is_due = || Ok(begun.elapsed() > Duration::from_secs(3) && is_marked(&cluster, &pod)?);
    wait_until(SOON, is_due, || Ok(())).with_context(|| format!("{:?}", events(&cluster)))?;
    cluster.lab.heal(node)?;
    let is_back = || Ok(readiness(&cluster, &pod)?.0 == "True");
    wait_until(SOON, is_back, || Ok(())).context("the mark is not taken back")
}

#[test]
fn two_of_four_nodes_that_die_together_are_left_alone() -> Result<()> {
    let cluster = serving("dead-two")?;
    // One alone would be marked.
    cluster.lab.cut_together(&["n1", "n2"])?;
    nobody_is_marked(&cluster, LONG)?;
    for node in ["n1", "n2"] {
        cluster.lab.heal(node)?;
    }
    cluster.wait_until_all_live()
}

/// Of two nobody can confirm the death of the other: the controller is on the one that lives.
#[test]
fn of_two_nodes_the_one_that_dies_is_left_alone() -> Result<()> {
    let cluster = serving_on("dead-pair", 2, "n1", |_, _| Ok(()))?;
    cluster.lab.cut("n2", false)?;
    nobody_is_marked(&cluster, LONG)?;
    let votes = votes(&cluster)?;
    ensure!(votes.is_empty() || votes == "{}", "{votes}");
    cluster.lab.heal("n2")
}

/// Speakers meet over IPv6, and that is where the controller looks first.
#[test]
fn over_ipv6_a_dead_nodes_pod_leaves_rotation_as_well() -> Result<()> {
    let cluster = serving_on("dead-six", 4, CONTROLLER, |lab, node| {
        let host = lab.host(node)?;
        let address = |at: IpAddr| json!({ "type": "InternalIP", "address": at });
        let addresses = [host.ipv6.into(), host.ipv4.into()].map(address);
        let status = json!({ "status": { "addresses": addresses } }).to_string();
        let patch = ["patch", "node", node, "--subresource=status"];
        lab.kubectl(&[&patch[..], &["--type=merge", "-p", &status]].concat())?;
        Ok(())
    })?;
    let node = node_of_no_owner(&cluster)?;
    let pod = format!("web-{node}");
    cluster.lab.cut(node, false)?;
    wait_until(SOON, || is_marked(&cluster, &pod), || Ok(()))
        .with_context(|| format!("votes: {:?}; {:?}", votes(&cluster), events(&cluster)))?;
    cluster.lab.heal(node)?;
    let is_back = || Ok(readiness(&cluster, &pod)?.0 == "True");
    wait_until(SOON, is_back, || Ok(())).context("the mark is not taken back")
}

#[test]
fn forged_votes_on_a_node_that_lives_mark_nobody() -> Result<()> {
    let cluster = serving("dead-forged")?;
    let vote = json!({ "votes": [{
        "node": "n2", "boot": 1, "incarnation": 0, "verdict": "node",
        "since": k8s_openapi::jiff::Timestamp::now().to_string(), "with": "n1", "opinion": "dead",
    }] });
    let vote = vote.to_string();
    let forged = json!({ "n1": vote, "n3": vote, "n9": "nonsense", "n4": "x".repeat(20_000) });
    super::write_votes(&cluster.lab, &forged)?;
    nobody_is_marked(&cluster, LONG)?;
    is_told(&cluster, "node_answers")
}

#[test]
fn the_last_endpoint_and_pods_of_an_annotated_service_stay() -> Result<()> {
    let cluster = serving("dead-left")?;
    let node = node_of_no_owner(&cluster)?;
    cluster
        .lab
        .kubectl(&["annotate", "service", "web", "ferrolb.io/dead-node=ignore"])?;
    let only = ferrolb_tests::hollow::HollowPod::new("only", node).label("app", "only");
    cluster.lab.create_hollow_pod(&only)?;
    cluster.lab.apply(
        r#"{ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "only" },
             "spec": { "selector": { "app": "only" }, "ports": [{ "port": 80 }] } }"#,
    )?;
    cluster.lab.cut(node, false)?;
    nobody_is_marked(&cluster, LONG)?;
    ensure!(
        !is_marked(&cluster, "only")?,
        "the only endpoint of its Service"
    );
    let status = controller_status(&cluster)?;
    let text = status["deadNodes"].to_string();
    for reason in ["last_endpoint", "dead_node_ignored"] {
        ensure!(text.contains(reason), "{text}");
    }
    cluster.lab.heal(node)
}

/// What the controller says of itself, to its own node alone.
fn controller_status(cluster: &Cluster) -> Result<Value> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 7473));
    let host = cluster.lab.host(CONTROLLER)?;
    let page = || ferrolb_tests::observe::http_get(at, "/status", Duration::from_secs(1));
    let page = host.enter(page)??;
    serde_json::from_str(&page.body).with_context(|| format!("no status: {}", page.body))
}
