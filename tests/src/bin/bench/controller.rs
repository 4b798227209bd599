//! How long a Service waits for its address, alone and among a thousand, and what ten thousand cost:
//! seen by a watch beside the controller, which gets the same events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrolb_tests::Lab;
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;

use crate::figures::millis;
use crate::many::{CLIENTS, create_services, quiet_lab};
use crate::process::{memory_of, pid_of};

/// Addresses for more Services than are made.
const POOL: &str = "10.200.0.0/16";
/// How many are created at once.
const CROWD: usize = 1_000;
/// Before memory is read: what was freed is given back by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Only a controller that does not work takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Services that are created one after the other
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Services in the end; creating 10,000 takes minutes
    #[arg(long, default_value_t = 1_000)]
    services: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let lab = quiet_lab("bench-controller")?;
    let controller = lab.start_daemon(&Daemon::controller("cp"))?;
    lab.apply(&format!(
        r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
             "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
             "data": {{ "config": "address-pools: [{{name: a, protocol: layer2, addresses: [{POOL}]}}]" }} }}"#
    ))?;
    lab.api(async |client| {
        let mut bench = Bench::start(&lab, &controller, client);
        bench.create(&["first".to_owned()]).await?;
        bench.all_served(1).await?;
        bench.memory().await?;
        bench.one_by_one(args.rounds).await?;
        bench.crowd().await?;
        bench.memory().await?;
        let there = bench.served.len();
        if args.services > there {
            let begin = Instant::now();
            let names: Vec<_> = (there..args.services)
                .map(|n| format!("more-{n}"))
                .collect();
            bench.create(&names).await?;
            bench.all_served(args.services).await?;
            println!(
                "{} more created and served in {:.1?}",
                names.len(),
                begin.elapsed()
            );
            bench.memory().await?;
        }
        bench.cold_start().await
    })
}

struct Bench<'a> {
    lab: &'a Lab,
    controller: &'a str,
    api: Api<Service>,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// When each Service was first seen.
    created: BTreeMap<String, Instant>,
    /// Those that have an address, and since when.
    served: BTreeMap<String, Instant>,
    addresses: BTreeSet<String>,
}

/// A Service as the watch showed it.
struct Seen {
    name: String,
    address: Option<String>,
    at: Instant,
}

impl<'a> Bench<'a> {
    fn start(lab: &'a Lab, controller: &'a str, client: Client) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let api: Api<Service> = Api::default_namespaced(client);
        let load_balancers = watcher::Config::default().fields("spec.type=LoadBalancer");
        let events = watcher(api.clone(), load_balancers).default_backoff();
        tokio::spawn(async move {
            let mut services = std::pin::pin!(events.applied_objects());
            while let Some(service) = services.next().await {
                let Ok(service) = service else { continue };
                let seen = Seen {
                    name: service.name_any(),
                    address: address_of(&service),
                    at: Instant::now(),
                };
                if sender.send(seen).is_err() {
                    return;
                }
            }
        });
        Self {
            lab,
            controller,
            api,
            seen,
            created: BTreeMap::new(),
            served: BTreeMap::new(),
            addresses: BTreeSet::new(),
        }
    }

    /// Creates them, some at a time; all are acknowledged when it returns.
    async fn create(&self, names: &[String]) -> Result<()> {
        create_services(&self.api, names.iter().cloned()).await
    }

    /// Takes what the watch shows until so many Services have an address; when the last one got it.
    async fn all_served(&mut self, count: usize) -> Result<Instant> {
        let mut last = Instant::now();
        while self.served.len() < count {
            let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
            let seen = seen
                .with_context(|| format!("{} of {count} have an address", self.served.len()))?
                .context("the watch ended")?;
            self.created.entry(seen.name.clone()).or_insert(seen.at);
            let Some(address) = seen.address else {
                continue;
            };
            if self.served.contains_key(&seen.name) {
                continue;
            }
            if !self.addresses.insert(address.clone()) {
                bail!("{address} was given twice");
            }
            self.served.insert(seen.name, seen.at);
            last = seen.at;
        }
        Ok(last)
    }

    async fn one_by_one(&mut self, rounds: usize) -> Result<()> {
        let mut waits = Vec::new();
        for round in 0..rounds {
            let name = format!("alone-{round}");
            self.create(std::slice::from_ref(&name)).await?;
            self.all_served(self.served.len() + 1).await?;
            waits.push(self.served[&name] - self.created[&name]);
        }
        waits.sort();
        let at = |percent: usize| millis(waits[(waits.len() * percent / 100).min(waits.len() - 1)]);
        println!(
            "one Service, watch event to status, {rounds} rounds: p50 {:.1} ms, p99 {:.1} ms, max \
             {:.1} ms",
            at(50),
            at(99),
            millis(waits[waits.len() - 1])
        );
        Ok(())
    }

    async fn crowd(&mut self) -> Result<()> {
        let names: Vec<_> = (0..CROWD).map(|n| format!("crowd-{n}")).collect();
        let want = self.served.len() + CROWD;
        let begin = Instant::now();
        self.create(&names).await?;
        let acknowledged = Instant::now();
        let last = self.all_served(want).await?;
        println!(
            "{CROWD} Services at once ({CLIENTS} clients): created in {:.2} s; last status {:.0} ms \
             after the last creation was acknowledged",
            (acknowledged - begin).as_secs_f64(),
            millis(last.saturating_duration_since(acknowledged))
        );
        Ok(())
    }

    async fn memory(&self) -> Result<()> {
        tokio::time::sleep(SETTLE).await;
        let [now, peak] = memory_of(pid_of(self.lab, self.controller)?)?;
        println!(
            "memory with {} Services: VmRSS {now:.1} MiB, peak {peak:.1} MiB",
            self.served.len()
        );
        Ok(())
    }

    async fn cold_start(&mut self) -> Result<()> {
        self.lab.stop(self.controller)?;
        let there = self.served.len();
        self.create(&["while-away".to_owned()]).await?;
        let begin = Instant::now();
        self.lab.start(self.controller)?;
        let served = self.all_served(there + 1).await?;
        println!(
            "cold start with {there} Services: a waiting one served after {:.2} s",
            (served - begin).as_secs_f64()
        );
        self.memory().await
    }
}

fn address_of(service: &Service) -> Option<String> {
    let status = service.status.as_ref()?.load_balancer.as_ref()?;
    status.ingress.as_ref()?.first()?.ip.clone()
}
