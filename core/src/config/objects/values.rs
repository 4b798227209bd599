//! Values that several kinds have.

use std::collections::BTreeSet;

use super::read::{Manifest, Names};
use crate::config::LabelSelector;
use crate::config::fields::{Fields, list, text};
use crate::config::problem::{Report, quoted};
use crate::config::selector::{OF_OBJECT, selector};
use crate::config::tree::Node;

/// The fields of `spec`; of an object without one, none.
pub(super) fn spec<'n>(
    manifest: &Manifest<'n>,
    what: &str,
    known: &[&'static str],
    report: &mut Report<'_>,
) -> Option<Fields<'n>> {
    match manifest.spec {
        Some(spec) => Fields::read_entry(spec, what, known, report),
        None => Some(Fields::none(manifest.place.clone(), what)),
    }
}

fn items<'n>(fields: &Fields<'n>, key: &str, report: &mut Report<'_>) -> &'n [Node] {
    let node = fields.get(key);
    node.map_or(&[][..], |node| list(node, key, report))
}

/// Names of other objects under `key`, each once.
pub(super) fn names(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Names {
    let mut names = Names::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for item in items(fields, key, report) {
        let Some(name) = text(item, key, report) else {
            continue;
        };
        if name.is_empty() {
            let message = format!("an entry of `{key}` is blank");
            report.add(&item.span, message, "write a name, or remove the entry");
        } else if seen.insert(name) {
            names.push((name.to_owned(), report.place(&item.span)));
        } else {
            let message = format!("`{key}` has {} twice", quoted(name));
            report.add(&item.span, message, "remove one of the two");
        }
    }
    names
}

/// Names under `key` that no object checks, each once. One that can be none of them is kept, since
/// `MetalLB` accepts it: a list that becomes empty would mean all.
pub(super) fn plain_names(
    fields: &Fields<'_>,
    key: &str,
    is_valid: fn(&str) -> bool,
    help: &str,
    report: &mut Report<'_>,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for item in items(fields, key, report) {
        let Some(name) = text(item, key, report) else {
            continue;
        };
        if !is_valid(name) {
            let message = format!(
                "{} can be none of `{key}`, so it matches nothing",
                quoted(name)
            );
            report.warn(&item.span, message, help);
        }
        if !names.iter().any(|one| one == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Label selectors under `key`, each once.
pub(super) fn selectors(
    fields: &Fields<'_>,
    key: &str,
    report: &mut Report<'_>,
) -> Vec<LabelSelector> {
    let mut selectors = Vec::new();
    let mut seen: BTreeSet<LabelSelector> = BTreeSet::new();
    for item in items(fields, key, report) {
        let read = if item.is_null() {
            Some(LabelSelector::default())
        } else {
            selector(item, key, OF_OBJECT, report)
        };
        let Some(read) = read else { continue };
        if seen.insert(read.clone()) {
            selectors.push(read);
        } else {
            let message = format!("`{key}` has the same selector twice");
            report.add(&item.headline(), message, "remove one of the two");
        }
    }
    selectors
}
