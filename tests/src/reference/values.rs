//! The chart's values, as its README, its schema and the documentation show them. What each one means is said once: by
//! the comments in its values.yaml.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde_yaml::{Mapping, Value};

use super::{cell, page, read, source};

pub(super) const README: &str = "charts/ferrolb/README.md";
pub(super) const SCHEMA: &str = "charts/ferrolb/values.schema.json";

/// What stands before and behind the table in the chart's README.
const BEGIN: &str =
    "<!-- The table is made from values.yaml by `make reference`: do not edit it. -->\n\n";
const END: &str = "\n<!-- The end of the table. -->\n";

/// The values with their defaults, and what the comments say of each, by path.
struct Values {
    defaults: Value,
    comments: BTreeMap<String, String>,
}

/// A page of the documentation.
pub(super) fn reference() -> Result<String> {
    let about = "Every value of the Helm chart, with its default. Names that are not listed are refused, unless they are MetalLB's.";
    Ok(page("Chart values", about) + &Values::of_the_chart()?.table("../")?)
}

/// The chart's README as it is, with a new table. Who reads it may have no other file of the repository, so it links to
/// the web.
pub(super) fn readme() -> Result<String> {
    let table =
        Values::of_the_chart()?.table("https://github.com/ferrolb/ferrolb/blob/main/docs/")?;
    let readme = read(README)?;
    let parts = readme
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, behind) = parts.with_context(|| format!("no table in {README}"))?;
    Ok(format!("{before}{BEGIN}{table}{END}{behind}"))
}

/// The chart's schema as it is, with descriptions of the values that have a comment.
pub(super) fn schema() -> Result<String> {
    // As YAML, of which JSON is a part: the order of the keys stays.
    let schema = read(SCHEMA)?;
    let mut schema: Value = serde_yaml::from_str(&schema).context(SCHEMA)?;
    describe(&mut schema, "", &Values::of_the_chart()?.comments);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

impl Values {
    fn of_the_chart() -> Result<Self> {
        Self::parse(&read("charts/ferrolb/values.yaml")?)
    }

    fn parse(yaml: &str) -> Result<Self> {
        Ok(Self {
            defaults: serde_yaml::from_str(yaml).context("values.yaml")?,
            comments: source::comments(yaml),
        })
    }

    /// A row for each value, and for each group of values of which something is said. `docs` leads to the pages that a
    /// comment names.
    fn table(&self, docs: &str) -> Result<String> {
        let mut table = "| value | default | meaning |\n| --- | --- | --- |\n".to_owned();
        let mut unexplained = Vec::new();
        self.add_rows(&mut table, &mut unexplained, &self.defaults, "", docs);
        ensure!(
            unexplained.is_empty(),
            "values.yaml explains no {}: write a comment above each",
            unexplained.join(", ")
        );
        Ok(table)
    }

    fn add_rows(
        &self,
        table: &mut String,
        unexplained: &mut Vec<String>,
        values: &Value,
        path: &str,
        docs: &str,
    ) {
        for (key, value) in values.as_mapping().into_iter().flatten() {
            let path = below(path, key);
            let is_group = value
                .as_mapping()
                .is_some_and(|entries| !entries.is_empty());
            let default = match is_group {
                true => String::new(),
                false => format!(
                    "`{}` ",
                    cell(&serde_json::to_string(value).unwrap_or_default())
                ),
            };
            if let Some(about) = self.comments.get(&path) {
                let _ = writeln!(
                    table,
                    "| `{path}` | {default}| {} |",
                    linked(&cell(about), docs)
                );
            } else if !is_group {
                unexplained.push(path.clone());
            }
            if is_group {
                self.add_rows(table, unexplained, value, &path, docs);
            }
        }
    }
}

fn below(path: &str, key: &Value) -> String {
    let key = key.as_str().unwrap_or_default();
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

/// With links at the names of pages.
fn linked(text: &str, docs: &str) -> String {
    let words = text.split(' ').map(|word| {
        let page = word.trim_matches(['(', ')', ',', '.', ':', ';']);
        match page.strip_prefix("docs/") {
            Some(name) => word.replace(page, &format!("[{page}]({docs}{name})")),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Writes the comments into the properties of a schema, as what an editor shows first. A definition is described where it
/// stands: it is shared.
fn describe(schema: &mut Value, path: &str, comments: &BTreeMap<String, String>) {
    let properties = schema.get_mut("properties").and_then(Value::as_mapping_mut);
    for (key, property) in properties.into_iter().flatten() {
        let path = below(path, key);
        if let (Some(about), Value::Mapping(known)) = (comments.get(&path), &mut *property) {
            let mut described = Mapping::new();
            described.insert("description".into(), about.as_str().into());
            let rest = std::mem::take(known).into_iter();
            described.extend(rest.filter(|(key, _)| key != "description"));
            *known = described;
        }
        describe(property, &path, comments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_row_with_its_meaning() {
        let yaml = "# The first, see docs/a.md.\na: 1\nb:\n  # The | second.\n  c: {}\n";
        let table = Values::parse(yaml).unwrap().table("../").unwrap();
        let rows: Vec<_> = table.lines().skip(2).collect();
        let expected = [
            "| `a` | `1` | The first, see [docs/a.md](../a.md). |",
            "| `b.c` | `{}` | The \\| second. |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_value_without_a_meaning_is_refused_by_name() {
        let yaml = "# A group.\na:\n  b: 1\n  # Explained.\n  c: 2\n  d: []\n";
        let refused = Values::parse(yaml).unwrap().table("").unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("explains no a.b, a.d:"), "{refused}");
    }

    #[test]
    fn a_schema_gets_the_meanings_first_and_keeps_the_rest() {
        let schema = "{properties: {z: {type: object, description: old, properties: {b: {type: string}}}, a: {description: by hand}}}";
        let mut schema: Value = serde_yaml::from_str(schema).unwrap();
        let comments = Values::parse("# New.\nz:\n  # Inner.\n  b: x\na: 1\n")
            .unwrap()
            .comments;
        describe(&mut schema, "", &comments);
        assert_eq!(
            serde_json::to_string(&schema).unwrap(),
            r#"{"properties":{"z":{"description":"New.","type":"object","properties":{"b":{"description":"Inner.","type":"string"}}},"a":{"description":"by hand"}}}"#
        );
    }
}
