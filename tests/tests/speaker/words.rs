//! What a user is told of an address that nobody announces, and speakers on another port.

use std::cell::RefCell;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_core::ownership::PORT;
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::wait::wait_until;
use serde_json::Value;

use super::super::VIP;

/// A speaker waits ten seconds before it says so.
const TOLD: Duration = Duration::from_secs(30);

fn told(cluster: &Cluster) -> Result<Vec<String>> {
    let events = cluster.lab.kubectl(&["get", "events", "-o", "json"])?;
    let events: Value = serde_json::from_str(&events)?;
    let events = events["items"].as_array().context("no list")?.iter();
    let told = events.filter(|event| event["reason"] == "notAnnounced");
    Ok(told.map(|event| event["message"].to_string()).collect())
}

#[test]
fn an_address_that_nobody_announces_is_said_by_one_event_and_again_when_it_is_so_again()
-> Result<()> {
    let cluster = Cluster::start("unannounced", 3, "192.168.64.200/32")?;
    let said = |count: usize| {
        let all = || Ok(told(&cluster)?.len() >= count);
        wait_until(TOLD, all, || Ok(()))?;
        let told = told(&cluster)?;
        ensure!(told.len() == count, "{told:#?}");
        anyhow::Ok(told)
    };
    cluster.create_service("Cluster", VIP)?;
    let first = said(1)?;
    ensure!(first[0].contains("no_endpoint"), "{first:?}");
    ensure!(first[0].contains(&VIP.to_string()), "{first:?}");

    // With an endpoint it is announced, and without one again it is news again, of a changed policy, too.
    let since = Instant::now();
    let pod = cluster.create_pod("web", "n2")?;
    cluster.announcer(VIP, since)?;
    ensure!(told(&cluster)?.len() == 1);
    cluster.lab.delete_hollow_pod(&pod)?;
    // The Events of one Service about one thing within five minutes have one name: no flood of them.
    let config = r#"{"data":{"config":"address-pools: [{name: lan, protocol: layer2, addresses: [192.168.64.200/32], node-selectors: [{match-labels: {no: node}}]}]"}}"#;
    let map = [
        "-n",
        ferrolb_tests::daemon::NAMESPACE,
        "patch",
        "configmap",
        "config",
        "-p",
        config,
    ];
    cluster.lab.kubectl(&map)?;
    let _second = cluster.create_pod("web-2", "n1")?;
    let last = wait_until(
        TOLD,
        || {
            Ok(told(&cluster)?
                .iter()
                .any(|one| one.contains("node_not_selected")))
        },
        || Ok(()),
    );
    last.with_context(|| format!("{:#?}", told(&cluster)))?;
    let selected = told(&cluster)?
        .into_iter()
        .filter(|one| one.contains("node_not_selected"));
    assert_eq!(selected.count(), 1, "one speaker tells it");
    Ok(())
}

#[test]
fn speakers_on_another_port_work_beside_a_program_that_has_the_usual_one() -> Result<()> {
    // Bound before the speakers start, as Docker Swarm is, until the test ends.
    let swarm = RefCell::new(Vec::<UdpSocket>::new());
    let cluster = Cluster::start_with("port", 2, "192.168.64.200/32", |lab, node| {
        let own = lab.host(node)?.ipv4;
        let socket = lab
            .host(node)?
            .enter(move || UdpSocket::bind((own, PORT)))??;
        swarm.borrow_mut().push(socket);
        Ok(Daemon::speaker(node).arg("--peers-port=7947"))
    })?;
    let hears = || {
        let status = cluster.status("n1")?;
        let members = status["members"].as_array().context("no members")?.iter();
        Ok(members.filter(|one| one["standing"] == "live").count() == 2)
    };
    wait_until(SOON, hears, || Ok(()))?;
    let since = Instant::now();
    let _pod = cluster.create_pod("web", "n2")?;
    cluster.create_service("Cluster", VIP)?;
    let (owner, _) = cluster.announcer(VIP, since)?;
    assert_eq!(cluster.owner(VIP)?, owner);
    Ok(())
}
