//! What speakers cost that have nothing to do: four hollow nodes with twenty addresses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::cluster::Cluster;
use ferrolb_tests::daemon::Daemon;

use crate::figures::pause;
use crate::process::{USER_HZ, file_of, memory_of, on_cpu, pid_of, ticks_of};

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const POOL: &str = "192.168.64.200-192.168.64.219";
const VIPS: u32 = 20;
/// What was begun when the last address came has ended by then.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long it is looked at
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// What a speaker and its network had used up by then.
struct Usage {
    at: Instant,
    /// As `ps` counts: by ticks of the clock.
    ticks: u64,
    /// As the scheduler counts.
    on_cpu: Duration,
    /// Counters of the namespace, in which nothing else speaks UDP or ICMP.
    network: BTreeMap<String, u64>,
    resident_mib: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let cluster = Cluster::start("bench-idle", NODES.len() as u8, POOL)?;
    let _pod = cluster.create_pod("web", "n1")?;
    for number in 0..VIPS {
        cluster.lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "Service", "metadata": {{ "name": "web-{number}" }},
                 "spec": {{ "type": "LoadBalancer", "selector": {{ "app": "web" }},
                           "ports": [{{ "port": 80 }}] }} }}"#
        ))?;
    }
    cluster.wait_until_announced(VIPS)?;
    pause(SETTLE);
    let pids = NODES.map(|node| pid_of(&cluster.lab, &Daemon::speaker(node).process_name()));
    let pids = pids.into_iter().collect::<Result<Vec<_>>>()?;
    let read_all = || {
        pids.iter()
            .copied()
            .map(Usage::read)
            .collect::<Result<Vec<_>>>()
    };
    let before = read_all()?;
    pause(Duration::from_secs(args.seconds));
    let after = read_all()?;
    println!(
        "| speaker | addresses | % of a core, by ticks | by the scheduler | VmRSS, MiB | datagrams sent/s | received/s | ICMP messages/s | frames sent/s | received/s |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (node, (before, after)) in NODES.iter().zip(before.iter().zip(&after)) {
        let addresses = cluster.announced(node)?;
        println!("| {node} | {addresses} | {} |", after.since(before)?);
    }
    Ok(())
}

impl Usage {
    fn read(pid: i32) -> Result<Self> {
        let [resident_mib, _] = memory_of(pid)?;
        Ok(Self {
            at: Instant::now(),
            ticks: ticks_of(pid)?,
            on_cpu: on_cpu(pid)?,
            network: counters(&file_of(pid, "net/snmp")?, &file_of(pid, "net/dev")?),
            resident_mib,
        })
    }

    /// The cells of the table from the third on.
    fn since(&self, before: &Self) -> Result<String> {
        let seconds = (self.at - before.at).as_secs_f64();
        let per_second = |name: &str| {
            let difference = self
                .network
                .get(name)?
                .checked_sub(*before.network.get(name)?)?;
            Some(difference as f64 / seconds)
        };
        let rate = |name: &str| per_second(name).with_context(|| format!("no counter {name}"));
        let icmp = rate("Icmp InMsgs")? + rate("Icmp OutMsgs")?;
        Ok(format!(
            "{:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {icmp:.1} | {:.1} | {:.1}",
            (self.ticks - before.ticks) as f64 / USER_HZ / seconds * 100.0,
            (self.on_cpu - before.on_cpu).as_secs_f64() / seconds * 100.0,
            self.resident_mib,
            rate("Udp OutDatagrams")?,
            rate("Udp InDatagrams")?,
            rate("eth0 sent")?,
            rate("eth0 received")?,
        ))
    }
}

/// `/proc/net/snmp`: a line of names and one of values for each protocol; `/proc/net/dev`: sixteen
/// values for each link, of which the 2nd and the 10th are packets.
fn counters(snmp: &str, dev: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let lines: Vec<_> = snmp.lines().collect();
    for pair in lines.chunks(2) {
        let [names, values] = pair else { continue };
        let Some((protocol, names)) = names.split_once(": ") else {
            continue;
        };
        let values = values.split(' ').skip(1);
        for (name, value) in names.split(' ').zip(values) {
            // Some are negative; none of them is asked for.
            if let Ok(value) = value.parse() {
                counters.insert(format!("{protocol} {name}"), value);
            }
        }
    }
    for line in dev.lines() {
        let Some((link, values)) = line.split_once(':') else {
            continue;
        };
        let values: Vec<_> = values.split_ascii_whitespace().collect();
        for (name, index) in [("received", 1), ("sent", 9)] {
            if let Some(value) = values.get(index).and_then(|value| value.parse().ok()) {
                counters.insert(format!("{} {name}", link.trim()), value);
            }
        }
    }
    counters
}
