//! MetalLB's objects in a file.

use std::collections::BTreeSet;
use std::io::{self, Write};

use ferrolb_core::config::objects::{Compiled, Finding, Severity};
use ferrolb_core::names::DEFAULT_NAMESPACE;
use serde::Deserialize;
use serde_yaml::Value;

use super::print_pools;
use crate::output::counted;
use crate::terminal::{BAD, WARNING, trusted};

/// The namespace that the objects of each file are read in: the only one that all files name, else the only one that
/// this file names, else the usual one. Objects of another namespace are not read.
pub(super) fn namespaces_of(texts: &[&str]) -> Vec<String> {
    let named: Vec<BTreeSet<String>> = texts.iter().map(|text| named_in(text)).collect();
    let all: BTreeSet<&String> = named.iter().flatten().collect();
    let only = |named: &BTreeSet<String>| match named.len() {
        1 => named.first().cloned(),
        _ => None,
    };
    let of_all = all.first().filter(|_| all.len() == 1);
    let of_file = |named: &BTreeSet<String>| match of_all {
        Some(namespace) => (*namespace).clone(),
        None => only(named).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
    };
    named.iter().map(of_file).collect()
}

fn named_in(text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // What is no YAML is told by whoever reads it for its own sake.
        let Ok(document) = Value::deserialize(document) else {
            break;
        };
        collect(&document, &mut named);
    }
    named
}

fn collect(value: &Value, named: &mut BTreeSet<String>) {
    if let Some(items) = value.get("items").and_then(Value::as_sequence) {
        for item in items {
            collect(item, named);
        }
    }
    let version = value.get("apiVersion").and_then(Value::as_str);
    if version.is_some_and(|version| version.starts_with("metallb.io/")) {
        let namespace = value
            .get("metadata")
            .and_then(|metadata| metadata.get("namespace"));
        named.extend(namespace.and_then(Value::as_str).map(str::to_owned));
    }
}

/// Whether each of them would take effect; `strict`: and nothing is to be said of any.
pub(super) fn is_valid(compiled: &Compiled, strict: bool) -> bool {
    let mut findings = compiled.findings.iter();
    !findings.any(|finding| strict || is_refused(finding))
}

pub(super) fn is_refused(finding: &Finding) -> bool {
    finding.severity == Severity::Refused
}

pub(super) fn print(
    out: &mut impl Write,
    name: &str,
    text: &str,
    compiled: &Compiled,
) -> io::Result<()> {
    for finding in &compiled.findings {
        let (style, word) = match finding.severity {
            Severity::Refused => (BAD, "would not take effect"),
            Severity::Warning => (WARNING, "warning"),
        };
        let problems = finding.problems.render(name, text);
        writeln!(out, "{}\n", trusted(&problems))?;
        writeln!(
            out,
            "{style}{}: {word}{style:#}\n",
            trusted(&finding.object.to_string())
        )?;
    }
    let refused = compiled
        .findings
        .iter()
        .filter(|one| is_refused(one))
        .count();
    if refused > 0 {
        let count = counted(refused, "object");
        writeln!(out, "{name}: {count} would not take effect, the rest would")?;
    } else {
        writeln!(out, "{name}: valid objects")?;
    }
    if compiled.config.pools.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    print_pools(out, &compiled.config)
}
