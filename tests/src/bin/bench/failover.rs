//! Four hollow nodes and Services whose pods are on nodes that are not cut, so that what is measured
//! is the announcement and not kube-proxy's view of dead endpoints. A client on the LAN sends a
//! datagram each 10 ms and holds 100 connections, half of them idle.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use ferrolb_tests::cluster::SOON;
use ferrolb_tests::observe::{Frame, TcpHold, TcpReport, UdpProbe, UdpReport};

use self::fault::Fault;
use self::scene::Scene;
use crate::figures::{pause, spread};
use crate::logs::Logs;

mod capture;
mod crowd;
mod fault;
mod on_nodes;
mod scene;
mod traffic;

const CONNECTIONS: usize = 100;
/// Before each fault: Linux takes no second announcement within a second of one (`locktime`).
const CALM: Duration = Duration::from_millis(1_200);
/// After it, so that gaps have an end, and whatever follows is seen.
const AFTER: Duration = Duration::from_millis(600);
/// A node that dies is replaced within half of this: of a round beyond, the logs are shown.
const REMARKABLE: Duration = Duration::from_millis(240);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds of each fault
    #[arg(long, default_value_t = 20)]
    rounds: usize,

    /// Only these
    #[arg(long, value_enum)]
    fault: Vec<Fault>,

    /// Rounds of a node's death with pods left in rotation, and as many with pods taken out of it: two minutes
    /// each. None if faults are named, unless this is given
    #[arg(long)]
    traffic: Option<usize>,

    /// Only this: a node's death that runs a third of the control plane, one round each with pods left in rotation
    /// and taken out of it, and with the controller manager's leader there or elsewhere: a quarter of an hour
    #[arg(long)]
    control_plane: bool,

    /// Only this: what is on the wire at a node's death whose pods are taken out of rotation, and when a connection
    /// is kept while its address moves, line by line
    #[arg(long, conflicts_with = "control_plane")]
    capture: bool,
}

/// Rounds of what takes a minute of silence each.
const TRAFFIC: usize = 3;

/// What one round brought.
struct Round {
    /// From the fault, or from when the speakers could know it, to the first gratuitous ARP of
    /// another node.
    announced: Option<Duration>,
    udp: UdpReport,
    tcp: TcpReport,
    moves: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.capture {
        return capture::run();
    }
    if args.control_plane {
        return on_nodes::run();
    }
    let faults = match &args.fault[..] {
        [] => Fault::value_variants(),
        some => some,
    };
    println!(
        "| fault | rounds | announced elsewhere, ms | longest silence, ms | datagrams lost, max | connections broken of {CONNECTIONS}, max | moves, max |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let single = |fault: &&Fault| fault.crowd().is_none();
    if faults.iter().any(|fault| single(&fault)) {
        let scene = Scene::start()?;
        for fault in faults.iter().filter(single) {
            one_by_one(&scene, *fault, args.rounds)?;
        }
    }
    let crowds: Vec<_> = faults.iter().filter_map(|fault| fault.crowd()).collect();
    if !crowds.is_empty() {
        crowd::run(&crowds, args.rounds)?;
    }
    let traffic = if args.fault.is_empty() { TRAFFIC } else { 0 };
    traffic::run(args.traffic.unwrap_or(traffic))
}

fn one_by_one(scene: &Scene, fault: Fault, count: usize) -> Result<()> {
    let mut rounds = Vec::new();
    for number in 0..count {
        let logs = Logs::mark(&scene.cluster)?;
        let round =
            round(scene, fault).with_context(|| format!("{}, round {number}", fault.text()))?;
        if fault.is_death() && round.udp.longest_gap() > REMARKABLE {
            println!("{round}\n{}", logs.since(&scene.cluster)?);
        }
        rounds.push(round);
    }
    let announced = rounds.iter().filter_map(|round| round.announced).collect();
    let gaps = rounds.iter().map(|round| round.udp.longest_gap()).collect();
    let most = |of: fn(&Round) -> usize| rounds.iter().map(of).max().unwrap_or_default();
    println!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        fault.text(),
        rounds.len(),
        spread(announced),
        spread(gaps),
        most(|round| round.udp.lost()),
        most(|round| round.tcp.broken.len()),
        most(|round| round.moves),
    );
    Ok(())
}

fn round(scene: &Scene, fault: Fault) -> Result<Round> {
    let cluster = &scene.cluster;
    let vip = fault.vip();
    let target = SocketAddr::from((vip, scene::PORT));
    scene.forget_connections()?;
    let first = cluster.owner(vip)?;
    let owner = fault.prepare(scene, &first)?;
    let mac = cluster.lab.host(&owner)?.mac;
    let probe = cluster.on_lan(|| UdpProbe::start(target))??;
    let connections = cluster.on_lan(|| TcpHold::open(target, CONNECTIONS))??;
    pause(CALM);
    let begun = Instant::now();
    let known = fault.inflict(scene, &first, begun)?;
    let by_another =
        |frame: &Frame| frame.at >= begun && frame.is_gratuitous_for(vip) && frame.source != mac;
    let patience = if fault.moves() { SOON } else { Duration::ZERO };
    let announced = cluster
        .frames
        .wait_for(by_another, Instant::now() + patience)
        .ok()
        .map(|frame| frame.at.saturating_duration_since(known));
    pause(AFTER);
    // First: a hundred connections that look whether they live would make the client late.
    let udp = probe.stop();
    let tcp = connections.stop();
    fault.undo(scene, &first)?;
    cluster.wait_until_all_live()?;
    let announcers = cluster.announcers(vip, begun)?;
    Ok(Round {
        announced,
        udp,
        tcp,
        moves: announcers.iter().filter(|node| **node != owner).count(),
    })
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            announced,
            udp,
            tcp,
            moves,
        } = self;
        write!(
            f,
            "announced after {announced:?}, {moves} moves; {udp}; {tcp}"
        )
    }
}
