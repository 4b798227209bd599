//! The fields of the custom resources, as the chart's definitions have them.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use serde_yaml::Value;

use super::{cell, page};
use crate::workspace;

/// Deeper down the fields are those of label selectors, which Kubernetes documents.
const SELECTORS: [&str; 2] = ["matchExpressions", "matchLabels"];

/// A table for each kind and each of its served versions.
pub(super) fn objects() -> Result<String> {
    let mut text = page(
        "Custom resources",
        "Every field of the custom resources of `metallb.io`, as the chart's definitions have them. `kubectl explain` prints the same \
         from your cluster, and `kubectl ferrolb crds` the definitions. A label selector has `matchLabels` and `matchExpressions`, as \
         everywhere in Kubernetes.",
    );
    let folder = workspace().join("charts/ferrolb/crds");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let source = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let definition: Value = serde_yaml::from_str(&source)?;
        let kind = definition["spec"]["names"]["kind"]
            .as_str()
            .context("no kind")?;
        let versions = definition["spec"]["versions"]
            .as_sequence()
            .context("no versions")?;
        for version in versions {
            let name = version["name"].as_str().context("no name")?;
            let schema = &version["schema"]["openAPIV3Schema"];
            let about = cell(schema["description"].as_str().unwrap_or_default());
            let _ = writeln!(
                text,
                "## {kind} ({name})\n\n{about}\n\n| field | type | meaning |\n| --- | --- | --- |"
            );
            for part in ["spec", "status"] {
                add_fields(&mut text, &schema["properties"][part], part);
            }
            text.push('\n');
        }
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn add_fields(text: &mut String, schema: &Value, path: &str) {
    let Some(fields) = schema["properties"].as_mapping() else {
        return;
    };
    let required = schema["required"].as_sequence();
    for (name, field) in fields {
        let name = name.as_str().unwrap_or_default();
        if SELECTORS.contains(&name) {
            continue;
        }
        let path = format!("{path}.{name}");
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
        let about = field["description"].as_str().unwrap_or_default();
        let required = if is_required { " Required." } else { "" };
        let _ = writeln!(
            text,
            "| `{path}` | {} | {}{required} |",
            type_of(field),
            cell(about)
        );
        add_fields(text, field, &path);
        add_fields(text, &field["items"], &format!("{path}[]"));
    }
}

/// With what the schema allows of it.
fn type_of(field: &Value) -> String {
    let name = |field: &Value| match field["type"].as_str() {
        Some(name) => name.to_owned(),
        None => "string or integer".to_owned(),
    };
    let mut text = match field["type"].as_str() {
        Some("array") => format!("list of {}", name(&field["items"])),
        _ => name(field),
    };
    if let Some(words) = field["enum"].as_sequence() {
        let words = words.iter().filter_map(Value::as_str);
        let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
        text = words.join(", ");
    }
    let number = |key: &str| field[key].as_i64();
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => text += &format!(", {least} to {most}"),
        (Some(least), None) => text += &format!(", at least {least}"),
        _ => {}
    }
    if let Some(default) = field.get("default") {
        let default = serde_json::to_string(default).unwrap_or_default();
        text += &format!(", default `{default}`");
    }
    text
}
