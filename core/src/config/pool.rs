//! `address-pools`.

use std::collections::{BTreeMap, BTreeSet};

use super::bgp::{self, Communities};
use super::entries::{Entry, exclude, leave_out, read_entries, report_overlaps};
use super::fields::{Fields, boolean, integer, list, text};
use super::keys;
use super::place::Span;
use super::preferred::preferred_nodes;
use super::problem::{Report, quoted};
use super::selector::{OF_TEXT, is_dns_label, selectors};
use super::tree::Node;
use super::{
    BgpAdvertisement, LabelSelector, Layer2Advertisement, Pool, RouteAttributes, Scope, ShareWithin,
};
use crate::address::AddressRange;
use crate::labels::Labels;
use crate::suggest::nearest;

const NAME_HELP: &str = "write `name: NAME`; services may ask for the pool by it";
const PROTOCOL_HELP: &str = "write `protocol: layer2` or `protocol: bgp`";
/// Linux: `IFNAMSIZ` without the terminating zero.
const MAX_INTERFACE_BYTES: usize = 15;

/// What `address-pools` says: addresses, and how they are announced.
#[derive(Default)]
pub(super) struct Pools {
    pub(super) pools: Vec<Pool>,
    pub(super) layer2: Vec<Layer2Advertisement>,
    pub(super) bgp: Vec<BgpAdvertisement>,
}

/// How a pool is announced.
enum Announced {
    /// `protocol: layer2`
    Layer2(Layer2Advertisement),
    /// `protocol: bgp`
    Bgp(Vec<BgpAdvertisement>),
}

/// `protocol`
#[derive(Clone, Copy)]
enum Protocol {
    Layer2,
    Bgp,
}

/// Reads `address-pools`.
pub(super) fn pools(node: &Node, communities: &Communities, report: &mut Report<'_>) -> Pools {
    let mut read = Pools::default();
    let mut entries = Vec::new();
    let mut places: BTreeMap<String, Span> = BTreeMap::new();
    for item in list(node, "address-pools", report) {
        let named = item
            .get("name")
            .and_then(Node::scalar)
            .filter(|name| !name.text.is_empty());
        let what = named.map_or("a pool".to_owned(), |name| {
            format!("pool {}", quoted(&name.text))
        });
        let Some(fields) = Fields::read(item, &what, keys::POOL, report) else {
            continue;
        };
        let name = name(&fields, &mut places, report);
        let start = entries.len();
        read_entries(&fields, name.unwrap_or_default(), &mut entries, report);
        let entries = &mut entries[start..];
        let exclude = exclude(&fields, report);
        leave_out(&exclude, entries, &fields.key_span("exclude"), report);
        let Some((mut pool, announced)) = pool(&fields, name, entries, communities, report) else {
            continue;
        };
        pool.exclude = exclude.into_iter().map(|(range, _)| range).collect();
        read.pools.push(pool);
        match announced {
            Announced::Layer2(one) => read.layer2.push(one),
            Announced::Bgp(all) => read.bgp.extend(all),
        }
    }
    report_overlaps(&entries, report);
    read
}

fn pool(
    fields: &Fields<'_>,
    name: Option<&str>,
    entries: &[Entry<Span>],
    communities: &Communities,
    report: &mut Report<'_>,
) -> Option<(Pool, Announced)> {
    let ranges: Vec<_> = entries.iter().map(|entry| entry.range).collect();
    let protocol = protocol(fields, report);
    let mut flag = |key| fields.get(key).and_then(|node| boolean(node, key, report));
    let (auto_assign, avoid_buggy_ips) = (flag("auto-assign"), flag("avoid-buggy-ips"));
    let sharing = flag("sharing").unwrap_or(false);
    let allow_node_ports = flag("allow-node-ports").unwrap_or(true);
    let share_within = share_within(fields.get("share-within"), "share-within", report);
    let routes = routes(fields, protocol, &ranges, communities, report);
    // Zero is the word for "no priority" in other places: better asked for than guessed.
    let priority = fields.get("priority");
    let priority = priority.and_then(|node| integer(node, "priority", 1..=u32::MAX, report));
    let namespaces = names(fields, "namespaces", is_dns_label, NAMESPACE_HELP, report);
    let interfaces = names(fields, "interfaces", is_interface, INTERFACE_HELP, report);
    let mut selectors = |key| -> Vec<LabelSelector> {
        fields
            .get(key)
            .map(|node| selectors(node, key, report))
            .unwrap_or_default()
    };
    let namespace_selectors = selectors("namespace-selectors");
    let service_selectors = selectors("service-selectors");
    let node_selectors = selectors("node-selectors");
    let preferred = fields.get("preferred-nodes");
    let preferred = preferred.map(|node| preferred_nodes(node, "preferred-nodes", OF_TEXT, report));
    let preferred_nodes = preferred.unwrap_or_default();
    if matches!(protocol, Some(Protocol::Bgp)) && !preferred_nodes.is_empty() {
        report.warn(
            &fields.key_span("preferred-nodes"),
            "`preferred-nodes` in a pool with `protocol: bgp`",
            "remove them: each node tells its routers, and none is preferred",
        );
    }
    let scope = Scope {
        pools: [name?.to_owned()].into(),
        pool_selectors: Vec::new(),
        service_selectors: Vec::new(),
        node_selectors,
    };
    let announced = match protocol? {
        Protocol::Layer2 => Announced::Layer2(Layer2Advertisement {
            name: name?.to_owned(),
            scope,
            interfaces,
            preferred_nodes,
        }),
        // Routes go to routers, by whichever interface.
        Protocol::Bgp => Announced::Bgp(
            routes
                .into_iter()
                .map(|route| {
                    Some(BgpAdvertisement {
                        name: name?.to_owned(),
                        scope: scope.clone(),
                        route,
                        peers: BTreeSet::new(),
                    })
                })
                .collect::<Option<_>>()?,
        ),
    };
    let pool = Pool {
        name: name?.to_owned(),
        labels: Labels::default(),
        namespace_selectors,
        service_selectors,
        ranges: entries
            .iter()
            .flat_map(|entry| entry.possible.iter().copied())
            .collect(),
        exclude: Vec::new(),
        auto_assign: auto_assign.unwrap_or(true),
        avoid_buggy_ips: avoid_buggy_ips.unwrap_or(false),
        pinned: priority.is_some(),
        priority,
        namespaces,
        share_within,
        sharing,
        allow_node_ports,
    };
    Some((pool, announced))
}

fn name<'n>(
    fields: &Fields<'n>,
    places: &mut BTreeMap<String, Span>,
    report: &mut Report<'_>,
) -> Option<&'n str> {
    let node = fields.require("name", NAME_HELP, report)?;
    let name = text(node, "name", report)?;
    if name.is_empty() {
        report.add(&node.span, "the pool's name is blank", NAME_HELP);
        return None;
    }
    if let Some(first) = places.get(name) {
        let message = format!(
            "another pool is called {}, {}",
            quoted(name),
            report.beside(first)
        );
        let help = "give this pool a name of its own, or move its addresses to the other one";
        report.add_related(&node.span, message, help, (first, "first here"));
    } else {
        places.insert(name.to_owned(), node.span.clone());
    }
    Some(name)
}

fn protocol(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Protocol> {
    let node = fields.require("protocol", PROTOCOL_HELP, report)?;
    let word = text(node, "protocol", report)?;
    let protocol = match word {
        "layer2" => Some(Protocol::Layer2),
        "bgp" => Some(Protocol::Bgp),
        _ => None,
    };
    if protocol.is_none() {
        let meant = match word.to_ascii_lowercase().as_str() {
            "l2" | "arp" | "ndp" => Some("layer2"),
            _ => nearest(word, ["layer2", "bgp"].into_iter()),
        };
        let help = meant.map_or(PROTOCOL_HELP.to_owned(), |word| {
            format!("did you mean `{word}`?")
        });
        report.add(
            &node.span,
            format!("no protocol is called {}", quoted(word)),
            help,
        );
    }
    protocol
}

/// `share-within`, or what is written for it under the key `what`.
pub(super) fn share_within(
    node: Option<&Node>,
    what: &str,
    report: &mut Report<'_>,
) -> ShareWithin {
    let Some(node) = node else {
        return ShareWithin::default();
    };
    match text(node, what, report) {
        Some("namespace") => return ShareWithin::Namespace,
        Some("cluster") | None => {}
        Some(word) => {
            let meant = nearest(word, ["namespace", "cluster"].into_iter());
            let help = meant.map_or_else(
                || format!("write `{what}: namespace`, or leave it out"),
                |word| format!("did you mean `{word}`?"),
            );
            let message = format!(
                "`{what}` must be namespace or cluster, not {}",
                quoted(word)
            );
            report.add(&node.span, message, help);
        }
    }
    ShareWithin::default()
}

fn routes(
    fields: &Fields<'_>,
    protocol: Option<Protocol>,
    ranges: &[AddressRange],
    communities: &Communities,
    report: &mut Report<'_>,
) -> Vec<RouteAttributes> {
    let node = fields.get("bgp-advertisements");
    let read = node.map(|node| bgp::advertisements(node, ranges, communities, report));
    let read = read.unwrap_or_default();
    match protocol {
        Some(Protocol::Layer2) if !read.is_empty() => report.add(
            &fields.key_span("bgp-advertisements"),
            "`bgp-advertisements` in a pool with `protocol: layer2`",
            "remove them, or write `protocol: bgp`",
        ),
        // MetalLB announces each address of a bgp pool once if nothing else is said.
        Some(Protocol::Bgp) if read.is_empty() => return vec![RouteAttributes::default()],
        _ => {}
    }
    read
}

pub(super) const NAMESPACE_HELP: &str = "write a namespace's name: small letters, digits and `-`";
pub(super) const INTERFACE_HELP: &str =
    "write an interface's name as `ip link` shows it, such as `eth0`";

pub(super) fn is_interface(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_INTERFACE_BYTES
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

fn names(
    fields: &Fields<'_>,
    key: &str,
    is_valid: fn(&str) -> bool,
    help: &str,
    report: &mut Report<'_>,
) -> Vec<String> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut names: Vec<String> = Vec::new();
    for item in fields
        .get(key)
        .map_or(&[][..], |node| list(node, key, report))
    {
        let Some(name) = text(item, key, report) else {
            continue;
        };
        if !is_valid(name) {
            let message = format!("{} can be none of `{key}`", quoted(name));
            report.add(&item.span, message, help);
        } else if seen.insert(name) {
            names.push(name.to_owned());
        }
    }
    names
}
