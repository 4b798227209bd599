//! What a speaker costs in a large cluster, and what a thousand of them cost the API server: a few real
//! speakers on hollow nodes, and objects as a large cluster has them, one kind after the other.

mod load;
mod usage;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ferrolb_tests::cluster::Cluster;
use ferrolb_tests::control_plane::API_SERVER;
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::kube_proxy;
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::sleep;

use self::load::Load;
use self::usage::{Usage, dispatched};
use crate::process::{memory_of, pid_of};

/// For 65,536 addresses.
const POOL: &str = "10.200.0.0/16";
/// What was begun has ended by then, and what was freed is given back.
const SETTLE: Duration = Duration::from_secs(15);
/// Between two looks at the API server.
const LOOK: Duration = Duration::from_secs(1);
/// Many Services have their addresses by then.
const PATIENCE: Duration = Duration::from_secs(900);
/// Speakers of the cluster that the requests are extrapolated to.
const SPEAKERS: f64 = 1_000.0;

/// All sizes at their defaults take about forty minutes. A size of 0 leaves its part out.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Real speakers, each on a hollow node
    #[arg(long, default_value_t = 5)]
    speakers: u8,
    /// Watches of Nodes and EndpointSlices that are held open beside them, as further speakers would
    #[arg(long, default_value_t = 50)]
    watchers: usize,
    /// Let these watch all EndpointSlices, as speakers did up to 0.1
    #[arg(long)]
    watch_all: bool,
    /// EndpointSlices of Services that are none of type LoadBalancer
    #[arg(long, default_value_t = 1_000)]
    slices: usize,
    /// Endpoints of each of them
    #[arg(long, default_value_t = 50)]
    endpoints: usize,
    /// How many of them change in a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Nodes beside those of the speakers, each with 50 images
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,
    /// Services of type ClusterIP
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// Services of type LoadBalancer, in the end
    #[arg(long, default_value_t = 10_000)]
    addresses: usize,
    /// How long each state is looked at
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    println!("starting {} speakers", args.speakers);
    let cluster = Cluster::start("bench-scale", args.speakers, POOL)?;
    for node in cluster.lab.nodes() {
        cluster.lab.stop(&kube_proxy::process_name(node))?;
    }
    cluster.lab.api(async |client| {
        let bench = Bench {
            cluster: &cluster,
            args,
            load: Load::new(client.clone()),
            client,
        };
        bench.run().await
    })
}

struct Bench<'a> {
    cluster: &'a Cluster,
    args: &'a Args,
    client: Client,
    load: Load,
}

/// What is measured, and what it should come to.
struct State<'a> {
    what: &'a str,
    target: &'a str,
    /// Slices change meanwhile.
    churns: bool,
}

impl Bench<'_> {
    async fn run(&self) -> Result<()> {
        let args = self.args;
        self.load.served(0..1).await?;
        self.await_addresses(1).await?;
        // It has nothing to do until the last part, and its requests would be counted.
        let controller = Daemon::controller("cp").process_name();
        self.cluster.lab.stop(&controller)?;
        let _watchers = self
            .load
            .hold_watches(args.watchers, args.watch_all)
            .await?;
        println!(
            "| state | speaker, MiB (largest) | more than at first | % of a core (largest) | KiB/s received by each | API server, % of a core | its requests/s by {SPEAKERS} speakers | target |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        let nothing = State {
            what: "nothing but one Service with an address",
            target: "",
            churns: false,
        };
        let first = self.measure(&nothing, None).await?;
        let measure = async |what: &str, target, churns| {
            let state = State {
                what,
                target,
                churns,
            };
            self.measure(&state, Some(first)).await
        };
        if args.slices > 0 {
            self.load.slices(args.slices, args.endpoints).await?;
            let what = format!(
                "{} foreign slices of {} endpoints",
                args.slices, args.endpoints
            );
            measure(&what, "≤ 1 MiB more", false).await?;
            let what = format!("{} changes/s of them", args.rate);
            measure(&what, "≤ 1 % more", true).await?;
        }
        if args.nodes > 0 {
            self.load.nodes(args.nodes).await?;
            measure(&format!("and {} nodes", args.nodes), "", false).await?;
        }
        if args.services > 0 {
            self.load.services(args.services).await?;
            let what = format!("and {} Services, {} changes/s", args.services, args.rate);
            measure(&what, "≤ 12 MiB, ≤ 1 %", args.slices > 0).await?;
        }
        if args.addresses > 0 {
            self.cluster.lab.start(&controller)?;
            self.load.served(1..args.addresses).await?;
            self.await_addresses(args.addresses).await?;
            let grown = self.speakers()?.into_iter().map(memory_of);
            let grown: Vec<[f64; 2]> = grown.collect::<Result<_>>()?;
            let [now, peak] =
                [0, 1].map(|one| grown.iter().map(|all| all[one]).fold(0.0, f64::max));
            self.cluster.lab.stop(&controller)?;
            let what = format!("and {} addresses", args.addresses);
            measure(&what, "≤ 32 MiB", false).await?;
            println!(
                "before that, with the last of these addresses, a speaker had at most {now:.1} MiB; while they came, \
                 {peak:.1}"
            );
        }
        Ok(())
    }

    async fn await_addresses(&self, count: usize) -> Result<()> {
        let api: Api<Service> = Api::default_namespaced(self.client.clone());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let fields = ListParams::default().fields("spec.type=LoadBalancer");
            let all = api.list(&fields).await?;
            let served = all.iter().filter(|one| has_address(one)).count();
            if served >= count {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{served} of {count} have addresses"
            );
            sleep(LOOK).await;
        }
    }

    /// Their pids.
    fn speakers(&self) -> Result<Vec<i32>> {
        let lab = &self.cluster.lab;
        let nodes = lab.nodes().into_iter();
        nodes
            .map(|node| pid_of(lab, &Daemon::speaker(&node.name).process_name()))
            .collect()
    }

    /// Starts the speakers anew, so that nothing of what was before counts; looks at them for a while, and
    /// prints what they used. The memory of each on average.
    async fn measure(&self, state: &State<'_>, first: Option<f64>) -> Result<f64> {
        let lab = &self.cluster.lab;
        let nodes: Vec<_> = lab.nodes().iter().map(|node| node.name.clone()).collect();
        for node in &nodes {
            let name = Daemon::speaker(node).process_name();
            lab.stop(&name)?;
            lab.start(&name)?;
        }
        for node in &nodes {
            self.cluster.wait_until_ready(node)?;
        }
        sleep(SETTLE).await;
        let speakers = self.speakers()?;
        let server = pid_of(lab, API_SERVER)?;
        let read = || {
            let usages = speakers.iter().map(|pid| Usage::read(*pid));
            let usages: Vec<_> = usages.collect::<Result<_>>()?;
            let requests = dispatched(&lab.kubectl(&["get", "--raw", "/metrics"])?);
            anyhow::Ok((usages, Usage::read(server)?, requests, Instant::now()))
        };
        let before = read()?;
        let time = Duration::from_secs(self.args.seconds);
        if state.churns {
            let changed = self
                .load
                .churn(self.args.slices, self.args.rate, time)
                .await?;
            let wanted = u64::from(self.args.rate) * self.args.seconds;
            if changed < wanted * 9 / 10 {
                println!("only {changed} of {wanted} changes were made in this time");
            }
        } else {
            sleep(time).await;
        }
        let after = read()?;
        let seconds = (after.3 - before.3).as_secs_f64();
        let pairs: Vec<_> = before.0.iter().zip(&after.0).collect();
        let of = |figure: &dyn Fn(&Usage, &Usage) -> f64| {
            let all = pairs.iter().map(|(before, after)| figure(before, after));
            let all: Vec<_> = all.collect();
            let sum: f64 = all.iter().sum();
            (sum / all.len() as f64, all.into_iter().fold(0.0, f64::max))
        };
        let (memory, most_memory) = of(&|_, after| after.resident_mib);
        let (cpu, most_cpu) = of(&|before, after| after.cpu_since(before, seconds));
        let (received, _) = of(&|before, after| after.received_since(before, seconds));
        let more = first.map_or(String::new(), |first| format!("{:+.1}", memory - first));
        println!(
            "| {} | {memory:.1} ({most_memory:.1}) | {more} | {cpu:.2} ({most_cpu:.2}) | {received:.1} | {:.1} | {:.0} | {} |",
            state.what,
            after.1.cpu_since(&before.1, seconds),
            (after.2 - before.2) / seconds / pairs.len() as f64 * SPEAKERS,
            state.target,
        );
        Ok(memory)
    }
}

fn has_address(service: &Service) -> bool {
    let status = service.status.as_ref();
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    balancer.is_some_and(|balancer| balancer.ingress.as_ref().is_some_and(|all| !all.is_empty()))
}
