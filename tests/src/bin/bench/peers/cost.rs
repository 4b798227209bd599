//! What it costs while nothing happens, and how many questions for an address are answered.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::Lab;
use ferrolb_tests::control_plane::API_PORT;
use ferrolb_tests::net::CONTROL_PLANE;
use ferrolb_tests::observe::{ArpLoad, FrameObserver};

use super::figures::{Api, Arp, Cost, Figure};
use super::peer::{NODES, VIP};
use super::scene::Scene;
use crate::figures::pause;
use crate::process::{memory_of, on_cpu, pid_of};

/// What was begun when the last address came has ended by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Between two looks at the connections to the API server.
const LOOK: Duration = Duration::from_secs(5);
/// What the API server and its controllers write when they start has been written by then.
const CALM: Duration = Duration::from_secs(20);
/// How long the API server is looked at without a load balancer: three renewals of its own Lease.
const BASELINE: Duration = Duration::from_secs(30);
const HOUR: f64 = 3_600.0;
const TURNS: u32 = 5;
const TURN: Duration = Duration::from_secs(1);

/// Memory, CPU and what goes to and from the API server.
pub(crate) fn idle(scene: &Scene<'_>, seconds: u64, others: f64) -> Result<(Cost, Api)> {
    let lab = scene.lab();
    pause(SETTLE);
    let nodes = NODES.map(|node| Ok((node, pid_of(lab, &scene.peer.daemon(node))?)));
    let nodes = nodes.into_iter().collect::<Result<Vec<_>>>()?;
    let controller = scene.peer.controller();
    let controller = controller.map(|name| pid_of(lab, name)).transpose()?;
    let hosts: Vec<_> = nodes
        .iter()
        .copied()
        .chain(controller.map(|pid| (CONTROL_PLANE, pid)))
        .collect();

    let (begun, writes) = (Instant::now(), writes(lab)?);
    let cpu = |pid: i32| -> Result<Duration> { family(pid).into_iter().map(on_cpu).sum() };
    let before = hosts
        .iter()
        .map(|(_, pid)| cpu(*pid))
        .collect::<Result<Vec<_>>>()?;
    let mut received = Received::begin(lab, &hosts)?;
    while begun.elapsed() < Duration::from_secs(seconds) {
        pause(LOOK);
        received.look(lab, &hosts)?;
    }
    let mut millicores = Vec::new();
    for ((_, pid), before) in hosts.iter().zip(before) {
        let spent = cpu(*pid)?.saturating_sub(before);
        millicores.push(spent.as_secs_f64() / begun.elapsed().as_secs_f64() * 1_000.0);
    }
    let per_hour = HOUR / begun.elapsed().as_secs_f64();
    let api = Api {
        writes: ((self::writes(lab)? - writes) * per_hour - others).max(0.0),
        bytes_received: received.sum() as f64 * per_hour,
    };

    let memory = |pid: i32| -> Result<f64> {
        let all = family(pid).into_iter().map(|pid| Ok(memory_of(pid)?[0]));
        all.sum()
    };
    let count = nodes.len() as f64;
    let node_memory: f64 = nodes
        .iter()
        .map(|(_, pid)| memory(*pid))
        .sum::<Result<f64>>()?;
    let (node_program, controller_program) = scene.peer.programs()?;
    let size = |path| Ok::<_, anyhow::Error>(fs::metadata(path)?.len());
    let cost = Cost {
        node_memory: node_memory / count,
        node_cpu: millicores[..nodes.len()].iter().sum::<f64>() / count,
        controller_memory: controller.map(memory).transpose()?,
        controller_cpu: millicores.get(nodes.len()).copied(),
        node_program: size(node_program)?,
        controller_program: controller_program.map(size).transpose()?,
    };
    Ok((cost, api))
}

/// Answers for the address, and in turns with them those of the same node's kernel for the node's own address.
pub(crate) fn arp(scene: &mut Scene<'_>) -> Result<Figure<Arp>> {
    // What it hears of the questions would take processors from those that answer.
    let deaf = scene.cluster.on_lan(|| FrameObserver::start("lo"))??;
    drop(std::mem::replace(&mut scene.cluster.frames, deaf));
    let rates = rates(scene);
    scene.cluster.frames = scene.cluster.on_lan(|| FrameObserver::start("eth0"))??;
    Ok(Figure::from(rates))
}

fn rates(scene: &Scene<'_>) -> Result<Arp> {
    let owner = scene.owner()?;
    let own = scene.lab().host(&owner)?.ipv4;
    let open = |address| scene.cluster.on_lan(|| ArpLoad::open("eth0", address));
    let loads = [open(VIP)??, open(own)??];
    let mut sums = [0.0; 2];
    for _ in 0..TURNS {
        for (sum, load) in sums.iter_mut().zip(&loads) {
            *sum += load.with_outstanding(64, TURN)?;
        }
    }
    let [address, kernel] = sums.map(|sum| sum / f64::from(TURNS));
    Ok(Arp { address, kernel })
}

/// What others write each hour: looked at before the load balancer is there.
pub(crate) fn writes_of_others(lab: &Lab) -> Result<f64> {
    pause(CALM);
    let (begun, before) = (Instant::now(), writes(lab)?);
    pause(BASELINE);
    Ok((writes(lab)? - before) * HOUR / begun.elapsed().as_secs_f64())
}

/// Requests that change something, as the API server counts them.
fn writes(lab: &Lab) -> Result<f64> {
    let page = lab.api(async |client| {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        Ok(client.request_text(request).await?)
    })?;
    let mut sum = 0.0;
    for line in page.lines() {
        let is_write = ["POST", "PUT", "PATCH", "DELETE"]
            .iter()
            .any(|verb| line.contains(&format!("verb=\"{verb}\"")));
        if line.starts_with("apiserver_request_total{") && is_write {
            let value = line.rsplit(' ').next().unwrap_or_default();
            sum += value.parse::<f64>().context("no value")?;
        }
    }
    Ok(sum)
}

/// What the API server sent over each connection, by process and port: first and last seen.
struct Received(BTreeMap<(i32, String), (u64, u64)>);

impl Received {
    fn begin(lab: &Lab, hosts: &[(&str, i32)]) -> Result<Self> {
        let mut begun = Self(BTreeMap::new());
        begun.look(lab, hosts)?;
        for (first, last) in begun.0.values_mut() {
            *first = *last;
        }
        Ok(begun)
    }

    fn look(&mut self, lab: &Lab, hosts: &[(&str, i32)]) -> Result<()> {
        for (host, pid) in hosts {
            let (said, _) = lab.host(host)?.run("ss", &["-tinpHO"])?;
            for line in said.lines() {
                let words: Vec<_> = line.split_ascii_whitespace().collect();
                let is_its = family(*pid)
                    .iter()
                    .any(|pid| line.contains(&format!("pid={pid},")));
                let to_api = |word: &&str| word.ends_with(&format!(":{API_PORT}"));
                if !is_its || !words.get(4).is_some_and(to_api) {
                    continue;
                }
                let bytes = words
                    .iter()
                    .find_map(|word| word.strip_prefix("bytes_received:"));
                let bytes = bytes.unwrap_or("0").parse()?;
                // A connection that began meanwhile has received all of it meanwhile.
                let key = (*pid, words[3].to_owned());
                self.0.entry(key).or_insert((0, 0)).1 = bytes;
            }
        }
        Ok(())
    }

    fn sum(&self) -> u64 {
        self.0.values().map(|(first, last)| last - first).sum()
    }
}

/// A process and those that it has started.
fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let children = children.split_ascii_whitespace();
        all.extend(
            children
                .filter_map(|child| child.parse().ok())
                .flat_map(family),
        );
    }
    all
}
