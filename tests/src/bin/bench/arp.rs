//! A node's kernel, its speaker, and a process there that does nothing but answer, in turns: asked by
//! the same host for the node's own address, a Vip, and an address that nobody else has. What the
//! third costs over the kernel is what any process costs that has to be woken.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::net::{Host, ip_batch};
use ferrolb_tests::observe::{ArpLoad, ArpResponder, arp_ask, http_get};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{Lab, NodeKind};
use serde_json::json;

/// The subnet of the Vips; every host of the lab gets an address on it.
const SUBNET: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
/// Addresses of one Service: its status says so, and nobody allocates here. The daemons read 256 at most.
const PER_SERVICE: u32 = 250;
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

/// Those that are asked in turns.
const NAMES: [&str; 3] = ["kernel", "speaker", "bare process"];
/// The first two of those that are asked in turns.
const KERNEL: usize = 0;
const SPEAKER: usize = 1;

pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::start(args.nodes)?;
    println!("one question open: p50/p99/max µs; 64 open: answers/s");
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

    /// The node that answers for a Vip: soon, when thousands have just been given.
    fn owner(&self, vip: Ipv4Addr) -> Result<&Host> {
        let client = self.lab.client()?;
        let ask =
            || anyhow::Ok(client.enter(|| arp_ask("eth0", vip, Duration::from_millis(500)))??);
        let is_answered = || Ok(!ask()?.is_empty());
        wait_until(Duration::from_secs(10), is_answered, || Ok(()))
            .with_context(|| format!("nobody answers for {vip}"))?;
        let answers = ask()?;
        let [answer] = answers.as_slice() else {
            anyhow::bail!("{} answers for {vip}", answers.len())
        };
        let mut nodes = self.lab.nodes().into_iter();
        let owner = nodes.find(|node| node.mac == answer.mac);
        owner.context("the answer is no node's")
    }

    fn measure(&self, args: &Args, vips: u32) -> Result<()> {
        let client = self.lab.client()?;
        let asked = vip(vips - 1);
        let nodes = self.lab.nodes();
        let owner = self.owner(asked)?;
        let open = |address| client.enter(|| ArpLoad::open("eth0", address));
        let bare = Ipv4Addr::from_bits(SUBNET.to_bits() + 0xfb00);
        let responder = owner.enter(|| ArpResponder::start("eth0", bare, BTreeSet::new()))??;
        let loads = [open(on_subnet(owner))??, open(asked)??, open(bare)??];
        let turn = Duration::from_secs_f64(args.seconds);
        let (mut trips, mut rates) = ([vec![], vec![], vec![]], [0.0; 3]);
        let (mut by_owner, mut by_others) = (0.0, 0.0);
        for _ in 0..args.turns {
            for (which, load) in loads.iter().enumerate() {
                trips[which].extend(load.one_by_one(turn)?);
                let before = (self.cpu(&[owner])?, self.cpu(&nodes)?);
                rates[which] += load.with_outstanding(64, turn)? / f64::from(args.turns);
                if which == SPEAKER {
                    let spent = self.cpu(&[owner])? - before.0;
                    by_owner += spent;
                    by_others += self.cpu(&nodes)? - before.1 - spent;
                }
            }
        }
        drop(responder);
        let trips = trips.map(|mut trips| {
            trips.sort_unstable();
            Percentiles::of(&trips)
        });
        ensure!(
            trips[SPEAKER].count > 200,
            "only {} answers",
            trips[SPEAKER].count
        );
        println!("{vips} Vips");
        for (which, name) in NAMES.iter().enumerate() {
            println!(
                "  {name:<14} {:>16}  p50 +{:>4.1} µs, p99 × {:>4.1}  {:>7.0}/s, share {:.2}",
                trips[which],
                trips[which].p50 - trips[KERNEL].p50,
                trips[which].p99 / trips[KERNEL].p99,
                rates[which],
                rates[which] / rates[KERNEL],
            );
        }
        let replies = rates[SPEAKER] * args.seconds * f64::from(args.turns);
        println!(
            "  CPU per answer at 64 open: owner {:.2} µs, all other speakers together {:.2} µs",
            by_owner / replies * 1e6,
            by_others / replies * 1e6,
        );
        Ok(())
    }

    /// 400,000 questions for an address that nobody has, in 4 s, and 1,000/s for one that is answered, by
    /// the kernel, the speaker and the bare process in turns. The two askers and the answerer share the
    /// processors of one machine.
    fn foreign(&self) -> Result<()> {
        let client = self.lab.client()?;
        let nodes = self.lab.nodes();
        let owner = self.owner(vip(0))?;
        let foreign = Ipv4Addr::from_bits(SUBNET.to_bits() + 0xfa00);
        let flood = client.enter(|| ArpLoad::open("eth0", foreign))??;
        let bare = Ipv4Addr::from_bits(SUBNET.to_bits() + 0xfb00);
        let responder = owner.enter(|| ArpResponder::start("eth0", bare, BTreeSet::new()))??;
        let seconds = Duration::from_secs(4);
        println!("400,000 foreign frames in 4 s beside 1,000 questions/s");
        for (name, address) in NAMES.iter().zip([on_subnet(owner), vip(0), bare]) {
            let asked = client.enter(|| ArpLoad::open("eth0", address))??;
            let cpu =
                || -> Result<Vec<f64>> { nodes.iter().map(|node| self.cpu(&[*node])).collect() };
            let before = cpu()?;
            let trips = std::thread::scope(|scope| {
                let flooding = scope.spawn(|| flood.flood(400_000, seconds));
                let trips = asked.paced(1_000, seconds);
                flooding
                    .join()
                    .map_err(|_| anyhow::anyhow!("the flood panicked"))??;
                anyhow::Ok(trips?)
            })?;
            let spent = cpu()?.into_iter().zip(before);
            let spent: Vec<_> = spent
                .map(|(after, before)| format!("{:.2}", after - before))
                .collect();
            println!(
                "  {name:<14} {:>16} µs ({} of 4,000), CPU of each speaker: {} s",
                Percentiles::of(&trips),
                trips.len(),
                spent.join(" "),
            );
        }
        drop(responder);
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
