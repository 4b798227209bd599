//! What neighbours on the LAN see of an address: how they learn it, keep it and follow it, and what
//! happens when one of them has it itself.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

mod wire {
    mod conflicts;
    mod forwarding_loop;
    mod links;
    mod ports;
    mod small_memory;
    mod two_links;
}

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::cluster::{ASK, Cluster};
use ferrolb_tests::daemon::{Daemon, NAMESPACE, program};
use ferrolb_tests::debian;
use ferrolb_tests::net::{Host, MacAddress, ip_batch, set_sysctls};
use ferrolb_tests::observe::{ArpOperation, Content, Frame, FrameObserver, Neighbor};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, NodeKind};
use serde_json::Value;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x200);
const BOTH: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V6(VIP6)];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// For what takes milliseconds when the machine is idle.
const SOON: Duration = Duration::from_secs(60);

/// A cluster whose speakers all see each other, and a pod on every node.
fn start(name: &str, nodes: u8, addresses: &str) -> Result<Cluster> {
    let cluster = Cluster::start(name, nodes, addresses)?;
    let nodes = cluster.lab.nodes();
    for node in &nodes {
        let _ = cluster.create_pod(&format!("web-{}", node.name), &node.name)?;
    }
    cluster.wait_until_all_live()?;
    Ok(cluster)
}

fn create_service(cluster: &Cluster, name: &str, addresses: &[IpAddr]) -> Result<()> {
    cluster.create_service_named(name, "Cluster", addresses)
}

fn wait_for_entry(cluster: &Cluster, address: IpAddr, mac: MacAddress, state: &str) -> Result<()> {
    let want = (mac.to_string(), state.to_owned());
    let entry = || cluster.lab.client()?.neighbour("eth0", address);
    wait_until(SOON, || Ok(entry()? == want), || Ok(())).with_context(|| {
        let frames = cluster.frames.transcript();
        format!("{address} is at {:?}, not {want:?}; {frames}", entry())
    })
}

fn seen(cluster: &Cluster, what: &str, is_it: impl Fn(&Frame) -> bool) -> Result<Frame> {
    let frame = cluster.frames.wait_for(is_it, Instant::now() + SOON);
    frame.map_err(|missing| anyhow::anyhow!("{what}: {missing}"))
}

fn node_at(cluster: &Cluster, mac: MacAddress) -> Result<Host> {
    Ok(cluster.lab.host(&cluster.node_of(mac)?)?.clone())
}

/// "From now on it is here", in either family.
fn announces(frame: &Frame, vip: IpAddr) -> bool {
    match (&frame.content, vip) {
        (_, IpAddr::V4(vip)) => frame.is_gratuitous_for(vip),
        (Content::Advertisement(it), IpAddr::V6(vip)) => {
            it.target == vip && it.destination == ALL_NODES
        }
        _ => false,
    }
}

/// "Who has it?", in either family.
fn asks_for(frame: &Frame, vip: IpAddr) -> bool {
    match (&frame.content, vip) {
        (Content::Arp(arp), IpAddr::V4(vip)) => {
            arp.operation == ArpOperation::Request && arp.target == vip && !arp.is_gratuitous()
        }
        (Content::Solicitation(it), IpAddr::V6(vip)) => it.target == vip,
        _ => false,
    }
}

#[test]
fn neighbours_learn_keep_and_follow_an_address_of_either_family_and_nobody_else_can_take_it()
-> Result<()> {
    let cluster = start("neigh", 3, &format!("{VIP}/32, {VIP6}/128"))?;
    create_service(&cluster, "web", &BOTH)?;
    for vip in BOTH {
        let frame = seen(&cluster, "announcement", |frame| announces(frame, vip))?;
        let owner = node_at(&cluster, frame.source)?;
        if let (Content::Advertisement(seen), IpAddr::V6(vip)) = (&frame.content, vip) {
            // RFC 4861 §7.2.6: Override and nothing else, and from this link alone.
            let expected = Neighbor {
                source: vip,
                destination: ALL_NODES,
                hop_limit: 255,
                target: vip,
                link_layer: Some(owner.mac),
                flags: 0x20,
            };
            assert_eq!(*seen, expected);
        }
        assert!(cluster.page(vip)?.starts_with("pod=web-"), "{vip}");
        wait_for_entry(&cluster, vip, owner.mac, "REACHABLE")?;
        keeps(&cluster, vip, &owner)?;
        is_named_by_the_plugin(&cluster, vip, &owner)?;
    }
    nobody_else_can_take_it(&cluster)?;
    follows(&cluster)
}

/// Neighbour unreachability detection asks the one that it knows, by unicast.
fn keeps(cluster: &Cluster, vip: IpAddr, owner: &Host) -> Result<()> {
    let since = Instant::now();
    let (address, mac) = (vip.to_string(), owner.mac.to_string());
    let args = [
        "neigh", "replace", &address, "lladdr", &mac, "dev", "eth0", "nud", "probe",
    ];
    ensure!(
        cluster.lab.client()?.run("ip", &args)?.1,
        "cannot probe {address}"
    );
    wait_for_entry(cluster, vip, owner.mac, "REACHABLE")?;
    seen(cluster, "unicast question", |frame| {
        frame.at >= since && asks_for(frame, vip) && frame.destination == owner.mac
    })?;
    seen(cluster, "unicast answer", |frame| {
        let answers = match (&frame.content, vip) {
            (Content::Arp(arp), IpAddr::V4(vip)) => arp.sender == vip && !arp.is_gratuitous(),
            // Solicited and Override (RFC 4861 §7.2.4).
            (Content::Advertisement(it), IpAddr::V6(vip)) => it.target == vip && it.flags == 0x60,
            _ => false,
        };
        frame.at >= since && answers && frame.source == owner.mac
    })?;
    Ok(())
}

/// `kubectl ferrolb who`, on a host that is no node.
fn is_named_by_the_plugin(cluster: &Cluster, vip: IpAddr, owner: &Host) -> Result<()> {
    let plugin = program("kubectl-ferrolb")?;
    let kubeconfig = cluster.lab.kubeconfig();
    let (vip, kubeconfig) = (vip.to_string(), kubeconfig.to_string_lossy());
    let args = ["who", &vip, "--kubeconfig", &kubeconfig];
    let (said, alone) = cluster
        .lab
        .client()?
        .run(&plugin.to_string_lossy(), &args)?;
    ensure!(alone, "not exactly one station: {said}");
    let row = format!("{}   {}", owner.mac, owner.name);
    ensure!(said.contains(&row), "{row} is not in: {said}");
    Ok(())
}

/// A host that checks before it takes an address is told that it is taken.
fn nobody_else_can_take_it(cluster: &Cluster) -> Result<()> {
    let vip = VIP.to_string();
    let detection = ["arping", "-D", "-c", "2", "-w", "10", "-I", "eth0", &vip];
    let busybox = debian::program("busybox");
    let (said, free) = cluster
        .lab
        .client()?
        .run(&busybox.to_string_lossy(), &detection)?;
    ensure!(!free, "arping -D takes {vip} for free: {said}");

    let client = cluster.lab.client()?;
    client.enter(|| {
        set_sysctls(&[
            ("ipv6/conf/all/accept_dad", "1"),
            ("ipv6/conf/eth0/accept_dad", "1"),
        ])
    })??;
    ip_batch(
        &client.namespace,
        &[format!("addr add {VIP6}/128 dev eth0")],
    )?;
    let failed = || {
        let args = ["-6", "addr", "show", "dev", "eth0", "dadfailed"];
        Ok(cluster
            .lab
            .client()?
            .run("ip", &args)?
            .0
            .contains(&VIP6.to_string()))
    };
    wait_until(SOON, failed, || Ok(())).with_context(|| {
        format!(
            "the kernel takes {VIP6} for free; {}",
            cluster.frames.transcript()
        )
    })?;
    ip_batch(
        &client.namespace,
        &[format!("addr del {VIP6}/128 dev eth0")],
    )?;
    let answer = seen(cluster, "answer to the probe", |frame| {
        matches!(&frame.content, Content::Advertisement(it)
            if it.target == VIP6 && it.destination == ALL_NODES)
    })?;
    ensure!(answer.destination == MacAddress([0x33, 0x33, 0, 0, 0, 1]));
    Ok(())
}

/// When the owner is cut off, who knows the addresses follows to the new one without a question.
fn follows(cluster: &Cluster) -> Result<()> {
    let owners = BOTH.map(|vip| {
        let first = seen(cluster, "announcement", |frame| announces(frame, vip))?;
        let owner = node_at(cluster, first.source)?;
        keeps(cluster, vip, &owner)?;
        anyhow::Ok(owner)
    });
    let [old, old_of_v6] = owners;
    let (old, old_of_v6) = (old?, old_of_v6?);
    ensure!(
        old.name == old_of_v6.name,
        "{VIP6} has to be one that ranks as {VIP} does"
    );
    let cut = Instant::now();
    cluster.lab.cut(&old.name, false)?;
    for vip in BOTH {
        let moved = || Ok(cluster.lab.client()?.neighbour("eth0", vip)?.0 != old.mac.to_string());
        wait_until(SOON, moved, || Ok(()))
            .with_context(|| format!("{vip} does not move; {}", cluster.frames.transcript()))?;
        let seen = cluster.frames.seen();
        let announced = seen
            .iter()
            .position(|frame| frame.at >= cut && announces(frame, vip) && frame.source != old.mac);
        let announced = announced.context("an announcement of the new owner")?;
        let new = seen[announced].source;
        assert_eq!(
            cluster.lab.client()?.neighbour("eth0", vip)?.0,
            new.to_string()
        );
        let asked = seen[..announced].iter().any(|frame| {
            frame.at >= cut
                && asks_for(frame, vip)
                && frame.destination != old.mac
                && frame.outgoing
        });
        ensure!(!asked, "it was asked for: {}", cluster.frames.transcript());
        assert!(cluster.page(vip)?.starts_with("pod=web-"));
    }
    Ok(())
}
