//! Hosts that have an address of ours.

use std::net::SocketAddr;

use ferrolb_core::conflict::{self, Cause, Report};
use ferrolb_core::elect::rank;
use ferrolb_core::names::CONFLICTS_NAME;
use ferrolb_core::report::{SpeakerStatus, WhoStatus};
use ferrolb_core::wire::{MacAddr, announcement};
use ferrolb_tests::cluster::PORT;
use ferrolb_tests::observe::{arp_ask, http_get, send_frame};
use serde_json::json;

use crate::*;

#[test]
fn a_host_that_uses_an_announced_address_is_named_reported_and_announced_against() -> Result<()> {
    let cluster = start("dup", 2, &format!("{VIP}/32, {VIP6}/128"))?;
    create_service(&cluster, "web", &BOTH)?;
    let client = cluster.lab.client()?;
    for vip in BOTH {
        let first = seen(&cluster, "announcement", |frame| announces(frame, vip))?;
        let owner = node_at(&cluster, first.source)?;
        cluster.page(vip)?;

        let since = Instant::now();
        let theirs = announcement(vip, MacAddr::from(client.mac.0)).next();
        let theirs = theirs.context("a frame")?;
        client.enter(|| send_frame("eth0", theirs.as_bytes()))??;
        let answered =
            |frame: &Frame| frame.at >= since && announces(frame, vip) && frame.source == owner.mac;
        seen(&cluster, "an announcement against it", answered)?;

        let kind = format!("ferrolb_conflicts_total{{ip=\"{vip}\",kind=\"in_use\"}} 1");
        let counted = || Ok(cluster.metrics(&owner.name)?.has(&kind));
        wait_until(SOON, counted, || Ok(())).with_context(|| kind.clone())?;
        is_told(&cluster, vip, &owner)?;
    }
    Ok(())
}

#[test]
fn an_address_that_a_host_has_already_is_not_announced_and_the_host_is_named() -> Result<()> {
    let cluster = start("taken", 2, &format!("{VIP}/32, {VIP6}/128"))?;
    let client = cluster.lab.client()?;
    ip_batch(
        &client.namespace,
        &[
            format!("addr add {VIP}/24 dev eth0"),
            format!("addr add {VIP6}/64 dev eth0 nodad"),
        ],
    )?;
    create_service(&cluster, "web", &BOTH)?;
    for vip in BOTH {
        let asks = |frame: &Frame| asks_for(frame, vip) && !frame.outgoing;
        let probe = seen(&cluster, "probe", asks)?;
        if let Content::Arp(arp) = probe.content {
            assert_eq!(arp.sender, Ipv4Addr::UNSPECIFIED, "RFC 5227 §2.1.1");
        }
        is_told(&cluster, vip, &node_at(&cluster, probe.source)?)?;
        let seen = cluster.frames.seen();
        let announced = seen
            .iter()
            .any(|frame| announces(frame, vip) && !frame.outgoing);
        ensure!(!announced, "{}", cluster.frames.transcript());
    }
    knows_who_has_it(&cluster)?;
    // Its successor asks first, too.
    let owner = node_at(
        &cluster,
        seen(&cluster, "probe", |frame| probes(frame, VIP))?.source,
    )?;
    cluster.lab.cut(&owner.name, false)?;
    let is_successors = |frame: &Frame| probes(frame, VIP) && frame.source != owner.mac;
    let probe = seen(&cluster, "probe of the successor", is_successors)?;
    is_told(&cluster, VIP.into(), &node_at(&cluster, probe.source)?)?;
    let announced = |frame: &Frame| announces(frame, VIP.into()) && !frame.outgoing;
    ensure!(
        !cluster.frames.seen().iter().any(announced),
        "{}",
        cluster.frames.transcript()
    );
    let events = cluster
        .lab
        .kubectl(&["get", "events", "-o", "custom-columns=R:.reason"])?;
    ensure!(
        !events.contains("nodeAssigned"),
        "nobody announces it: {events}"
    );
    Ok(())
}

/// A Service that asks for nothing: only such a one could be given another address.
fn create_undemanding(cluster: &Cluster) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "web" },
        "spec": { "type": "LoadBalancer", "selector": { "app": "web" },
                  "ports": [{ "port": PORT, "targetPort": 3000 }] },
    });
    cluster.lab.apply(&service.to_string()).map(drop)
}

fn held(cluster: &Cluster) -> Result<String> {
    let path = "jsonpath={.status.loadBalancer.ingress[*].ip}";
    cluster
        .lab
        .kubectl(&["get", "service", "web", "-o", path])
        .map(|held| held.trim().to_owned())
}

#[test]
fn an_address_in_use_outlasts_a_forged_frame_and_a_restart_of_all_beside_a_host_that_has_it()
-> Result<()> {
    let cluster = start("kept", 2, "192.168.64.200-192.168.64.209")?;
    create_undemanding(&cluster)?;
    let vip = IpAddr::V4(VIP);
    let first = seen(&cluster, "announcement", |frame| announces(frame, vip))?;
    let owner = node_at(&cluster, first.source)?;
    // What stands in a status when a leader begins is in use.
    let controller = Daemon::controller("cp").process_name();
    cluster.lab.stop(&controller)?;
    cluster.lab.start(&controller)?;

    let client = cluster.lab.client()?.clone();
    let forged = announcement(vip, MacAddr::from(client.mac.0));
    for frame in forged {
        client.enter(|| send_frame("eth0", frame.as_bytes()))??;
    }
    is_told(&cluster, vip, &owner)?;
    has_the_command(&cluster)?;
    let kind = format!("ferrolb_conflicts_total{{ip=\"{vip}\",kind=\"in_use\"}} 1");
    let counted = || Ok(cluster.metrics(&owner.name)?.has(&kind));
    wait_until(SOON, counted, || Ok(())).context("not counted")?;
    assert_eq!(held(&cluster)?, VIP.to_string(), "it stays");
    cluster.page(vip)?;

    // All speakers are gone, and a host takes the address.
    let speakers = ["n1", "n2"].map(|node| Daemon::speaker(node).process_name());
    for speaker in &speakers {
        cluster.lab.stop(speaker)?;
    }
    let address = format!("{VIP}/24 dev eth0");
    ip_batch(&client.namespace, &[format!("addr add {address}")])?;
    let restarted = Instant::now();
    for speaker in &speakers {
        cluster.lab.start(speaker)?;
    }
    let later_probe = |frame: &Frame| frame.at >= restarted && probes(frame, VIP);
    seen(&cluster, "probe", later_probe)?;
    // It goes on asking.
    let asked = Instant::now();
    seen(&cluster, "a later probe", |frame| {
        frame.at >= asked + Duration::from_millis(500) && probes(frame, VIP)
    })?;
    let announced =
        |frame: &Frame| frame.at >= restarted && announces(frame, vip) && !frame.outgoing;
    ensure!(
        !cluster.frames.seen().iter().any(announced),
        "{}",
        cluster.frames.transcript()
    );
    assert_eq!(
        held(&cluster)?,
        VIP.to_string(),
        "it stays, although silent"
    );

    // 30 s is the longest pause between two questions.
    ip_batch(&client.namespace, &[format!("addr del {address}")])?;
    let deadline = Instant::now() + Duration::from_secs(40);
    let frame = cluster.frames.wait_for(announced, deadline);
    frame.map_err(|missing| anyhow::anyhow!("announcement: {missing}"))?;
    wait_until(SOON, || Ok(cluster.page(vip).is_ok()), || Ok(()))?;
    assert_eq!(held(&cluster)?, VIP.to_string());
    Ok(())
}

/// The controller's Event and the speaker's say how a person gives the Service another address.
fn has_the_command(cluster: &Cluster) -> Result<()> {
    let command = "kubectl annotate -n default service web --overwrite \
                   metallb.io/loadBalancerIPs=ADDRESS";
    let told = || {
        let columns = "custom-columns=R:.reason,F:.source.component,M:.message";
        let events = cluster.lab.kubectl(&["get", "events", "-o", columns])?;
        let by = |component: &str| {
            events.lines().any(|line| {
                line.starts_with("addressConflict")
                    && line.contains(component)
                    && line.contains(command)
            })
        };
        Ok(by("ferrolb-speaker") && by("ferrolb-controller"))
    };
    wait_until(SOON, told, || Ok(())).context("no Event with the command")
}

#[test]
fn the_network_address_of_the_nodes_subnet_is_found_and_another_one_given() -> Result<()> {
    let cluster = start(
        "subnet",
        2,
        "192.168.64.0/32, 192.168.64.255/32, 192.168.64.200/32",
    )?;
    create_undemanding(&cluster)?;
    let given = || Ok(held(&cluster)? == VIP.to_string());
    wait_until(SOON, given, || Ok(())).with_context(|| format!("holds {:?}", held(&cluster)))?;
    seen(&cluster, "announcement", |frame| {
        announces(frame, VIP.into())
    })?;
    let columns = "custom-columns=R:.reason,M:.message";
    let events = || cluster.lab.kubectl(&["get", "events", "-o", columns]);
    for what in ["network", "broadcast"] {
        let is_it = |line: &str| {
            line.starts_with("addressUnusable")
                && line.contains(&format!("the {what} address of 192.168.64.0/24"))
        };
        let told = || Ok(events()?.lines().any(is_it));
        wait_until(SOON, told, || Ok(()))
            .with_context(|| format!("{what} is not in: {:?}", events()))?;
    }
    Ok(())
}

#[test]
fn an_address_that_was_given_back_may_have_another_host_by_now_and_is_probed_again() -> Result<()> {
    let cluster = start("freed", 2, &format!("{VIP}/32, {VIP6}/128"))?;
    create_service(&cluster, "web", &BOTH)?;
    for vip in BOTH {
        seen(&cluster, "announcement", |frame| announces(frame, vip))?;
    }
    cluster.lab.kubectl(&["delete", "service", "web"])?;
    let client = cluster.lab.client()?;
    let is_silent = || Ok(client.enter(|| arp_ask("eth0", VIP, ASK))??.is_empty());
    wait_until(SOON, is_silent, || Ok(())).context("it is still answered")?;
    ip_batch(
        &client.namespace,
        &[
            format!("addr add {VIP}/24 dev eth0"),
            format!("addr add {VIP6}/64 dev eth0 nodad"),
        ],
    )?;
    let since = Instant::now();
    create_service(&cluster, "web", &BOTH)?;
    for vip in BOTH {
        let asks = |frame: &Frame| frame.at >= since && asks_for(frame, vip) && !frame.outgoing;
        let probe = seen(&cluster, "probe", asks)?;
        is_told(&cluster, vip, &node_at(&cluster, probe.source)?)?;
    }
    let announced =
        |frame: &Frame| frame.at >= since && !frame.outgoing && announces(frame, VIP.into());
    ensure!(
        !cluster.frames.seen().iter().any(announced),
        "{}",
        cluster.frames.transcript()
    );
    Ok(())
}

/// A probe for `vip` (RFC 5227 §2.1.1) from the LAN, not from the observer's own host; and no question of
/// the station that `/who` makes up.
fn probes(frame: &Frame, vip: Ipv4Addr) -> bool {
    let is_probe = matches!(&frame.content, Content::Arp(arp) if arp.sender.is_unspecified());
    is_probe && asks_for(frame, vip.into()) && !frame.outgoing
}

/// The speaker of a node asks its LAN, and tells why the address is silent.
fn knows_who_has_it(cluster: &Cluster) -> Result<()> {
    let node = cluster.lab.host("n1")?;
    let mac = cluster.lab.client()?.mac.to_string();
    let speaker = SocketAddr::from((Ipv4Addr::LOCALHOST, 7472));
    for vip in BOTH {
        let path = format!("/who?address={vip}");
        let page = node.enter(|| http_get(speaker, &path, SOON))??;
        let who: WhoStatus = serde_json::from_str(&page.body).context(page.body)?;
        let stations: Vec<_> = who.stations.iter().map(|station| &station.mac).collect();
        assert_eq!(stations, [&mac], "{vip}");
        let answers = who.stations.first().map(|station| station.answers);
        assert_eq!(answers, Some(who.asked), "{vip}");
    }
    let reasons = cluster.lab.nodes().into_iter().map(|node| {
        let status: SpeakerStatus = serde_json::from_value(cluster.status(&node.name)?)?;
        let vip = status.vip(VIP.into()).context("the address")?;
        Ok(vip.reason.as_deref().unwrap_or_default().to_owned())
    });
    let mut reasons = reasons.collect::<Result<Vec<_>>>()?;
    reasons.sort_unstable();
    assert_eq!(reasons, ["address_conflict", "not_owner"]);
    Ok(())
}

#[test]
fn a_node_whose_kernel_answers_is_named_with_the_remedy_and_the_address_announced() -> Result<()> {
    let cluster = start("kernel", 2, &format!("{VIP}/32"))?;
    // The other one's kernel, as IPVS without strictARP has it: the address on a link of its own.
    let kernel = ["n1", "n2"]
        .into_iter()
        .max_by_key(|node| rank(node, VIP.into()));
    let kernel = kernel.context("a node")?;
    let node = cluster.lab.host(kernel)?;
    ip_batch(&node.namespace, &[format!("addr add {VIP}/32 dev lo")])?;
    create_service(&cluster, "web", &[IpAddr::V4(VIP)])?;
    seen(&cluster, "announcement", |frame| {
        announces(frame, VIP.into())
    })?;
    let told = || {
        let columns = "custom-columns=R:.reason,M:.message";
        let events = cluster.lab.kubectl(&["get", "events", "-o", columns])?;
        let named = format!("the kernel of node \"{kernel}\" ({})", node.mac);
        Ok(events.lines().any(|line| {
            line.starts_with("peerKernelAnswers")
                && line.contains(&named)
                && line.contains("strictARP")
        }))
    };
    wait_until(SOON, told, || Ok(())).context("no Event")
}

/// An Event on the Service and a report for the controller name the client's hardware address.
fn is_told(cluster: &Cluster, vip: IpAddr, by: &Host) -> Result<()> {
    let mac = cluster.lab.client()?.mac;
    let told = || {
        let columns = "custom-columns=R:.reason,T:.type,M:.message";
        let events = cluster.lab.kubectl(&["get", "events", "-o", columns])?;
        Ok(events.lines().any(|line| {
            line.starts_with("addressConflict")
                && ["Warning", &mac.to_string(), &vip.to_string(), &by.name]
                    .iter()
                    .all(|part| line.contains(part))
        }))
    };
    wait_until(SOON, told, || Ok(())).context("no Event")?;
    let key = conflict::key(vip);
    let report = || -> Result<Option<Report>> {
        let get = [
            "get",
            "configmap",
            CONFLICTS_NAME,
            "-n",
            NAMESPACE,
            "-o",
            "json",
        ];
        let Ok(text) = cluster.lab.kubectl(&get) else {
            return Ok(None);
        };
        let object: Value = serde_json::from_str(&text)?;
        let entry = object["data"][&key].as_str();
        Ok(entry.map(|value| Report::decode(&key, value)).transpose()?)
    };
    wait_until(SOON, || Ok(report()?.is_some()), || Ok(())).context("no report")?;
    let report = report()?.context("a report")?;
    assert_eq!(report.address, vip);
    assert_eq!(report.cause, Cause::Host(MacAddr::from(mac.0)));
    assert_eq!(report.node, by.name);
    let service = report.service.context("no Service")?;
    assert_eq!(service.to_string(), "default/web");
    Ok(())
}
