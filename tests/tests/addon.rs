//! minikube's addon `metallb` with our images: its frozen manifest for MetalLB 0.9.6, on a node like
//! minikube's.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::lab::Lab;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{self, PATIENCE, answering_macs, external_ip, page_from_the_lan};
use serde_json::Value;

const MANIFEST: &str = include_str!("addon/metallb.yaml");
const SERVICES: &str = include_str!("addon/services.yaml");

const NAMESPACE: &str = "--namespace=metallb-system";
const WORKLOADS: [&str; 2] = ["daemonset/speaker", "deployment/controller"];

/// What the addon's template renders while nobody has said which addresses to give.
const NOT_CONFIGURED: &str = "-";
const RANGE: &str = "192.168.64.240-192.168.64.250";
/// `minikube addons configure metallb`, answered with the same address twice.
const ONE: &str = "192.168.64.250-192.168.64.250";

const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 240);
const ASKED_FOR: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 245);
const LAST: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 250);

#[test]
fn our_images_work_under_the_manifest_of_minikubes_addon() -> Result<()> {
    Lab::builder("addon").like_minikube(true).run(|lab| {
        lab.load_images(&walk::images()?)?;
        lab.apply(MANIFEST)?;
        configure(lab, NOT_CONFIGURED)?;
        walk::deploy(lab)?;
        wait_for_workloads(lab)?;
        who_waits_is_told_to_configure(lab)?;

        configure(lab, RANGE)?;
        serves(lab, "test-lb", FIRST, 30_000)?;
        manifests_for_metallb_work_as_they_are(lab)?;

        // minikube writes the ConfigMap anew at each start, and so does a second `configure`.
        configure(lab, ONE)?;
        let is_in_force = || {
            let pools = lab.plugin(&["pools", "-o", "json"])?;
            let pools: Value = serde_json::from_slice(&pools.stdout)?;
            Ok(pools["pools"][0]["total"] == 1)
        };
        wait_until(PATIENCE, is_in_force, || Ok(())).context("the new range is not in force")?;
        lab.kubectl(&[
            "expose",
            "deployment/test",
            "--name=late",
            "--type=LoadBalancer",
            "--port=3000",
        ])?;
        serves(lab, "late", LAST, 3000)?;
        serves(lab, "test-lb", FIRST, 30_000)?;

        restarts_without_a_grace_period_collide_with_nothing(lab)?;
        a_successor_waits_for_ports_that_are_still_held(lab)?;
        nothing_else_was_forbidden(lab)
    })
}

fn who_waits_is_told_to_configure(lab: &Lab) -> Result<()> {
    wait_for_event(
        lab,
        "service/test-lb",
        "run minikube addons configure metallb",
    )?;
    let status = [
        "get",
        "service/test-lb",
        "-o",
        "jsonpath={.status.loadBalancer}",
    ];
    assert_eq!(lab.kubectl(&status)?, "{}", "there is nothing to give yet");
    Ok(())
}

fn manifests_for_metallb_work_as_they_are(lab: &Lab) -> Result<()> {
    lab.apply(SERVICES)?;
    serves(lab, "shared-tcp", ASKED_FOR, 80)?;
    serves(lab, "shared-too", ASKED_FOR, 8080)?;
    let local = external_ip(lab, "local")?;
    let page = page_from_the_lan(lab, local, 30_000)?;
    let client = format!("client: {}\n", lab.client()?.ipv4);
    assert!(page.body.contains(&client), "{}", page.body);
    // A Service that is edited by its user keeps what a PUT of its status would delete.
    let kept = [
        "get",
        "service/shared-tcp",
        "-o",
        "jsonpath={.metadata.annotations}",
    ];
    let annotations = lab.kubectl(&kept)?;
    assert!(annotations.contains("allow-shared-ip"), "{annotations}");
    Ok(())
}

fn restarts_without_a_grace_period_collide_with_nothing(lab: &Lab) -> Result<()> {
    lab.kubectl(&[&[NAMESPACE, "rollout", "restart"], &WORKLOADS[..]].concat())?;
    wait_for_workloads(lab)?;
    serves(lab, "test-lb", FIRST, 30_000)?;
    nothing_has_restarted(lab)
}

/// As by a predecessor that has not ended yet, which without a grace period nobody waits for.
fn a_successor_waits_for_ports_that_are_still_held(lab: &Lab) -> Result<()> {
    let select = |value: &str| {
        let patch = format!(
            r#"{{"spec":{{"template":{{"spec":{{"nodeSelector":{{"nowhere":{value}}}}}}}}}}}"#
        );
        lab.kubectl(&[NAMESPACE, "patch", "daemonset/speaker", "-p", &patch])
    };
    select("\"1\"")?;
    let gone = [
        "wait",
        "--for=delete",
        "pods",
        "--selector=component=speaker",
    ];
    lab.kubectl(&[&[NAMESPACE], &gone[..], &["--timeout=120s"]].concat())?;
    let any = Ipv4Addr::UNSPECIFIED;
    let hold = || -> io::Result<_> {
        Ok((
            TcpListener::bind((any, 7472))?,
            UdpSocket::bind((any, 7946))?,
        ))
    };
    let deadline = Instant::now() + PATIENCE;
    // Here, too, the predecessor may have them for a moment.
    let held = loop {
        match lab.host("minikube")?.enter(hold)? {
            Ok(ports) => break ports,
            Err(error) => ensure!(Instant::now() < deadline, "its ports: {error}"),
        }
    };
    select("null")?;
    let waits = || {
        let said = lab.kubectl(&[NAMESPACE, "logs", "daemonset/speaker"]);
        let said = said.unwrap_or_default();
        Ok(["TCP", "UDP"].iter().all(|port| {
            let mut lines = said.lines();
            lines.any(|line| line.contains(port) && line.contains("in use, trying again"))
        }))
    };
    wait_until(PATIENCE, waits, || Ok(())).context("it does not wait for its ports")?;
    drop(held);
    serves(lab, "test-lb", FIRST, 30_000)?;
    nothing_has_restarted(lab)
}

fn nothing_has_restarted(lab: &Lab) -> Result<()> {
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = lab.kubectl(&[NAMESPACE, "get", "pods", "-o", restarts])?;
    ensure!(
        restarts.split_whitespace().all(|count| count == "0"),
        "{restarts} restarts"
    );
    Ok(())
}

/// What the addon's roles do not allow is not tried, but for EndpointSlices: that they are refused is how
/// the speaker knows that it has to read Endpoints.
fn nothing_else_was_forbidden(lab: &Lab) -> Result<()> {
    for workload in WORKLOADS {
        let said = lab.kubectl(&[NAMESPACE, "logs", workload, "--tail=-1"])?;
        let mut refused = said.lines().filter(|line| line.contains("forbidden"));
        let other = refused.find(|line| !line.to_lowercase().contains("endpointslices"));
        ensure!(other.is_none(), "{workload}: {other:?}");
    }
    Ok(())
}

/// The Service has this address, the node answers for it, and the page comes.
fn serves(lab: &Lab, service: &str, address: Ipv4Addr, port: u16) -> Result<()> {
    assert_eq!(external_ip(lab, service)?, address, "{service}");
    let node = lab.host("minikube")?;
    assert_eq!(answering_macs(lab, address)?, [node.mac], "{service}");
    let page = page_from_the_lan(lab, address, port)?;
    assert_eq!(page.status, 200, "{service}: {}", page.body);
    Ok(())
}

/// Writes the addon's ConfigMap, as its template does.
fn configure(lab: &Lab, addresses: &str) -> Result<()> {
    let config = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: metallb-system\n  name: config\n\
         data:\n  config: |\n    address-pools:\n    - name: default\n      protocol: layer2\n      \
         addresses:\n      - {addresses}\n"
    );
    lab.apply(&config).map(drop)
}

fn wait_for_workloads(lab: &Lab) -> Result<()> {
    for workload in WORKLOADS {
        lab.kubectl(&[NAMESPACE, "rollout", "status", workload, "--timeout=120s"])?;
    }
    Ok(())
}

fn wait_for_event(lab: &Lab, object: &str, text: &str) -> Result<()> {
    let said = || {
        let events = lab.kubectl(&["events", "--for", object])?;
        Ok(events.contains(text))
    };
    wait_until(PATIENCE, said, || Ok(()))
}
