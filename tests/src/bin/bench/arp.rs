//! A node's speaker and its kernel in turns: the one asked for a Vip, the other for the node's own
//! address, by the same host.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::net::{Host, ip_batch};
use ferrolb_tests::observe::{ArpLoad, arp_ask, http_get};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, NodeKind};
use serde_json::json;

/// The subnet of the Vips; every host of the lab gets an address on it.
const SUBNET: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
/// Addresses of one Service: its status says so, and nobody allocates here.
const PER_SERVICE: u32 = 500;
/// `USER_HZ`: the unit of `/proc/PID/stat`, the same on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many Vips there are, one measurement after the other, ascending
    #[arg(long, value_delimiter = ',', default_value = "1,1000,10000")]
    vips: Vec<u32>,
    /// Turns of each kind
    #[arg(long, default_value_t = 5)]
    turns: u32,
    /// Seconds of each turn
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Nodes, each with a speaker
    #[arg(long, default_value_t = 4)]
    nodes: u8,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::start(args.nodes)?;
    println!(
        "{:>6} {:>15} {:>22} {:>22} {:>13} {:>12} {:>26}",
        "Vips",
        "64 open: share",
        "kernel p50/p99/max µs",
        "speaker p50/p99/max µs",
        "p50 over µs",
        "p99 ratio",
        "µs CPU/reply owner, others"
    );
    let mut there = 0;
    for vips in &args.vips {
        bench.give(there, *vips)?;
        there = *vips;
        bench.measure(args, *vips)?;
    }
    bench.foreign()
}

struct Bench {
    lab: Lab,
}

fn vip(n: u32) -> Ipv4Addr {
    // Behind the hosts' own addresses.
    Ipv4Addr::from_bits(SUBNET.to_bits() + 1_024 + n)
}

fn on_subnet(host: &Host) -> Ipv4Addr {
    Ipv4Addr::from_bits(SUBNET.to_bits() + u32::from(host.ipv4.octets()[3]))
}

impl Bench {
    fn start(nodes: u8) -> Result<Self> {
        let lab = Lab::builder("bench-arp")
            .nodes(nodes)
            .kind(NodeKind::Hollow)
            .start()?;
        let hosts = lab.nodes().into_iter().chain([lab.client()?]);
        for host in hosts {
            let line = format!("addr add {}/16 dev eth0", on_subnet(host));
            ip_batch(&host.namespace, &[line])?;
        }
        for node in lab.nodes() {
            lab.start_daemon(&Daemon::speaker(&node.name))?;
        }
        lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
                 "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
                 "data": {{ "config": "address-pools: [{{name: a, protocol: layer2, addresses: [{SUBNET}/16]}}]" }} }}"#
        ))?;
        lab.create_hollow_pod(&HollowPod::new("web", "n1").label("app", "web"))?;
        Ok(Self { lab })
    }

    /// Gives the Vips `from..to` to Services, and waits until all are announced.
    fn give(&self, from: u32, to: u32) -> Result<()> {
        let mut first = from;
        while first < to {
            let last = (first + PER_SERVICE).min(to);
            let name = format!("web-{first}");
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
                "spec": { "type": "LoadBalancer", "selector": { "app": "web" },
                          "allocateLoadBalancerNodePorts": false,
                          "ports": [{ "port": 80, "targetPort": 3000 }] },
            });
            self.lab.apply(&service.to_string())?;
            let ingress: Vec<_> = (first..last)
                .map(|n| json!({ "ip": vip(n), "ipMode": "VIP" }))
                .collect();
            let status = json!({ "status": { "loadBalancer": { "ingress": ingress } } });
            let status = status.to_string();
            self.lab.kubectl(&[
                "patch",
                "service",
                &name,
                "--subresource=status",
                "--type=merge",
                "-p",
                &status,
            ])?;
            first = last;
        }
        let announced = || {
            let mut count = 0;
            for node in self.lab.nodes() {
                let at = SocketAddr::from((node.ipv4, 7472));
                let page = self
                    .lab
                    .client()?
                    .enter(|| http_get(at, "/metrics", Duration::from_secs(2)))?;
                let body = page.map_or_else(|_| String::new(), |page| page.body);
                let series = body.lines();
                count += series
                    .filter(|line| line.starts_with("metallb_speaker_announced{"))
                    .count();
            }
            Ok(count >= to as usize)
        };
        wait_until(Duration::from_secs(60), announced, || Ok(()))
            .with_context(|| format!("{to} Vips are not announced"))
    }

    fn measure(&self, args: &Args, vips: u32) -> Result<()> {
        let client = self.lab.client()?;
        let asked = vip(vips - 1);
        let answers = client.enter(|| arp_ask("eth0", asked, Duration::from_millis(500)))??;
        let [answer] = answers.as_slice() else {
            anyhow::bail!("{} answers for {asked}", answers.len())
        };
        let nodes = self.lab.nodes();
        let owner = nodes.iter().find(|node| node.mac == answer.mac);
        let owner = *owner.context("the answer is no node's")?;
        let open = |address| client.enter(|| ArpLoad::open("eth0", address));
        let (kernel, speaker) = (open(on_subnet(owner))??, open(asked)??);
        let turn = Duration::from_secs_f64(args.seconds);
        let (mut trips, mut rates) = ([vec![], vec![]], [0.0, 0.0]);
        let mut replies = 0.0;
        let (mut by_owner, mut by_others) = (0.0, 0.0);
        for _ in 0..args.turns {
            for (which, load) in [&kernel, &speaker].into_iter().enumerate() {
                trips[which].extend(load.one_by_one(turn)?);
                let before = (self.cpu(&[owner])?, self.cpu(&nodes)?);
                let rate = load.with_outstanding(64, turn)?;
                rates[which] += rate;
                if which == 1 {
                    replies += rate * args.seconds;
                    let spent = self.cpu(&[owner])? - before.0;
                    by_owner += spent;
                    by_others += self.cpu(&nodes)? - before.1 - spent;
                }
            }
        }
        let [kernel, speaker] = trips.map(|mut trips| {
            trips.sort_unstable();
            Percentiles::of(&trips)
        });
        ensure!(speaker.count > 200, "only {} answers", speaker.count);
        println!(
            "{vips:>6} {:>7.0}/{:.0}/s {:>4.2} {kernel:>18} {speaker:>22} {:>13.1} {:>12.2} {:>12.2} {:>12.2}",
            rates[1] / f64::from(args.turns),
            rates[0] / f64::from(args.turns),
            rates[1] / rates[0],
            speaker.p50 - kernel.p50,
            speaker.p99 / kernel.p99,
            by_owner / replies * 1e6,
            by_others / replies * 1e6,
        );
        Ok(())
    }

    /// 400,000 questions for an address that nobody has, in 4 s, and 1,000/s for one that is announced.
    fn foreign(&self) -> Result<()> {
        let client = self.lab.client()?;
        let nodes = self.lab.nodes();
        let foreign = Ipv4Addr::from_bits(SUBNET.to_bits() + 0xfa00);
        let flood = client.enter(|| ArpLoad::open("eth0", foreign))??;
        let asked = client.enter(|| ArpLoad::open("eth0", vip(0)))??;
        let seconds = Duration::from_secs(4);
        let before = self.cpu(&nodes)?;
        let trips = std::thread::scope(|scope| {
            let flooding = scope.spawn(|| flood.flood(400_000, seconds));
            let trips = asked.paced(1_000, seconds);
            flooding
                .join()
                .map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            anyhow::Ok(trips?)
        })?;
        let spent = self.cpu(&nodes)? - before;
        println!(
            "400,000 foreign frames in 4 s beside 1,000 questions/s: {spent:.2} s of CPU in {} speakers \
             together; answered in p50/p99/max {} µs ({} of 4,000)",
            nodes.len(),
            Percentiles::of(&trips),
            trips.len(),
        );
        Ok(())
    }

    /// Processor time that the speakers of these nodes have used, in seconds.
    fn cpu(&self, nodes: &[&Host]) -> Result<f64> {
        let mut ticks = 0;
        for node in nodes {
            let name = Daemon::speaker(&node.name).process_name();
            let process = self
                .lab
                .alive(&name)
                .with_context(|| format!("{name} is gone"))?;
            let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid()))?;
            // Behind the name in parentheses: utime and stime are the 12th and 13th field (proc(5)).
            let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
            let fields: Vec<_> = fields.split_whitespace().collect();
            for field in &fields[11..13] {
                ticks += field.parse::<u64>()?;
            }
        }
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }
}

/// Of round trips, in µs.
struct Percentiles {
    count: usize,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    /// Of round trips in ascending order.
    fn of(trips: &[Duration]) -> Self {
        let at = |share: f64| {
            let index = (trips.len() as f64 * share) as usize;
            let trip = trips.get(index.min(trips.len().saturating_sub(1)));
            trip.map_or(f64::NAN, |trip| trip.as_secs_f64() * 1e6)
        };
        Self {
            count: trips.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.0}/{:.0}/{:.0}", self.p50, self.p99, self.max))
    }
}
