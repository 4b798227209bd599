//! YAML as a tree whose every node knows its place in the text.
//!
//! Built from parser events, so that the later steps see what a user wrote: quoted or plain, and
//! every key as often as it stands there.

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::place::{Span, boundary};
use super::syntax::{self, SyntaxError};

/// Deeper than any configuration or `kind: List` of manifests; bounds every recursion. Blocks and
/// brackets count separately.
const MAX_DEPTH: usize = 32;
/// More than 1 MiB of text, the most a `ConfigMap` holds, can reasonably spell. Aliases count with
/// all that they stand for, so a few lines cannot grow into gigabytes.
const MAX_NODES: usize = 500_000;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the text, duplicates included.
    Map(Vec<(Node, Node)>),
}

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// Escapes resolved, lines folded.
    pub(super) text: String,
    pub(super) style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: `yes` may mean a truth value and `5` a number.
    Plain,
    /// In quotes, or with the tag `!!str`: always a text.
    Quoted,
    /// `|`: a block that keeps its lines.
    Literal,
}

impl Node {
    /// The scalar's text and style.
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Absent in all but name: nothing after the colon, `~` or `null` (YAML 1.1).
    pub(super) fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| {
            scalar.style == Style::Plain
                && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
        })
    }

    /// The place to point at: a list or a mapping may cover half of the file, its first word
    /// does not. The node of an object covers nothing, and is the place itself.
    pub(super) fn headline(&self) -> Span {
        match &self.value {
            _ if self.span.is_empty() => self.span.clone(),
            Value::Scalar(_) => self.span.clone(),
            Value::List(items) => items
                .first()
                .map_or_else(|| self.span.clone(), Self::headline),
            Value::Map(entries) => entries
                .first()
                .map_or_else(|| self.span.clone(), |(key, _)| key.headline()),
        }
    }

    /// The value under `key`, the first one if there are several.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let entry = entries
            .iter()
            .find(|(name, _)| name.scalar().is_some_and(|s| s.text == key));
        entry.map(|(_, value)| value)
    }

    /// The same with all of it at one place: a text within a value has none of its own.
    pub(super) fn at(self, span: &Span) -> Self {
        let value = match self.value {
            Value::List(items) => Value::List(items.into_iter().map(|one| one.at(span)).collect()),
            Value::Map(entries) => {
                let entries = entries.into_iter();
                Value::Map(
                    entries
                        .map(|(key, one)| (key.at(span), one.at(span)))
                        .collect(),
                )
            }
            scalar @ Value::Scalar(_) => scalar,
        };
        Self {
            span: span.clone(),
            value,
        }
    }

    /// The entries of a list; none of anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => &[],
        }
    }

    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(_) if self.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Levels of lists and mappings, aliases expanded.
    fn depth(&self) -> usize {
        match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(entries) => {
                let depths = entries
                    .iter()
                    .map(|(key, value)| key.depth().max(value.depth()));
                1 + depths.max().unwrap_or(0)
            }
        }
    }

    /// Nodes in it, itself included.
    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| key.count() + value.count())
                .sum(),
        }
    }
}

/// The documents of `text`; none if there is nothing but blanks and comments.
pub(super) fn load(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                builder.handle_event(event, &within(text, span.start, span.end))?
            }
            Err(error) => return Err(syntax::explain(text, &error)),
        }
    }
    Ok(builder.documents)
}

/// The markers as a span that is surely inside `text` and on character boundaries.
fn within(text: &str, start: Marker, end: Marker) -> Span {
    let start = boundary(text, start.byte_offset().unwrap_or(0));
    let end = boundary(text, end.byte_offset().unwrap_or(start)).max(start);
    start..start + text[start..end].trim_end().len()
}

/// A list or a mapping that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    contents: Contents,
}

enum Contents {
    List(Vec<Node>),
    Map {
        entries: Vec<(Node, Node)>,
        key: Option<Node>,
    },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn handle_event(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = effective_style(style, tag.as_deref());
                let scalar = Scalar {
                    text: text.into_owned(),
                    style,
                };
                let node = Node {
                    span: span.clone(),
                    value: Value::Scalar(scalar),
                };
                self.add(node, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.enter(span, anchor, Contents::List(Vec::new()));
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                self.enter(
                    span,
                    anchor,
                    Contents::Map {
                        entries: Vec::new(),
                        key: None,
                    },
                );
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(span),
            Event::Alias(anchor) => self.add_alias(anchor, span),
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, span: &Span, anchor: usize, contents: Contents) {
        self.open.push(Open {
            start: span.start,
            anchor,
            contents,
        });
    }

    fn leave(&mut self, span: &Span) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.contents {
            Contents::List(items) => Value::List(items),
            Contents::Map { entries, .. } => Value::Map(merged(entries)),
        };
        let span = open.start..span.end.max(open.start);
        self.add(Node { span, value }, open.anchor)
    }

    fn add_alias(&mut self, anchor: usize, span: &Span) -> Result<(), SyntaxError> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(SyntaxError::new(
                span.clone(),
                "this alias stands for something that contains it",
                "write the value out in place of the alias",
            ));
        };
        if self.open.len() + target.depth() > 2 * MAX_DEPTH {
            return Err(SyntaxError::new(
                span.clone(),
                "nested too deeply, aliases expanded",
                "write the value out in place of the alias",
            ));
        }
        self.nodes += target.count() - 1;
        let node = Node {
            span: span.clone(),
            value: target.value.clone(),
        };
        self.add(node, 0)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(SyntaxError::new(
                node.span,
                format!("more than {MAX_NODES} values, aliases expanded"),
                "write addresses as ranges or prefixes instead of one by one",
            ));
        }
        if anchor != 0 {
            self.nodes += node.count();
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.contents) {
            None => self.documents.push(node),
            Some(Contents::List(items)) => items.push(node),
            Some(Contents::Map { entries, key }) => match key.take() {
                None => *key = Some(node),
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }
}

/// A tag overrules the notation; other tags say nothing about the texts and numbers that we read.
fn effective_style(style: ScalarStyle, tag: Option<&Tag>) -> Style {
    let core = tag.and_then(Tag::core_suffix);
    match (core, style) {
        (Some("str"), _) => Style::Quoted,
        (Some("bool" | "int" | "null"), _) | (None, ScalarStyle::Plain) => Style::Plain,
        (_, ScalarStyle::Literal) => Style::Literal,
        (Some(_), ScalarStyle::Plain) => Style::Plain,
        _ => Style::Quoted,
    }
}

/// YAML 1.1 merge keys, which the Go library knew: `<<: *defaults` adds the keys that are not
/// written out.
fn merged(entries: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let is_merge = |key: &Node| {
        key.scalar()
            .is_some_and(|scalar| scalar.style == Style::Plain && scalar.text == "<<")
    };
    let (merges, mut own): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|(key, value)| is_merge(key) && mappings(value).is_some());
    if merges.is_empty() {
        return own;
    }
    let mut names: BTreeSet<String> = own.iter().filter_map(|(key, _)| name(key)).collect();
    for (_, source) in &merges {
        for (key, value) in mappings(source).into_iter().flatten().flatten() {
            if name(key).is_none_or(|name| names.insert(name)) {
                own.push((key.clone(), value.clone()));
            }
        }
    }
    own
}

fn name(key: &Node) -> Option<String> {
    key.scalar().map(|scalar| scalar.text.clone())
}

/// The entries of a mapping, or of each mapping of a list.
fn mappings(node: &Node) -> Option<Vec<&Vec<(Node, Node)>>> {
    match &node.value {
        Value::Map(map) => Some(vec![map]),
        Value::List(items) => {
            let maps = items.iter().map(|item| match &item.value {
                Value::Map(map) => Some(map),
                Value::Scalar(_) | Value::List(_) => None,
            });
            maps.collect()
        }
        Value::Scalar(_) => None,
    }
}
