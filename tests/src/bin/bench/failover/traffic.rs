//! A node with a pod of the Service dies, and with it a share of all new connections, until kube-proxy knows:
//! with pods left in rotation and taken out of it. Three nodes with kubelets; the node neither announces the
//! address nor has the leading controller, and the control plane is on a host of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::Lab;
use ferrolb_tests::observe::ConnectReport;
use ferrolb_tests::rotation::{
    REMOVE, connections_while_cut, install, victim, wait_until_all_ready,
};

use crate::figures::spread;

/// Kubernetes marks a node NotReady 40 to 55 s after its death.
const SILENT: Duration = Duration::from_secs(58);
/// For these spans after the death, in seconds, the share of connections that failed is shown.
const SPANS: [(u64, u64); 5] = [(0, 1), (1, 2), (2, 5), (5, 30), (30, 58)];

pub(crate) fn run(rounds: usize) -> Result<()> {
    if rounds == 0 {
        return Ok(());
    }
    println!(
        "\n| deadNodes.endpoints | rounds | last new connection that fails, ms after the death | failed, % in {} |",
        headings(&SPANS)
    );
    println!("|{}", " --- |".repeat(3 + SPANS.len()));
    for (name, values) in [("leave", ""), ("remove", REMOVE)] {
        let lab = Lab::builder(&format!("traffic-{name}")).nodes(3);
        lab.run(|lab| {
            let target = install(lab, values)?;
            let mut reports = Vec::new();
            for number in 0..rounds {
                let node = victim(lab, target)?;
                let report = connections_while_cut(lab, target, &node, SILENT);
                reports.push(report.with_context(|| format!("{name}, round {number}"))?);
                lab.heal(&node)?;
                wait_until_all_ready(lab)?;
            }
            show(name, &reports);
            Ok(())
        })?;
    }
    Ok(())
}

fn show(name: &str, reports: &[(ConnectReport, Instant)]) {
    let last = reports
        .iter()
        .filter_map(|(report, cut)| report.last_failed(*cut));
    let shares = shares(reports, &SPANS);
    println!(
        "| {name} | {} | {} | {} |",
        reports.len(),
        spread(last.collect()),
        shares
    );
}

/// From when to when, in seconds after the death.
type Span = (u64, u64);

/// The headings of columns for these spans.
pub(super) fn headings(spans: &[Span]) -> String {
    let spans = spans
        .iter()
        .map(|(from, to)| format!("{from}\u{2013}{to} s"));
    spans.collect::<Vec<_>>().join(" | ")
}

/// What goes into them: how many per cent of new connections failed, over all reports.
pub(super) fn shares(reports: &[(ConnectReport, Instant)], spans: &[Span]) -> String {
    let share = |(from, to): &Span| {
        let (from, to) = (Duration::from_secs(*from), Duration::from_secs(*to));
        let of = reports
            .iter()
            .map(|(report, cut)| report.within(*cut, from, to));
        let (failed, all) = of.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        format!("{:.1}", 100.0 * failed as f64 / all.max(1) as f64)
    };
    spans.iter().map(share).collect::<Vec<_>>().join(" | ")
}
