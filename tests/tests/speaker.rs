//! The speaker on a hollow cluster, as a host on the LAN sees it.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

#![expect(clippy::print_stdout, reason = "how long it took is worth reading")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_core::elect::rank;
use ferrolb_core::ownership::PORT;
use ferrolb_tests::cluster::{ASK, Cluster, SOON};
use ferrolb_tests::daemon::{Daemon, program};
use ferrolb_tests::observe::{ArpOperation, Frame, arp_ask, http_get};
use ferrolb_tests::wait::wait_until;

mod speaker {
    mod words;
}

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
/// The nodes in the order of their rank for the address.
fn by_rank(mut nodes: Vec<&str>, address: Ipv4Addr) -> Vec<&str> {
    nodes.sort_by_key(|node| rank(node, address.into()));
    nodes
}

#[test]
fn a_service_is_announced_by_the_first_node_in_rank_in_both_forms_and_serves_the_lan() -> Result<()>
{
    let cluster = Cluster::start("announce", 3, "192.168.64.200/32")?;
    // The pod comes last: that is little to take note of, and each node does so at the same time. Who comes 50 ms
    // late finds that the second in rank has taken it.
    cluster.wait_until_all_live()?;
    cluster.create_service("Cluster", VIP)?;
    for node in ["n1", "n2", "n3"] {
        let knows = || Ok(cluster.status(node)?["vips"][0]["reason"] == "no_endpoint");
        wait_until(SOON, knows, || Ok(())).with_context(|| format!("{node} knows no Service"))?;
    }
    let created = Instant::now();
    let _pod = cluster.create_pod("web", "n3")?;
    let (owner, at) = cluster.announcer(VIP, created)?;
    println!(
        "announced {:?} after the pod was created",
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
        Cluster::stations(cluster.lab.client()?, "eth0", VIP)?,
        [mac],
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

    let columns = "custom-columns=R:.reason,M:.message";
    let events = || cluster.lab.kubectl(&["get", "events", "-o", columns]);
    let assigned = format!("announcing from node \"{owner}\"");
    wait_until(SOON, || Ok(events()?.contains(&assigned)), || Ok(()))
        .with_context(|| format!("{:?}", events()))?;
    let events = events()?;
    assert_eq!(events.matches("nodeAssigned").count(), 1, "{events}");
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
    datagrams_from_elsewhere_are_counted_and_not_logged(&cluster, other)?;

    cluster.lab.kubectl(&["delete", "service", "web"])?;
    wait_until(SOON, || Ok(cluster.answering(VIP)?.is_empty()), || Ok(()))?;
    Ok(())
}

/// Without a key only nodes are listened to, and that is said once.
fn datagrams_from_elsewhere_are_counted_and_not_logged(
    cluster: &Cluster,
    node: &str,
) -> Result<()> {
    const SENT: u32 = 500;
    let to = SocketAddr::from((cluster.lab.host(node)?.ipv4, PORT));
    let unknown = || {
        let counted = r#"ferrolb_peer_datagrams_total{outcome="unknown_peer""#;
        cluster.metrics(node)?.sum(counted)
    };
    let before = unknown()?;
    cluster.on_lan(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        for number in 0..SENT {
            socket.send_to(&number.to_be_bytes(), to)?;
            // More at once were a flood, of which most is not even received.
            if number % 50 == 49 {
                let count = f64::from(number + 1);
                let is_counted = || Ok(unknown()? - before >= count);
                wait_until(SOON, is_counted, || Ok(())).context("not counted")?;
            }
        }
        anyhow::Ok(())
    })??;
    assert_eq!(unknown()? - before, f64::from(SENT));
    let log = cluster.lab.log(&Daemon::speaker(node).process_name())?;
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("no peer key: "), 1, "{log}");
    let client = cluster.lab.client()?.ipv4.to_string();
    // That line is the one that has the word.
    assert_eq!((lines(&client), lines("datagram")), (0, 1), "{log}");
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
    // The old owner falls silent when it has heard of the new one: make before break.
    assert_eq!(cluster.owner(VIP)?, order[1]);
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
