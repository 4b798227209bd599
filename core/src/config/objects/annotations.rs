//! Annotations `ferrolb.io/…` on objects: what we have besides `MetalLB`'s fields. In a `ConfigMap` they
//! are keys of the same names.

use super::Kind;
use super::read::Manifest;
use crate::address::AddressRange;
use crate::annotations::{OUR_PREFIX, keys_on};
use crate::config::address;
use crate::config::fields::{boolean, text};
use crate::config::place::Span;
use crate::config::problem::{Report, quoted};
use crate::config::tree::{self, Node, Scalar, Style, Value};
use crate::suggest::nearest;

/// Those of an object.
pub(super) struct Annotations {
    entries: Vec<(&'static str, Node)>,
}

impl Annotations {
    /// Reads those that belong to the object's kind; warns of others of ours.
    pub(super) fn read(manifest: &Manifest<'_>, report: &mut Report<'_>) -> Self {
        let kind = manifest.object.kind;
        let mut entries = Vec::new();
        let Some(Value::Map(all)) = manifest.annotations.map(|node| &node.value) else {
            return Self { entries };
        };
        for (key, value) in all {
            let name = key.scalar().map(|scalar| scalar.text.as_str());
            let Some(word) = name.and_then(|name| name.strip_prefix(OUR_PREFIX)) else {
                continue;
            };
            let Some(known) = keys_on(kind).find(|known| *known == word) else {
                let message = format!(
                    "nobody reads the annotation {} of kind {kind}",
                    quoted(&format!("{OUR_PREFIX}{word}"))
                );
                report.warn(&key.span, message, instead_of(word, kind));
                continue;
            };
            let name = format!("{OUR_PREFIX}{known}");
            if let Some(text) = text(value, &name, report) {
                entries.push((known, plain(text.trim(), &value.span)));
            }
        }
        Self { entries }
    }

    /// The full name, for messages.
    pub(super) fn name(&self, word: &str) -> String {
        format!("{OUR_PREFIX}{word}")
    }

    pub(super) fn get(&self, word: &str) -> Option<&Node> {
        let entry = self.entries.iter().find(|(known, _)| *known == word);
        entry.map(|(_, node)| node)
    }

    /// Addresses, ranges and prefixes with commas between them, each with its place.
    pub(super) fn ranges(&self, word: &str, report: &mut Report<'_>) -> Vec<(AddressRange, Span)> {
        let Some(node) = self.get(word) else {
            return Vec::new();
        };
        let text = node.scalar().map_or("", |scalar| scalar.text.as_str());
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let ranges = parts.filter_map(|part| {
            Some((address::range(part, &node.span, report)?, node.span.clone()))
        });
        ranges.collect()
    }

    /// A list in YAML, such as JSON.
    pub(super) fn list(&self, word: &str, report: &mut Report<'_>) -> Option<Node> {
        let node = self.get(word)?;
        let text = &node.scalar()?.text;
        match tree::load(text).map(|documents| documents.into_iter().next()) {
            Ok(list) => list.map(|list| list.at(&node.span)),
            Err(error) => {
                let message = format!("`{}` is not valid YAML: {}", self.name(word), error.message);
                report.add(&node.span, message, error.help.as_str());
                None
            }
        }
    }

    /// A truth value.
    pub(super) fn flag(&self, word: &str, report: &mut Report<'_>) -> Option<bool> {
        boolean(self.get(word)?, &self.name(word), report)
    }
}

/// What to write in place of an annotation that nobody reads.
fn instead_of(word: &str, kind: Kind) -> String {
    let of_others = Kind::ALL
        .into_iter()
        .find(|other| keys_on(*other).any(|known| known == word));
    if let Some(other) = of_others {
        return format!("write it on an object of kind {other}");
    }
    let meant = nearest(word, keys_on(kind));
    meant.map_or_else(
        || "remove it".to_owned(),
        |known| format!("did you mean `{OUR_PREFIX}{known}`?"),
    )
}

/// In a manifest it is in quotes, whatever it says: annotations are texts.
fn plain(text: &str, span: &Span) -> Node {
    let scalar = Scalar {
        text: text.to_owned(),
        style: Style::Plain,
    };
    Node {
        span: span.clone(),
        value: Value::Scalar(scalar),
    }
}
