//! What neighbours on the LAN see of an address: how they learn it, keep it and follow it, and what
//! happens when one of them has it itself.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

mod wire {
    mod conflicts;
    mod forwarding_loop;
    mod links;
}

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::net::{CLIENT, Host, MacAddress, ip_batch, set_sysctls};
use ferrolb_tests::observe::{ArpOperation, Content, Frame, FrameObserver, Neighbor, http_get};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, NodeKind};
use serde_json::Value;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x200);
const BOTH: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V6(VIP6)];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const PORT: u16 = 8080;
/// For what takes milliseconds when the machine is idle.
const SOON: Duration = Duration::from_secs(20);

/// A cluster with pools, controller and a speaker on every node, and an ear on the LAN.
struct Cluster {
    lab: Lab,
    frames: FrameObserver,
}

impl Cluster {
    fn start(name: &str, nodes: u8, addresses: &str) -> Result<Self> {
        let lab = Lab::builder(name)
            .nodes(nodes)
            .kind(NodeKind::Hollow)
            .start()?;
        let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
        lab.start_daemon(&Daemon::controller("cp"))?;
        lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
                 "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
                 "data": {{ "config": "address-pools: [{{name: lan, protocol: layer2, addresses: [{addresses}]}}]" }} }}"#
        ))?;
        let cluster = Self { lab, frames };
        for node in cluster.lab.nodes() {
            cluster.lab.start_daemon(&Daemon::speaker(&node.name))?;
            cluster.lab.create_hollow_pod(
                &HollowPod::new(&format!("web-{}", node.name), &node.name).label("app", "web"),
            )?;
        }
        let nodes = cluster.lab.nodes();
        for node in &nodes {
            let all = format!("ferrolb_peers_alive {}", nodes.len());
            let settled = || Ok(cluster.metrics(node)?.lines().any(|line| line == all));
            let speaker = Daemon::speaker(&node.name).process_name();
            wait_until(SOON, settled, || cluster.lab.check_alive(&speaker))
                .with_context(|| format!("the speaker of {} does not see all", node.name))?;
        }
        Ok(cluster)
    }

    fn client(&self) -> Result<&Host> {
        self.lab.host(CLIENT)
    }

    /// A Service `name` with these addresses, one or one of each family.
    fn create_service(&self, name: &str, addresses: &[IpAddr]) -> Result<()> {
        let families: Vec<_> = addresses
            .iter()
            .map(|address| {
                if address.is_ipv4() {
                    "\"IPv4\""
                } else {
                    "\"IPv6\""
                }
            })
            .collect();
        let policy = ["SingleStack", "RequireDualStack"][addresses.len() - 1];
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        self.lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "Service", "metadata": {{ "name": "{name}",
                   "annotations": {{ "metallb.io/loadBalancerIPs": "{}" }} }},
                 "spec": {{ "type": "LoadBalancer", "selector": {{ "app": "web" }},
                           "ipFamilyPolicy": "{policy}", "ipFamilies": [{}],
                           "ports": [{{ "port": {PORT}, "targetPort": 3000 }}] }} }}"#,
            texts.join(","),
            families.join(","),
        ))?;
        Ok(())
    }

    fn metrics(&self, node: &Host) -> Result<String> {
        let at = SocketAddr::from((node.ipv4, 7472));
        let page = self
            .client()?
            .enter(|| http_get(at, "/metrics", Duration::from_secs(1)))?;
        Ok(page.map_or_else(|_| String::new(), |page| page.body))
    }

    /// The page of the Service at an address, as the client gets it.
    fn page(&self, address: IpAddr) -> Result<String> {
        let at = SocketAddr::from((address, PORT));
        let deadline = Instant::now() + SOON;
        loop {
            let page = self
                .client()?
                .enter(|| http_get(at, "/", Duration::from_secs(1)))?;
            match page {
                Ok(page) => return Ok(page.body),
                Err(error) => ensure!(Instant::now() < deadline, "no page from {at}: {error}"),
            }
        }
    }

    /// Runs a program on the client; what it wrote, and whether it succeeded.
    fn run(&self, program: &str, args: &[&str]) -> Result<(String, bool)> {
        let output = self.client()?.command(program).args(args).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((text, output.status.success()))
    }

    /// The client's neighbour entry of an address: hardware address and state.
    fn entry(&self, address: IpAddr) -> Result<(String, String)> {
        let address = address.to_string();
        let args = ["-j", "neigh", "show", &address, "dev", "eth0"];
        let (text, _) = self.run("ip", &args)?;
        let entries: Value = serde_json::from_str(&text).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((text(&entries[0]["lladdr"]), text(&entries[0]["state"][0])))
    }

    fn wait_for_entry(&self, address: IpAddr, mac: MacAddress, state: &str) -> Result<()> {
        let want = (mac.to_string(), state.to_owned());
        wait_until(SOON, || Ok(self.entry(address)? == want), || Ok(())).with_context(|| {
            let frames = self.frames.transcript();
            format!(
                "{address} is at {:?}, not {want:?}; {frames}",
                self.entry(address)
            )
        })
    }

    fn seen(&self, what: &str, is_it: impl Fn(&Frame) -> bool) -> Result<Frame> {
        self.frames
            .wait_for(is_it, Instant::now() + SOON)
            .map_err(|missing| anyhow::anyhow!("{what}: {missing}"))
    }

    fn node_at(&self, mac: MacAddress) -> Result<Host> {
        let nodes = self.lab.nodes();
        let node = nodes.into_iter().find(|node| node.mac == mac);
        Ok(node.with_context(|| format!("{mac} is no node's"))?.clone())
    }
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
    let cluster = Cluster::start("neigh", 3, &format!("{VIP}/32, {VIP6}/128"))?;
    cluster.create_service("web", &BOTH)?;
    for vip in BOTH {
        let frame = cluster.seen("announcement", |frame| announces(frame, vip))?;
        let owner = cluster.node_at(frame.source)?;
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
        cluster.wait_for_entry(vip, owner.mac, "REACHABLE")?;
        keeps(&cluster, vip, &owner)?;
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
    ensure!(cluster.run("ip", &args)?.1, "cannot probe {address}");
    cluster.wait_for_entry(vip, owner.mac, "REACHABLE")?;
    cluster.seen("unicast question", |frame| {
        frame.at >= since && asks_for(frame, vip) && frame.destination == owner.mac
    })?;
    cluster.seen("unicast answer", |frame| {
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

/// A host that checks before it takes an address is told that it is taken.
fn nobody_else_can_take_it(cluster: &Cluster) -> Result<()> {
    let vip = VIP.to_string();
    let detection = ["arping", "-D", "-c", "2", "-w", "10", "-I", "eth0", &vip];
    let (said, free) = cluster.run("busybox", &detection)?;
    ensure!(!free, "arping -D takes {vip} for free: {said}");

    let client = cluster.client()?;
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
        Ok(cluster.run("ip", &args)?.0.contains(&VIP6.to_string()))
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
    let answer = cluster.seen("answer to the probe", |frame| {
        matches!(&frame.content, Content::Advertisement(it)
            if it.target == VIP6 && it.destination == ALL_NODES)
    })?;
    ensure!(answer.destination == MacAddress([0x33, 0x33, 0, 0, 0, 1]));
    Ok(())
}

/// When the owner is cut off, who knows the addresses follows to the new one without a question.
fn follows(cluster: &Cluster) -> Result<()> {
    let owners = BOTH.map(|vip| {
        let first = cluster.seen("announcement", |frame| announces(frame, vip))?;
        let owner = cluster.node_at(first.source)?;
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
        let moved = || Ok(cluster.entry(vip)?.0 != old.mac.to_string());
        wait_until(SOON, moved, || Ok(()))
            .with_context(|| format!("{vip} does not move; {}", cluster.frames.transcript()))?;
        let seen = cluster.frames.seen();
        let announced = seen
            .iter()
            .position(|frame| frame.at >= cut && announces(frame, vip) && frame.source != old.mac);
        let announced = announced.context("an announcement of the new owner")?;
        let new = seen[announced].source;
        assert_eq!(cluster.entry(vip)?.0, new.to_string());
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
