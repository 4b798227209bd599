//! The reference walk, told step by step: what a user types, what the cluster answers, and what it
//! means. Everything runs for real; whatever does not come out as said ends the demo with an error.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Lab, NodeKind};
use crate::net::Host;
use crate::observe::{Frame, FrameObserver, arp_ask, http_get};
use crate::progress::{Progress, readable};
use crate::wait::wait_until;
use crate::{walk, workspace};

mod stage;

use stage::Stage;

/// The address of `examples/reference-walk/config.yaml`.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 4);
/// The port of Service `test-lb`.
const PORT: u16 = 30_000;
/// The port of Service `test-np` on every node.
const NODE_PORT: u16 = 31_001;
/// Long enough for a machine with two busy cores; nothing below waits that long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long all stations get to answer one ARP request.
const ARP_WAIT: Duration = Duration::from_millis(500);

/// Walks the reference walk on a cluster of three real nodes, and removes it.
pub fn run() -> Result<()> {
    let started = Instant::now();
    let stage = Stage::new();
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
            Walk { lab, stage: &stage }.take()?;
            stage.chapter("Away with it");
            Ok(())
        })?;
    stage.tell(&format!(
        "Nothing is left on this machine. It took {}.",
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
    lab: &'a Lab,
    stage: &'a Stage,
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
        if self.make_room(&owner)? == Redis::StartedAnew {
            pages = 0;
        }
        self.cut(&owner)?;
        pages += self.fetch_from_the_lan()?;
        self.ask_redis(pages)
    }

    fn install(&self) -> Result<()> {
        self.stage
            .chapter("Install FerroLB, without a configuration");
        self.helm(&walk::INSTALL)?;
        self.kubectl(&["-n", "metallb-system", "get", "pods", "-o", "wide"])
    }

    fn deploy(&self) -> Result<()> {
        self.stage
            .chapter("Deploy a page that counts its visits in redis");
        self.apply(&["redis.yaml", "test.yaml", "test-np.yaml", "test-lb.yaml"])?;
        walk::wait_deployed(self.lab)?;
        self.kubectl(&["get", "all"])?;
        self.stage
            .tell("redis has a name in the cluster's DNS, and one endpoint behind it:");
        self.kubectl(&["get", "endpoints", "redis"])
    }

    /// Returns how many pages were fetched.
    fn fetch_from_every_node(&self) -> Result<u32> {
        self.stage.chapter("The NodePort: port 31001 on every node");
        let nodes = self.lab.nodes();
        for node in &nodes {
            self.until_answered(node.ipv4, NODE_PORT)?;
            self.fetch(node.ipv4, NODE_PORT)?;
        }
        u32::try_from(nodes.len()).context("too many nodes to count")
    }

    fn ask_redis(&self, pages: u32) -> Result<()> {
        self.stage
            .chapter("Look into redis, from inside the application's pod");
        self.kubectl(&[
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
        let said = self.lab.kubectl(&count)?;
        self.stage.command("kubectl", &count);
        self.stage.output(&said);
        ensure!(
            said.trim() == pages.to_string(),
            "{pages} pages were fetched, but redis counts {}",
            said.trim()
        );
        self.stage.tell(&format!(
            "One for each of the {pages} pages that were fetched."
        ));
        Ok(())
    }

    fn stay_pending(&self) -> Result<()> {
        self.stage.chapter("The LoadBalancer Service waits");
        self.kubectl(&["get", "service", "test-lb"])?;
        ensure!(
            self.external_ip()?.is_none(),
            "test-lb has an address before anything is configured"
        );
        self.stage.tell(
            "Nobody has said yet which addresses may be given. The controller says so where a user \
             looks:",
        );
        self.kubectl(&[
            "get",
            "events",
            "--field-selector",
            "involvedObject.name=test-lb",
            "-o",
            "custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message",
        ])
    }

    fn configure(&self) -> Result<()> {
        self.stage.chapter("Say which address may be given");
        self.stage
            .file(&workspace().join("examples/reference-walk/config.yaml"))?;
        let watch = self.stage.watch(
            self.lab.kubectl_command()?,
            &["get", "service", "test-lb", "--watch"],
            &ADDRESS.to_string(),
        )?;
        let applied = Instant::now();
        self.apply(&["config.yaml"])?;
        let seen = watch.wait(PATIENCE)?;
        self.stage.tell(&format!(
            "EXTERNAL-IP went from <pending> to {ADDRESS}, {} after the command began.",
            readable(seen.saturating_duration_since(applied)),
        ));
        Ok(())
    }

    fn fetch_from_the_lan(&self) -> Result<u32> {
        self.stage
            .chapter("Fetch the page, from the client on the LAN");
        self.until_answered(ADDRESS, PORT)?;
        self.fetch(ADDRESS, PORT)?;
        Ok(1)
    }

    /// Returns the name of the node that answers ARP.
    fn say_who_answers(&self) -> Result<String> {
        self.stage.chapter("Who answers for the address?");
        let owner = self.owner()?;
        self.stage.tell(&format!(
            "The client asks the LAN \"who has {ADDRESS}?\". One station answers: {}, which is {}. \
             The address is on no interface of it; its speaker answers ARP, and kube-proxy carries \
             what comes.",
            owner.mac, owner.name,
        ));
        Ok(owner.name.clone())
    }

    /// Kubernetes takes most of a minute to notice that a node is dead, and sends traffic to its
    /// pods meanwhile. To show the address's move alone, all other pods leave the node first, the
    /// cluster's DNS among them.
    fn make_room(&self, node: &str) -> Result<Redis> {
        let on_node = format!("spec.nodeName={node},metadata.namespace!=metallb-system");
        let on_node = ["-A", "--field-selector", &on_node];
        let pods = self.quietly(&[&["get", "pods", "-o", "name"], &on_node[..]].concat())?;
        if pods.trim().is_empty() {
            return Ok(Redis::Stayed);
        }
        self.stage
            .chapter(&format!("Move the other pods away from {node}"));
        self.stage.tell(
            "A dead node's pods stay in kube-proxy's rotation for most of a minute, until \
             Kubernetes notices; no load balancer of this kind can change that. So that the next \
             step shows the address alone, they leave first.",
        );
        self.kubectl(&["taint", "node", node, "walk=moved:NoSchedule"])?;
        self.kubectl(&[&["delete", "pods"], &on_node[..]].concat())?;
        walk::wait_deployed(self.lab)?;
        self.quietly(&[
            "-n",
            "kube-system",
            "rollout",
            "status",
            "deployment/coredns",
        ])?;
        self.kubectl(&["get", "pods", "-A", "-o", "wide"])?;
        self.quietly(&["taint", "node", node, "walk-"])?;
        if !pods.contains("pod/redis-") {
            return Ok(Redis::Stayed);
        }
        self.stage
            .tell("redis was among them. It keeps nothing on a disk, so it counts from 1 again.");
        Ok(Redis::StartedAnew)
    }

    fn cut(&self, owner: &str) -> Result<()> {
        self.stage.chapter(&format!("Pull the plug of {owner}"));
        self.until_answered(ADDRESS, PORT)?;
        let old = self.lab.host(owner)?.mac;
        let frames = self
            .lab
            .client()?
            .enter(|| FrameObserver::start("eth0"))??;
        let cut = Instant::now();
        self.lab.cut(owner, false)?;
        let by_another = |frame: &Frame| {
            frame.is_gratuitous_for(ADDRESS) && frame.at > cut && frame.source != old
        };
        let frame = frames
            .wait_for(by_another, cut + PATIENCE)
            .context("no other node has announced the address")?;
        self.until_answered(ADDRESS, PORT)?;
        let answered = cut.elapsed();
        let new = self.owner()?;
        self.stage.tell(&format!(
            "{owner} is off the LAN, its link still up: nobody is told. {} announced {ADDRESS} {} ms \
             later, and the page was there again {} ms after the cut.",
            new.name,
            frame.at.saturating_duration_since(cut).as_millis(),
            answered.as_millis(),
        ));
        Ok(())
    }

    /// The one node that answers ARP for the address.
    fn owner(&self) -> Result<&Host> {
        let answers = self
            .lab
            .client()?
            .enter(|| arp_ask("eth0", ADDRESS, ARP_WAIT))??;
        let [answer] = &answers[..] else {
            bail!("one node should answer for {ADDRESS}, but these do: {answers:?}");
        };
        let nodes = self.lab.nodes();
        nodes
            .into_iter()
            .find(|node| node.mac == answer.mac)
            .with_context(|| format!("{} answers for {ADDRESS}, which is no node", answer.mac))
    }

    /// Waits until the application answers there, and reaches its redis: kube-proxy programs a new
    /// address, port or endpoint up to a second later. It fetches no page, so it is not counted.
    fn until_answered(&self, address: Ipv4Addr, port: u16) -> Result<()> {
        let to = SocketAddr::new(IpAddr::V4(address), port);
        let answers = || {
            let page = http_get(to, "/readyz", Duration::from_millis(100));
            Ok(page.is_ok_and(|page| page.status == 200))
        };
        self.lab
            .client()?
            .enter(|| wait_until(PATIENCE, answers, || Ok(())))?
            .with_context(|| format!("waiting for {to} to answer"))
    }

    fn fetch(&self, address: Ipv4Addr, port: u16) -> Result<()> {
        let url = format!("http://{address}:{port}/");
        self.stage.command("curl", &[&url]);
        let to = SocketAddr::new(IpAddr::V4(address), port);
        let page = self
            .lab
            .client()?
            .enter(|| http_get(to, "/", Duration::from_secs(5)))??;
        ensure!(
            page.status == 200,
            "{url} answers {}: {}",
            page.status,
            page.body.trim()
        );
        self.stage.output(&page.body);
        Ok(())
    }

    fn external_ip(&self) -> Result<Option<String>> {
        let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
        let ip = self
            .lab
            .kubectl(&["get", "service", "test-lb", "-o", path])?;
        Ok(Some(ip.trim().to_owned()).filter(|ip| !ip.is_empty()))
    }

    fn apply(&self, files: &[&str]) -> Result<()> {
        let args = walk::apply_args(files);
        self.kubectl(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn kubectl(&self, args: &[&str]) -> Result<()> {
        self.stage.command("kubectl", args);
        let said = self.quietly(args)?;
        self.stage.output(&said);
        Ok(())
    }

    fn quietly(&self, args: &[&str]) -> Result<String> {
        let mut command = self.lab.kubectl_command()?;
        walk::in_workspace(&mut command).args(args);
        crate::command::stdout_of(&mut command, "")
    }

    fn helm(&self, args: &[&str]) -> Result<()> {
        self.stage.command("helm", args);
        let mut command = self.lab.helm_command()?;
        walk::in_workspace(&mut command).args(args);
        // The notes repeat what the next chapters show.
        let said = crate::command::stdout_of(&mut command, "")?;
        self.stage
            .output(said.split("\nNOTES:").next().unwrap_or(&said));
        Ok(())
    }
}
