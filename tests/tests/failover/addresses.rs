//! Nodes whose addresses change while their speakers run, as a DHCP client changes them: on the link at
//! once, in the Node object seconds later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ferrolb_tests::Lab;
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::net::{Host, MacAddress, ip_batch};
use ferrolb_tests::observe::{Frame, http_get};
use ferrolb_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{NODES, ROUNDS, VIP, announcer_but, no_move, says, serving};

/// What others may take to follow a node, once its Node object is new; with a key less.
const FOLLOWED: Duration = Duration::from_secs(2);
/// The hardware address of a node's second card.
const SECOND: MacAddress = MacAddress([2, 0, 0, 0, 0xe1, 9]);

/// What the DHCP server gives next.
fn another(host: &Host) -> Ipv4Addr {
    let [a, b, c, last] = host.ipv4.octets();
    Ipv4Addr::new(a, b, c, last + 200)
}

fn another_v6(host: &Host) -> Ipv6Addr {
    Ipv6Addr::from_bits(host.ipv6.to_bits() + 0x200)
}

/// The link's: `old` goes, `new` comes.
fn readdress(host: &Host, old: IpAddr, new: Option<IpAddr>) -> Result<()> {
    // As DHCP clients set it: else the kernel would take the new one away with the old.
    let promote = "net.ipv4.conf.eth0.promote_secondaries=1";
    host.run("sysctl", &["-q", "-w", promote])?;
    let length = if old.is_ipv4() {
        "24 dev eth0"
    } else {
        "64 dev eth0"
    };
    let add = new.map(|new| {
        let nodad = if new.is_ipv4() { "" } else { " nodad" };
        format!("addr add {new}/{length}{nodad}")
    });
    let lines = add.into_iter().chain([format!("addr del {old}/{length}")]);
    ip_batch(&host.namespace, &lines.collect::<Vec<_>>())
}

/// The Node object's, in this order.
pub(crate) fn list(lab: &Lab, node: &str, addresses: &[IpAddr]) -> Result<()> {
    let address = |one: &IpAddr| json!({ "type": "InternalIP", "address": one });
    let mut addresses: Vec<Value> = addresses.iter().map(address).collect();
    addresses.push(json!({ "type": "Hostname", "address": node }));
    let status = json!({ "status": { "addresses": addresses } }).to_string();
    let patch = [
        "patch",
        "node",
        node,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    lab.kubectl(&patch)?;
    Ok(())
}

/// Until all others hear `node` at this address; for how long that took.
fn followed(cluster: &Cluster, node: &str, at: IpAddr, since: Instant) -> Result<Duration> {
    for other in NODES.into_iter().filter(|other| *other != node) {
        let is_there = || {
            let status = cluster.status(other)?;
            let mut members = status["members"].as_array().into_iter().flatten();
            let it = members.find(|member| member["node"] == node);
            Ok(it.is_some_and(|it| it["standing"] == "live" && it["address"] == at.to_string()))
        };
        wait_until(SOON, is_there, || Ok(())).with_context(|| {
            format!(
                "{node} at {at}, as {other} sees it: {:?}",
                cluster.status(other)
            )
        })?;
    }
    Ok(since.elapsed())
}

/// One station answers, whenever it is asked.
fn is_answered_by(cluster: &Cluster, mac: MacAddress, looks: u32) -> Result<()> {
    for _ in 0..looks {
        let macs = Cluster::stations(cluster.lab.client()?, "eth0", VIP)?;
        ensure!(macs == [mac], "{VIP} is answered by {macs:?}, not by {mac}");
    }
    Ok(())
}

#[test]
fn with_a_key_a_node_is_followed_to_another_address_and_nothing_moves() -> Result<()> {
    let (cluster, owner) = serving("moved")?;
    let host = cluster.lab.host(&owner)?.clone();
    let new = another(&host);
    let changed = Instant::now();
    readdress(&host, host.ipv4.into(), Some(new.into()))?;
    let after = followed(&cluster, &owner, new.into(), Instant::now())?;
    println!("with a key: followed {after:?} after the link changed");
    ensure!(after < FOLLOWED, "{after:?}");
    no_move(&cluster, &owner, changed)?;
    is_answered_by(&cluster, host.mac, 3)?;
    list(&cluster.lab, &owner, &[new.into(), host.ipv6.into()])?;
    no_move(&cluster, &owner, changed)?;
    cluster.page(VIP)?;
    // Where it is monitored has moved with it.
    let healthy = |at: Ipv4Addr| {
        let at = SocketAddr::from((at, 7472));
        cluster.on_lan(|| http_get(at, "/healthz", Duration::from_secs(1)))
    };
    wait_until(SOON, || Ok(healthy(new)?.is_ok()), || Ok(()))?;

    speakers_meet_whatever_the_order_of_addresses(&cluster, &host, new)?;
    a_link_of_the_same_subnet_stands_in_for_one_without_carrier(&cluster, &owner)?;
    a_node_that_loses_its_lease_is_silent_at_once(&cluster, &host, new)
}

/// Its first address is of another family than those of all others; and changes.
fn speakers_meet_whatever_the_order_of_addresses(
    cluster: &Cluster,
    host: &Host,
    v4: Ipv4Addr,
) -> Result<()> {
    let since = Instant::now();
    list(&cluster.lab, &host.name, &[host.ipv6.into(), v4.into()])?;
    followed(cluster, &host.name, host.ipv6.into(), since)?;
    // Also from the beginning.
    let other = NODES
        .into_iter()
        .find(|node| *node != host.name)
        .context("others")?;
    cluster.restart_speaker(other, Signal::KILL)?;
    followed(cluster, &host.name, host.ipv6.into(), since)?;
    let v6 = another_v6(host);
    let changed = Instant::now();
    readdress(host, host.ipv6.into(), Some(v6.into()))?;
    let after = followed(cluster, &host.name, v6.into(), changed)?;
    println!("IPv6: followed after {after:?}");
    list(&cluster.lab, &host.name, &[v4.into(), v6.into()])?;
    followed(cluster, &host.name, v4.into(), changed)?;
    no_move(cluster, &host.name, since)
}

/// The node's own address is on the link that loses its carrier, and others hear it by the other one.
fn a_link_of_the_same_subnet_stands_in_for_one_without_carrier(
    cluster: &Cluster,
    owner: &str,
) -> Result<()> {
    let node = cluster.lab.host(owner)?;
    let lan = node.namespace.replace(&node.name, "lan");
    let netns = &node.namespace;
    let plug = format!("link add second type veth peer name eth1 address {SECOND} netns {netns}");
    ip_batch(&lan, &[plug, "link set second master br0 up".to_owned()])?;
    let up = ["addr add 192.168.64.150/24 dev eth1", "link set eth1 up"];
    ip_batch(netns, &up.map(str::to_owned))?;
    let is_there = || {
        let vips = cluster.status(owner)?["vips"].take();
        Ok(vips[0]["standbyLinks"] == json!(["eth1"]))
    };
    wait_until(SOON, is_there, || Ok(())).context("no second link")?;

    for (carrier, mac) in [(false, SECOND), (true, node.mac)] {
        let changed = Instant::now();
        match carrier {
            false => cluster.lab.cut(owner, true)?,
            true => cluster.lab.heal(owner)?,
        }
        let announced = |frame: &Frame| {
            frame.at >= changed && frame.is_gratuitous_for(VIP) && frame.source == mac
        };
        let frame = cluster.frames.wait_for(announced, Instant::now() + SOON);
        let frame = frame.map_err(|missing| anyhow::anyhow!("carrier {carrier}: {missing}"))?;
        println!(
            "carrier {carrier}: announced by the node after {:?}",
            frame.at - changed
        );
        let by_another = |frame: &Frame| {
            let is_its = [SECOND, node.mac].contains(&frame.source);
            frame.at >= changed && frame.is_gratuitous_for(VIP) && !is_its
        };
        let moved = cluster.frames.wait_for(by_another, Instant::now() + ROUNDS);
        ensure!(moved.is_err(), "carrier {carrier}: {moved:?}");
        is_answered_by(cluster, mac, 3)?;
    }
    ip_batch(netns, &["link del eth1".to_owned()])
}

/// The prefix is gone, and the link is up: another one announces, and nothing answers here.
fn a_node_that_loses_its_lease_is_silent_at_once(
    cluster: &Cluster,
    host: &Host,
    address: Ipv4Addr,
) -> Result<()> {
    let lost = Instant::now();
    readdress(host, address.into(), None)?;
    let (next, at) = announcer_but(cluster, &host.name, lost)?;
    println!("lease lost: {next} announces after {:?}", at - lost);
    is_answered_by(cluster, cluster.lab.host(&next)?.mac, 5)?;
    says(cluster, &host.name, VIP, "subnet_elsewhere")?;
    let back = Instant::now();
    let add = format!("addr add {address}/24 dev eth0");
    ip_batch(&host.namespace, &[add])?;
    says(cluster, &host.name, VIP, "not_owner")?;
    no_move(cluster, &next, back)
}

#[test]
fn without_a_key_a_node_is_followed_as_soon_as_its_node_object_lists_the_address() -> Result<()> {
    let cluster = Cluster::start("unkeyed", 4, crate::POOL)?;
    let created = Instant::now();
    for node in ["n1", "n2", "n3"] {
        let _pod = cluster.create_pod(&format!("web-{node}"), node)?;
    }
    cluster.create_service("Cluster", VIP)?;
    let (owner, _) = cluster.announcer(VIP, created)?;
    let host = cluster.lab.host(&owner)?.clone();
    let new = another(&host);
    let changed = Instant::now();
    readdress(&host, host.ipv4.into(), Some(new.into()))?;
    let (next, at) = announcer_but(&cluster, &owner, changed)?;
    println!(
        "without a key: {next} announces {:?} after the link changed",
        at - changed
    );
    is_answered_by(&cluster, cluster.lab.host(&next)?.mac, 10)?;
    says(&cluster, &owner, VIP, "address_not_listed")?;

    let listed = Instant::now();
    list(&cluster.lab, &owner, &[new.into(), host.ipv6.into()])?;
    let after = followed(&cluster, &owner, new.into(), Instant::now())?;
    println!("without a key: followed {after:?} after the Node object was new");
    ensure!(after < FOLLOWED, "{after:?}");
    is_answered_by(&cluster, cluster.lab.host(&next)?.mac, 5)?;
    // Its connection to the API server was at the old address, and is given up after 11 s.
    says(&cluster, &owner, VIP, "not_owner")?;
    no_move(&cluster, &next, listed)
}
