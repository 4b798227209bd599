//! From a MetalLB that objects configure to FerroLB and back, as docs/migrate-from-metallb.md says it: on nodes
//! with kubelets, with MetalLB's own programs, definitions and manifest, out of its Go module. A client on the
//! LAN sends datagrams all the while, and counts those that are lost.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::echo_service;
use ferrolb_tests::image::{self, Image};
use ferrolb_tests::lab::Lab;
use ferrolb_tests::observe::{UdpProbe, UdpReport};
use ferrolb_tests::tools::{METALLB, Module, Tools};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{
    self, INSTALL, PATIENCE, SPREAD, external_ip, in_workspace, page_from_the_lan, places,
};

const NAMESPACE: &str = "metallb-system";
/// An echo that answers does so within this time.
const ANSWER: Duration = Duration::from_secs(2);
const OBJECTS: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: default, namespace: metallb-system}
spec:
  addresses: [192.168.64.240-192.168.64.250]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: default, namespace: metallb-system}
spec:
  ipAddressPools: [default]
";
const WEBHOOK: [&str; 2] = [
    "validatingwebhookconfiguration",
    "metallb-webhook-configuration",
];

#[test]
fn a_switch_from_a_metallb_with_objects_and_back_keeps_every_address_on_its_node() -> Result<()> {
    Lab::builder("migrate").nodes(3).run(|lab| {
        let metallb = MetalLb::built()?;
        lab.load_images(&metallb.images()?)?;
        lab.load_images(&walk::images()?)?;
        lab.load_images(&[echo_service::image(Path::new(env!("CARGO_BIN_EXE_lab")))?])?;
        metallb.start(lab)?;
        apply_until_accepted(lab, OBJECTS)?;
        let before = walk::spread(lab)?;
        // Nobody answers while nobody is installed. A neighbour remembers an answer for 15 to 45 s, by chance.
        let remember = "net.ipv4.neigh.eth0.base_reachable_time_ms=600000";
        lab.client()?.run("sysctl", &["-q", "-w", remember])?;
        let probe = probe(lab)?;

        let copy = objects(lab)?;
        let refused = helm(lab, &INSTALL).unwrap_err().to_string();
        ensure!(refused.contains("MetalLB (DaemonSet"), "{refused}");
        stop_metallb(lab)?;
        let found = lab.plugin(&["check", "--pre"])?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        ensure!(
            found.contains("webhook metallb-webhook-configuration"),
            "{found}"
        );
        ensure!(found.contains("bgppeers.metallb.io converts"), "{found}");
        lab.kubectl(&[&["delete"], &WEBHOOK[..]].concat())?;
        // As `check --pre` says it.
        let patch = r#"{"spec":{"conversion":{"strategy":"None","webhook":null}}}"#;
        lab.kubectl(&[
            "patch",
            "crd",
            "bgppeers.metallb.io",
            "--type=merge",
            "-p",
            patch,
        ])?;
        let definitions = lab.plugin(&["crds"])?;
        apply_over(lab, &String::from_utf8(definitions.stdout)?)?;
        helm(lab, &INSTALL)?;
        walk::wait_installed(lab)?;
        lab.apply(&copy)?;
        assert_eq!(
            places(lab, &SPREAD)?,
            before,
            "every address stays where it is"
        );
        page_from_the_lan(lab, before["test-lb"].0, 30_000)?;
        let lost = told("from MetalLB to FerroLB", &probe.stop());
        ensure!(lost == 0, "{lost} datagrams were lost");

        // And back.
        let probe = self::probe(lab)?;
        assert_eq!(objects(lab)?, copy, "nothing of the objects has changed");
        helm(lab, &["uninstall", "ferrolb", "-n", NAMESPACE, "--wait"])?;
        metallb.start(lab)?;
        apply_until_accepted(lab, &copy)?;
        let same = || Ok(places(lab, &SPREAD).is_ok_and(|now| now == before));
        wait_until(PATIENCE, same, || Ok(()))
            .with_context(|| format!("{:?}, before {before:?}", places(lab, &SPREAD)))?;
        page_from_the_lan(lab, before["test-lb"].0, 30_000)?;
        // MetalLB takes its time until it is ready: what that costs is no fault of ours.
        told("from FerroLB back to MetalLB", &probe.stop());
        Ok(())
    })
}

/// A datagram each 10 ms from the client on the LAN to an echo, which runs on another node than the one that
/// announces its address.
fn probe(lab: &Lab) -> Result<UdpProbe> {
    let mut kubectl = lab.kubectl_command()?;
    let kubectl = in_workspace(&mut kubectl).args(["apply", "-f", echo_service::MANIFEST]);
    stdout_of(kubectl, "")?;
    let address = external_ip(lab, "echo")?;
    let (_, mac) = places(lab, &["echo"])?["echo"];
    let mut nodes = lab.nodes().into_iter();
    let owner = nodes.find(|node| node.mac == mac);
    echo_service::move_from(lab, owner.context("no node answers")?)?;
    let target = SocketAddr::from((address, echo_service::PORT));
    let start = || Ok(lab.client()?.enter(|| UdpProbe::start(target))??);
    // A flow that begins before kube-proxy has rules for the address never gets through.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let first: UdpProbe = start()?;
        let is_answered = || {
            let probes = first.report().probes;
            Ok(probes.iter().any(|probe| probe.answered.is_some()))
        };
        let answered = wait_until(ANSWER, is_answered, || Ok(()));
        drop(first.stop());
        match answered {
            Ok(()) => return start(),
            Err(_) => ensure!(Instant::now() < deadline, "no echo from {target}"),
        }
    }
}

/// Tells what a client has seen; how many datagrams were lost.
#[expect(clippy::print_stdout, reason = "the figures are worth reading")]
fn told(what: &str, report: &UdpReport) -> usize {
    println!("{what}: {report}");
    report.lost()
}

/// MetalLB's own module, built.
struct MetalLb {
    tools: Tools,
    source: PathBuf,
    version: String,
}

impl MetalLb {
    fn built() -> Result<Self> {
        let module = Module::MetalLbObjects;
        let tools = Tools::ensure(&[module])?;
        let (source, version) = module.source_of(METALLB)?;
        Ok(Self {
            tools,
            source,
            version,
        })
    }

    /// Its images, made of its own programs.
    fn images(&self) -> Result<Vec<Image>> {
        let image = |component| {
            let binary = self.tools.binary(component)?;
            Ok(image::metallb(component, &self.version, &binary))
        };
        ["controller", "speaker"].into_iter().map(image).collect()
    }

    /// Applies its manifest, and waits until it is ready.
    fn start(&self, lab: &Lab) -> Result<()> {
        let path = self.source.join("config/manifests/metallb-native.yaml");
        let manifest =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // The lab's API server reaches no Service, so the webhook is there and is never answered.
        let ignored = "failurePolicy: Ignore\n  timeoutSeconds: 1";
        let manifest = manifest.replace("failurePolicy: Fail", ignored);
        apply_over(lab, &manifest)?;
        for workload in ["deployment/controller", "daemonset/speaker"] {
            let wait = ["-n", NAMESPACE, "rollout", "status", workload];
            lab.kubectl(&[&wait[..], &["--timeout=180s"]].concat())?;
        }
        Ok(())
    }
}

/// What a manifest leaves of MetalLB if its two workloads alone are deleted.
fn stop_metallb(lab: &Lab) -> Result<()> {
    let delete = [
        "-n",
        NAMESPACE,
        "delete",
        "daemonset/speaker",
        "deployment/controller",
    ];
    lab.kubectl(&[&delete[..], &["--wait", "--cascade=foreground"]].concat())?;
    Ok(())
}

fn objects(lab: &Lab) -> Result<String> {
    let done = lab.plugin(&["migrate", "--to", "objects"])?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{said}");
    String::from_utf8(done.stdout).context("no text")
}

/// Also over what is there already.
fn apply_over(lab: &Lab, yaml: &str) -> Result<()> {
    let mut kubectl = lab.kubectl_command()?;
    kubectl.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    stdout_of(&mut kubectl, yaml)?;
    Ok(())
}

/// MetalLB's webhook answers a moment after its controller is ready.
fn apply_until_accepted(lab: &Lab, yaml: &str) -> Result<()> {
    let accepted = || Ok(lab.apply(yaml).is_ok());
    wait_until(PATIENCE, accepted, || Ok(())).with_context(|| format!("{:?}", lab.apply(yaml)))
}

fn helm(lab: &Lab, args: &[&str]) -> Result<String> {
    let mut helm = lab.helm_command()?;
    stdout_of(in_workspace(&mut helm).args(args), "")
}
