//! What only BGP needs of a pool: `bgp-communities` and `bgp-advertisements`.

use std::collections::{BTreeMap, BTreeSet};

use super::address::shortest_prefix;
use super::fields::{Fields, entries, integer, list, text};
use super::place::{At, Span};
use super::problem::{Report, quoted};
use super::tree::Node;
use super::{RouteAttributes, keys};
use crate::address::{AddressRange, Family};
use crate::suggest::nearest;

pub(super) const COMMUNITY_FORM: &str =
    "write two numbers from 0 to 65535 with a colon: `64512:100`";

/// Aliases of communities; `None` for one whose value is wrong, which is reported already.
pub(super) type Communities = BTreeMap<String, Option<u32>>;

/// Reads `bgp-communities`.
pub(super) fn communities(node: &Node, report: &mut Report<'_>) -> Communities {
    let help = "write `NAME: 64512:100` under it";
    let mut communities = Communities::new();
    for (name, _, value) in entries(node, "bgp-communities", help, report) {
        let text = text(value, name, report);
        let community = text.and_then(|text| alias(text, &value.span, report));
        communities.insert(name.to_owned(), community);
    }
    communities
}

/// What an alias stands for.
fn alias(text: &str, at: &dyn At, report: &mut Report<'_>) -> Option<u32> {
    let community = community(text);
    if community.is_none() {
        let message = format!("{} is not a BGP community", quoted(text));
        report.add(at, message, COMMUNITY_FORM);
    }
    community
}

/// `high:low`, each 16 bits (RFC 1997).
pub(super) fn community(text: &str) -> Option<u32> {
    let number = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let (high, low) = text.split_once(':')?;
    Some(u32::from(number(high)?) << 16 | u32::from(number(low)?))
}

/// `large:1:2:3`, each 32 bits (RFC 8092).
pub(super) fn large_community(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.strip_prefix("large:")?.split(':').map(|part| {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse().ok()).flatten()
    });
    let mut next = || numbers.next().flatten();
    let all = [next()?, next()?, next()?];
    numbers.next().is_none().then_some(all)
}

/// An advertisement as it is written: two that differ only in what a default says are no mistake.
#[derive(PartialEq, Eq)]
struct Written<'n> {
    aggregation_length: Option<u8>,
    aggregation_length_v6: Option<u8>,
    localpref: Option<u32>,
    communities: Vec<&'n str>,
}

/// For each family the range whose largest prefix is the smallest, with that prefix's length.
pub(super) type Narrowest = BTreeMap<Family, (AddressRange, u8)>;

pub(super) fn narrowest(ranges: &[AddressRange]) -> Narrowest {
    let mut narrowest = Narrowest::new();
    for range in ranges {
        let shortest = shortest_prefix(range);
        let entry = narrowest
            .entry(range.family())
            .or_insert((*range, shortest));
        if entry.1 < shortest {
            *entry = (*range, shortest);
        }
    }
    narrowest
}

/// Reads `bgp-advertisements` of a pool with these ranges.
pub(super) fn advertisements(
    node: &Node,
    ranges: &[AddressRange],
    communities: &Communities,
    report: &mut Report<'_>,
) -> Vec<RouteAttributes> {
    let narrowest = narrowest(ranges);
    let mut seen: Vec<(Written<'_>, Span)> = Vec::new();
    let mut advertisements = Vec::new();
    for item in list(node, "bgp-advertisements", report) {
        let Some((advertisement, written)) = advertisement(item, &narrowest, communities, report)
        else {
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(have, _)| *have == written) {
            let there = report.beside(first);
            let message = format!("the same advertisement is already there {there}");
            let help = "remove one of the two";
            report.add_related(&item.headline(), message, help, (first, "first here"));
        } else {
            seen.push((written, item.headline()));
        }
        advertisements.push(advertisement);
    }
    advertisements
}

fn advertisement<'n>(
    node: &'n Node,
    narrowest: &Narrowest,
    known: &Communities,
    report: &mut Report<'_>,
) -> Option<(RouteAttributes, Written<'n>)> {
    let fields = Fields::read_entry(node, "a BGP advertisement", keys::BGP_ADVERTISEMENT, report)?;
    let mut length = |key, longest, family| {
        let node = fields.get(key)?;
        let length = integer(node, key, 0..=longest, report)?;
        check_aggregation(&node.span, key, length, family, narrowest, report);
        Some(length)
    };
    let aggregation_length = length("aggregation-length", 32, Family::V4);
    let aggregation_length_v6 = length("aggregation-length-v6", 128, Family::V6);
    let localpref = fields
        .get("localpref")
        .and_then(|node| integer(node, "localpref", 0..=u32::MAX, report));
    let items = fields
        .get("communities")
        .map_or(&[][..], |node| list(node, "communities", report));
    let (names, numbers) = chosen_communities(items, known, report);
    let written = Written {
        aggregation_length,
        aggregation_length_v6,
        localpref,
        communities: names,
    };
    let default = RouteAttributes::default();
    let advertisement = RouteAttributes {
        aggregation_length: aggregation_length.unwrap_or(default.aggregation_length),
        aggregation_length_v6: aggregation_length_v6.unwrap_or(default.aggregation_length_v6),
        localpref: localpref.unwrap_or(default.localpref),
        communities: numbers,
        ..default
    };
    Some((advertisement, written))
}

/// An aggregate must not be larger than every prefix of the range that it stands for: it would
/// draw traffic for addresses that are not ours.
pub(super) fn check_aggregation(
    at: &dyn At,
    key: &str,
    length: u8,
    family: Family,
    narrowest: &Narrowest,
    report: &mut Report<'_>,
) {
    let Some((range, shortest)) = narrowest
        .get(&family)
        .filter(|(_, shortest)| *shortest > length)
    else {
        return;
    };
    report.add(
        at,
        format!("a /{length} is larger than any prefix in the pool's range {range}"),
        format!("write `{key}: {shortest}` or more, or give the pool a whole /{length}"),
    );
}

fn chosen_communities<'n>(
    items: &'n [Node],
    known: &Communities,
    report: &mut Report<'_>,
) -> (Vec<&'n str>, Vec<u32>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut names: Vec<&str> = Vec::new();
    let mut numbers = Vec::new();
    for item in items {
        let Some(name) = text(item, "communities", report) else {
            continue;
        };
        if !seen.insert(name) {
            report.add(
                &item.span,
                format!("community {} twice", quoted(name)),
                "remove one of the two",
            );
            continue;
        }
        names.push(name);
        numbers.extend(chosen_community(name, known, &item.span, report));
    }
    numbers.sort_unstable();
    numbers.dedup();
    (names, numbers)
}

/// An alias, or a community itself.
fn chosen_community(
    name: &str,
    known: &Communities,
    at: &dyn At,
    report: &mut Report<'_>,
) -> Option<u32> {
    if let Some(number) = known.get(name) {
        return *number;
    }
    let number = community(name);
    if number.is_none() {
        let help = nearest(name, known.keys().map(String::as_str)).map_or_else(
            || format!("define it under `bgp-communities`, or {COMMUNITY_FORM}"),
            |alias| format!("did you mean `{alias}`?"),
        );
        report.add(at, format!("no community is called {}", quoted(name)), help);
    }
    number
}
