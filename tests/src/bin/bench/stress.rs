//! What must move nothing: four hollow nodes with eight addresses of both families, and one fault
//! for a long time. Counted are verdicts and moves, and beats that came late, which tell whether the
//! fault was felt at all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use ferrolb_tests::Lab;
use ferrolb_tests::cluster::Cluster;
use ferrolb_tests::control_plane::{CONTROLLER_MANAGER, SCHEDULER};
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::kube_proxy;
use ferrolb_tests::net::lan_address;

use self::fault::{Fault, Injection};
use crate::logs::Logs;

mod fault;

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const POOL: &str = "192.168.64.200-192.168.64.203, fd00:64::200-fd00:64::203";
/// Services of both families: two addresses each.
const SERVICES: u8 = 4;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each fault lasts
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,

    /// Only these
    #[arg(long, value_enum)]
    fault: Vec<Fault>,
}

/// What the speakers count. Who is not heard by one alone moves nothing; who is held dead does.
const COUNTED: [&str; 8] = [
    "beats heard",
    "later than 70 ms",
    "than 250 ms",
    "datagrams refused as repeated",
    "votes against living nodes",
    "not heard by one",
    "held dead",
    "moves",
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let faults = match &args.fault[..] {
        [] => Fault::value_variants(),
        some => some,
    };
    println!(
        "| fault | minutes | times | {} | announced by another |",
        COUNTED.join(" | ")
    );
    println!("|{}", " --- |".repeat(4 + COUNTED.len()));
    for fault in faults {
        let time = Duration::from_secs_f64(args.minutes * 60.0);
        stress(*fault, time).with_context(|| fault.text())?;
    }
    Ok(())
}

fn stress(fault: Fault, time: Duration) -> Result<()> {
    let cluster = start(fault)?;
    let owners = (0..SERVICES)
        .map(|number| cluster.owner(vip(number)))
        .collect::<Result<Vec<_>>>()?;
    let logs = Logs::mark(&cluster)?;
    let before = counts(&cluster)?;
    let begun = Instant::now();
    let mut injection = Injection::begin(&cluster, fault)?;
    let mut times = 0;
    while begun.elapsed() < time {
        injection.step(times)?;
        times += 1;
    }
    injection.end()?;
    cluster.wait_until_all_live()?;
    let lasted = begun.elapsed().as_secs_f64() / 60.0;
    let after = counts(&cluster)?;
    let counted: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let mut announced = 0;
    for (number, owner) in (0..SERVICES).zip(&owners) {
        let by = cluster.announcers(vip(number), begun)?;
        announced += by.iter().filter(|node| *node != owner).count();
    }
    let times = match fault.is_repeated() {
        true => times.to_string(),
        false => "always".to_owned(),
    };
    let cells: Vec<_> = counted.iter().map(f64::to_string).collect();
    println!(
        "| {} | {lasted:.1} | {times} | {} | {announced} |",
        fault.text(),
        cells.join(" | ")
    );
    if let [.., votes, _, dead, moves] = counted[..]
        && votes + dead + moves > 0.0
    {
        println!("{}", logs.since(&cluster)?);
    }
    Ok(())
}

fn start(fault: Fault) -> Result<Cluster> {
    let value = fault.to_possible_value().context("no such fault")?;
    let name = format!("stress-{}", value.get_name());
    // They vote on dead nodes, if they find any; nobody reads it here.
    let speaker = |node: &str| Daemon::speaker(node).arg("--dead-nodes=remove");
    let start = |_: &Lab, node: &str| Ok(speaker(node));
    let cluster = Cluster::start_with(&name, NODES.len() as u8, POOL, start)?;
    let _pod = cluster.create_pod("web", "n1")?;
    for number in 0..SERVICES {
        cluster.lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "Service", "metadata": {{ "name": "web-{number}" }},
                 "spec": {{ "type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack",
                           "allocateLoadBalancerNodePorts": false,
                           "selector": {{ "app": "web" }}, "ports": [{{ "port": 80 }}] }} }}"#
        ))?;
    }
    cluster.wait_until_announced(2 * u32::from(SERVICES))?;
    // Not asked any more, and several of these labs may run side by side.
    for idle in [
        CONTROLLER_MANAGER,
        SCHEDULER,
        &Daemon::controller("cp").process_name(),
    ] {
        cluster.lab.stop(idle)?;
    }
    for node in NODES {
        cluster
            .lab
            .stop(&kube_proxy::process_name(cluster.lab.host(node)?))?;
    }
    Ok(cluster)
}

const fn vip(number: u8) -> std::net::Ipv4Addr {
    lan_address(200 + number)
}

/// How often a speaker voted on a node: each time it says so in its log.
fn votes(cluster: &Cluster) -> Result<f64> {
    let mut votes = 0;
    for node in NODES {
        let log = cluster.lab.log(&Daemon::speaker(node).process_name())?;
        votes += log
            .matches("a node is dead: its pods can leave rotation")
            .count();
    }
    Ok(votes as f64)
}

/// [`COUNTED`], of all speakers together.
fn counts(cluster: &Cluster) -> Result<[f64; COUNTED.len()]> {
    let pages = NODES.map(|node| cluster.metrics(node));
    let pages = pages.into_iter().collect::<Result<Vec<_>>>()?;
    let sum = |series: &str| {
        pages
            .iter()
            .map(|page| page.sum(series))
            .sum::<Result<f64>>()
    };
    let up_to = |seconds: &str| {
        sum(&format!(
            "ferrolb_heartbeat_gap_seconds_bucket{{le=\"{seconds}\"}}"
        ))
    };
    let beats = sum("ferrolb_heartbeat_gap_seconds_count")?;
    let lost = sum("ferrolb_verdicts_total{verdict=\"lost\"")?;
    Ok([
        beats,
        beats - up_to("0.07")?,
        beats - up_to("0.25")?,
        sum("ferrolb_peer_datagrams_total{outcome=\"replayed\"")?,
        votes(cluster)?,
        lost,
        sum("ferrolb_verdicts_total{")? - lost,
        sum("ferrolb_addresses_taken_total{")?,
    ])
}
