//! `IPAddressPool`.

use std::collections::BTreeSet;

use super::annotations::Annotations;
use super::read::{Manifest, Said};
use super::values::{plain_names, selectors, spec};
use crate::config::entries::{leave_out, read_entries, report_overlaps};
use crate::config::fields::{Fields, boolean, integer};
use crate::config::pool::{NAMESPACE_HELP, share_within};
use crate::config::problem::{Report, quoted};
use crate::config::selector::is_dns_label;
use crate::config::tree::Node;
use crate::config::{LabelSelector, Pool};

const KEYS: [&str; 4] = [
    "addresses",
    "autoAssign",
    "avoidBuggyIPs",
    "serviceAllocation",
];
const ALLOCATION: &str = "serviceAllocation";
const ALLOCATION_KEYS: [&str; 4] = [
    "priority",
    "namespaces",
    "namespaceSelectors",
    "serviceSelectors",
];

/// Who gets the pool's addresses.
#[derive(Default)]
struct Allocation {
    priority: Option<u32>,
    namespaces: Vec<String>,
    namespace_selectors: Vec<LabelSelector>,
    service_selectors: Vec<LabelSelector>,
}

pub(super) fn read(manifest: &Manifest<'_>, report: &mut Report<'_>) -> Option<Said> {
    let fields = spec(manifest, "an IPAddressPool", &KEYS, report)?;
    let mut entries = Vec::new();
    read_entries(&fields, &manifest.object.name, &mut entries, report);
    let mut flag = |key| fields.get(key).and_then(|node| boolean(node, key, report));
    let (auto_assign, avoid_buggy_ips) = (flag("autoAssign"), flag("avoidBuggyIPs"));
    let node = fields.get(ALLOCATION);
    let allocation = node.map(|node| allocation(node, report));
    let pinned = allocation.is_some();
    let allocation = allocation.unwrap_or_default();
    let ours = Annotations::read(manifest, report);
    let exclude = ours.ranges("exclude", report);
    let excluded_at = ours
        .get("exclude")
        .map_or(&manifest.place, |node| &node.span);
    leave_out(&exclude, &mut entries, excluded_at, report);
    report_overlaps(&entries, report);
    let [sharing, share, allow_node_ports] = ["sharing", "share-within", "allow-node-ports"];
    let pool = Pool {
        name: manifest.object.name.clone(),
        labels: manifest.labels.clone(),
        ranges: entries
            .iter()
            .flat_map(|entry| entry.possible.iter().copied())
            .collect(),
        exclude: exclude.iter().map(|(range, _)| *range).collect(),
        auto_assign: auto_assign.unwrap_or(true),
        avoid_buggy_ips: avoid_buggy_ips.unwrap_or(false),
        pinned,
        priority: allocation.priority,
        namespaces: allocation.namespaces,
        namespace_selectors: allocation.namespace_selectors,
        service_selectors: allocation.service_selectors,
        share_within: share_within(ours.get(share), &ours.name(share), report),
        sharing: ours.flag(sharing, report).unwrap_or(false),
        allow_node_ports: ours.flag(allow_node_ports, report).unwrap_or(true),
    };
    let entries = entries.iter();
    let entries = entries.map(|entry| (entry.range, report.place(&entry.at)));
    Some(Said::Pool {
        pool,
        entries: entries.collect(),
    })
}

fn allocation(node: &Node, report: &mut Report<'_>) -> Allocation {
    let what = format!("`{ALLOCATION}`");
    let Some(fields) = Fields::read(node, &what, &ALLOCATION_KEYS, report) else {
        return Allocation::default();
    };
    Allocation {
        priority: priority(&fields, report),
        namespaces: namespaces(&fields, report),
        namespace_selectors: selectors(&fields, "namespaceSelectors", report),
        service_selectors: selectors(&fields, "serviceSelectors", report),
    }
}

/// Zero is none.
fn priority(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<u32> {
    let node = fields.get("priority")?;
    let number = integer(node, "priority", i64::MIN..=i64::MAX, report)?;
    if number < 0 {
        let message = format!("a priority of {number}, which counts as none: the pool comes last");
        report.warn(&node.span, message, "write a number from 1, or remove it");
    }
    u32::try_from(number.clamp(0, i64::from(u32::MAX)))
        .ok()
        .filter(|priority| *priority != 0)
}

fn namespaces(fields: &Fields<'_>, report: &mut Report<'_>) -> Vec<String> {
    let key = "namespaces";
    let names = plain_names(fields, key, is_dns_label, NAMESPACE_HELP, report);
    let items = fields.get(key).map(Node::items).unwrap_or_default();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for item in items {
        let name = item.scalar().map(|scalar| scalar.text.as_str());
        if let Some(name) = name.filter(|name| !seen.insert(name)) {
            let message = format!("`{key}` has {} twice", quoted(name));
            report.add(&item.span, message, "remove one of the two");
        }
    }
    names
}
