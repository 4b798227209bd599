//! `addresses` of a pool, and `exclude`.

use std::collections::BTreeSet;

use super::address;
use super::fields::{Fields, list};
use super::overlap::{overlapping, rest, without};
use super::place::{At, Span};
use super::possible::possible;
use super::problem::{Report, quoted};
use super::tree::Value;
use crate::address::AddressRange;

const ADDRESSES_HELP: &str =
    "write `addresses:` and under it ranges such as `- 192.168.1.240-192.168.1.250`";

/// One entry of `addresses`, to be compared with those of all pools.
pub(super) struct Entry<P> {
    pub(super) range: AddressRange,
    /// What is left of it where addresses are excluded.
    parts: Vec<AddressRange>,
    /// What hosts can have of that.
    pub(super) possible: Vec<AddressRange>,
    text: String,
    pub(super) at: P,
    pool: String,
}

/// Reads `addresses` of the pool of that name.
pub(super) fn read_entries(
    fields: &Fields<'_>,
    pool: &str,
    entries: &mut Vec<Entry<Span>>,
    report: &mut Report<'_>,
) {
    let Some(node) = fields.require("addresses", ADDRESSES_HELP, report) else {
        return;
    };
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let message = "`addresses` is an empty list";
        report.add(&fields.key_span("addresses"), message, ADDRESSES_HELP);
    }
    for item in list(node, "addresses", report) {
        if let Some(range) = address::range_of(item, report) {
            let text = item
                .scalar()
                .map(|scalar| scalar.text.trim().to_owned())
                .unwrap_or_default();
            entries.push(Entry {
                range,
                parts: vec![range],
                possible: possible(range, &text, &item.span, report),
                text,
                at: item.span.clone(),
                pool: pool.to_owned(),
            });
        }
    }
}

/// Addresses to leave out of a pool, each entry with its place.
pub(super) type Excluded = Vec<(AddressRange, Span)>;

/// Reads `exclude`.
pub(super) fn exclude(fields: &Fields<'_>, report: &mut Report<'_>) -> Excluded {
    let node = fields.get("exclude");
    let items = node.map_or(&[][..], |node| list(node, "exclude", report));
    let ranges = items
        .iter()
        .filter_map(|item| Some((address::range_of(item, report)?, item.span.clone())));
    ranges.collect()
}

/// Leaves addresses out of the entries of one pool.
pub(super) fn leave_out(
    exclude: &[(AddressRange, Span)],
    entries: &mut [Entry<Span>],
    at: &Span,
    report: &mut Report<'_>,
) {
    for (range, at) in exclude {
        if !entries.iter().any(|entry| entry.range.overlaps(range)) {
            let message = format!(
                "{} is not in the pool, so it excludes nothing",
                quoted(&range.to_string())
            );
            report.warn(at, message, "remove it, or correct it");
        }
    }
    let ranges: Vec<_> = exclude.iter().map(|(range, _)| *range).collect();
    let had_any = entries.iter().any(|entry| !entry.possible.is_empty());
    for entry in entries.iter_mut() {
        entry.parts = without(&entry.parts, &ranges);
        entry.possible = without(&entry.possible, &ranges);
    }
    if had_any && entries.iter().all(|entry| entry.possible.is_empty()) {
        let message = "everything is excluded: the pool has no address left";
        report.add(at, message, "exclude less, or remove the pool");
    }
}

/// Entries of one configuration that overlap.
pub(super) fn report_overlaps<P: At>(entries: &[Entry<P>], report: &mut Report<'_>) {
    let parts = entries.iter().enumerate();
    let parts: Vec<(usize, AddressRange)> = parts
        .flat_map(|(index, entry)| entry.parts.iter().map(move |part| (index, *part)))
        .collect();
    let ranges: Vec<_> = parts.iter().map(|(_, part)| *part).collect();
    let pairs = overlapping(&ranges).into_iter();
    let pairs = pairs.map(|(one, other)| {
        let (one, other) = (parts[one].0, parts[other].0);
        (one.min(other), one.max(other))
    });
    for (first, second) in pairs.collect::<BTreeSet<_>>() {
        let (first, second) = (&entries[first], &entries[second]);
        let are_whole = [first, second].iter().all(|one| one.parts == [one.range]);
        let there = report.beside(&first.at);
        let place = if first.pool == second.pool {
            there
        } else {
            format!("of pool {} {there}", quoted(&first.pool))
        };
        let contained =
            first.range.contains(second.range.first()) && first.range.contains(second.range.last());
        let help = match rest(&second.range, &first.range) {
            _ if !are_whole => "leave out the addresses that they share".to_owned(),
            _ if contained => "remove it: its addresses are all in the other one".to_owned(),
            Some(rest) => format!("write `{rest}`, which leaves out what they share"),
            None => "leave out the addresses that they share".to_owned(),
        };
        report.add_related(
            &second.at,
            format!(
                "{} overlaps {} {place}",
                quoted(&second.text),
                quoted(&first.text)
            ),
            help,
            (&first.at, "overlaps this"),
        );
    }
}
