//! Links that are made of others: a bridge with the cable as its port, and macvlan on either side.
//! And one that is good for nothing, which harms no other.

use ferrolb_tests::net::create_netns;

use crate::*;

/// A LAN of its own behind the node n1: how the node is on it, and a host there.
struct Segment {
    subnet: u8,
    /// The node's link, which carries its addresses.
    link: &'static str,
    /// Its hardware address.
    mac: &'static str,
    host: Host,
    /// The host's link.
    host_link: &'static str,
}

impl Segment {
    /// Plugs a cable in: its end on the node is called `cable`, that of the host `eth0`.
    fn new(
        cluster: &Cluster,
        subnet: u8,
        [cable, link, mac, host_link]: [&'static str; 4],
    ) -> Result<Self> {
        let node = cluster.lab.host("n1")?;
        let namespace = format!("{}-{cable}", node.namespace);
        create_netns(cluster.lab.state(), &namespace)?;
        let peer = format!("link add {cable} type veth peer name eth0 netns {namespace}");
        ip_batch(&node.namespace, &[peer, format!("link set {cable} up")])?;
        ip_batch(&namespace, &["link set eth0 up".to_owned()])?;
        let host = Host {
            namespace,
            ..cluster.lab.client()?.clone()
        };
        Ok(Self {
            subnet,
            link,
            mac,
            host,
            host_link,
        })
    }

    /// The addresses that end in `last`, without duplicate address detection: nobody else is there.
    fn addresses(&self, last: u8, link: &str) -> [String; 2] {
        let subnet = self.subnet;
        [
            format!("addr add 10.{subnet}.0.{last}/24 dev {link}"),
            format!("addr add fd00:{subnet}::{last}/64 dev {link} nodad"),
        ]
    }

    fn vips(&self) -> Result<[IpAddr; 2]> {
        let subnet = self.subnet;
        Ok([
            format!("10.{subnet}.0.200").parse()?,
            format!("fd00:{subnet}::200").parse()?,
        ])
    }

    /// Gives both ends their addresses.
    fn switch_on(&self, node: &Host) -> Result<()> {
        ip_batch(&node.namespace, &self.addresses(11, self.link))?;
        ip_batch(&self.host.namespace, &self.addresses(100, self.host_link))
    }

    /// The Service answers at both addresses, which are at the node's link, and nowhere else.
    fn is_served(&self, cluster: &Cluster) -> Result<()> {
        for vip in self.vips()? {
            let page = cluster.page_for(&self.host, vip)?;
            assert!(page.starts_with("pod=web-"), "{vip}: {page}");
            let (known, _) = self.host.neighbour(self.host_link, vip)?;
            assert_eq!(known, self.mac, "{vip} on {}", self.link);
            if let IpAddr::V4(vip) = vip {
                let answers = Cluster::stations(&self.host, self.host_link, vip)?;
                assert_eq!(answers.len(), 1, "{vip}: {answers:?}");
            }
        }
        Ok(())
    }
}

#[test]
fn bridges_and_macvlans_are_links_their_ports_are_none_and_a_bad_link_stops_no_other_one()
-> Result<()> {
    // On no subnet: announced on every link, which ports are not.
    let far: [IpAddr; 2] = [[172, 16, 0, 1].into(), "fd00:99::1".parse()?];
    let pools = "10.21.0.200/32, fd00:21::200/128, 10.22.0.200/32, fd00:22::200/128, \
                 172.16.0.1/32, fd00:99::1/128";
    let cluster = start("ports", 1, &format!("{VIP}/32, {VIP6}/128, {pools}"))?;
    let node = cluster.lab.host("n1")?.clone();

    let bridged = Segment::new(&cluster, 21, ["port0", "lan0", "02:00:00:21:00:11", "eth0"])?;
    let mac = bridged.mac;
    let lines = [
        format!("link add lan0 address {mac} type bridge stp_state 0 forward_delay 0"),
        "link set port0 master lan0".to_owned(),
        "link set lan0 up".to_owned(),
    ];
    ip_batch(&node.namespace, &lines)?;
    // A macvlan on both sides: it passes only the multicast groups that somebody joined on it.
    let macvlan = Segment::new(
        &cluster,
        22,
        ["cable0", "mac0", "02:00:00:22:00:11", "mac1"],
    )?;
    for (namespace, cable, link, mac) in [
        (&node.namespace, "cable0", "mac0", macvlan.mac),
        (&macvlan.host.namespace, "eth0", "mac1", "02:00:00:22:00:64"),
    ] {
        let lines = [
            format!("link add {link} link {cable} address {mac} type macvlan mode bridge"),
            format!("link set {link} up"),
        ];
        ip_batch(namespace, &lines)?;
    }
    // Too small for any frame of IPv6, and the kernel joins no group on it.
    let lines = [
        "link add bad0 type veth peer name bad1",
        "link set bad0 mtu 68",
        "link set bad1 up",
        "link set bad0 up",
    ];
    ip_batch(&node.namespace, &lines.map(str::to_owned))?;
    let frames = bridged.host.enter(|| FrameObserver::start("eth0"))??;

    for segment in [&bridged, &macvlan] {
        segment.switch_on(&node)?;
        create_service(&cluster, segment.link, &segment.vips()?)?;
    }
    create_service(&cluster, "far", &far)?;
    create_service(&cluster, "web", &BOTH)?;
    for segment in [&bridged, &macvlan] {
        let served = segment.is_served(&cluster);
        served.with_context(|| format!("{}; {}", segment.link, frames.transcript()))?;
    }
    for vip in BOTH {
        assert!(cluster.page(vip)?.starts_with("pod=web-"), "{vip}");
    }
    for vip in far {
        let announced = |frame: &Frame| announces(frame, vip);
        let seen = frames.wait_for(announced, Instant::now() + SOON);
        let seen = seen.map_err(|missing| anyhow::anyhow!("{vip}: {missing}"))?;
        assert_eq!(seen.source.to_string(), bridged.mac, "{vip}");
    }
    let log = cluster.lab.log(&Daemon::speaker("n1").process_name())?;
    let opened = |link: &str| {
        let word = format!("\"{link}\"");
        let mut lines = log.lines();
        lines.any(|line| line.contains("link opened") && line.contains(&word))
    };
    assert!(opened("lan0") && opened("mac0") && opened("bad0"), "{log}");
    assert!(!opened("port0"), "a port is no link: {log}");
    let complaints = log.lines().filter(|line| line.contains("cannot join"));
    assert_eq!(complaints.count(), 1, "bad0 is told of once: {log}");
    Ok(())
}
