//! What must move nothing: four hollow nodes with eight addresses of both families, and one fault
//! for a long time. Counted are verdicts and moves, and beats that came late, which tell whether the
//! fault was felt at all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::control_plane::{CONTROLLER_MANAGER, SCHEDULER};
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::kube_proxy;
use ferrolb_tests::net::lan_address;
use ferrolb_tests::wait::wait_until;

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

/// What the speakers have counted, all together.
struct Counts {
    verdicts: f64,
    moves: f64,
    beats: f64,
    late: f64,
    very_late: f64,
    repeated: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let faults = match &args.fault[..] {
        [] => Fault::value_variants(),
        some => some,
    };
    println!(
        "| fault | minutes | times | beats heard | later than 70 ms | than 250 ms | datagrams refused as repeated | verdicts | moves | announced by another |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
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
    let before = Counts::read(&cluster)?;
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
    let after = Counts::read(&cluster)?;
    let mut announced = 0;
    for (number, owner) in (0..SERVICES).zip(&owners) {
        let by = cluster.announcers(vip(number), begun)?;
        announced += by.iter().filter(|node| *node != owner).count();
    }
    println!(
        "| {} | {lasted:.1} | {} | {} | {} | {} | {} | {} | {} | {announced} |",
        fault.text(),
        if fault.is_repeated() {
            times.to_string()
        } else {
            "always".to_owned()
        },
        after.beats - before.beats,
        after.late - before.late,
        after.very_late - before.very_late,
        after.repeated - before.repeated,
        after.verdicts - before.verdicts,
        after.moves - before.moves,
    );
    if after.verdicts > before.verdicts || after.moves > before.moves {
        println!("{}", logs.since(&cluster)?);
    }
    Ok(())
}

fn start(fault: Fault) -> Result<Cluster> {
    let value = fault.to_possible_value().context("no such fault")?;
    let name = format!("stress-{}", value.get_name());
    let cluster = Cluster::start(&name, NODES.len() as u8, POOL)?;
    let _pod = cluster.create_pod("web", "n1")?;
    for number in 0..SERVICES {
        cluster.lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "Service", "metadata": {{ "name": "web-{number}" }},
                 "spec": {{ "type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack",
                           "allocateLoadBalancerNodePorts": false,
                           "selector": {{ "app": "web" }}, "ports": [{{ "port": 80 }}] }} }}"#
        ))?;
    }
    let announced = || {
        let counts = NODES.map(|node| cluster.announced(node));
        let sum: f64 = counts.into_iter().sum::<Result<_>>()?;
        Ok(sum == f64::from(2 * SERVICES))
    };
    wait_until(3 * SOON, announced, || Ok(())).context("not every address is announced")?;
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

impl Counts {
    fn read(cluster: &Cluster) -> Result<Self> {
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
        Ok(Self {
            verdicts: sum("ferrolb_verdicts_total{")?,
            moves: sum("ferrolb_addresses_taken_total{")?,
            beats,
            late: beats - up_to("0.07")?,
            very_late: beats - up_to("0.25")?,
            repeated: sum("ferrolb_peer_datagrams_total{outcome=\"replayed\"")?,
        })
    }
}
