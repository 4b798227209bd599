//! Nodes with containerd and kubelet: they run pods as any cluster does, die as machines die, and
//! leave nothing behind.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use ferrolb_tests::debian;
use ferrolb_tests::leftovers::leftovers;
use ferrolb_tests::net::{Host, ip_batch};
use ferrolb_tests::observe::http_get;
use ferrolb_tests::state::remove_dead_labs;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, image, walk};
use serde_json::Value;

/// A redis on each node, in the pods' network and in the nodes' own, behind one Service.
const PODS: &str = include_str!("real_nodes/pods.yaml");

/// The port of the redis in the nodes' own network.
const HOST_PORT: &str = "6390";

const SOON: Duration = Duration::from_secs(30);
/// Four probes of a kubelet, with the time that it takes to end a container.
const PROBED: Duration = Duration::from_secs(50);
/// A kubelet brings a Secret within two minutes, and one whose node has another address hears from the API server
/// again after three quarters of one.
const KEY_COMES: Duration = Duration::from_secs(200);

#[test]
fn three_nodes_run_pods_that_reach_each_other_and_come_back_after_a_power_cut() -> Result<()> {
    let name = Lab::builder("real").nodes(3).run(|lab| {
        lab.load_images(&[image::redis()?])?;
        lab.apply(PODS)?;
        for workload in ["daemonset/cache", "daemonset/on-the-node"] {
            lab.kubectl(&["rollout", "status", workload, "--timeout=90s"])?;
        }
        pods_reach_each_other_across_nodes(lab)?;
        a_pod_finds_services_by_name(lab)?;
        a_pod_in_the_nodes_network_reaches_services_and_answers_the_lan(lab)?;
        a_node_comes_back_after_a_power_cut(lab)?;
        Ok(lab.name().to_owned())
    })?;
    assert_eq!(leftovers(&name), Vec::<String>::new());
    Ok(())
}

fn pods_reach_each_other_across_nodes(lab: &Lab) -> Result<()> {
    let addresses = lab.kubectl(&[
        "get",
        "pods",
        "--selector=app=cache",
        "-o",
        "jsonpath={.items[*].status.podIPs[*].ip}",
    ])?;
    let addresses: Vec<IpAddr> = addresses
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    assert_eq!(
        addresses.len(),
        6,
        "three pods with two families each: {addresses:?}"
    );
    for address in addresses {
        let answer = in_a_pod(lab, &["redis-cli", "-h", &address.to_string(), "ping"])?;
        assert_eq!(answer.trim(), "PONG", "{address} must answer");
    }
    Ok(())
}

fn a_pod_finds_services_by_name(lab: &Lab) -> Result<()> {
    for name in ["cache", "cache.default.svc.cluster.local"] {
        let answer = in_a_pod(lab, &["redis-cli", "-h", name, "ping"])?;
        assert_eq!(answer.trim(), "PONG", "{name} must answer");
    }
    let unknown = in_a_pod(lab, &["redis-cli", "-h", "no-such-service", "ping"]);
    assert!(
        unknown.is_err(),
        "a name that nobody has must not resolve: {unknown:?}"
    );
    Ok(())
}

fn a_pod_in_the_nodes_network_reaches_services_and_answers_the_lan(lab: &Lab) -> Result<()> {
    let service = lab.kubectl(&[
        "get",
        "service",
        "cache",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ])?;
    let ping = [
        "exec",
        "daemonset/on-the-node",
        "--",
        "redis-cli",
        "-h",
        &service,
        "ping",
    ];
    assert_eq!(lab.kubectl(&ping)?.trim(), "PONG", "{service} must answer");
    for node in lab.nodes() {
        let answer = from_the_lan(lab, node.ipv4.into())?;
        assert_eq!(answer.trim(), "PONG", "{} must answer", node.name);
    }
    Ok(())
}

fn a_node_comes_back_after_a_power_cut(lab: &Lab) -> Result<()> {
    let n2 = lab.host("n2")?.ipv4.into();
    lab.kill_node("n2")?;
    assert_ne!(
        from_the_lan(lab, n2)?.trim(),
        "PONG",
        "a node without power must not answer"
    );
    assert!(
        lab.alive("kubelet-n2").is_none(),
        "its kubelet must be gone"
    );

    lab.start_node("n2")?;
    // The kubelet starts its pods' containers again: the same pods, one restart later.
    lab.kubectl(&[
        "wait",
        "pods",
        "--selector=app=on-the-node",
        "--field-selector=spec.nodeName=n2",
        "--for=jsonpath={.status.containerStatuses[0].restartCount}=1",
        "--timeout=60s",
    ])?;
    lab.kubectl(&[
        "wait",
        "pods",
        "--all",
        "--for=condition=Ready",
        "--timeout=60s",
    ])?;
    assert_eq!(
        from_the_lan(lab, n2)?.trim(),
        "PONG",
        "n2 must answer again"
    );
    Ok(())
}

/// The kubelet asks where the pod was when it started, unless it is told to ask the loopback interface;
/// what fails three times, 10 s apart, it kills.
#[test]
fn a_speaker_outlives_another_lease_of_its_node() -> Result<()> {
    Lab::builder("lease").nodes(2).run(|lab| {
        walk::install(lab)?;
        let node = lab.host("n2")?;
        let old = node.ipv4;
        let [a, b, c, last] = old.octets();
        let new = Ipv4Addr::new(a, b, c, last + 200);
        let promote = "net.ipv4.conf.eth0.promote_secondaries=1";
        node.run("sysctl", &["-q", "-w", promote])?;
        let lines = ["add", "del"].map(|verb| {
            let address = if verb == "add" { new } else { old };
            format!("addr {verb} {address}/24 dev eth0")
        });
        ip_batch(&node.namespace, &lines)?;
        let is_monitored_at = |host: &Host, at: Ipv4Addr| {
            let at = SocketAddr::from((at, 7472));
            let page = host.enter(|| http_get(at, "/healthz", Duration::from_secs(1)))?;
            anyhow::Ok(page.is_ok_and(|page| page.status == 200))
        };
        let moved = || is_monitored_at(lab.client()?, new);
        wait_until(SOON, moved, || Ok(())).context("not monitored at the new address")?;
        // One that is slow is there.
        let ended = || {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 7472));
            let page = node.enter(|| http_get(at, "/healthz", Duration::from_secs(1)))?;
            Ok(page.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
        };
        let ended = wait_until(PROBED, ended, || Ok(()));
        assert!(ended.is_err(), "its kubelet has killed it");
        // The key that the chart's controller made is enough for the others.
        let followed = || {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 7472));
            let n1 = lab.host("n1")?;
            let page = n1.enter(|| http_get(at, "/status", SOON))??;
            let status: Value = serde_json::from_str(&page.body)?;
            let mut members = status["members"].as_array().into_iter().flatten();
            let it = members.find(|member| member["node"] == "n2");
            Ok(it.is_some_and(|it| it["address"] == new.to_string() && it["standing"] == "live"))
        };
        wait_until(KEY_COMES, followed, || Ok(())).context("n1 does not follow n2")
    })
}

#[test]
fn a_node_like_minikubes_is_labelled_as_a_control_plane_and_runs_pods() -> Result<()> {
    Lab::builder("minikube").like_minikube(true).run(|lab| {
        let exclude = "node.kubernetes.io/exclude-from-external-load-balancers";
        let labelled = lab.kubectl(&[
            "get",
            "nodes",
            &format!("--selector=node-role.kubernetes.io/control-plane,{exclude}"),
            "-o",
            "jsonpath={.items[*].metadata.name} {.items[*].status.addresses[0].address}",
        ])?;
        assert_eq!(labelled, "minikube 192.168.64.4");
        let dns = lab.kubectl(&[
            "--namespace=kube-system",
            "get",
            "pods",
            "--field-selector=spec.nodeName=minikube,status.phase=Running",
            "-o",
            "name",
        ])?;
        assert_eq!(
            dns.lines().count(),
            1,
            "the cluster's DNS runs on it: {dns:?}"
        );
        Ok(())
    })
}

#[test]
fn what_a_killed_owner_left_of_real_nodes_is_removed_from_its_state_alone() -> Result<()> {
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_lab_that_waits_to_be_killed", "--nocapture"])
        .env(WAIT_TO_BE_KILLED, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let name = format!("killed-{}", owner.id());
    let stdout = BufReader::new(owner.stdout.take().context("no output")?);
    let up = stdout
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("lab is up"));
    assert!(up, "the lab to be killed must come up");
    owner.kill()?;
    owner.wait()?;
    let left = leftovers(&name);
    assert!(
        left.iter().any(|one| one.starts_with("cgroup ")),
        "kill -9 cleans nothing: {left:?}"
    );

    let removed = remove_dead_labs()?;
    let (_, result) = removed
        .into_iter()
        .find(|(lab, _)| *lab == name)
        .context("not found dead")?;
    result?;
    assert_eq!(leftovers(&name), Vec::<String>::new());
    Ok(())
}

/// Set for the process that the test above starts from this same program.
const WAIT_TO_BE_KILLED: &str = "FERROLB_TEST_WAIT_TO_BE_KILLED";

#[test]
fn a_lab_that_waits_to_be_killed() -> Result<()> {
    if std::env::var_os(WAIT_TO_BE_KILLED).is_none() {
        return Ok(());
    }
    let _lab = Lab::builder("killed").nodes(1).start()?;
    std::io::stdout().write_all(b"lab is up\n")?;
    loop {
        std::thread::park();
    }
}

/// Runs a command in a pod on n1.
fn in_a_pod(lab: &Lab, command: &[&str]) -> Result<String> {
    let pod = lab.kubectl(&[
        "get",
        "pods",
        "--selector=app=cache",
        "--field-selector=spec.nodeName=n1",
        "-o",
        "name",
    ])?;
    lab.kubectl(&[&["exec", pod.trim(), "--"], command].concat())
}

/// Asks the redis in a node's own network from outside of the cluster, for at most 2 s.
fn from_the_lan(lab: &Lab, node: IpAddr) -> Result<String> {
    let redis_cli = debian::program("redis-cli");
    let output = lab
        .client()?
        .command("timeout")
        .args([
            "2",
            &redis_cli.to_string_lossy(),
            "-h",
            &node.to_string(),
            "-p",
            HOST_PORT,
            "ping",
        ])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
