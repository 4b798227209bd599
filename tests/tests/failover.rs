//! Who owns an address, and that it does not change without a cause, as a host on the LAN sees it.
//! Counts of moves, lost datagrams and broken connections; times are `bench failover`'s.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

#![expect(clippy::print_stdout, reason = "how long it took is worth reading")]

mod failover {
    pub(crate) mod addresses;
    mod blocked;
    pub(crate) mod kube_proxy;
    pub(crate) mod second_lan;
}

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::Lab;
use ferrolb_tests::cluster::{Cluster, PORT, SOON};
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::observe::{Frame, TcpHold, UdpProbe, http_get};
use ferrolb_tests::wait::wait_until;
use rustix::process::Signal;

use failover::{addresses, kube_proxy, second_lan};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const FIRST_KEY: &str = "key-1";
const SECOND_KEY: &str = "key-2";
const NOT_SIGNED: &str = r#"ferrolb_peer_datagrams_total{outcome="bad_signature""#;
const POOL: &str = "192.168.64.200-192.168.64.230, 10.9.0.200/32";
const TARGET: SocketAddr = SocketAddr::new(IpAddr::V4(VIP), PORT);
/// Beside kube-proxy's own tables.
const NO_ECHO: &str = "table inet quiet {
    chain in { type filter hook input priority -300;
        icmp type echo-request drop; icmpv6 type echo-request drop; }
}";
/// Twice as long as the verdict on a node whose kernel answers nothing takes; held for dead is who is
/// stopped for longer than 5.5 s.
const STOPPED: Duration = Duration::from_secs(2);
/// Some rounds of an announcement would be heard by then.
const ROUNDS: Duration = Duration::from_millis(2_500);

/// Four nodes and a Service; who owns its address. Its pod runs on a node that does not.
fn serving(name: &str) -> Result<(Cluster, String)> {
    serving_on(name, |_, _| Ok(()))
}

/// The same, on nodes that are made ready before the first speaker starts: what another one has heard
/// of a node earlier, it does not forget.
fn serving_on(name: &str, prepare: impl Fn(&Lab, &str) -> Result<()>) -> Result<(Cluster, String)> {
    let cluster = Cluster::start_with(name, 4, POOL, |lab, node| {
        if node == NODES[0] {
            NODES.into_iter().try_for_each(|node| prepare(lab, node))?;
        }
        let keys = keys_of(lab, node)?;
        fs::write(keys.join(FIRST_KEY), [1; 32])?;
        Ok(Daemon::speaker(node).arg(format!("--peer-keys-dir={}", keys.display())))
    })?;
    let created = Instant::now();
    // Announced only when there is an endpoint: so it is known whom to spare.
    let _first = cluster.create_pod("web-n1", "n1")?;
    let _second = cluster.create_pod("web-n2", "n2")?;
    cluster.create_service("Cluster", VIP)?;
    let (owner, _) = cluster.announcer(VIP, created)?;
    if ["n1", "n2"].contains(&owner.as_str()) {
        let pod = ferrolb_tests::hollow::HollowPod::new(&format!("web-{owner}"), &owner);
        cluster.lab.delete_hollow_pod(&pod)?;
        is_gone_from_rotation(&cluster, &format!("web-{owner}"))?;
    }
    cluster.page(VIP)?;
    Ok((cluster, owner))
}

/// Waits until kube-proxy, which hears of it up to a second later, sends nothing to that one of two pods any more.
fn is_gone_from_rotation(cluster: &Cluster, pod: &str) -> Result<()> {
    let page = || http_get(TARGET, "/", Duration::from_secs(1));
    let is_others = || page().is_ok_and(|page| !page.body.starts_with(&format!("pod={pod} ")));
    let are_others = || cluster.on_lan(|| (0..30).all(|_| is_others()));
    wait_until(SOON, are_others, || Ok(())).with_context(|| format!("{pod} is still sent to"))
}

/// The node's first address, which speakers meet at, is of IPv6; and no kernel answers echo, so that
/// neighbour discovery is what tells a stopped process from a dead node.
fn meets_over_ipv6(lab: &Lab, node: &str) -> Result<()> {
    let host = lab.host(node)?;
    addresses::list(lab, node, &[host.ipv6.into(), host.ipv4.into()])?;
    let (said, is_done) = host.run("nft", &[NO_ECHO])?;
    ensure!(is_done, "{said}");
    Ok(())
}

/// Where the Secret of the speakers' keys is mounted on a node.
fn keys_of(lab: &Lab, node: &str) -> Result<PathBuf> {
    lab.state().subdir(&format!("keys-{node}"))
}

#[test]
fn a_speaker_that_restarts_moves_nothing_and_one_that_stays_away_is_replaced() -> Result<()> {
    let (cluster, owner) = serving("restart")?;
    let probe = cluster.on_lan(|| UdpProbe::start(TARGET))??;
    let connections = cluster.on_lan(|| TcpHold::open(TARGET, 40))??;
    let begun = Instant::now();
    println!("another key, on one node after the other");
    rotate_keys(&cluster, &owner)?;
    println!("kill -9 of the owner's speaker, started again: it signs with the new key");
    cluster.restart_speaker(&owner, Signal::KILL)?;
    assert_eq!(cluster.owner(VIP)?, owner);
    println!("rolling restart of all speakers");
    for node in NODES {
        cluster.restart_speaker(node, Signal::TERM)?;
        assert_eq!(cluster.owner(VIP)?, owner, "after {node}");
    }
    let udp = probe.stop();
    let tcp = connections.stop();
    println!(
        "{udp}; {} of {} connections broken",
        tcp.broken.len(),
        tcp.opened
    );
    assert_eq!(
        cluster.announcers(VIP, begun)?,
        [owner.as_str()],
        "nobody else ever"
    );
    for node in NODES {
        let refused = cluster.metrics(node)?.sum(NOT_SIGNED)?;
        assert_eq!(refused, 0.0, "{node} did not believe another speaker");
    }
    assert_eq!((udp.lost(), tcp.broken.len()), (0, 0), "{udp}");
    assert_eq!(
        assigned_events(&cluster)?,
        1,
        "nothing changed that users could see"
    );

    let killed = Instant::now();
    cluster.lab.kill(&Daemon::speaker(&owner).process_name())?;
    let (next, at) = announcer_but(&cluster, &owner, killed)?;
    println!(
        "never started again: {next} announces after {:?}",
        at - killed
    );
    assert!(
        at - killed > Duration::from_secs(2),
        "its node is fine: it had time to come back"
    );
    assert_eq!(cluster.owner(VIP)?, next);
    cluster.lab.start(&Daemon::speaker(&owner).process_name())?;
    cluster.wait_until_ready(&owner)?;

    // Stopped as by a debugger, or with its machine: it wakes up and has to learn first.
    let paused = Instant::now();
    cluster.lab.pause(&Daemon::speaker(&next).process_name())?;
    let (last, at) = announcer_but(&cluster, &next, paused)?;
    println!("stopped: {last} announces after {:?}", at - paused);
    let resumed = Instant::now();
    cluster.lab.resume(&Daemon::speaker(&next).process_name())?;
    wait_until_live(&cluster, &last, &next)?;
    no_move(&cluster, &last, resumed)
}

#[test]
fn a_node_that_is_cut_off_or_cordoned_is_replaced_and_takes_nothing_back() -> Result<()> {
    let (cluster, first) = serving_on("cut", meets_over_ipv6)?;
    stopped_for_a_while(&cluster, &first)?;
    let probe = cluster.on_lan(|| UdpProbe::start(TARGET))??;
    let cut = Instant::now();
    cluster.lab.cut(&first, false)?;
    let (second, at) = announcer_but(&cluster, &first, cut)?;
    println!("silent cut: {second} announces after {:?}", at - cut);
    assert_eq!(cluster.owner(VIP)?, second);
    println!("silent cut: {}", probe.stop());
    assert!(cluster.page(VIP)?.starts_with("pod=web"));

    let healed = Instant::now();
    cluster.lab.heal(&first)?;
    cluster.wait_until_ready(&first)?;
    wait_until_live(&cluster, &second, &first)?;
    no_move(&cluster, &second, healed)?;

    let probe = cluster.on_lan(|| UdpProbe::start(TARGET))??;
    let cordoned = Instant::now();
    cluster.lab.kubectl(&["cordon", &second])?;
    let (third, at) = announcer_but(&cluster, &second, cordoned)?;
    println!(
        "cordon: {third} announces {:?} after kubectl began",
        at - cordoned
    );
    assert_eq!(cluster.owner(VIP)?, third);
    let back = Instant::now();
    cluster.lab.kubectl(&["uncordon", &second])?;
    no_move(&cluster, &third, back)?;
    let asked = Instant::now();
    let said = cluster.lab.plugin(&["move", &VIP.to_string(), &second])?;
    ensure!(said.status.success(), "{said:?}");
    assert_eq!(announcer_but(&cluster, &third, asked)?.0, second);
    assert_eq!(cluster.owner(VIP)?, second);
    moves_against_each_other(&cluster, &second)?;
    let udp = probe.stop();
    assert_eq!(udp.lost(), 0, "make before break: {udp}");
    for node in NODES {
        let silent = r#"ferrolb_verdicts_total{verdict="kernel_silent""#;
        let silent = cluster.metrics(node)?.sum(silent)?;
        let status = cluster.status(node)?;
        assert_eq!(silent, 0.0, "{node} heard the others' kernels: {status}");
    }
    kube_proxy::a_node_without_it_keeps_what_it_has_and_takes_nothing(&cluster, &second)?;
    second_lan::a_port_that_dies_silently_is_noticed_by_its_own_node(&cluster)
}

/// A person changes their mind, and speakers hear of it at different times: each order moves the address
/// once at most.
fn moves_against_each_other(cluster: &Cluster, owner: &str) -> Result<()> {
    let others: Vec<_> = NODES.into_iter().filter(|node| *node != owner).collect();
    let orders = [others[0], owner, others[0], others[2], others[1]];
    let since = Instant::now();
    for node in orders {
        let order = format!("ferrolb.io/move-to={node}");
        let order = ["annotate", "--overwrite", "service", "web", &order];
        cluster.lab.kubectl(&order)?;
    }
    let is_there = || Ok(cluster.owner(VIP)? == others[1]);
    wait_until(SOON, is_there, || Ok(())).context("the last order is not carried out")?;
    no_move(cluster, others[1], Instant::now())?;
    let announcers = cluster.announcers(VIP, since)?;
    println!("{} orders, announced by: {announcers:?}", orders.len());
    ensure!(announcers.len() <= orders.len() + 1, "{announcers:?}");
    let said = cluster.lab.plugin(&["move", &VIP.to_string(), owner])?;
    ensure!(said.status.success(), "{said:?}");
    let is_back = || Ok(cluster.owner(VIP)? == owner);
    wait_until(SOON, is_back, || Ok(())).context("the address does not go back")
}

/// A process that is stopped does not answer, and its node does: nothing moves.
fn stopped_for_a_while(cluster: &Cluster, owner: &str) -> Result<()> {
    let status = cluster.status(owner)?;
    let members = status["members"].as_array().cloned().unwrap_or_default();
    for member in &members {
        let address = member["address"].as_str().unwrap_or_default();
        ensure!(address.contains(':'), "they meet over IPv6: {status}");
    }
    let speaker = Daemon::speaker(owner).process_name();
    let paused = Instant::now();
    cluster.lab.pause(&speaker)?;
    let moved = announced_by_another(cluster, owner, paused, paused + STOPPED);
    cluster.lab.resume(&speaker)?;
    ensure!(
        moved.is_err(),
        "a stopped process is no dead node: {moved:?}"
    );
    no_move(cluster, owner, paused)
}

#[test]
fn without_the_api_server_a_dead_node_is_replaced_and_a_new_speaker_stays_quiet() -> Result<()> {
    let (cluster, first) = serving("away")?;
    cluster.lab.stop("kube-apiserver")?;
    let cut = Instant::now();
    cluster.lab.cut(&first, false)?;
    let (second, at) = announcer_but(&cluster, &first, cut)?;
    println!("API server away: {second} announces after {:?}", at - cut);
    cluster.lab.heal(&first)?;
    wait_until_live(&cluster, &second, &first)?;
    assert_eq!(cluster.owner(VIP)?, second);

    // It does not know what is wanted, and does not guess.
    let speaker = Daemon::speaker(&second).process_name();
    let restarted = Instant::now();
    cluster.lab.kill(&speaker)?;
    cluster.lab.start(&speaker)?;
    let (third, _) = announcer_but(&cluster, &second, restarted)?;
    assert_eq!(cluster.owner(VIP)?, third);
    let by_itself = |node: &String| *node == second;
    assert!(!cluster.announcers(VIP, restarted)?.iter().any(by_itself));

    cluster.lab.start("kube-apiserver")?;
    cluster.lab.wait_until_ready()?;
    cluster.wait_until_ready(&second)?;
    assert_eq!(cluster.owner(VIP)?, third);
    cluster.lab.kubectl(&["delete", "service", "web"])?;
    wait_until(SOON, || Ok(cluster.answering(VIP)?.is_empty()), || Ok(()))
        .context("what changed meanwhile is picked up")
}

/// As a changed Secret comes: to each node when its kubelet looks, and to its speaker when that does.
/// After five minutes the new key signs; the owner's speaker will do so as soon as it starts anew,
/// since it finds it under the name that comes first.
fn rotate_keys(cluster: &Cluster, owner: &str) -> Result<()> {
    for node in NODES {
        let logged = cluster
            .lab
            .log(&Daemon::speaker(node).process_name())?
            .len();
        fs::write(keys_of(&cluster.lab, node)?.join(SECOND_KEY), [2; 32])?;
        let has_read = || {
            let log = cluster.lab.log(&Daemon::speaker(node).process_name())?;
            Ok(log[logged..].contains(r#""accepted":2"#))
        };
        wait_until(3 * SOON, has_read, || Ok(()))
            .with_context(|| format!("the speaker of {node} does not read the second key"))?;
    }
    let keys = keys_of(&cluster.lab, owner)?;
    fs::rename(keys.join(FIRST_KEY), keys.join("key-3"))?;
    Ok(())
}

/// The node other than `node` that announces the address since then, and when it began. Where two began at once, the
/// one that they settle on; and the former owner may go on until it hears of the new one.
fn announcer_but(cluster: &Cluster, node: &str, since: Instant) -> Result<(String, Instant)> {
    // A stopped process is waited for longest: 5.5 s.
    let deadline = Instant::now() + 2 * SOON;
    announced_by_another(cluster, node, since, deadline)?;
    let is_another = || Ok(cluster.owner(VIP)? != node);
    wait_until(SOON, is_another, || Ok(())).with_context(|| format!("{node} still answers"))?;
    let owner = cluster.owner(VIP)?;
    let mac = cluster.lab.host(&owner)?.mac;
    let own =
        |frame: &Frame| frame.at >= since && frame.is_gratuitous_for(VIP) && frame.source == mac;
    let frame = cluster.frames.wait_for(own, deadline);
    let frame = frame.map_err(|missing| anyhow::anyhow!("{owner} announced nothing: {missing}"))?;
    Ok((owner, frame.at))
}

/// Waits for the first announcement by a node other than `node` since then.
fn announced_by_another(
    cluster: &Cluster,
    node: &str,
    since: Instant,
    deadline: Instant,
) -> Result<Frame> {
    let mac = cluster.lab.host(node)?.mac;
    let wanted =
        |frame: &Frame| frame.at >= since && frame.is_gratuitous_for(VIP) && frame.source != mac;
    let frame = cluster.frames.wait_for(wanted, deadline);
    frame.map_err(|missing| anyhow::anyhow!("nobody took over: {missing:?}"))
}

fn no_move(cluster: &Cluster, owner: &str, since: Instant) -> Result<()> {
    let mac = cluster.lab.host(owner)?.mac;
    let by_another =
        |frame: &Frame| frame.at >= since && frame.is_gratuitous_for(VIP) && frame.source != mac;
    let moved = cluster.frames.wait_for(by_another, Instant::now() + ROUNDS);
    ensure!(moved.is_err(), "{owner} owned it, and then: {moved:?}");
    let is_back = || Ok(cluster.owner(VIP)? == owner);
    wait_until(SOON, is_back, || Ok(())).context("the address does not go back")
}

/// Until the speaker of `node` says that the one of `other` is live.
fn wait_until_live(cluster: &Cluster, node: &str, other: &str) -> Result<()> {
    let is_live = || {
        let status = cluster.status(node)?;
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let is_it =
            |member: &serde_json::Value| member["node"] == other && member["standing"] == "live";
        Ok(members.iter().any(is_it))
    };
    wait_until(SOON, is_live, || Ok(())).with_context(|| format!("{other} is not live for {node}"))
}

fn assigned_events(cluster: &Cluster) -> Result<usize> {
    let events = cluster
        .lab
        .kubectl(&["get", "events", "-o", "custom-columns=R:.reason"])?;
    Ok(events.matches("nodeAssigned").count())
}

/// Why the node does not announce the address, waited for.
fn says(cluster: &Cluster, node: &str, address: Ipv4Addr, reason: &str) -> Result<()> {
    let why = || {
        let status = cluster.status(node)?;
        let vips = status["vips"].as_array().cloned().unwrap_or_default();
        let vip = vips
            .iter()
            .find(|vip| vip["address"] == address.to_string());
        anyhow::Ok(vip.map(|vip| vip["reason"].clone()))
    };
    wait_until(
        SOON,
        || Ok(why()?.is_some_and(|why| why == reason)),
        || Ok(()),
    )
    .with_context(|| format!("{node} says {:?} of {address}, not {reason}", why()))
}
