//! Four hollow nodes and a Service whose pod is on one that never owns the address, so that what is
//! measured is the announcement and not kube-proxy's view of dead endpoints. A client on the LAN
//! sends a datagram each 10 ms and holds 100 connections, half of them idle.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use ferrolb_tests::cluster::{Cluster, PORT, SOON};
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::observe::{Frame, TcpHold, UdpProbe};
use ferrolb_tests::wait::wait_until;
use rustix::process::Signal;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const TARGET: SocketAddr = SocketAddr::new(IpAddr::V4(VIP), PORT);
const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const CONNECTIONS: usize = 100;
/// Before and after each fault, so that gaps have an end.
const CALM: Duration = Duration::from_millis(1_200);
/// Fewer rounds have no 99th percentile.
const FOR_P99: usize = 200;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds of each fault
    #[arg(long, default_value_t = 20)]
    rounds: usize,

    /// Only these
    #[arg(long, value_enum)]
    fault: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// The owner's port of the switch forwards no more; its link stays up
    Cut,
    /// The owner's link goes down
    Carrier,
    /// kill -9 of the owner's speaker, started again at once
    Kill,
    /// SIGTERM of every speaker in turn, started again at once
    Rolling,
    /// The owner is cordoned
    Cordon,
}

impl Fault {
    const fn text(self) -> &'static str {
        match self {
            Self::Cut => "silent cut of the owner's port",
            Self::Carrier => "carrier loss at the owner",
            Self::Kill => "kill -9 of the owner's speaker, started again",
            Self::Rolling => "rolling restart of all speakers",
            Self::Cordon => "cordon of the owner",
        }
    }
}

/// What one round brought.
struct Round {
    /// From the fault to the first gratuitous ARP of another node.
    announced: Option<Duration>,
    gap: Duration,
    lost: usize,
    broken: usize,
    moves: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let cluster = serving()?;
    let all = Fault::value_variants();
    let faults = if args.fault.is_empty() {
        all
    } else {
        &args.fault
    };
    println!(
        "| fault | rounds | announced elsewhere, ms | longest silence, ms | datagrams lost, max | connections broken of {CONNECTIONS}, max | moves, max |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for fault in faults {
        let mut rounds = Vec::new();
        for number in 0..args.rounds {
            let round = round(&cluster, *fault)
                .with_context(|| format!("{}, round {number}", fault.text()))?;
            rounds.push(round);
        }
        report(*fault, &rounds);
    }
    Ok(())
}

fn serving() -> Result<Cluster> {
    let cluster = Cluster::start("bench", NODES.len() as u8, "192.168.64.200/32")?;
    let _pod = cluster.create_pod("web", "n1")?;
    cluster.lab.apply(&format!(
        r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
             "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
             "data": {{ "config": "address-pools: [{{name: lan, protocol: layer2, addresses: [{VIP}/32], node-selectors: [{{match-expressions: [{{key: kubernetes.io/hostname, operator: NotIn, values: [n1]}}]}}]}}]" }} }}"#
    ))?;
    cluster.create_service("Cluster", VIP)?;
    cluster.page(VIP)?;
    Ok(cluster)
}

fn round(cluster: &Cluster, fault: Fault) -> Result<Round> {
    let owner = cluster.owner(VIP)?;
    let mac = cluster.lab.host(&owner)?.mac;
    let probe = cluster.on_lan(|| UdpProbe::start(TARGET))??;
    let connections = cluster.on_lan(|| TcpHold::open(TARGET, CONNECTIONS))??;
    pause(CALM);
    let begun = Instant::now();
    match fault {
        Fault::Cut => cluster.lab.cut(&owner, false)?,
        Fault::Carrier => cluster.lab.cut(&owner, true)?,
        Fault::Kill => cluster.restart_speaker(&owner, Signal::KILL)?,
        Fault::Rolling => {
            for node in NODES {
                cluster.restart_speaker(node, Signal::TERM)?;
            }
        }
        Fault::Cordon => drop(cluster.lab.kubectl(&["cordon", &owner])?),
    }
    let by_another =
        |frame: &Frame| frame.at >= begun && frame.is_gratuitous_for(VIP) && frame.source != mac;
    let patience = match fault {
        Fault::Kill | Fault::Rolling => Duration::ZERO,
        _ => SOON,
    };
    let announced = cluster
        .frames
        .wait_for(by_another, Instant::now() + patience);
    let announced = announced.ok().map(|frame| frame.at - begun);
    pause(CALM);
    let tcp = connections.stop();
    let udp = probe.stop();
    let moves = cluster.announcers(VIP, begun)?;
    match fault {
        Fault::Cut | Fault::Carrier => cluster.lab.heal(&owner)?,
        Fault::Cordon => drop(cluster.lab.kubectl(&["uncordon", &owner])?),
        Fault::Kill | Fault::Rolling => {}
    }
    wait_until_all_live(cluster)?;
    Ok(Round {
        announced,
        gap: udp.longest_gap(),
        lost: udp.lost(),
        broken: tcp.broken.len(),
        moves: moves.iter().filter(|node| **node != owner).count(),
    })
}

/// Until every speaker holds every other one live again.
fn wait_until_all_live(cluster: &Cluster) -> Result<()> {
    let all_live = || {
        for node in NODES {
            let status = cluster.status(node)?;
            let members = status["members"].as_array().cloned().unwrap_or_default();
            let live = members.iter().filter(|member| member["standing"] == "live");
            if live.count() != NODES.len() {
                return Ok(false);
            }
        }
        Ok(true)
    };
    wait_until(SOON, all_live, || Ok(())).context("the speakers do not find each other again")
}

fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a measurement of what happens in this time"
    )]
    std::thread::sleep(time);
}

fn report(fault: Fault, rounds: &[Round]) {
    let announced = rounds.iter().filter_map(|round| round.announced).collect();
    let gaps = rounds.iter().map(|round| round.gap).collect();
    let most = |of: fn(&Round) -> usize| rounds.iter().map(of).max().unwrap_or_default();
    println!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        fault.text(),
        rounds.len(),
        spread(announced),
        spread(gaps),
        most(|round| round.lost),
        most(|round| round.broken),
        most(|round| round.moves),
    );
}

/// Median, 99th percentile where there are enough, and the longest.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let Some(longest) = times.last() else {
        return "never".to_owned();
    };
    let millis = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let mut text = format!("p50 {}", millis(at(0.5)));
    if times.len() >= FOR_P99 {
        text += &format!(", p99 {}", millis(at(0.99)));
    }
    text + &format!(", max {}", millis(*longest))
}
