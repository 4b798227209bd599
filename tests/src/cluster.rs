//! A hollow cluster with our daemons on it, and an ear on its LAN.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::json;

use crate::daemon::{Daemon, NAMESPACE};
use crate::hollow::HollowPod;
use crate::net::{Host, MacAddress};
use crate::observe::{self, Frame, FrameObserver, arp_ask, http_get};
use crate::wait::wait_until;
use crate::{Lab, NodeKind};

/// The port of the Service.
pub const PORT: u16 = 8080;
/// How long a question is open for answers: far longer than an answer takes, also on a busy machine.
pub const ASK: Duration = Duration::from_millis(300);
/// A speaker that could not reach the API server tries again after 5 s at the latest, and every
/// watch does so for itself.
const READY: Duration = Duration::from_secs(60);
/// For what takes milliseconds when the machine is idle.
pub const SOON: Duration = Duration::from_secs(60);

/// A cluster with pool, controller and a speaker on every node, and an ear on the LAN.
pub struct Cluster {
    /// The lab that it runs in.
    pub lab: Lab,
    /// What the LAN's host hears.
    pub frames: FrameObserver,
}

/// Where captures of what the LAN heard go, one for each cluster: for `lab decode` and tcpdump.
const CAPTURES: &str = "FERROLB_CAPTURE_DIR";

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(directory) = std::env::var_os(CAPTURES) {
            let file = format!("{}.pcap", self.lab.name());
            // Nothing depends on it.
            let _ = self.frames.write_pcap(&Path::new(&directory).join(file));
        }
    }
}

impl Cluster {
    /// Starts it; every speaker is ready.
    pub fn start(name: &str, nodes: u8, pool: &str) -> Result<Self> {
        Self::start_with(name, nodes, pool, |_, node| Ok(Daemon::speaker(node)))
    }

    /// [`Cluster::start`] with a speaker of one's own on each node.
    pub fn start_with(
        name: &str,
        nodes: u8,
        pool: &str,
        speaker: impl Fn(&Lab, &str) -> Result<Daemon>,
    ) -> Result<Self> {
        Self::start_under(&Daemon::controller("cp"), name, nodes, pool, speaker)
    }

    /// And with a controller of one's own.
    pub fn start_under(
        controller: &Daemon,
        name: &str,
        nodes: u8,
        pool: &str,
        speaker: impl Fn(&Lab, &str) -> Result<Daemon>,
    ) -> Result<Self> {
        let lab = Lab::builder(name)
            .nodes(nodes)
            .kind(NodeKind::Hollow)
            .start()?;
        let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
        lab.start_daemon(controller)?;
        let names: Vec<_> = lab.nodes().iter().map(|node| node.name.clone()).collect();
        for node in &names {
            lab.start_daemon(&speaker(&lab, node)?)?;
        }
        lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
                 "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
                 "data": {{ "config": "address-pools: [{{name: lan, protocol: layer2, addresses: [{pool}]}}]" }} }}"#
        ))?;
        let cluster = Self { lab, frames };
        for node in &names {
            cluster.wait_until_ready(node)?;
        }
        Ok(cluster)
    }

    /// Until the speaker of a node knows what there is to know.
    pub fn wait_until_ready(&self, node: &str) -> Result<()> {
        let at = SocketAddr::from((self.lab.host(node)?.ipv4, 7472));
        let speaker = Daemon::speaker(node).process_name();
        let page = || self.on_lan(|| http_get(at, "/readyz", Duration::from_secs(1)));
        let is_ready = || Ok(page()?.is_ok_and(|page| page.status == 200));
        wait_until(READY, is_ready, || self.lab.check_alive(&speaker)).with_context(|| {
            let said = page().map(|page| page.map(|page| page.body));
            let log = self.lab.log(&speaker).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(12).collect();
            format!("speaker of {node} is not ready: {said:?}; its log, backwards: {last:#?}")
        })
    }

    /// Runs something on the host that is no part of the cluster.
    pub fn on_lan<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.lab.client()?.enter(work)
    }

    /// Service `web` on TCP and UDP, served by pods with label app=web.
    pub fn create_service(&self, policy: &str, address: Ipv4Addr) -> Result<()> {
        self.create_service_named("web", policy, &[address.into()])
    }

    /// A Service like `web` with another name, and with one address or one of each family.
    pub fn create_service_named(
        &self,
        name: &str,
        policy: &str,
        addresses: &[IpAddr],
    ) -> Result<()> {
        let family = |address: &IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let families: Vec<_> = addresses.iter().map(family).collect();
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name,
                          "annotations": { "metallb.io/loadBalancerIPs": texts.join(",") } },
            "spec": { "type": "LoadBalancer", "externalTrafficPolicy": policy,
                      "selector": { "app": "web" },
                      "ipFamilyPolicy": if families.len() > 1 { "RequireDualStack" } else { "SingleStack" },
                      "ipFamilies": families,
                      "ports": [
                { "name": "tcp", "protocol": "TCP", "port": PORT, "targetPort": 3000 },
                { "name": "udp", "protocol": "UDP", "port": PORT, "targetPort": 3000 } ] },
        });
        self.lab.apply(&service.to_string())?;
        Ok(())
    }

    /// A pod of `web`.
    pub fn create_pod(&self, name: &str, node: &str) -> Result<HollowPod> {
        let pod = HollowPod::new(name, node).label("app", "web");
        self.lab.create_hollow_pod(&pod)?;
        Ok(pod)
    }

    /// The nodes that answer for `address`, asked by the LAN's host.
    pub fn answering(&self, address: Ipv4Addr) -> Result<Vec<String>> {
        let answers = self.on_lan(|| arp_ask("eth0", address, ASK))??;
        answers
            .iter()
            .map(|answer| self.node_of(answer.mac))
            .collect()
    }

    /// The stations that answer `host` for `address` on this link, waited for.
    pub fn stations(host: &Host, link: &str, address: Ipv4Addr) -> Result<Vec<MacAddress>> {
        let ask = || observe::stations(link, address, ASK, Instant::now() + SOON);
        Ok(host.enter(ask)??)
    }

    /// The node with this hardware address.
    pub fn node_of(&self, mac: MacAddress) -> Result<String> {
        let nodes = self.lab.nodes();
        let node = nodes.iter().find(|node| node.mac == mac);
        Ok(node
            .with_context(|| format!("{mac} is no node's"))?
            .name
            .clone())
    }

    /// The node that announces `address` since `since`, and when it began. Where two began at once, the one
    /// that they settle on.
    pub fn announcer(&self, address: Ipv4Addr, since: Instant) -> Result<(String, Instant)> {
        let announced = |frame: &Frame| frame.at >= since && frame.is_gratuitous_for(address);
        let first = |wanted: &dyn Fn(&Frame) -> bool| {
            let frame = self.frames.wait_for(wanted, Instant::now() + SOON);
            frame.map_err(|missing| anyhow::anyhow!("no announcement: {missing:?}"))
        };
        first(&announced)?;
        let owner = self.owner(address)?;
        let mac = self.lab.host(&owner)?.mac;
        let frame = first(&|frame| announced(frame) && frame.source == mac)?;
        Ok((owner, frame.at))
    }

    /// The page of the Service at `address`, waited for, as the LAN's host gets it.
    pub fn page(&self, address: impl Into<IpAddr>) -> Result<String> {
        self.page_for(self.lab.client()?, address.into())
    }

    /// [`Self::page`], as another host gets it.
    pub fn page_for(&self, host: &Host, address: IpAddr) -> Result<String> {
        let at = SocketAddr::from((address, PORT));
        let deadline = Instant::now() + SOON;
        loop {
            match host.enter(|| http_get(at, "/", Duration::from_secs(1)))? {
                Ok(page) => return Ok(page.body),
                Err(error) => ensure!(Instant::now() < deadline, "no page from {at}: {error}"),
            }
        }
    }

    /// The one node that answers for `address`, waited for.
    pub fn owner(&self, address: Ipv4Addr) -> Result<String> {
        let mut owner = String::new();
        let deadline = Instant::now() + SOON;
        while owner.is_empty() {
            match &self.answering(address)?[..] {
                [one] => owner.clone_from(one),
                others => ensure!(
                    Instant::now() < deadline,
                    "{address} is answered by {others:?}"
                ),
            }
        }
        Ok(owner)
    }

    /// Whom the LAN heard announce `address` since then, each change once.
    pub fn announcers(&self, address: Ipv4Addr, since: Instant) -> Result<Vec<String>> {
        let seen = self.frames.since(since);
        let mut nodes = seen
            .iter()
            .filter(|frame| frame.is_gratuitous_for(address))
            .map(|frame| self.node_of(frame.source))
            .collect::<Result<Vec<_>>>()?;
        nodes.dedup();
        Ok(nodes)
    }

    /// What the speaker of a node tells about itself, to its own node alone.
    pub fn status(&self, node: &str) -> Result<serde_json::Value> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 7472));
        let host = self.lab.host(node)?;
        let page = host.enter(|| http_get(at, "/status", SOON))??;
        serde_json::from_str(&page.body).with_context(|| format!("no status: {}", page.body))
    }

    /// What the speaker of a node has counted.
    pub fn metrics(&self, node: &str) -> Result<Metrics> {
        let at = SocketAddr::from((self.lab.host(node)?.ipv4, 7472));
        let page = self.on_lan(|| http_get(at, "/metrics", SOON))??;
        Ok(Metrics(page.body))
    }

    /// How many addresses of Services the speaker of a node announces.
    pub fn announced(&self, node: &str) -> Result<f64> {
        self.metrics(node)?.sum("metallb_speaker_announced{")
    }

    /// Until all speakers together announce so many.
    pub fn wait_until_announced(&self, count: u32) -> Result<()> {
        let nodes = self.lab.nodes();
        let sum = || -> Result<f64> {
            let counts = nodes.iter().map(|node| self.announced(&node.name));
            counts.sum()
        };
        let are_all = || Ok(sum()? == f64::from(count));
        wait_until(3 * SOON, are_all, || Ok(()))
            .with_context(|| format!("{:?} of {count} addresses are announced", sum()))
    }

    /// Until every speaker holds every other one live.
    pub fn wait_until_all_live(&self) -> Result<()> {
        let nodes = self.lab.nodes();
        let all_live = || {
            for node in &nodes {
                // One that starts anew has no page yet.
                let Ok(status) = self.status(&node.name) else {
                    return Ok(false);
                };
                let members = status["members"].as_array().cloned().unwrap_or_default();
                let live = members.iter().filter(|member| member["standing"] == "live");
                if live.count() != nodes.len() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        wait_until(SOON, all_live, || Ok(())).context("the speakers do not find each other again")
    }

    /// Ends the speaker of a node by this signal and starts it again at once.
    pub fn restart_speaker(&self, node: &str, signal: Signal) -> Result<()> {
        let speaker = Daemon::speaker(node).process_name();
        match signal {
            Signal::TERM => self.lab.stop(&speaker)?,
            _ => self.lab.kill(&speaker)?,
        }
        self.lab.start(&speaker)?;
        self.wait_until_ready(node)
    }
}

/// A speaker's counters and gauges at one moment.
pub struct Metrics(String);

impl Metrics {
    /// Whether there is this very line.
    pub fn has(&self, line: &str) -> bool {
        self.0.lines().any(|each| each == line)
    }

    /// The sum of the series that begin like this.
    pub fn sum(&self, begin: &str) -> Result<f64> {
        let series = self.0.lines().filter(|line| line.starts_with(begin));
        let values = series.map(|line| {
            let value = line.rsplit(' ').next().unwrap_or_default().parse::<f64>();
            value.with_context(|| format!("no value: {line}"))
        });
        values.sum()
    }
}
