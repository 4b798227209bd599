//! What MetalLB's objects cost beside a ConfigMap that says the same, and how soon a changed one is in force:
//! a thousand Services, fifty pools and two hundred advertisements, with a real controller and speaker.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::daemon::{Daemon, NAMESPACE};
use ferrolb_tests::{Lab, manifests};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::figures::{pause, spread};
use crate::many::{create_services, quiet_lab};
use crate::process::{memory_of, pid_of};

/// Before memory is read: what was freed is given back by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Only daemons that do not work take longer.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
const COMPILED: &str = "ferrolb-config";
/// What the daemons write, and nobody else in this lab.
const WRITTEN: [&str; 5] = [
    "services",
    "configmaps",
    "events",
    "ipaddresspools",
    "configurationstates",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    #[arg(long, default_value_t = 50)]
    pools: usize,
    #[arg(long, default_value_t = 200)]
    advertisements: usize,
    /// Objects that are changed one after the other
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How long nothing may be written
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let lab = quiet_lab("bench-objects")?;
    let daemons = [Daemon::controller("cp"), Daemon::speaker("n1")];
    let names = [
        lab.start_daemon(&daemons[0])?,
        lab.start_daemon(&daemons[1])?,
    ];
    lab.apply(&config_map(args))?;
    lab.api(async |client| {
        let bench = Bench {
            lab: &lab,
            names: &names,
            args,
            maps: Api::namespaced(client.clone(), NAMESPACE),
            client,
        };
        bench.create_services().await?;
        bench.until_source("configmap").await?;
        let of_text = bench.memory("ConfigMap").await?;
        let definitions = lab.state().dir().join("crds.yaml");
        std::fs::write(&definitions, manifests::definitions()?)?;
        let definitions = definitions.to_string_lossy();
        lab.kubectl(&["apply", "--server-side", "-f", &definitions])?;
        lab.wait_for_kinds()?;
        bench.create_objects().await?;
        bench.until_source("objects").await?;
        let of_objects = bench.memory("objects").await?;
        println!(
            "objects beside a ConfigMap: controller {:+.1} MiB, speaker {:+.1} MiB (target: at most +1)",
            of_objects[0] - of_text[0],
            of_objects[1] - of_text[1]
        );
        bench.changes().await?;
        bench.steady().await
    })
}

/// The addresses of a pool.
fn range(pool: usize) -> String {
    format!("10.200.{pool}.0/24")
}

fn config_map(args: &Args) -> String {
    let pools: Vec<_> = (0..args.pools)
        .map(|pool| {
            format!(
                "{{name: p{pool}, protocol: layer2, addresses: [{}]}}",
                range(pool)
            )
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "config", "namespace": NAMESPACE },
        "data": { "config": format!("address-pools: [{}]", pools.join(", ")) },
    })
    .to_string()
}

struct Bench<'a> {
    lab: &'a Lab,
    /// Of the processes: controller and speaker.
    names: &'a [String; 2],
    args: &'a Args,
    client: Client,
    maps: Api<ConfigMap>,
}

impl Bench<'_> {
    async fn create_services(&self) -> Result<()> {
        let api: Api<Service> = Api::default_namespaced(self.client.clone());
        let names = (0..self.args.services).map(|number| format!("web-{number}"));
        create_services(&api, names).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = api.list(&ListParams::default()).await?;
            let served = all.iter().filter(|one| is_served(one)).count();
            if served == self.args.services {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{served} Services are served");
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn objects(&self, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: "metallb.io".to_owned(),
            version: "v1beta1".to_owned(),
            api_version: "metallb.io/v1beta1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }

    fn pools(&self) -> Api<DynamicObject> {
        self.objects("IPAddressPool", "ipaddresspools")
    }

    async fn create_objects(&self) -> Result<()> {
        let pools = (0..self.args.pools).map(|pool| {
            let spec = json!({ "addresses": [range(pool)] });
            ("IPAddressPool", "ipaddresspools", format!("p{pool}"), spec)
        });
        let advertisements = (0..self.args.advertisements).map(|number| {
            let pool = number % self.args.pools.max(1);
            let spec = json!({
                "ipAddressPools": [format!("p{pool}")],
                "nodeSelectors": [{ "matchExpressions": [
                    { "key": format!("not-{number}"), "operator": "DoesNotExist" },
                ] }],
            });
            (
                "L2Advertisement",
                "l2advertisements",
                format!("l{number}"),
                spec,
            )
        });
        for (kind, plural, name, spec) in pools.chain(advertisements) {
            let object = json!({
                "apiVersion": "metallb.io/v1beta1", "kind": kind,
                "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec,
            });
            let object = serde_json::from_value(object)?;
            let api = self.objects(kind, plural);
            api.create(&PostParams::default(), &object).await?;
        }
        Ok(())
    }

    /// What the compiled object says.
    async fn compiled(&self, key: &str) -> Result<String> {
        let map = self.maps.get(COMPILED).await?;
        let mut data = map.data.unwrap_or_default();
        Ok(data.remove(key).unwrap_or_default())
    }

    async fn until_source(&self, source: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.compiled("source").await? != source {
            ensure!(Instant::now() < deadline, "{source} is not in force");
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Of controller and speaker, in MiB, after a restart of both.
    async fn memory(&self, form: &str) -> Result<[f64; 2]> {
        for name in self.names {
            self.lab.stop(name)?;
            self.lab.start(name)?;
        }
        sleep(SETTLE * 2).await;
        let mut resident = [0.0; 2];
        for (name, resident) in self.names.iter().zip(&mut resident) {
            let [now, peak] = memory_of(pid_of(self.lab, name)?)?;
            *resident = now;
            println!("{form}: {name}: VmRSS {now:.1} MiB, peak {peak:.1} MiB");
        }
        println!("{form}: target for the controller: at most 16 MiB");
        Ok(resident)
    }

    /// From the answer to a change of a pool until speakers can read it.
    async fn changes(&self) -> Result<()> {
        let pools = self.pools();
        let mut waits = Vec::new();
        for round in 0..self.args.rounds {
            let pool = format!("p{}", round % self.args.pools.max(1));
            let more = format!("10.201.{round}.0/24");
            let spec = json!({ "addresses": [range(round % self.args.pools.max(1)), more] });
            let patch = Patch::Merge(json!({ "spec": spec }));
            pools
                .patch(&pool, &PatchParams::default(), &patch)
                .await
                .with_context(|| format!("cannot change {pool}"))?;
            let begin = Instant::now();
            let mark = format!("10.201.{round}.");
            while !self.compiled("config").await?.contains(&mark) {
                ensure!(begin.elapsed() < PATIENCE, "{pool} is not in force");
                sleep(LOOK).await;
            }
            waits.push(begin.elapsed());
            // Each is a change by itself.
            sleep(Duration::from_secs(1)).await;
        }
        println!(
            "a changed object is in force, {} rounds: {} ms (target: at most 1,000)",
            waits.len(),
            spread(waits)
        );
        Ok(())
    }

    /// Nothing happens, so nothing is written.
    async fn steady(&self) -> Result<()> {
        sleep(SETTLE).await;
        let before = self.writes()?;
        pause(Duration::from_secs(self.args.seconds));
        println!(
            "writes in {} s in which nothing happened: {} (target: 0)",
            self.args.seconds,
            self.writes()? - before
        );
        Ok(())
    }

    /// How often the API server has carried out a write of what the daemons write.
    fn writes(&self) -> Result<u64> {
        let metrics = self.lab.kubectl(&["get", "--raw", "/metrics"])?;
        let mut count = 0.0;
        for line in metrics.lines() {
            let Some(rest) = line.strip_prefix("apiserver_request_total{") else {
                continue;
            };
            let is_write = ["POST", "PUT", "PATCH", "APPLY", "DELETE"]
                .iter()
                .any(|verb| rest.contains(&format!("verb=\"{verb}\"")));
            let is_ours = WRITTEN
                .iter()
                .any(|resource| rest.contains(&format!("resource=\"{resource}\"")));
            if is_write && is_ours {
                let value = rest.rsplit(' ').next().unwrap_or_default();
                count += value.parse::<f64>()?;
            }
        }
        Ok(count as u64)
    }
}

fn is_served(service: &Service) -> bool {
    let status = serde_json::to_value(service.status.as_ref()).unwrap_or(Value::Null);
    status["loadBalancer"]["ingress"][0]["ip"].is_string()
}
