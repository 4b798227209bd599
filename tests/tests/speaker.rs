//! The speaker on a hollow cluster, as a host on the LAN sees it.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

#![expect(clippy::print_stdout, reason = "how long it took is worth reading")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_core::elect::rank;
use ferrolb_tests::daemon::{Daemon, NAMESPACE, program};
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::net::MacAddress;
use ferrolb_tests::observe::{ArpOperation, Frame, FrameObserver, UdpProbe, arp_ask, http_get};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, NodeKind};
use rustix::process::Signal;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const PORT: u16 = 8080;
/// How long a question is open for answers: far longer than an answer takes, also on a busy machine.
const ASK: Duration = Duration::from_millis(300);
/// For what takes milliseconds when the machine is idle.
const SOON: Duration = Duration::from_secs(10);

/// A cluster with pool, controller and a speaker on every node, and an ear on the LAN.
struct Cluster {
    lab: Lab,
    frames: FrameObserver,
}

impl Cluster {
    fn start(name: &str, nodes: u8, pool: &str) -> Result<Self> {
        let lab = Lab::builder(name)
            .nodes(nodes)
            .kind(NodeKind::Hollow)
            .start()?;
        let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
        lab.start_daemon(&Daemon::controller("cp"))?;
        let names: Vec<_> = lab.nodes().iter().map(|node| node.name.clone()).collect();
        for node in &names {
            lab.start_daemon(&Daemon::speaker(node))?;
        }
        lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
                 "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
                 "data": {{ "config": "address-pools: [{{name: lan, protocol: layer2, addresses: [{pool}]}}]" }} }}"#
        ))?;
        let cluster = Self { lab, frames };
        for node in &names {
            cluster.wait_until_ready(node)?;
        }
        Ok(cluster)
    }

    fn wait_until_ready(&self, node: &str) -> Result<()> {
        let at = SocketAddr::from((self.lab.host(node)?.ipv4, 7472));
        let speaker = Daemon::speaker(node).process_name();
        let is_ready = || {
            let page = self.on_lan(|| http_get(at, "/readyz", Duration::from_secs(1)))?;
            Ok(page.is_ok_and(|page| page.status == 200))
        };
        wait_until(SOON, is_ready, || self.lab.check_alive(&speaker))
            .with_context(|| format!("speaker of {node} is not ready"))
    }

    /// Runs something on the host that is no part of the cluster.
    fn on_lan<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.lab.client()?.enter(work)
    }

    /// Service `web` on TCP and UDP, served by pods with label app=web.
    fn create_service(&self, policy: &str, address: Ipv4Addr) -> Result<()> {
        self.lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "Service", "metadata": {{ "name": "web" }},
                 "spec": {{ "type": "LoadBalancer", "externalTrafficPolicy": "{policy}",
                           "loadBalancerIP": "{address}", "selector": {{ "app": "web" }},
                           "ports": [
                   {{ "name": "tcp", "protocol": "TCP", "port": {PORT}, "targetPort": 3000 }},
                   {{ "name": "udp", "protocol": "UDP", "port": {PORT}, "targetPort": 3000 }} ] }} }}"#
        ))?;
        Ok(())
    }

    fn create_pod(&self, name: &str, node: &str) -> Result<HollowPod> {
        let pod = HollowPod::new(name, node).label("app", "web");
        self.lab.create_hollow_pod(&pod)?;
        Ok(pod)
    }

    /// The nodes that answer for `address`, asked by the LAN's host.
    fn answering(&self, address: Ipv4Addr) -> Result<Vec<String>> {
        let answers = self.on_lan(|| arp_ask("eth0", address, ASK))??;
        answers
            .iter()
            .map(|answer| self.node_of(answer.mac))
            .collect()
    }

    fn node_of(&self, mac: MacAddress) -> Result<String> {
        let nodes = self.lab.nodes();
        let node = nodes.iter().find(|node| node.mac == mac);
        Ok(node
            .with_context(|| format!("{mac} is no node's"))?
            .name
            .clone())
    }

    /// The node that sent the first gratuitous ARP for `address` since `since`, and when.
    fn announcer(&self, address: Ipv4Addr, since: Instant) -> Result<(String, Instant)> {
        let wanted = |frame: &Frame| frame.at >= since && frame.is_gratuitous_for(address);
        let frame = self.frames.wait_for(wanted, Instant::now() + SOON);
        let frame = frame.map_err(|missing| anyhow::anyhow!("no announcement: {missing:?}"))?;
        Ok((self.node_of(frame.source)?, frame.at))
    }

    fn page(&self, address: Ipv4Addr) -> Result<String> {
        let at = SocketAddr::from((address, PORT));
        let mut body = String::new();
        let deadline = Instant::now() + SOON;
        while body.is_empty() {
            match self.on_lan(|| http_get(at, "/", Duration::from_secs(1)))? {
                Ok(page) => body = page.body,
                Err(error) => ensure!(Instant::now() < deadline, "no page from {at}: {error}"),
            }
        }
        Ok(body)
    }
}

/// The nodes in the order of their rank for the address.
fn by_rank(mut nodes: Vec<&str>, address: Ipv4Addr) -> Vec<&str> {
    nodes.sort_by_key(|node| rank(node, address.into()));
    nodes
}

#[test]
fn a_service_is_announced_by_the_first_node_in_rank_in_both_forms_and_serves_the_lan() -> Result<()>
{
    let cluster = Cluster::start("announce", 3, "192.168.64.200/32")?;
    let _pod = cluster.create_pod("web", "n3")?;
    let created = Instant::now();
    cluster.create_service("Cluster", VIP)?;
    let (owner, at) = cluster.announcer(VIP, created)?;
    println!(
        "announced {:?} after kubectl began",
        at.duration_since(created)
    );
    assert_eq!(owner, by_rank(vec!["n1", "n2", "n3"], VIP)[0]);
    assert!(cluster.page(VIP)?.starts_with("pod=web "));

    let mac = cluster.lab.host(&owner)?.mac;
    for operation in [ArpOperation::Request, ArpOperation::Reply] {
        let form = |frame: &Frame| {
            frame.is_gratuitous_for(VIP)
                && frame.arp().is_some_and(|arp| arp.operation == operation)
        };
        let frame = cluster.frames.wait_for(form, Instant::now() + SOON);
        let frame = frame.map_err(|missing| anyhow::anyhow!("{operation:?}: {missing:?}"))?;
        let arp = frame.arp().context("an ARP packet")?;
        assert!(frame.destination.is_broadcast());
        assert_eq!(frame.source, mac);
        assert_eq!(
            (arp.sender_mac, arp.target_mac),
            (frame.source, frame.source)
        );
    }
    assert_eq!(
        cluster.answering(VIP)?,
        [owner.as_str()],
        "exactly one answer"
    );
    // The rounds follow each other by more than Linux' locktime of one second.
    let fourth = Instant::now() + SOON;
    let rounds = || {
        let seen = cluster.frames.seen();
        let requests = seen.into_iter().filter(|frame| {
            frame.is_gratuitous_for(VIP)
                && frame
                    .arp()
                    .is_some_and(|arp| arp.operation == ArpOperation::Request)
        });
        requests.map(|frame| frame.at).collect::<Vec<_>>()
    };
    wait_until(
        SOON,
        || Ok(rounds().len() >= 4),
        || {
            ensure!(Instant::now() < fourth, "{}", cluster.frames.transcript());
            Ok(())
        },
    )?;
    for pair in rounds().windows(2) {
        assert!(
            pair[1] - pair[0] > Duration::from_secs(1),
            "{:?}",
            pair[1] - pair[0]
        );
    }

    // No other node is answered, whatever it asks for: neither over its own address nor as a probe.
    for node in by_rank(vec!["n1", "n2", "n3"], VIP).into_iter().skip(1) {
        let answers = cluster
            .lab
            .host(node)?
            .enter(|| arp_ask("eth0", VIP, ASK))??;
        assert_eq!(answers, [], "{node} asked");
    }

    let events =
        cluster
            .lab
            .kubectl(&["get", "events", "-o", "custom-columns=R:.reason,M:.message"])?;
    let assigned = format!("announcing from node \"{owner}\"");
    assert_eq!(events.matches("nodeAssigned").count(), 1, "{events}");
    assert!(events.contains(&assigned), "{events}");
    let metrics = SocketAddr::from((cluster.lab.host(&owner)?.ipv4, 7472));
    let metrics = cluster
        .on_lan(|| http_get(metrics, "/metrics", SOON))??
        .body;
    let line = format!(
        "metallb_speaker_announced{{service=\"default/web\",protocol=\"layer2\",node=\"{owner}\",ip=\"{VIP}\"}} 1"
    );
    assert!(metrics.contains(&line), "{metrics}");

    // Other nodes sleep through what is asked for it.
    let other = by_rank(vec!["n1", "n2", "n3"], VIP)[2];
    let metrics = SocketAddr::from((cluster.lab.host(other)?.ipv4, 7472));
    let metrics = cluster
        .on_lan(|| http_get(metrics, "/metrics", SOON))??
        .body;
    assert!(!metrics.contains("kind=\"arp\""), "{metrics}");

    cluster.lab.kubectl(&["delete", "service", "web"])?;
    wait_until(SOON, || Ok(cluster.answering(VIP)?.is_empty()), || Ok(()))?;
    Ok(())
}

#[test]
fn with_policy_local_only_a_node_with_an_endpoint_announces_and_the_client_keeps_its_address()
-> Result<()> {
    let cluster = Cluster::start("local", 3, "192.168.64.200/32")?;
    let order = by_rank(vec!["n1", "n2", "n3"], VIP);
    let created = Instant::now();
    let last = cluster.create_pod("web", order[2])?;
    cluster.create_service("Local", VIP)?;
    assert_eq!(
        cluster.announcer(VIP, created)?.0,
        order[2],
        "not the first in rank"
    );
    let client = cluster.lab.client()?.ipv4;
    let page = cluster.page(VIP)?;
    assert!(
        page.starts_with(&format!("pod=web source={client} ")),
        "{page}"
    );

    let moved = Instant::now();
    let _pod = cluster.create_pod("web-2", order[1])?;
    cluster.lab.delete_hollow_pod(&last)?;
    let elsewhere = |frame: &Frame| {
        frame.at >= moved
            && frame.is_gratuitous_for(VIP)
            && cluster
                .node_of(frame.source)
                .is_ok_and(|node| node == order[1])
    };
    let frame = cluster.frames.wait_for(elsewhere, Instant::now() + SOON);
    frame.map_err(|missing| anyhow::anyhow!("{missing:?}"))?;
    assert_eq!(cluster.answering(VIP)?, [order[1]]);
    Ok(())
}

#[test]
fn when_the_owner_is_cut_off_the_next_node_announces_and_the_owner_gets_it_back() -> Result<()> {
    let cluster = Cluster::start("cut", 3, "192.168.64.200/32")?;
    let order = by_rank(vec!["n1", "n2", "n3"], VIP);
    let _pod = cluster.create_pod("web", order[2])?;
    cluster.create_service("Cluster", VIP)?;
    cluster.page(VIP)?;
    assert_eq!(cluster.answering(VIP)?, [order[0]]);

    let target = SocketAddr::from((VIP, PORT));
    let probe = cluster.on_lan(|| UdpProbe::start(target))??;
    let cut = Instant::now();
    cluster.lab.cut(order[0], false)?;
    let (owner, at) = cluster.announcer(VIP, cut)?;
    assert_eq!(owner, order[1]);
    println!(
        "silent cut: announced elsewhere after {:?}",
        at.duration_since(cut)
    );
    wait_until(
        SOON,
        || Ok(cluster.answering(VIP)? == [order[1]]),
        || Ok(()),
    )?;
    println!("silent cut: UDP gap {:?}", probe.stop().longest_gap());

    // Meanwhile the node that was cut off thinks that it is alone. When it is back, one is silent.
    cluster.lab.heal(order[0])?;
    wait_until(
        SOON,
        || Ok(cluster.answering(VIP)? == [order[0]]),
        || Ok(()),
    )?;
    assert!(cluster.page(VIP)?.starts_with("pod=web "));
    let seen = cluster.frames.seen();
    let last = seen
        .iter()
        .rfind(|frame| frame.is_gratuitous_for(VIP))
        .context("a frame")?;
    assert_eq!(
        cluster.node_of(last.source)?,
        order[0],
        "neighbours heard the owner last"
    );
    Ok(())
}

#[test]
fn a_speaker_that_is_told_to_stop_hands_over_at_once() -> Result<()> {
    let cluster = Cluster::start("stop", 3, "192.168.64.200/32")?;
    let order = by_rank(vec!["n1", "n2", "n3"], VIP);
    let _pod = cluster.create_pod("web", order[2])?;
    cluster.create_service("Cluster", VIP)?;
    cluster.page(VIP)?;
    let target = SocketAddr::from((VIP, PORT));
    let probe = cluster.on_lan(|| UdpProbe::start(target))??;
    let speaker = Daemon::speaker(order[0]).process_name();
    let stopped = Instant::now();
    cluster.lab.signal(&speaker, Signal::TERM)?;
    let (owner, at) = cluster.announcer(VIP, stopped)?;
    println!(
        "SIGTERM: announced elsewhere after {:?}",
        at.duration_since(stopped)
    );
    assert_eq!(owner, order[1]);
    assert!(
        at.duration_since(stopped) < Duration::from_millis(300),
        "not by silence"
    );
    wait_until(
        Duration::from_secs(1),
        || Ok(cluster.lab.alive(&speaker).is_none()),
        || Ok(()),
    )
    .context("SIGTERM must end it within a second")?;
    assert_eq!(cluster.answering(VIP)?, [order[1]]);
    let report = probe.stop();
    println!(
        "SIGTERM: {} of {} probes lost",
        report.lost(),
        report.sent()
    );
    Ok(())
}

#[test]
fn a_nodes_own_address_is_left_to_its_kernel() -> Result<()> {
    let cluster = Cluster::start("own", 2, "192.168.64.11/32")?;
    let own = cluster.lab.host("n1")?.ipv4;
    let _pod = cluster.create_pod("web", "n2")?;
    cluster.create_service("Cluster", own)?;
    assert!(cluster.page(own)?.starts_with("pod=web "));
    assert_eq!(cluster.answering(own)?, ["n1"]);
    // Longer than the first two rounds of an announcement would take.
    let ours = |frame: &Frame| frame.is_gratuitous_for(own);
    let announced = cluster
        .frames
        .wait_for(ours, Instant::now() + Duration::from_millis(2_500));
    assert!(announced.is_err(), "no frame of ours: {announced:?}");
    Ok(())
}

#[test]
fn while_the_api_server_is_away_the_address_goes_on_answering() -> Result<()> {
    let cluster = Cluster::start("away", 2, "192.168.64.200-192.168.64.201")?;
    let _pod = cluster.create_pod("web", "n2")?;
    cluster.create_service("Cluster", VIP)?;
    cluster.page(VIP)?;
    let owner = cluster.answering(VIP)?;
    let target = SocketAddr::from((VIP, PORT));
    let probe = cluster.on_lan(|| UdpProbe::start(target))??;
    cluster.lab.stop("kube-apiserver")?;
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(30) {
        assert_eq!(cluster.answering(VIP)?, owner);
    }
    // Failover needs no API server.
    let cut = Instant::now();
    let speaker = Daemon::speaker(&owner[0]).process_name();
    cluster.lab.signal(&speaker, Signal::TERM)?;
    let (next, _) = cluster.announcer(VIP, cut)?;
    assert_ne!(next, owner[0]);
    let report = probe.stop();
    assert!(
        report.longest_gap() < Duration::from_secs(1),
        "{:?}",
        report.longest_gap()
    );
    println!(
        "API server away: {} of {} probes lost",
        report.lost(),
        report.sent()
    );

    cluster.lab.start("kube-apiserver")?;
    cluster.lab.wait_until_ready()?;
    let back = Instant::now();
    cluster.lab.kubectl(&["delete", "service", "web"])?;
    wait_until(SOON, || Ok(cluster.answering(VIP)?.is_empty()), || Ok(()))
        .context("what changed meanwhile is picked up")?;
    println!(
        "API server back: a deletion counts after {:?}",
        back.elapsed()
    );
    Ok(())
}

#[test]
fn without_net_raw_or_a_node_name_the_speaker_says_what_is_missing() -> Result<()> {
    let speaker = program("speaker")?;
    let run = |capabilities: &str, args: &[&str]| -> Result<String> {
        let mut command = Command::new("setpriv");
        command.args(["--no-new-privs", "--bounding-set", capabilities, "--"]);
        let output = command.arg(&speaker).args(args).env_clear().output()?;
        ensure!(!output.status.success(), "it must not start");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = run("-all", &["--node-name=n1"])?;
    assert!(
        said.contains("CAP_NET_RAW is missing") && said.contains("add [NET_RAW]"),
        "{said}"
    );
    let said = run("-all,+net_raw", &[])?;
    assert!(said.contains("--node-name"), "{said}");
    Ok(())
}
