//! A node that comes back takes nothing by itself, and gets its share when somebody asks for it:
//! address by address, with a pause, and nothing on its way is lost.

#![expect(
    clippy::print_stdout,
    reason = "what moved, and when, is worth reading"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::MacAddress;
use ferrolb_tests::observe::{Frame, FrameObserver, UdpProbe};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{PATIENCE, answering_macs, external_ip};
use serde_json::json;

/// A pod of it on each node: whichever node dies, each Service has an endpoint.
const PODS: &str = include_str!("spread.yaml");
const SERVICES: usize = 8;
const PORT: u16 = 9000;
/// Between two moves, as the plugin is told.
const PAUSE: Duration = Duration::from_secs(2);
/// An echo takes a millisecond, on an idle machine.
const ANSWER: Duration = Duration::from_secs(2);

/// Services of which each node announces some.
pub(crate) struct Spread<'a> {
    lab: &'a Lab,
    addresses: Vec<Ipv4Addr>,
}

/// How many addresses each node of the cluster announces.
type Load = BTreeMap<String, usize>;

impl<'a> Spread<'a> {
    pub(crate) fn create(lab: &'a Lab) -> Result<Self> {
        lab.apply(PODS)?;
        let services: Vec<_> = (0..SERVICES).map(service).collect();
        lab.apply(&services.join("\n---\n"))?;
        let addresses = (0..SERVICES).map(|n| external_ip(lab, &format!("spread-{n}")));
        let addresses = addresses.collect::<Result<_>>()?;
        let spread = Self { lab, addresses };
        spread.wait_for_pods()?;
        let load = spread.load(&spread.owners()?)?;
        println!("before: {load:?}");
        Ok(spread)
    }

    pub(crate) fn goes_to_a_returned_node_only_when_asked(self, returned: &str) -> Result<()> {
        self.wait_for_pods()?;
        let mac = self.lab.host(returned)?.mac;
        let is_back = || {
            let moving = self.moving(&self.rebalance(&["--dry-run"])?);
            Ok(moving.is_ok_and(|moving| moving.values().any(|to| *to == mac)))
        };
        wait_until(PATIENCE, is_back, || Ok(())).context("its speaker is not back")?;
        let before = self.owners()?;
        let load = self.load(&before)?;
        println!("{returned} is back: {load:?}");
        let has_none = self.addresses.iter().all(|address| before[address] != mac);
        ensure!(has_none, "it takes nothing by itself");
        let planned = self.rebalance(&["--dry-run"])?;
        let moving = self.moving(&planned)?;
        // The page is served by TCP alone.
        let page = external_ip(self.lab, "test-lb")?;
        let echoes = moving.keys().filter(|address| **address != page);
        let probes = echoes.map(|&address| Ok((address, self.probe(address)?)));
        let probes = probes.collect::<Result<Vec<_>>>()?;
        let frames = self
            .lab
            .client()?
            .enter(|| FrameObserver::start("eth0"))??;
        assert_eq!(self.owners()?, before, "what is only planned moves nothing");

        let pause = format!("--pause={}", PAUSE.as_secs());
        let begun = Instant::now();
        let said = self.rebalance(&[&pause])?;
        println!("{said}in {:.1} s", begun.elapsed().as_secs_f64());
        let mut taken = Vec::new();
        for (&address, &mac) in &moving {
            let is_it = |frame: &Frame| frame.source == mac && frame.is_gratuitous_for(address);
            let announced = frames.wait_for(is_it, Instant::now() + PATIENCE);
            let announced = announced.map_err(|missing| anyhow::anyhow!("{address}: {missing}"))?;
            taken.push(announced.at);
        }
        for (address, probe) in probes {
            let udp = probe.stop();
            println!("{address}: {udp}");
            assert_eq!(udp.lost(), 0, "make before break: {address}: {udp}");
        }
        taken.sort();
        let gaps = taken.windows(2).map(|pair| pair[1] - pair[0]);
        let gaps: Vec<_> = gaps.collect();
        ensure!(gaps.iter().all(|gap| *gap >= PAUSE), "{gaps:?}");

        let mut expected = before;
        expected.extend(moving);
        let after = self.owners()?;
        assert_eq!(after, expected, "nothing moves that was not planned");
        let load = self.load(&after)?;
        println!("afterwards: {load:?}; {gaps:?} between two moves");
        let counts = || load.values();
        let difference = counts().max().zip(counts().min()).map(|(a, b)| a - b);
        ensure!(difference.is_some_and(|it| it <= 2), "{load:?}");
        let again = self.rebalance(&[])?;
        ensure!(again.contains("nothing moves"), "{again}");
        let services = self.lab.kubectl(&["get", "services", "-o", "yaml"])?;
        ensure!(!services.contains("move-to"), "no Service stays bound");
        self.delete()
    }

    fn wait_for_pods(&self) -> Result<()> {
        let rollout = ["rollout", "status", "daemonset/spread", "--timeout=120s"];
        self.lab.kubectl(&rollout).map(drop)
    }

    /// One that is answered. A flow that begins while kube-proxy still knows the pod that was there
    /// before never gets through: then another one.
    fn probe(&self, address: Ipv4Addr) -> Result<UdpProbe> {
        let target = SocketAddr::from((address, PORT));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let probe = self.lab.client()?.enter(|| UdpProbe::start(target))??;
            let is_answered = || {
                let probes = probe.report().probes;
                Ok(probes.iter().any(|probe| probe.answered.is_some()))
            };
            match wait_until(ANSWER, is_answered, || Ok(())) {
                Ok(()) => return Ok(probe),
                Err(_) => drop(probe.stop()),
            }
            ensure!(Instant::now() < deadline, "no echo from {target}");
        }
    }

    /// What the plugin said; it has done all that it said.
    fn rebalance(&self, args: &[&str]) -> Result<String> {
        let output = self.lab.plugin(&[&["rebalance"], args].concat())?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Who answers for each address of the cluster.
    fn owners(&self) -> Result<BTreeMap<Ipv4Addr, MacAddress>> {
        let others = ["echo", "test-lb"].map(|name| external_ip(self.lab, name));
        let others = others.into_iter().collect::<Result<Vec<_>>>()?;
        let addresses = self.addresses.iter().chain(&others);
        thread::scope(|scope| {
            let asked = addresses.map(|&address| {
                (
                    address,
                    scope.spawn(move || answering_macs(self.lab, address)),
                )
            });
            let asked: Vec<_> = asked.collect();
            asked
                .into_iter()
                .map(|(address, answers)| {
                    let answers = answers
                        .join()
                        .map_err(|_| anyhow::anyhow!("it panicked"))??;
                    match answers[..] {
                        [one] => Ok((address, one)),
                        _ => anyhow::bail!("{address} is answered by {answers:?}"),
                    }
                })
                .collect()
        })
    }

    fn load(&self, owners: &BTreeMap<Ipv4Addr, MacAddress>) -> Result<Load> {
        let nodes = self.lab.nodes();
        let count = |mac| owners.values().filter(|owner| **owner == mac).count();
        let load: Load = nodes
            .iter()
            .map(|node| (node.name.clone(), count(node.mac)))
            .collect();
        ensure!(load.values().sum::<usize>() == owners.len(), "{owners:?}");
        Ok(load)
    }

    /// Which addresses a plan moves, and where to: ADDRESS SERVICES FROM TO.
    fn moving(&self, plan: &str) -> Result<BTreeMap<Ipv4Addr, MacAddress>> {
        let rows = plan.lines().filter_map(|line| {
            let mut cells = line.split_whitespace();
            let address: Ipv4Addr = cells.next()?.parse().ok()?;
            Some((address, cells.nth(2)?))
        });
        let moving = rows.map(|(address, to)| Ok((address, self.lab.host(to)?.mac)));
        let moving: BTreeMap<_, _> = moving.collect::<Result<_>>()?;
        ensure!(!moving.is_empty(), "{plan}");
        Ok(moving)
    }

    fn delete(self) -> Result<()> {
        // Its pods first: a drain refuses those of a DaemonSet that is gone.
        let delete = ["delete", "services,daemonsets", "--cascade=foreground"];
        let delete = [&delete[..], &["--selector=app=spread"]].concat();
        self.lab.kubectl(&delete).map(drop)
    }
}

fn service(number: usize) -> String {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": format!("spread-{number}"), "labels": { "app": "spread" } },
        "spec": { "type": "LoadBalancer", "selector": { "app": "spread" },
                  "ports": [{ "protocol": "UDP", "port": PORT, "targetPort": 3000 }] },
    })
    .to_string()
}
