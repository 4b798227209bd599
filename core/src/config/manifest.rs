//! Configurations in files: `ConfigMap` manifests, lists of them, or the bare configuration.

use std::fmt;

use super::place::Origin;
use super::problem::Report;
use super::tree::{self, Node, Style, Value};
use super::{NotConfigured, Outcome, parse, parse_within};
use crate::names::CONFIG_KEY;

/// Namespace and name of a manifest's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// `metadata.namespace`
    pub namespace: Option<String>,
    /// `metadata.name`; empty if it has none.
    pub name: String,
}

/// `namespace/name`, or the name alone.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            _ if self.name.is_empty() => f.write_str("without a name"),
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// One configuration of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The `ConfigMap` that holds it; `None` if the file is the bare configuration.
    pub object: Option<ObjectName>,
    /// What it says.
    pub outcome: Outcome,
    /// The text that problems point into if it is not the file: the value of a key that is written
    /// in quotes or folded, whose lines are not those of the file.
    pub value: Option<String>,
}

/// A file of manifests without a `ConfigMap` that holds a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoConfiguration;

impl fmt::Display for NoConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no ConfigMap with key `{CONFIG_KEY}` in it")
    }
}

impl std::error::Error for NoConfiguration {}

/// Reads a file: every `ConfigMap` in it with key `config` (in any of its documents, also in a
/// `kind: List`), or the bare configuration. Positions in problems are those in the file.
///
/// # Errors
/// If it holds manifests, and none of them is a `ConfigMap` with that key.
pub fn check_file(text: &str) -> Result<Vec<Checked>, NoConfiguration> {
    let bare = || {
        Ok(vec![Checked {
            object: None,
            outcome: parse(text),
            value: None,
        }])
    };
    // What is no YAML is no manifest either; reading it as a configuration tells why.
    let Ok(documents) = tree::load(text) else {
        return bare();
    };
    let objects: Vec<&Node> = documents.iter().flat_map(objects).collect();
    if objects.is_empty() {
        return bare();
    }
    let checked: Vec<_> = objects
        .into_iter()
        .filter_map(|object| check(object, text))
        .collect();
    if checked.is_empty() {
        Err(NoConfiguration)
    } else {
        Ok(checked)
    }
}

/// The manifests in a document.
fn objects(document: &Node) -> Vec<&Node> {
    let is_object = document.get("kind").is_some() && document.get("apiVersion").is_some();
    match document.get("items").map(|items| &items.value) {
        _ if !is_object => Vec::new(),
        Some(Value::List(items)) => items.iter().flat_map(objects).collect(),
        _ => vec![document],
    }
}

fn word<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    Some(node.get(key)?.scalar()?.text.as_str())
}

fn check(object: &Node, text: &str) -> Option<Checked> {
    if word(object, "kind") != Some("ConfigMap") {
        return None;
    }
    let value = object.get("data")?.get(CONFIG_KEY)?;
    let metadata = object.get("metadata");
    let name = ObjectName {
        namespace: metadata
            .and_then(|node| word(node, "namespace"))
            .map(str::to_owned),
        name: metadata
            .and_then(|node| word(node, "name"))
            .unwrap_or_default()
            .to_owned(),
    };
    let (outcome, value) = check_value(value, text);
    Some(Checked {
        object: Some(name),
        outcome,
        value,
    })
}

fn check_value(value: &Node, text: &str) -> (Outcome, Option<String>) {
    if value.is_null() {
        return (Outcome::NotConfigured(NotConfigured::Empty), None);
    }
    let Some(scalar) = value.scalar() else {
        let mut report = Report::new(text, &Origin::Whole);
        report.add(
            &value.headline(),
            format!("`{CONFIG_KEY}` must be a text, not {}", value.kind()),
            format!("write `{CONFIG_KEY}: |` and leave the lines below indented"),
        );
        let problems = report.finish().expect("a problem was just added");
        return (Outcome::Refused(problems), None);
    };
    let origin = (scalar.style == Style::Literal)
        .then(|| Origin::of_literal(&scalar.text, text, value.span.start))
        .flatten();
    match origin {
        Some(origin) => (parse_within(&scalar.text, text, &origin), None),
        None => (parse(&scalar.text), Some(scalar.text.clone())),
    }
}
