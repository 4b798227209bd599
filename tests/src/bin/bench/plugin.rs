//! How soon the plugin says how FerroLB is: while all is well, with a node cut off, and where there are many
//! Services and nodes. Beside each, `kubectl get services` in the same cluster.

use std::ops::Range;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::daemon::{NAMESPACE, program};
use ferrolb_tests::net::CONTROL_PLANE;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{self, PATIENCE};
use ferrolb_tests::{Lab, NodeKind};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::figures::{pause, spread};
use crate::many::create_services;
use crate::process::memory_of;

/// Addresses for all of them.
const POOL: &str = "10.200.0.0/16";
/// Between two looks at a process's memory.
const LOOK: Duration = Duration::from_millis(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each command is run
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Services in the large cluster
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// Nodes without a kubelet in the large cluster, beside the three that have one
    #[arg(long, default_value_t = 50)]
    nodes: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    Lab::builder("bench-plugin")
        .nodes(3)
        .kind(NodeKind::Real)
        .run(|lab| {
            walk::install(lab)?;
            lab.apply(&format!(
                r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
                     "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
                     "data": {{ "config": "address-pools: [{{name: a, protocol: layer2, addresses: [{POOL}]}}]" }} }}"#
            ))?;
            create(lab, 0..1)?;
            served(lab, 1)?;
            println!("3 nodes, 1 Service, all is well");
            measure(lab, args.rounds, Some(0))?;

            println!("3 nodes, one cut off from the LAN");
            lab.cut("n3", false)?;
            pause(Duration::from_secs(1));
            measure(lab, args.rounds, Some(1))?;
            lab.heal("n3")?;

            println!("{} Services, and {} nodes without a kubelet beside the 3", args.services, args.nodes);
            create(lab, 1..args.services)?;
            create_nodes(lab, args.nodes)?;
            served(lab, args.services)?;
            measure(lab, args.rounds.min(5), None)
        })
}

/// Runs both commands so many times, and prints what they took.
fn measure(lab: &Lab, rounds: usize, code: Option<i32>) -> Result<()> {
    let plugin = program("kubectl-ferrolb")?;
    let commands: [(&str, &[&str]); 4] = [
        ("kubectl get services", &["get", "services", "-A"]),
        ("kubectl ferrolb status", &["status"]),
        ("kubectl ferrolb services", &["services", "-A"]),
        ("kubectl ferrolb check", &["check"]),
    ];
    for (name, args) in commands {
        let mut times = Vec::new();
        let mut memory = 0.0_f64;
        for _ in 0..rounds {
            let mut command = if name.contains("ferrolb") {
                lab.host(CONTROL_PLANE)?.command(&plugin.to_string_lossy())
            } else {
                lab.kubectl_command()?
            };
            command.args(args).env("KUBECONFIG", lab.kubeconfig());
            let ran = watched(command)?;
            let expected = match name {
                "kubectl ferrolb status" => code,
                "kubectl ferrolb check" => None,
                _ => Some(0),
            };
            let is_expected = expected.is_none() || ran.status.code() == expected;
            ensure!(is_expected, "{name}: {}", ran.status);
            times.push(ran.time);
            memory = memory.max(ran.memory);
        }
        println!(
            "  {name:<26} {} ms, {:.1} MiB at most",
            spread(times),
            memory
        );
    }
    Ok(())
}

struct Ran {
    status: ExitStatus,
    time: Duration,
    /// MiB of resident memory, at most.
    memory: f64,
}

/// Runs it to its end, and looks at its memory (`VmHWM` of `/proc/PID/status`) meanwhile.
fn watched(mut command: Command) -> Result<Ran> {
    let begin = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().context("cannot start it")?;
    let mut memory = 0.0_f64;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ran {
                status,
                time: begin.elapsed(),
                memory,
            });
        }
        // Gone, or not there yet: what was seen before counts.
        let [_, peak] = memory_of(child.id()).unwrap_or_default();
        memory = memory.max(peak);
        pause(LOOK);
    }
}

/// Services without pods, of these numbers.
fn create(lab: &Lab, numbers: Range<usize>) -> Result<()> {
    let begin = Instant::now();
    let count = numbers.len();
    lab.api(async |client: Client| {
        let names = numbers.map(|n| format!("s-{n}"));
        create_services(&Api::default_namespaced(client), names).await
    })?;
    println!(
        "  ({count} Services created in {:.1} s)",
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

fn served(lab: &Lab, count: usize) -> Result<()> {
    let path = "jsonpath={range .items[*]}{.status.loadBalancer.ingress[*].ip}{\"\\n\"}{end}";
    let all = || {
        let shown = lab.kubectl(&["get", "services", "-o", path])?;
        Ok(shown.lines().filter(|line| !line.is_empty()).count() >= count)
    };
    wait_until(PATIENCE, all, || Ok(()))
}

/// Node objects that say Ready.
fn create_nodes(lab: &Lab, count: usize) -> Result<()> {
    lab.api(async |client: Client| {
        let api: Api<Node> = Api::all(client);
        for n in 0..count {
            let name = format!("hollow-{n}");
            let node: Node = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
            api.create(&PostParams::default(), &node).await?;
            let status = json!({ "status": {
                "addresses": [{ "type": "InternalIP", "address": format!("10.201.0.{}", n + 1) }],
                "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
            }});
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
                .await?;
        }
        Ok(())
    })
}
