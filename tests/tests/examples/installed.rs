//! Each numbered example, applied byte for byte to a cluster: what its comment promises is so.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::lab::{Lab, NodeKind};
use ferrolb_tests::observe::arp_ask;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{PATIENCE, example};

/// The first of the addresses that most examples give.
const FIRST: &str = "192.168.64.240";

/// What an example is applied with, and what is expected: `namespace/service`, addresses.
type Expected = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const EXAMPLES: [Expected; 8] = [
    (
        &["01-single-pool.yaml", "02-keep-client-address.yaml"],
        &[("default/test-local", FIRST)],
    ),
    (
        &["03-several-pools.yaml"],
        &[
            ("shop/web", "192.168.64.230"),
            ("default/web", FIRST),
            ("default/vip", "192.168.64.251"),
        ],
    ),
    (
        &["01-single-pool.yaml", "04-requested-address.yaml"],
        &[("default/test-fixed", "192.168.64.245")],
    ),
    (
        &["01-single-pool.yaml", "05-shared-address.yaml"],
        &[
            ("default/test-http", "192.168.64.246"),
            ("default/test-alt", "192.168.64.246"),
        ],
    ),
    (
        &["06-dual-stack.yaml"],
        &[("default/test-dual", "192.168.64.240 fd00:64::240")],
    ),
    (
        &["07-interfaces.yaml", "reference-walk/test-lb.yaml"],
        &[("default/test-lb", FIRST)],
    ),
    (
        &["08-node-selectors.yaml", "reference-walk/test-lb.yaml"],
        &[("default/test-lb", FIRST)],
    ),
    (
        &["01-single-pool.yaml", "09-ingress.yaml"],
        &[("default/ingress", FIRST)],
    ),
];

#[test]
fn each_numbered_example_does_what_its_comment_promises() -> Result<()> {
    let lab = Lab::builder("examples")
        .nodes(2)
        .kind(NodeKind::Hollow)
        .start()?;
    lab.start_daemon(&Daemon::controller("cp"))?;
    for node in ["n1", "n2"] {
        lab.start_daemon(&Daemon::speaker(node))?;
    }
    let pod = HollowPod::new("test", "n1")
        .label("app", "test")
        .label("tier", "app");
    lab.create_hollow_pod(&pod)?;
    lab.kubectl(&["label", "node", "n2", "edge=true"])?;
    let mut tested = Vec::new();
    for (files, services) in EXAMPLES {
        tested.extend(files);
        apply(&lab, files)?;
        for (service, addresses) in services {
            wait_for_addresses(&lab, service, addresses).with_context(|| files.join(" "))?;
        }
        if files.contains(&"07-interfaces.yaml") {
            wait_for_announcer(&lab, None)?;
        }
        if files.contains(&"08-node-selectors.yaml") {
            wait_for_announcer(&lab, Some("n2"))?;
        }
        delete(&lab, files)?;
    }
    for file in std::fs::read_dir(example(""))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let numbered = name.ends_with(".yaml");
        assert!(
            !numbered || tested.contains(&&*name),
            "{name} is installed by no test"
        );
    }
    Ok(())
}

fn apply(lab: &Lab, files: &[&str]) -> Result<()> {
    files
        .iter()
        .try_for_each(|file| lab.kubectl(&["apply", "-f", &example(file)]).map(drop))
}

fn delete(lab: &Lab, files: &[&str]) -> Result<()> {
    let files = files.iter().rev();
    files.clone().try_for_each(|file| {
        let file = example(file);
        lab.kubectl(&["delete", "-f", &file, "--ignore-not-found", "--timeout=60s"])
            .map(drop)
    })
}

fn wait_for_addresses(lab: &Lab, service: &str, addresses: &str) -> Result<()> {
    let (namespace, name) = service.split_once('/').context("no namespace")?;
    let ingress = || {
        let path = "jsonpath={.status.loadBalancer.ingress[*].ip}";
        lab.kubectl(&["-n", namespace, "get", "service", name, "-o", path])
    };
    wait_until(PATIENCE, || Ok(ingress()? == addresses), || Ok(()))
        .with_context(|| format!("{service} has {:?}, not {addresses}", ingress()))
}

/// Waits until exactly one node answers for the first address: this one, if one is named.
fn wait_for_announcer(lab: &Lab, node: Option<&str>) -> Result<()> {
    let address: Ipv4Addr = FIRST.parse()?;
    let wanted = node
        .map(|node| anyhow::Ok(lab.host(node)?.mac))
        .transpose()?;
    let client = lab.client()?;
    let announced = || {
        let answers = client.enter(|| arp_ask("eth0", address, Duration::from_millis(300)))??;
        Ok(answers.len() == 1 && wanted.is_none_or(|mac| answers[0].mac == mac))
    };
    wait_until(PATIENCE, announced, || Ok(())).context("the address is not announced as promised")
}
