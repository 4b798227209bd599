//! An installation from its first day to its last, told step by step: what users do to it, what they see,
//! and what connections that are open meanwhile notice of it.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::daemon::NAMESPACE;
use crate::echo_service;
use crate::lab::{Lab, NodeKind};
use crate::net::Host;
use crate::progress::Progress;
use crate::scene::Scene;
use crate::stage::Stage;
use crate::wait::wait_until;
use crate::walk::{self, PATIENCE, external_ip};

mod load;
mod remains;

use load::{Load, Losses};
use remains::MADE_BY_DAEMONS;

/// The lowest of the range in `config-range.yaml`, and the Service that asks first.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 240);
const PORT: u16 = 30_000;

const LABEL: &str = "pod-security.kubernetes.io/enforce=privileged";

/// Tells it on a lab of its own, and removes that. `program` is `lab`, whose echo is in the image.
pub fn run(program: &Path) -> Result<()> {
    let stage = Stage::of_a_command();
    stage.title("FerroLB: from helm install to helm uninstall");
    stage.tell(
        "A Kubernetes of three nodes with kubelets and containers on one LAN; a client is on the LAN too. \
         Images are in the nodes already.",
    );
    Lab::builder("lifetime")
        .nodes(3)
        .kind(NodeKind::Real)
        .progress(Progress::Shown)
        .run(|lab| {
            let life = Lifetime::new(lab, &stage, program)?;
            life.install()?;
            life.deploy()?;
            life.configure()?;
            life.fetch()?;
            life.upgrade()?;
            life.lose_a_node()?;
            life.drain()?;
            life.drain_and_keep()?;
            let kept = life.uninstall()?;
            life.install_again(&kept)?;
            life.clean_up()?;
            life.sum_up();
            Ok(())
        })
}

/// One installation.
pub struct Lifetime<'a> {
    scene: Scene<'a>,
    /// What each step under load cost.
    costs: RefCell<Vec<(&'static str, Losses)>>,
}

impl<'a> Lifetime<'a> {
    /// Loads the images, and counts the time from here.
    pub fn new(lab: &'a Lab, stage: &'a Stage, program: &Path) -> Result<Self> {
        let mut images = walk::images()?;
        images.push(echo_service::image(program)?);
        lab.load_images(&images)?;
        stage.start_clock();
        Ok(Self {
            scene: Scene { lab, stage },
            costs: RefCell::default(),
        })
    }

    /// `helm install`, as the readme says it.
    pub fn install(&self) -> Result<()> {
        self.chapter("Install");
        self.scene.helm(&walk::INSTALL)?;
        walk::wait_installed(self.scene.lab)?;
        self.scene
            .kubectl(&["label", "namespace", NAMESPACE, LABEL, "--overwrite"])?;
        self.scene
            .kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "wide"])
    }

    /// Applications whose Services wait.
    pub fn deploy(&self) -> Result<()> {
        self.chapter("A Service of type LoadBalancer is <pending>");
        self.scene
            .apply(&["redis.yaml", "test.yaml", "test-lb.yaml"])?;
        walk::wait_deployed(self.scene.lab)?;
        self.scene.waits("test-lb")
    }

    /// Addresses may be given.
    pub fn configure(&self) -> Result<()> {
        self.chapter("It is assigned an address");
        self.scene.configure("config-range.yaml", ADDRESS)?;
        self.scene.kubectl(&["describe", "service", "test-lb"])
    }

    /// The page, from the LAN.
    pub fn fetch(&self) -> Result<()> {
        self.chapter("The page, fetched by the client on the LAN");
        self.page()
    }

    fn page(&self) -> Result<()> {
        self.scene.until_answered(ADDRESS, PORT)?;
        self.scene.fetch(ADDRESS, PORT)
    }

    /// Every speaker is replaced, one after the other, and no address moves. A datagram may be lost: a
    /// neighbour's entry can end while nobody answers for it.
    pub fn upgrade(&self) -> Result<()> {
        self.chapter("Upgrade, under load");
        self.scene
            .kubectl(&["apply", "-f", echo_service::MANIFEST])?;
        let address = external_ip(self.scene.lab, "echo")?;
        self.scene.stage.tell(&format!(
            "An echo has {address}. The client holds 100 connections to it, half of them idle, and sends a \
             datagram each 10 ms, while each pod of FerroLB is replaced.",
        ));
        let (owner, load) = self.load(address)?;
        self.upgrade_with(&["--set", "speaker.logLevel=debug,controller.logLevel=debug"])?;
        let losses = load.stop();
        self.cost("helm upgrade", &losses);
        ensure!(
            losses.announced_by.iter().all(|mac| *mac == owner.mac) && losses.tcp.broken.is_empty(),
            "{} has not kept {address}: {losses}",
            owner.name
        );
        ensure!(self.scene.owner(address)?.name == owner.name);
        self.scene
            .stage
            .tell("No other node has announced the address meanwhile.");
        Ok(())
    }

    /// Its kubelet, its containers and its port are gone at once; then it boots. Its name.
    pub fn lose_a_node(&self) -> Result<String> {
        let lab = self.scene.lab;
        self.chapter("A node loses its power, and boots");
        let address = external_ip(lab, "echo")?;
        let (dead, load) = self.load(address)?;
        let died = Instant::now();
        lab.kill_node(&dead.name)?;
        let announced = load.announced_by_another(dead.mac)?;
        let successor = self.scene.owner(address)?;
        let losses = load.stop();
        self.scene.stage.tell(&format!(
            "{} announced {address}: its kubelet, its containers and its port on the switch are gone. {} \
             announced it {} ms later.",
            dead.name,
            successor.name,
            (announced.at - died).as_millis(),
        ));
        self.cost("power cut", &losses);
        let booted = Timestamp::now();
        lab.start_node(&dead.name)?;
        self.speakers_are_ready()?;
        self.pods_run_again(&dead.name, booted)?;
        walk::wait_deployed(lab)?;
        self.scene.stage.tell(&format!(
            "{} has booted. A node that comes back takes nothing back:",
            dead.name
        ));
        self.scene.kubectl(&["get", "nodes"])?;
        ensure!(
            self.scene.owner(address)?.name == successor.name,
            "{address} has moved"
        );
        self.page()?;
        Ok(dead.name.clone())
    }

    /// What a node's pods said of themselves before it lost its power is still there when it boots: they count
    /// as ready until its kubelet has looked.
    fn pods_run_again(&self, node: &str, booted: Timestamp) -> Result<()> {
        let on_node = format!("--field-selector=spec.nodeName={node},metadata.namespace=default");
        let run_again = || {
            let pods = self
                .scene
                .quietly(&["get", "pods", "-A", &on_node, "-o", "json"])?;
            let pods: Value = serde_json::from_str(&pods).context("no list of pods")?;
            let containers = pods["items"].as_array().into_iter().flatten();
            let mut containers = containers.flat_map(|pod| {
                pod["status"]["containerStatuses"]
                    .as_array()
                    .into_iter()
                    .flatten()
            });
            Ok(containers.all(|container| {
                let started = container["state"]["running"]["startedAt"].as_str();
                let started = started.and_then(|at| at.parse::<Timestamp>().ok());
                // The API counts whole seconds.
                let is_new = started.is_some_and(|at| at.as_second() >= booted.as_second());
                is_new && container["ready"] == true
            }))
        };
        wait_until(PATIENCE, run_again, || Ok(())).context("the node's pods do not run again")
    }

    fn upgrade_with(&self, values: &[&str]) -> Result<()> {
        let upgrade = ["upgrade", "ferrolb", "charts/ferrolb", "-n", NAMESPACE];
        let wait = ["--wait", "--timeout", "120s"];
        self.scene.helm(&[&upgrade[..], values, &wait].concat())?;
        self.speakers_are_ready()
    }

    /// The same with `keepConnections`: nothing is reset.
    pub fn drain_and_keep(&self) -> Result<()> {
        self.chapter("Drain a node that keeps connections open, under load");
        self.upgrade_with(&[
            "--reuse-values",
            "--set",
            "speaker.keepConnections.enabled=true",
        ])?;
        let losses = self.drain_under_load("kubectl drain, keepConnections")?;
        ensure!(
            losses.tcp.broken.is_empty(),
            "connections are not kept: {losses}"
        );
        Ok(())
    }

    /// A node gives its addresses away before it is empty, to whom the plugin has named.
    pub fn drain(&self) -> Result<()> {
        self.chapter("Drain a node, under load");
        self.drain_under_load("kubectl drain").map(drop)
    }

    fn drain_under_load(&self, step: &'static str) -> Result<Losses> {
        let lab = self.scene.lab;
        let address = external_ip(lab, "echo")?;
        let (owner, load) = self.load(address)?;
        // Not sooner: who has just booted may not announce yet. That some pods are on this node alone, which
        // the plan calls a gap, is no matter here.
        let each_is_taken = || {
            let plan = self.plan(owner)?;
            Ok(plan
                .iter()
                .all(|one| one["to"].is_string() && one["handsOver"] == true))
        };
        wait_until(PATIENCE, each_is_taken, || Ok(())).context("nobody takes an address")?;
        self.scene.plugin(&["plan", "drain", &owner.name])?;
        let successor = self.planned_successor(owner, address)?;
        self.scene.kubectl(&[
            "drain",
            &owner.name,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=120s",
        ])?;
        let as_planned = || {
            Ok(self
                .scene
                .owner(address)
                .is_ok_and(|owner| owner.name == successor))
        };
        wait_until(PATIENCE, as_planned, || Ok(()))
            .with_context(|| format!("{successor} does not take {address}"))?;
        let losses = load.stop();
        self.scene.stage.tell(&format!(
            "{successor} has taken {address} from {}, as planned.",
            owner.name
        ));
        self.cost(step, &losses);
        walk::wait_deployed(lab)?;
        self.scene.kubectl(&["uncordon", &owner.name])?;
        self.page()?;
        Ok(losses)
    }

    fn planned_successor(&self, owner: &Host, address: Ipv4Addr) -> Result<String> {
        let plan = self.plan(owner)?;
        let handover = plan
            .iter()
            .find(|one| one["address"] == address.to_string());
        let successor = handover.and_then(|one| one["to"].as_str());
        successor
            .map(str::to_owned)
            .with_context(|| format!("no successor: {plan:?}"))
    }

    /// What becomes of each address of a node that is drained.
    fn plan(&self, node: &Host) -> Result<Vec<Value>> {
        let plan = ["plan", "drain", &node.name, "-o", "json"];
        let plan: Value = serde_json::from_slice(&self.scene.lab.plugin(&plan)?.stdout)?;
        Ok(plan["addresses"].as_array().cloned().unwrap_or_default())
    }

    /// `helm uninstall`; the statuses stay. Returns the addresses in them.
    pub fn uninstall(&self) -> Result<String> {
        self.chapter("Uninstall");
        let before = self.addresses()?;
        self.remove()?;
        self.show_what_is_left()?;
        self.scene.stage.tell(
            "The ConfigMap is the user's own. What the daemons made, and the addresses in statuses, are for \
             the next installation:",
        );
        self.scene.kubectl(&["get", "services"])?;
        self.addresses_are(&before)?;
        Ok(before)
    }

    fn remove(&self) -> Result<()> {
        self.scene
            .helm(&["uninstall", "ferrolb", "-n", NAMESPACE, "--wait"])?;
        self.nothing_is_left_but(&MADE_BY_DAEMONS)
    }

    /// Every address is kept.
    pub fn install_again(&self, kept: &str) -> Result<()> {
        self.chapter("Install again: every address is kept");
        self.scene.helm(&walk::INSTALL)?;
        walk::wait_installed(self.scene.lab)?;
        self.page()?;
        self.scene.kubectl(&["get", "services"])?;
        self.addresses_are(kept)
    }

    fn addresses_are(&self, expected: &str) -> Result<()> {
        let addresses = self.addresses()?;
        ensure!(addresses == expected, "{addresses} were {expected}");
        Ok(())
    }

    /// The addresses of all Services, a line each.
    fn addresses(&self) -> Result<String> {
        let path =
            r#"{range .items[*]}{.metadata.name} {.status.loadBalancer.ingress[*].ip}{"\n"}{end}"#;
        let path = format!("jsonpath={path}");
        self.scene.quietly(&["get", "services", "-A", "-o", &path])
    }

    /// Nothing stays; what `kubectl ferrolb cleanup` says that it takes.
    pub fn clean_up(&self) -> Result<String> {
        self.chapter("Uninstall for good");
        self.remove()?;
        let (shown, status) = self.scene.plugin(&["cleanup"])?;
        ensure!(status == Some(1), "there is something to do");
        let (_, status) = self.scene.plugin(&["cleanup", "--yes"])?;
        ensure!(status == Some(0), "cleanup takes everything: {status:?}");
        self.nothing_is_left_but(&[])?;
        self.show_what_is_left()?;
        self.scene.kubectl(&["get", "services"])?;
        Ok(shown)
    }

    /// Waits until each speaker has been replaced.
    fn speakers_are_ready(&self) -> Result<()> {
        walk::wait_rolled_out(self.scene.lab, walk::SPEAKERS)
    }

    /// The node that announces the address of the echo, and load on that.
    fn load(&self, address: Ipv4Addr) -> Result<(&Host, Load)> {
        let owner = self.scene.owner(address)?;
        let load = Load::start(self.scene.lab, owner, address)?;
        ensure!(self.scene.owner(address)?.name == owner.name);
        Ok((owner, load))
    }

    fn cost(&self, step: &'static str, losses: &Losses) {
        self.scene.stage.output(&losses.to_string());
        self.costs.borrow_mut().push((step, losses.clone()));
    }

    fn sum_up(&self) {
        self.chapter("What it cost");
        let costs = self.costs.borrow();
        let lines = costs
            .iter()
            .map(|(step, losses)| format!("{step}: {losses}"));
        self.scene
            .stage
            .output(&lines.collect::<Vec<_>>().join("\n"));
    }

    fn chapter(&self, text: &str) {
        self.scene.stage.chapter(text);
    }
}
