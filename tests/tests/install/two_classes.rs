//! Two releases in one namespace, each for Services of its own class. Their speakers want the same ports,
//! so each has nodes of its own.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::lifetime::Lifetime;
use ferrolb_tests::walk::{
    INSTALL, answering_macs, external_ip, in_workspace, page_from_the_lan, wait_rolled_out,
};

const EDGE: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 220);
const CONFIG: &str = "--from-literal=config=address-pools: [{name: edge, protocol: layer2, \
                      addresses: [192.168.64.220-192.168.64.229]}]";
const SERVICE: &str = r#"{ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "edge" },
    "spec": { "type": "LoadBalancer", "loadBalancerClass": "example.com/edge",
              "selector": { "app": "test", "tier": "app" },
              "ports": [{ "port": 80, "targetPort": 3000 }] } }"#;

pub(crate) fn serve_apart_and_leave_nothing(life: &Lifetime<'_>, lab: &Lab) -> Result<()> {
    lab.kubectl(&["label", "nodes", "n1", "n2", "serves=all"])?;
    lab.kubectl(&["label", "nodes", "n3", "serves=edge"])?;
    let in_namespace = |args: &[&str]| lab.kubectl(&[&["-n", NAMESPACE], args].concat());
    in_namespace(&["create", "configmap", "edge", CONFIG])?;
    lab.apply(SERVICE)?;
    install(lab, "ferrolb", "speaker.nodeSelector.serves=all")?;
    let ours = external_ip(lab, "test-lb")?;
    let edge = "speaker.nodeSelector.serves=edge,existingConfigMap=edge,\
                loadBalancerClass=example.com/edge";
    install(lab, "edge", edge)?;

    assert_eq!(
        external_ip(lab, "edge")?,
        EDGE,
        "from the pool of its class"
    );
    assert_eq!(answering_macs(lab, EDGE)?, [lab.host("n3")?.mac]);
    page_from_the_lan(lab, EDGE, 80)?;
    assert_eq!(external_ip(lab, "test-lb")?, ours, "the other release's");
    let macs = answering_macs(lab, ours)?;
    let [owner] = macs[..] else {
        anyhow::bail!("{macs:?} answer for {ours}");
    };
    ensure!(owner != lab.host("n3")?.mac, "n3 serves another class");
    page_from_the_lan(lab, ours, 30_000)?;
    let leases = in_namespace(&["get", "leases", "-o", "name"])?;
    for lease in ["/ferrolb-controller", "/edge-ferrolb-controller"] {
        ensure!(leases.contains(lease), "no {lease} in {leases}");
    }

    for release in ["edge", "ferrolb"] {
        lab.helm(&["uninstall", release, "-n", NAMESPACE, "--wait"])?;
    }
    in_namespace(&["wait", "--for=delete", "pods", "--all", "--timeout=120s"])?;
    let cleaned = lab.plugin(&["cleanup", "--yes"])?;
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    in_namespace(&["delete", "configmap", "edge"])?;
    life.nothing_is_left_but(&[])
}

fn install(lab: &Lab, release: &str, values: &str) -> Result<()> {
    let mut helm = lab.helm_command()?;
    let args = INSTALL.map(|arg| if arg == "ferrolb" { release } else { arg });
    stdout_of(
        in_workspace(&mut helm).args(args).args(["--set", values]),
        "",
    )?;
    let name = if release == "ferrolb" {
        "ferrolb".to_owned()
    } else {
        format!("{release}-ferrolb")
    };
    wait_rolled_out(lab, &format!("daemonset/{name}-speaker"))
}
