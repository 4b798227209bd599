//! Hosts that have an address of ours.

use ferrolb_core::conflict::{self, Report};
use ferrolb_core::names::CONFLICTS_NAME;
use ferrolb_core::wire::{MacAddr, announcement};
use ferrolb_tests::observe::send_frame;

use crate::*;

#[test]
fn a_host_that_uses_an_announced_address_is_named_reported_and_announced_against() -> Result<()> {
    let cluster = Cluster::start("dup", 2, &format!("{VIP}/32, {VIP6}/128"))?;
    cluster.create_service("web", &BOTH)?;
    let client = cluster.client()?;
    for vip in BOTH {
        let first = cluster.seen("announcement", |frame| announces(frame, vip))?;
        let owner = cluster.node_at(first.source)?;
        cluster.page(vip)?;

        let since = Instant::now();
        let theirs = announcement(vip, MacAddr::from(client.mac.0)).next();
        let theirs = theirs.context("a frame")?;
        client.enter(|| send_frame("eth0", theirs.as_bytes()))??;
        let answered =
            |frame: &Frame| frame.at >= since && announces(frame, vip) && frame.source == owner.mac;
        cluster.seen("an announcement against it", answered)?;

        let kind = format!("ferrolb_conflicts_total{{ip=\"{vip}\",kind=\"in_use\"}} 1");
        let metrics = || Ok(cluster.metrics(&owner)?.lines().any(|line| line == kind));
        wait_until(SOON, metrics, || Ok(())).with_context(|| kind.clone())?;
        is_told(&cluster, vip, &owner)?;
    }
    Ok(())
}

/// An Event on the Service and a report for the controller name the client's hardware address.
fn is_told(cluster: &Cluster, vip: IpAddr, by: &Host) -> Result<()> {
    let mac = cluster.client()?.mac;
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
    assert_eq!(report.mac, MacAddr::from(mac.0));
    assert_eq!(report.node, by.name);
    assert_eq!(report.service.to_string(), "default/web");
    Ok(())
}
