//! Nodes that are preferred: `preferred-nodes`, `preferredNodeSelectors`.

use super::fields::{Fields, integer, list};
use super::problem::Report;
use super::selector::{Keys, selector};
use super::tree::Node;
use super::{PreferredNodes, keys};

/// Nodes with weights, under the key `what`.
pub(super) fn preferred_nodes(
    node: &Node,
    what: &str,
    words: Keys,
    report: &mut Report<'_>,
) -> Vec<PreferredNodes> {
    let items = list(node, what, report).iter();
    items
        .filter_map(|item| {
            let entry = format!("an entry of `{what}`");
            let fields = Fields::read(item, &entry, keys::PREFERENCE, report)?;
            let weight = fields.require("weight", "write a weight from 1 to 100", report);
            let preference = fields.require("preference", "write a label selector", report);
            let weight = weight.and_then(|node| integer(node, "weight", 1..=100, report));
            let selector = preference.and_then(|node| selector(node, what, words, report));
            Some(PreferredNodes {
                weight: weight?,
                selector: selector?,
            })
        })
        .collect()
}
