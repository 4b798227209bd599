//! Label selectors: `match-labels` and `match-expressions`.

use std::collections::BTreeMap;

use super::fields::{Fields, entries, list, text};
use super::place::At;
use super::problem::{Report, quoted};
use super::tree::Node;
use super::{LabelExpression, LabelOperator, LabelSelector, keys};

const OPERATORS: &str = "write `In`, `NotIn`, `Exists` or `DoesNotExist`";

/// How the two keys of a selector are written.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    labels: &'static str,
    expressions: &'static str,
}

/// In a `ConfigMap`.
pub(super) const OF_TEXT: Keys = Keys {
    labels: keys::SELECTOR[0],
    expressions: keys::SELECTOR[1],
};
/// In an object, as everywhere in the Kubernetes API.
pub(super) const OF_OBJECT: Keys = Keys {
    labels: "matchLabels",
    expressions: "matchExpressions",
};

/// A list of selectors under a key of `MetalLB`'s: an entry that is null selects everything, as `{}`
/// does.
pub(super) fn metallbs_selectors(
    node: &Node,
    what: &str,
    report: &mut Report<'_>,
) -> Vec<LabelSelector> {
    let items = list(node, what, report);
    let selector = |item: &Node| {
        if item.is_null() {
            return Some(LabelSelector::default());
        }
        selector(item, what, OF_TEXT, report)
    };
    items.iter().filter_map(selector).collect()
}

/// A list of selectors under the key `what`, which is ours: a blank entry opens no pool to everybody.
pub(super) fn selectors(node: &Node, what: &str, report: &mut Report<'_>) -> Vec<LabelSelector> {
    let items = list(node, what, report);
    items
        .iter()
        .filter_map(|item| selector(item, what, OF_TEXT, report))
        .collect()
}

/// A selector that is an entry of the list under `what`.
pub(super) fn selector(
    node: &Node,
    what: &str,
    keys: Keys,
    report: &mut Report<'_>,
) -> Option<LabelSelector> {
    let what = format!("an entry of `{what}`");
    let fields = Fields::read(node, &what, &[keys.labels, keys.expressions], report)?;
    let labels = fields.get(keys.labels);
    let expressions = fields.get(keys.expressions);
    let items = expressions.map_or(&[][..], |node| list(node, keys.expressions, report));
    Some(LabelSelector {
        match_labels: labels
            .map(|node| match_labels(node, keys.labels, report))
            .unwrap_or_default(),
        match_expressions: items
            .iter()
            .filter_map(|item| expression(item, keys.expressions, report))
            .collect(),
    })
}

fn match_labels(node: &Node, what: &str, report: &mut Report<'_>) -> BTreeMap<String, String> {
    let help = format!("write `{what}: {{LABEL: VALUE}}`");
    let mut labels = BTreeMap::new();
    for (name, key, value) in entries(node, what, &help, report) {
        check_key(name, &key.span, report);
        let Some(label) = text(value, name, report) else {
            continue;
        };
        let label = if value.is_null() { "" } else { label };
        check_value(label, &value.span, report);
        labels.insert(name.to_owned(), label.to_owned());
    }
    labels
}

fn expression(node: &Node, list: &str, report: &mut Report<'_>) -> Option<LabelExpression> {
    let what = format!("an entry of `{list}`");
    let fields = Fields::read(node, &what, keys::EXPRESSION, report)?;
    let key = fields.require("key", "write the label's name: `key: NAME`", report);
    let operator = fields.require("operator", OPERATORS, report);
    let values = fields.get("values").map(|node| values(node, report));
    let key_node = key?;
    let key = text(key_node, "key", report)?;
    check_key(key, &key_node.span, report);
    let operator_node = operator?;
    let name = text(operator_node, "operator", report)?;
    let places: [&dyn At; 2] = [&operator_node.span, &fields.key_span("values")];
    Some(LabelExpression {
        operator: operator_of(name, values, places, report)?,
        key: key.to_owned(),
    })
}

/// The operator `name` with its values, which stand at these two places.
fn operator_of(
    name: &str,
    values: Option<Vec<String>>,
    [at, values_at]: [&dyn At; 2],
    report: &mut Report<'_>,
) -> Option<LabelOperator> {
    match (name, values) {
        ("In", Some(values)) if !values.is_empty() => Some(LabelOperator::In(values)),
        ("NotIn", Some(values)) if !values.is_empty() => Some(LabelOperator::NotIn(values)),
        ("In" | "NotIn", _) => {
            let message = format!("operator `{name}` has no `values`");
            report.add(at, message, "add `values: [VALUE, …]`");
            None
        }
        ("Exists" | "DoesNotExist", Some(values)) if !values.is_empty() => {
            let message = format!("operator `{name}` takes no `values`");
            let help = "remove `values`, or write `In` or `NotIn`";
            report.add(values_at, message, help);
            None
        }
        ("Exists", _) => Some(LabelOperator::Exists),
        ("DoesNotExist", _) => Some(LabelOperator::DoesNotExist),
        _ => {
            let message = format!("no operator is called {}", quoted(name));
            report.add(at, message, OPERATORS);
            None
        }
    }
}

fn values(node: &Node, report: &mut Report<'_>) -> Vec<String> {
    let mut values = Vec::new();
    for item in list(node, "values", report) {
        if let Some(value) = text(item, "values", report) {
            let value = if item.is_null() { "" } else { value };
            check_value(value, &item.span, report);
            values.push(value.to_owned());
        }
    }
    values
}

fn check_key(key: &str, at: &dyn At, report: &mut Report<'_>) {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_is_domain = prefix.is_none_or(is_subdomain);
    if !prefix_is_domain || name.is_empty() || !is_label_text(name) {
        report.add(
            at,
            format!("{} can be no label's name", quoted(key)),
            "write `name` or `domain/name`: at most 63 letters, digits, `-`, `_` and `.`, with a \
             letter or digit at both ends",
        );
    }
}

fn check_value(value: &str, at: &dyn At, report: &mut Report<'_>) {
    if !is_label_text(value) {
        report.add(
            at,
            format!("{} can be no label's value", quoted(value)),
            "write at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
        );
    }
}

/// A label's value, or the last part of its name, as the API server checks it.
fn is_label_text(text: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
}

/// RFC 1123 domain name, lower case.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// RFC 1123 label, lower case: the form of a namespace's name.
pub(super) fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}
