//! A second LAN that all nodes are on and no beat passes: what dies there silently is seen by the node
//! itself.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ferrolb_tests::cluster::{ASK, Cluster};
use ferrolb_tests::net::{Host, MacAddress, create_netns, ip_batch};
use ferrolb_tests::observe::{Frame, FrameObserver, arp_ask};
use ferrolb_tests::wait::wait_until;

use super::super::{NODES, ROUNDS, SOON, says};

const LINK: &str = "dmz0";
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 200);

/// A bridge, each node's port, and a host that is no node.
struct SecondLan {
    bridge: String,
    client: Host,
}

impl SecondLan {
    fn create(cluster: &Cluster) -> Result<Self> {
        let client = cluster.lab.client()?.clone();
        let [bridge, namespace] = ["dmz", "dmz-client"].map(|host| {
            let lab = client.namespace.trim_end_matches("client");
            format!("{lab}{host}")
        });
        for name in [&bridge, &namespace] {
            create_netns(cluster.lab.state(), name)?;
        }
        let bridge_up = "link add br0 type bridge stp_state 0 forward_delay 0";
        ip_batch(
            &bridge,
            &[bridge_up.to_owned(), "link set br0 up".to_owned()],
        )?;
        let plug = |port: &str, link: &str, netns: &str, last: u8| {
            let mac = mac(last);
            ip_batch(
                &bridge,
                &[
                    format!(
                        "link add {port} type veth peer name {link} address {mac} netns {netns}"
                    ),
                    format!("link set {port} master br0 up"),
                ],
            )?;
            ip_batch(
                netns,
                &[
                    format!("addr add 10.9.0.{last}/24 dev {link}"),
                    format!("link set {link} up"),
                ],
            )
        };
        for (last, node) in (11..).zip(NODES) {
            plug(node, LINK, &cluster.lab.host(node)?.namespace, last)?;
        }
        plug("client", "eth0", &namespace, 100)?;
        let client = Host {
            namespace,
            ..client
        };
        Ok(Self { bridge, client })
    }

    /// Without a change of carrier.
    fn set_forwarding(&self, node: &str, is_forwarding: bool) -> Result<()> {
        let state = if is_forwarding { "3" } else { "0" };
        let set = [
            "-n",
            &self.bridge,
            "link",
            "set",
            "dev",
            node,
            "state",
            state,
        ];
        let (said, is_done) = self.client.run("bridge", &set)?;
        ensure!(is_done, "{said}");
        Ok(())
    }
}

fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0, 10, 9, 0, last])
}

fn node_of(mac_of_node: MacAddress) -> Result<&'static str> {
    let mut nodes = (11..).zip(NODES);
    let node = nodes.find(|(last, _)| mac(*last) == mac_of_node);
    Ok(node.context("no node announces the address")?.1)
}

pub(crate) fn a_port_that_dies_silently_is_noticed_by_its_own_node(
    cluster: &Cluster,
) -> Result<()> {
    let lan = SecondLan::create(cluster)?;
    let frames = lan.client.enter(|| FrameObserver::start("eth0"))??;
    let wait_for = |what: &str, is_it: &dyn Fn(&Frame) -> bool| {
        let frame = frames.wait_for(is_it, Instant::now() + SOON);
        frame.map_err(|missing| anyhow::anyhow!("{what}: {missing}"))
    };
    cluster.create_service_named("dmz", "Cluster", &[IpAddr::V4(VIP)])?;
    let first = wait_for("announcement", &|frame| frame.is_gratuitous_for(VIP))?;
    let owner = node_of(first.source)?;
    assert!(
        cluster
            .page_for(&lan.client, VIP.into())?
            .starts_with("pod=web")
    );
    // Asked for the third time, it has been answered.
    let question = |frame: &Frame| {
        let asks = frame.arp().is_some_and(|arp| !arp.is_gratuitous());
        frame.source == first.source && frame.destination.is_broadcast() && asks
    };
    let mut asked = first.at;
    for _ in 0..3 {
        let next = wait_for("question to others on the LAN", &|frame| {
            frame.at > asked + ASK && question(frame)
        })?;
        asked = next.at;
    }
    // Two answering nodes and one ping would make a forwarding loop.
    for node in NODES.into_iter().filter(|node| *node != owner) {
        let answers = cluster
            .lab
            .host(node)?
            .enter(|| arp_ask(LINK, VIP, ASK))??;
        assert_eq!(answers, [], "{node} asked");
    }

    let cut = Instant::now();
    lan.set_forwarding(owner, false)?;
    let by_another = |frame: &Frame| {
        frame.at >= cut && frame.is_gratuitous_for(VIP) && frame.source != first.source
    };
    let taken = wait_for("takeover", &by_another)?;
    let next = node_of(taken.source)?;
    println!(
        "second LAN, silent cut of {owner}: {next} announces after {:?}",
        taken.at - cut
    );
    says(cluster, owner, VIP, "link_silent")?;
    let is_told = || {
        let status = cluster.status(next)?;
        let mut members = status["members"].as_array().into_iter().flatten();
        let member = members.find(|member| member["node"] == owner);
        Ok(member.is_some_and(|it| it["reason"] == "link_silent"))
    };
    wait_until(SOON, is_told, || Ok(())).with_context(|| format!("{:?}", cluster.status(next)))?;
    assert!(
        cluster
            .page_for(&lan.client, VIP.into())?
            .starts_with("pod=web")
    );

    let healed = Instant::now();
    lan.set_forwarding(owner, true)?;
    says(cluster, owner, VIP, "not_owner")?;
    let again = |frame: &Frame| {
        frame.at >= healed && frame.is_gratuitous_for(VIP) && frame.source != taken.source
    };
    let moved = frames.wait_for(again, Instant::now() + ROUNDS);
    ensure!(moved.is_err(), "nothing returns by itself: {moved:?}");
    assert_eq!(Cluster::stations(&lan.client, "eth0", VIP)?, [taken.source]);
    Ok(())
}
