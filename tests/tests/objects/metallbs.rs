//! With MetalLB's own definitions, of a release of each of its three lines: absent at first, then there, then
//! deleted while they are in force. Objects as its documentation of that release writes them.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::Lab;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::tools::metallb_source;
use ferrolb_tests::wait::wait_until;

use crate::{
    COMPILED, CONTROLLER, KINDS_AND_SOON, NAMESPACE, NEXT, SOON, VIP, create_service, event, get,
    start_after, until, until_given,
};

#[test]
fn metallbs_definitions_of_0_13_are_read_late_and_their_deletion_loses_nothing() -> Result<()> {
    late_and_deleted("0.13.12", include_str!("0.13.yaml"))
}

#[test]
fn metallbs_definitions_of_0_14_are_read_late_and_their_deletion_loses_nothing() -> Result<()> {
    late_and_deleted("0.14.9", include_str!("0.14.yaml"))
}

#[test]
fn metallbs_definitions_of_0_16_are_read_late_and_their_deletion_loses_nothing() -> Result<()> {
    late_and_deleted("0.16.1", include_str!("0.16.yaml"))
}

fn late_and_deleted(version: &str, objects: &str) -> Result<()> {
    let name = format!("metallb-{}", version.replace('.', "-"));
    let cluster = start_after(&name, |_| Ok(()), Daemon::speaker)?;
    let lab = &cluster.lab;
    let _pod = cluster.create_pod("web", "n3")?;
    cluster.create_service("Cluster", VIP)?;
    event(lab, "Service", "web", "AllocationFailed")?;

    let kinds = define_metallbs_kinds(lab, version)?;
    lab.apply(objects)?;
    // Whether there are such kinds is asked each 30 s.
    let compiled = format!("configmap/{COMPILED}");
    let is_read = || Ok(get(lab, &compiled, ".data.source").is_ok_and(|it| it == "objects"));
    wait_until(KINDS_AND_SOON, is_read, || lab.check_alive(CONTROLLER))
        .with_context(|| format!("{:?}", get(lab, &compiled, ".data")))?;
    until_given(lab, "web", VIP)?;
    let owner = cluster.owner(VIP)?;
    ensure!(cluster.page(VIP)?.starts_with("pod=web "));

    // All six kinds, and nothing to be said of any.
    let config = || get(lab, &compiled, ".data.config");
    let says = |config: &str| {
        ["lan", "l2", "bgp", "tor", "fast"]
            .iter()
            .all(|it| config.contains(it))
    };
    wait_until(SOON, || Ok(says(&config()?)), || Ok(()))
        .with_context(|| format!("{:?}", config()))?;
    let community = (64_500_u32 << 16) | 100;
    ensure!(config()?.contains(&community.to_string()), "{}", config()?);
    let path = "jsonpath={range .items[*]}{.involvedObject.kind} {.reason}: {.message}{end}";
    let warned = ["--field-selector=type=Warning", "-o", path];
    let warned = lab.kubectl(&[&["-n", NAMESPACE, "get", "events"], &warned[..]].concat())?;
    ensure!(warned.is_empty(), "{warned}");

    // As an uninstall of MetalLB's chart deletes them.
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    lab.kubectl(&[&["delete"][..], &kinds].concat())?;
    until(lab, &compiled, ".data.orphaned", "true")?;
    create_service(lab, "next")?;
    until_given(lab, "next", NEXT)?;
    assert_eq!(cluster.owner(VIP)?, owner);
    ensure!(cluster.page(VIP)?.starts_with("pod=web "));
    lab.stop(CONTROLLER)?;
    lab.start(CONTROLLER)?;
    create_service(lab, "third")?;
    until_given(lab, "third", Ipv4Addr::new(192, 168, 64, 202))?;
    assert_eq!(cluster.owner(VIP)?, owner);
    Ok(())
}

/// As MetalLB's manifest does, and what remains of that without MetalLB: nothing converts. Their names, as
/// `customresourcedefinition.apiextensions.k8s.io/NAME`.
fn define_metallbs_kinds(lab: &Lab, version: &str) -> Result<Vec<String>> {
    let folder = metallb_source(version)?.join("config/crd");
    let mut kubectl = lab.kubectl_command()?;
    let rendered = stdout_of(kubectl.arg("kustomize").arg(&folder), "")?;
    let mut kubectl = lab.kubectl_command()?;
    kubectl.args(["apply", "--server-side", "-f", "-"]);
    stdout_of(&mut kubectl, &rendered)?;
    lab.wait_for_kinds()?;
    let path =
        "jsonpath={range .items[*]}{.metadata.name} {.spec.conversion.strategy}{\"\\n\"}{end}";
    let kinds = lab.kubectl(&["get", "crd", "-o", path])?;
    let mut names = Vec::new();
    for line in kinds.lines() {
        let (name, conversion) = line.split_once(' ').context("no conversion")?;
        if conversion == "Webhook" {
            // As docs/migrate-from-metallb.md has it.
            let none = r#"{"spec":{"conversion":{"strategy":"None","webhook":null}}}"#;
            lab.kubectl(&["patch", "crd", name, "--type=merge", "-p", none])?;
        }
        names.push(format!("crd/{name}"));
    }
    ensure!(names.len() >= 7, "{names:?}");
    Ok(names)
}
