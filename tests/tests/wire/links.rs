//! Two LANs on one node, and links that go, come back and change.

#![expect(clippy::print_stdout, reason = "how long it took is worth reading")]

use ferrolb_tests::net::create_netns;
use ferrolb_tests::observe::arp_ask;

use crate::*;

/// A second LAN behind a node: a link of its own to a host of its own.
struct Dmz {
    host: Host,
}

impl Dmz {
    const LINK: &str = "dmz0";
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 200);

    fn new(cluster: &Cluster, node: &Host) -> Result<Self> {
        let namespace = format!("{}-dmz", node.namespace);
        create_netns(cluster.lab.state(), &namespace)?;
        let host = Host {
            namespace,
            ..cluster.lab.client()?.clone()
        };
        let dmz = Self { host };
        dmz.plug_in(node)?;
        Ok(dmz)
    }

    fn plug_in(&self, node: &Host) -> Result<()> {
        let (link, namespace) = (Self::LINK, &self.host.namespace);
        ip_batch(
            &node.namespace,
            &[format!(
                "link add {link} type veth peer name eth0 netns {namespace}"
            )],
        )?;
        ip_batch(
            namespace,
            &[
                "link set eth0 up".to_owned(),
                "addr add 10.9.0.100/24 dev eth0".to_owned(),
                "route add 192.168.64.0/24 dev eth0".to_owned(),
                "route add 172.16.0.0/24 dev eth0".to_owned(),
            ],
        )
    }

    fn switch_on(node: &Host) -> Result<()> {
        let link = Self::LINK;
        ip_batch(
            &node.namespace,
            &[
                format!("addr add 10.9.0.11/24 dev {link}"),
                format!("link set {link} up"),
            ],
        )
    }
}

/// Whether exactly one station answers for the address on the link of `host`, in the end.
fn is_answered(host: &Host, vip: Ipv4Addr) -> Result<bool> {
    let answers = host.enter(|| arp_ask("eth0", vip, ASK))??;
    Ok(answers.len() == 1)
}

#[test]
fn an_address_is_announced_on_its_own_lan_and_again_when_a_link_changes() -> Result<()> {
    let far = Ipv4Addr::new(172, 16, 0, 1);
    let addresses = format!("{VIP}/32, {}/32, {far}/32", Dmz::VIP);
    let cluster = start("links", 1, &addresses)?;
    let node = cluster.lab.host("n1")?.clone();
    let client = cluster.lab.client()?;
    let routes = ["10.9.0.0/24", "172.16.0.0/24"];
    ip_batch(
        &client.namespace,
        &routes.map(|to| format!("route add {to} dev eth0")),
    )?;
    let dmz = Dmz::new(&cluster, &node)?;
    Dmz::switch_on(&node)?;
    for (name, vip) in [("lan", VIP), ("dmz", Dmz::VIP), ("far", far)] {
        create_service(&cluster, name, &[IpAddr::V4(vip)])?;
    }
    for (host, vip) in [
        (client, VIP),
        (&dmz.host, Dmz::VIP),
        (client, far),
        (&dmz.host, far),
    ] {
        let answered = || is_answered(host, vip);
        wait_until(SOON, answered, || Ok(())).with_context(|| format!("{vip} is not answered"))?;
    }
    assert!(!is_answered(client, Dmz::VIP)?, "not on the wrong LAN");
    assert!(!is_answered(&dmz.host, VIP)?, "not on the wrong LAN");
    let log = cluster.lab.log(&Daemon::speaker("n1").process_name())?;
    let said = |line: &str| line.contains("no_link_on_subnet") && line.contains(&far.to_string());
    assert!(log.lines().any(said), "{log}");

    // Carrier lost: the other link does not mind.
    cluster.lab.cut("n1", true)?;
    assert_eq!(Cluster::stations(&dmz.host, "eth0", Dmz::VIP)?.len(), 1);
    let back = Instant::now();
    cluster.lab.heal("n1")?;
    let announced = |frame: &Frame| frame.at >= back && announces(frame, VIP.into());
    let frame = seen(
        &cluster,
        "announcement after the carrier is back",
        announced,
    )?;
    println!("carrier back: announced after {:?}", frame.at - back);

    // A link that is gone and back is another one for the kernel.
    ip_batch(&node.namespace, &[format!("link del {}", Dmz::LINK)])?;
    assert_eq!(Cluster::stations(client, "eth0", VIP)?.len(), 1);
    dmz.plug_in(&node)?;
    let frames = dmz.host.enter(|| FrameObserver::start("eth0"))??;
    let back = Instant::now();
    Dmz::switch_on(&node)?;
    let announced = |frame: &Frame| announces(frame, Dmz::VIP.into());
    let frame = frames.wait_for(announced, Instant::now() + SOON);
    let frame = frame.map_err(|missing| anyhow::anyhow!("new link: {missing}"))?;
    println!("new link: announced after {:?}", frame.at - back);
    wait_until(SOON, || is_answered(&dmz.host, Dmz::VIP), || Ok(()))?;

    let mac = MacAddress([2, 0, 0xaa, 0xbb, 0xcc, 0xdd]);
    let changed = Instant::now();
    ip_batch(&node.namespace, &[format!("link set eth0 address {mac}")])?;
    let announced = |frame: &Frame| announces(frame, VIP.into()) && frame.source == mac;
    let frame = seen(
        &cluster,
        "announcement of the new hardware address",
        announced,
    )?;
    println!(
        "new hardware address: announced after {:?}",
        frame.at - changed
    );
    assert_eq!(Cluster::stations(client, "eth0", VIP)?, [mac]);

    only_chosen_links_are_used(&cluster, &dmz.host)?;
    the_exclude_label_is_a_preference_unless_it_is_strict(&cluster, &dmz.host)
}

fn only_chosen_links_are_used(cluster: &Cluster, dmz: &Host) -> Result<()> {
    let client = cluster.lab.client()?;
    speaker_with(cluster, &[&format!("--interfaces={}", Dmz::LINK)])?;
    for vip in [Dmz::VIP, VIP] {
        wait_until(SOON, || is_answered(dmz, vip), || Ok(()))
            .with_context(|| format!("{vip} is not answered on the chosen link"))?;
        assert!(!is_answered(client, vip)?, "{vip} on another link");
    }
    speaker_with(cluster, &["--interfaces=absent0"])?;
    is_announced_nowhere(cluster, dmz, "no_link")
}

fn the_exclude_label_is_a_preference_unless_it_is_strict(
    cluster: &Cluster,
    dmz: &Host,
) -> Result<()> {
    const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers=";
    let client = cluster.lab.client()?;
    cluster.lab.kubectl(&["label", "node/n1", LABEL])?;
    speaker_with(cluster, &[])?;
    wait_until(SOON, || is_answered(client, VIP), || Ok(()))
        .context("the only node serves in spite of its label")?;
    speaker_with(cluster, &["--exclude-label=strict"])?;
    is_announced_nowhere(cluster, dmz, "strictly_excluded_node")
}

/// The speaker of the only node, started anew with these arguments.
fn speaker_with(cluster: &Cluster, args: &[&str]) -> Result<()> {
    let speaker = Daemon::speaker("n1");
    cluster.lab.stop(&speaker.process_name())?;
    let speaker = args.iter().fold(speaker, |speaker, arg| speaker.arg(*arg));
    cluster.lab.start_daemon(&speaker)?;
    cluster.wait_until_ready("n1")
}

/// The speaker says why of each address, and is silent on either link.
fn is_announced_nowhere(cluster: &Cluster, dmz: &Host, reason: &str) -> Result<()> {
    let told = || -> Result<Vec<Value>> {
        let vips = cluster.status("n1")?["vips"].take();
        let vips = vips.as_array().into_iter().flatten();
        Ok(vips.map(|vip| vip["reason"].clone()).collect())
    };
    wait_until(SOON, || Ok(told()? == [reason; 3]), || Ok(()))
        .with_context(|| format!("not {reason}: {:?}", told()))?;
    for host in [cluster.lab.client()?, dmz] {
        for vip in [VIP, Dmz::VIP] {
            assert!(!is_answered(host, vip)?, "{reason}: {vip}");
        }
    }
    Ok(())
}
