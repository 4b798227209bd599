//! The reference walk, told step by step: what a user types, what the cluster answers, and what it
//! means. Everything runs for real; whatever does not come out as said ends the demo with an error.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::{Lab, NodeKind};
use crate::observe::{Frame, FrameObserver};
use crate::progress::{Progress, readable};
use crate::scene::Scene;
use crate::stage::Stage;
use crate::wait::wait_until;
use crate::walk::{self, PATIENCE};

/// The address of `examples/reference-walk/config.yaml`.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 4);
/// The port of Service `test-lb`.
const PORT: u16 = 30_000;
/// The port of Service `test-np` on every node.
const NODE_PORT: u16 = 31_001;
/// The Deployments whose pods a node of the walk can have, with their namespaces.
const MOVABLE: [(&str, &str); 3] = [
    ("default", "redis"),
    ("default", "test"),
    ("kube-system", "coredns"),
];

/// Walks the reference walk on a cluster of three real nodes, and removes it.
pub fn run() -> Result<()> {
    let started = Instant::now();
    let stage = Stage::of_a_command();
    stage.title("FerroLB: a LoadBalancer Service on a cluster that no cloud serves");
    stage.tell(
        "First a whole Kubernetes on this machine: a control plane and three nodes with kubelets \
         and containers, each in a network namespace of its own, on one LAN. A client is on the \
         LAN too and knows nothing of the cluster.",
    );
    Lab::builder("demo")
        .nodes(3)
        .kind(NodeKind::Real)
        .progress(Progress::Shown)
        .run(|lab| {
            Progress::Shown.step("images", || lab.load_images(&walk::images()?))?;
            let scene = Scene { lab, stage: &stage };
            Walk { scene }.take()?;
            stage.chapter("Away with it");
            Ok(())
        })?;
    stage.tell(&format!(
        "The cluster is gone. It took {}.",
        readable(started.elapsed())
    ));
    Ok(())
}

/// What became of the walk's redis, and so of its count, when pods were moved.
#[derive(PartialEq, Eq)]
enum Redis {
    Stayed,
    StartedAnew,
}

struct Walk<'a> {
    scene: Scene<'a>,
}

impl Walk<'_> {
    fn take(&self) -> Result<()> {
        self.install()?;
        self.deploy()?;
        let mut pages = self.fetch_from_every_node()?;
        self.ask_redis(pages)?;
        self.stay_pending()?;
        self.configure()?;
        pages += self.fetch_from_the_lan()?;
        let owner = self.say_who_answers()?;
        self.ask_the_plugin()?;
        if self.make_room(&owner)? == Redis::StartedAnew {
            pages = 0;
        }
        let successor = self.plan(&owner)?;
        self.cut(&owner, &successor)?;
        pages += self.fetch_from_the_lan()?;
        self.ask_redis(pages)
    }

    fn install(&self) -> Result<()> {
        self.scene
            .stage
            .chapter("Install FerroLB, without a configuration");
        self.scene.helm(&walk::INSTALL)?;
        walk::wait_installed(self.scene.lab)?;
        self.scene
            .kubectl(&["-n", "metallb-system", "get", "pods", "-o", "wide"])
    }

    fn deploy(&self) -> Result<()> {
        self.scene
            .stage
            .chapter("Deploy a page that counts its visits in redis");
        self.scene
            .apply(&["redis.yaml", "test.yaml", "test-np.yaml", "test-lb.yaml"])?;
        walk::wait_deployed(self.scene.lab)?;
        self.scene.kubectl(&["get", "all"])?;
        self.scene
            .stage
            .tell("redis has a name in the cluster's DNS, and one endpoint behind it:");
        self.scene.kubectl(&["get", "endpoints", "redis"])
    }

    /// Returns how many pages were fetched.
    fn fetch_from_every_node(&self) -> Result<u32> {
        self.scene
            .stage
            .chapter("The NodePort: port 31001 on every node");
        let nodes = self.scene.lab.nodes();
        for node in &nodes {
            self.scene.until_answered(node.ipv4, NODE_PORT)?;
            self.scene.fetch(node.ipv4, NODE_PORT)?;
        }
        u32::try_from(nodes.len()).context("too many nodes to count")
    }

    fn ask_redis(&self, pages: u32) -> Result<()> {
        self.scene
            .stage
            .chapter("Look into redis, from inside the application's pod");
        self.scene.kubectl(&[
            "exec",
            "deployment/test",
            "--",
            "/walk-app",
            "redis",
            "dbsize",
        ])?;
        let count = [
            "exec",
            "deployment/test",
            "--",
            "/walk-app",
            "redis",
            "get",
            "count",
        ];
        let said = self.scene.lab.kubectl(&count)?;
        self.scene.stage.command("kubectl", &count);
        self.scene.stage.output(&said);
        ensure!(
            said.trim() == pages.to_string(),
            "{pages} pages were fetched, but redis counts {}",
            said.trim()
        );
        self.scene.stage.tell(&format!(
            "One for each of the {pages} pages that were fetched."
        ));
        Ok(())
    }

    fn stay_pending(&self) -> Result<()> {
        self.scene.stage.chapter("The LoadBalancer Service waits");
        self.scene.waits("test-lb")
    }

    fn configure(&self) -> Result<()> {
        self.scene.stage.chapter("Say which address may be given");
        self.scene.configure("config.yaml", ADDRESS)
    }

    fn fetch_from_the_lan(&self) -> Result<u32> {
        self.scene
            .stage
            .chapter("Fetch the page, from the client on the LAN");
        self.scene.until_answered(ADDRESS, PORT)?;
        self.scene.fetch(ADDRESS, PORT)?;
        Ok(1)
    }

    /// Returns the name of the node that answers ARP.
    fn say_who_answers(&self) -> Result<String> {
        self.scene.stage.chapter("Who answers for the address?");
        let owner = self.scene.owner(ADDRESS)?;
        self.scene.stage.tell(&format!(
            "The client asks the LAN \"who has {ADDRESS}?\". One station answers: {}, which is {}. \
             The address is on no interface of it; its speaker answers ARP, and kube-proxy carries \
             what comes.",
            owner.mac, owner.name,
        ));
        Ok(owner.name.clone())
    }

    fn ask_the_plugin(&self) -> Result<()> {
        self.scene
            .stage
            .chapter("Ask the plugin: is all well, and why is it as it is?");
        // Speakers may still be finding each other.
        let (_, status) = self.scene.plugin(&["status", "--wait"])?;
        ensure!(status == Some(0), "kubectl ferrolb status finds a problem");
        let (why, status) = self.scene.plugin(&["explain", "svc/test-lb"])?;
        ensure!(
            status == Some(0) && why.contains(&ADDRESS.to_string()),
            "kubectl ferrolb explain finds a problem"
        );
        Ok(())
    }

    /// Asks which node would follow this one. Returns its name.
    fn plan(&self, owner: &str) -> Result<String> {
        self.scene
            .stage
            .chapter(&format!("What if {owner} goes down?"));
        let plan = ["plan", "node-down", owner];
        let (_, status) = self.scene.plugin(&plan)?;
        ensure!(status == Some(0), "{owner} has no successor");
        let plan = self
            .scene
            .lab
            .plugin(&[&plan[..], &["-o", "json"]].concat())?;
        let plan: Value =
            serde_json::from_slice(&plan.stdout).context("the plan is not as JSON")?;
        let successor = plan["addresses"][0]["to"].as_str();
        successor
            .map(str::to_owned)
            .with_context(|| format!("no node is to take {ADDRESS}: {plan}"))
    }

    /// Kubernetes takes most of a minute to notice that a node is dead, and sends traffic to its
    /// pods meanwhile. To show the address's move alone, all other pods leave the node first, the
    /// cluster's DNS among them. Each is there anew before the old one goes: an address without a
    /// ready endpoint is announced by nobody, and whoever announces it next need not be this node.
    fn make_room(&self, node: &str) -> Result<Redis> {
        let pods = self.pods_on(node)?;
        if pods.is_empty() {
            return Ok(Redis::Stayed);
        }
        self.scene
            .stage
            .chapter(&format!("Move the other pods away from {node}"));
        self.scene.stage.tell(
            "A dead node's pods stay in kube-proxy's rotation for most of a minute, until \
             Kubernetes notices. FerroLB can take them out at once (deadNodes.endpoints: remove, \
             off by default). So that the next step shows the address alone, they leave first.",
        );
        self.scene
            .kubectl(&["taint", "node", node, "walk=moved:NoSchedule"])?;
        let mut redis = Redis::Stayed;
        for (namespace, name) in MOVABLE {
            if !pods.contains(&format!("pod/{name}-")) {
                continue;
            }
            if name == "redis" {
                redis = Redis::StartedAnew;
            }
            let workload = format!("deployment/{name}");
            self.scene
                .kubectl(&["-n", namespace, "rollout", "restart", &workload])?;
            self.scene
                .quietly(&["-n", namespace, "rollout", "status", &workload])?;
        }
        let left = || Ok(self.pods_on(node)?.is_empty());
        wait_until(PATIENCE, left, || Ok(()))
            .with_context(|| format!("waiting for the pods of {node} to leave"))?;
        self.scene.kubectl(&["get", "pods", "-A", "-o", "wide"])?;
        self.scene.quietly(&["taint", "node", node, "walk-"])?;
        if redis == Redis::StartedAnew {
            self.scene.stage.tell(
                "redis was among them. It keeps nothing on a disk, so it counts from 1 again.",
            );
        }
        let now = &self.scene.owner(ADDRESS)?.name;
        ensure!(
            now == node,
            "{ADDRESS} went from {node} to {now} when pods were moved"
        );
        Ok(redis)
    }

    /// The pods on a node that are not FerroLB's own, one `pod/NAME` in a line.
    fn pods_on(&self, node: &str) -> Result<String> {
        let on_node = format!("spec.nodeName={node},metadata.namespace!=metallb-system");
        let get = ["get", "pods", "-A", "-o", "name", "--field-selector"];
        self.scene.quietly(&[&get[..], &[&on_node]].concat())
    }

    fn cut(&self, owner: &str, successor: &str) -> Result<()> {
        self.scene
            .stage
            .chapter(&format!("Pull the plug of {owner}"));
        self.scene.until_answered(ADDRESS, PORT)?;
        let old = self.scene.lab.host(owner)?.mac;
        let frames = self
            .scene
            .lab
            .client()?
            .enter(|| FrameObserver::start("eth0"))??;
        let cut = Instant::now();
        self.scene.lab.cut(owner, false)?;
        let by_another = |frame: &Frame| {
            frame.is_gratuitous_for(ADDRESS) && frame.at > cut && frame.source != old
        };
        let frame = frames
            .wait_for(by_another, cut + PATIENCE)
            .context("no other node has announced the address")?;
        self.scene.until_answered(ADDRESS, PORT)?;
        let answered = cut.elapsed();
        let new = self.scene.owner(ADDRESS)?;
        ensure!(
            new.name == successor,
            "{} took {ADDRESS}, and {successor} was to",
            new.name
        );
        self.scene.stage.tell(&format!(
            "{owner} is off the LAN, its link still up: nobody is told. {}, as planned, announced {ADDRESS} \
             {} ms later, and the page was there again {} ms after the cut.",
            new.name,
            frame.at.saturating_duration_since(cut).as_millis(),
            answered.as_millis(),
        ));
        Ok(())
    }
}
