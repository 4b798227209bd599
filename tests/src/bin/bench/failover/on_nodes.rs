//! A node dies that runs a third of the control plane: an API server, a member of etcd, a controller manager,
//! a scheduler. What new connections suffer, with pods left in rotation and taken out of it, and with the
//! leading controller manager on that node or elsewhere. One round each, in a lab of its own: the node does
//! not return. It neither announces the address nor has FerroLB's leading controller, as in
//! [`traffic`](super::traffic).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::Lab;
use ferrolb_tests::control_plane::{CONTROLLER_MANAGER, Placement, on_node};
use ferrolb_tests::observe::{ConnectReport, http_get};
use ferrolb_tests::rotation::{REMOVE, connections_while_cut, install, victim};
use ferrolb_tests::wait::wait_until;

use super::traffic::{headings, shares};
use crate::figures::pause;

/// A new leader of the controller manager has waited 15 s for the old one's Lease, and then watches a node for
/// 50 s before it calls it NotReady.
const SILENT: Duration = Duration::from_secs(100);
/// For these spans after the death, in seconds, the share of connections that failed is shown.
const SPANS: [(u64, u64); 6] = [(0, 1), (1, 2), (2, 5), (5, 20), (20, 60), (60, 100)];
/// In which there are 100 new connections.
const CALM: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(100);
/// Longer than a Lease of 15 s and the two seconds between two looks at it.
const LEADS_WITHIN: Duration = Duration::from_secs(60);
/// A new leader has its informers filled.
const SETTLED: Duration = Duration::from_secs(5);

pub(crate) fn run() -> Result<()> {
    println!(
        "| deadNodes.endpoints | leads on the node | a third fails until, s after the death | failed, % in {} |",
        headings(&SPANS)
    );
    println!("|{}", " --- |".repeat(3 + SPANS.len()));
    for (name, values) in [("leave", ""), ("remove", REMOVE)] {
        for leads in [false, true] {
            let lab = Lab::builder(&format!("on-nodes-{name}"))
                .nodes(3)
                .control_plane(Placement::OnNodes);
            lab.run(|lab| round(lab, name, values, leads))?;
        }
    }
    Ok(())
}

fn round(lab: &Lab, name: &str, values: &str, leads: bool) -> Result<()> {
    let target = install(lab, values)?;
    let node = victim(lab, target)?;
    let nodes = lab.nodes();
    let leader = nodes.iter().find(|one| (one.name == node) == leads);
    make_lead(lab, &leader.context("there is one node")?.name)?;
    let mut leaders = Vec::new();
    leaders.extend(leads.then_some("controller manager"));
    leaders.extend(etcd_leads(lab, &node)?.then_some("etcd"));
    let leaders = match &leaders[..] {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    let reports = [connections_while_cut(lab, target, &node, SILENT)?];
    let [(report, cut)] = &reports;
    let until = in_rotation(report, *cut);
    println!(
        "| {name} | {leaders} | {} | {} |",
        until.map_or_else(
            || "the end".to_owned(),
            |until| format!("{:.1}", until.as_secs_f64())
        ),
        shares(&reports, &SPANS)
    );
    Ok(())
}

/// How long the dead pod was in rotation: of three, it had a third of the connections. The last one that fails
/// does not tell: whoever comes again from a source port with which it failed fails once more, for two minutes.
fn in_rotation(report: &ConnectReport, cut: Instant) -> Option<Duration> {
    let mut from = Duration::ZERO;
    while from < SILENT {
        let (failed, all) = report.within(cut, from, from + CALM);
        if 10 * failed < all {
            return Some(from);
        }
        from += STEP;
    }
    None
}

/// Makes the controller manager of this node the leading one. The name that stands in the Lease is the
/// machine's, the same for all: who takes it when the others do not run is told by its change.
fn make_lead(lab: &Lab, node: &str) -> Result<()> {
    let process = |node: &str| on_node(CONTROLLER_MANAGER, node);
    let path = "jsonpath={.spec.holderIdentity}";
    let lease = [
        "-n",
        "kube-system",
        "get",
        "lease/kube-controller-manager",
        "-o",
        path,
    ];
    let before = lab.kubectl(&lease)?;
    for other in lab.nodes() {
        lab.stop(&process(&other.name))?;
    }
    lab.start(&process(node))?;
    let leads = || Ok(lab.kubectl(&lease)? != before);
    wait_until(LEADS_WITHIN, leads, || lab.check_alive(&process(node)))
        .with_context(|| format!("the controller manager of {node} does not lead"))?;
    for other in lab.nodes().iter().filter(|other| other.name != node) {
        lab.start(&process(&other.name))?;
    }
    pause(SETTLED);
    Ok(())
}

/// Whether the member of etcd on this node leads.
fn etcd_leads(lab: &Lab, node: &str) -> Result<bool> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 2379));
    let get = || http_get(at, "/metrics", Duration::from_secs(5));
    let page = lab.host(node)?.enter(get)??;
    let mut lines = page.body.lines();
    let line = lines.find(|line| line.starts_with("etcd_server_is_leader "));
    Ok(line
        .context("etcd does not say whether it leads")?
        .ends_with(" 1"))
}
