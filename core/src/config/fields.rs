//! Reads mappings and values, and says what is wrong with them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;

use super::place::Span;
use super::problem::{Report, quoted};
use super::tree::{Node, Style, Value};
use crate::suggest::nearest;

/// A mapping with known keys, each at most once.
pub(super) struct Fields<'n> {
    /// Where to point at if a key is missing.
    pub(super) place: Span,
    what: String,
    entries: Vec<(&'n str, &'n Node, &'n Node)>,
    /// Keys that an unknown one was probably meant to be.
    misspelt: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Reports what is no mapping, unknown keys and keys that stand there twice.
    pub(super) fn read(
        node: &'n Node,
        what: &str,
        known: &[&'static str],
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let Value::Map(map) = &node.value else {
            let help = format!("write it as keys with values: {}", list_of(known));
            let message = format!("{what} must be a mapping, not {}", node.kind());
            report.add(&node.headline(), message, help);
            return None;
        };
        let mut entries: Vec<(&str, &Node, &Node)> = Vec::new();
        let mut misspelt = Vec::new();
        for (key, value) in map {
            let Some(name) = key_name(key, report) else {
                continue;
            };
            if !known.contains(&name) {
                let meant = report_unknown(key, name, what, known, report);
                // What is warned of is still missing.
                misspelt.extend(meant.filter(|_| !report.is_open()));
            } else if let Some((_, first, _)) = entries.iter().find(|(have, ..)| *have == name) {
                report_duplicate(key, name, &first.span, report);
            } else {
                entries.push((name, key, value));
            }
        }
        Some(Self {
            place: node.headline(),
            what: what.to_owned(),
            entries,
            misspelt,
        })
    }

    /// Like `read`; null is a mapping without keys. An entry of a list that is null was all defaults
    /// for the Go library that read these files; what may not lack a key says so.
    pub(super) fn read_entry(
        node: &'n Node,
        what: &str,
        known: &[&'static str],
        report: &mut Report<'_>,
    ) -> Option<Self> {
        if !node.is_null() {
            return Self::read(node, what, known, report);
        }
        Some(Self::none(node.headline(), what))
    }

    /// Of a mapping that is not there, at the place where it could be.
    pub(super) fn none(place: Span, what: &str) -> Self {
        Self {
            place,
            what: what.to_owned(),
            entries: Vec::new(),
            misspelt: Vec::new(),
        }
    }

    /// The value of `key`; `None` also if it is null.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|(name, ..)| *name == key);
        entry
            .map(|(_, _, value)| *value)
            .filter(|value| !value.is_null())
    }

    /// The value of `key`, which must be there.
    pub(super) fn require(
        &self,
        key: &str,
        help: &str,
        report: &mut Report<'_>,
    ) -> Option<&'n Node> {
        let value = self.get(key);
        if value.is_none() {
            let empty = self.entries.iter().find(|(name, ..)| *name == key);
            match empty {
                Some((_, key_node, _)) => {
                    report.add(&key_node.span, format!("`{key}` has no value"), help);
                }
                // Reported where it stands, under its wrong name.
                None if self.misspelt.contains(&key) => {}
                None => report.add(&self.place, format!("{} has no `{key}`", self.what), help),
            }
        }
        value
    }

    /// The place of the key, for problems that are about key and value.
    pub(super) fn key_span(&self, key: &str) -> Span {
        let entry = self.entries.iter().find(|(name, ..)| *name == key);
        entry.map_or_else(|| self.place.clone(), |(_, key, _)| key.span.clone())
    }
}

/// The entries of a mapping with keys of the user's own, each at most once: name, key and value.
pub(super) fn entries<'n>(
    node: &'n Node,
    what: &str,
    help: &str,
    report: &mut Report<'_>,
) -> Vec<(&'n str, &'n Node, &'n Node)> {
    let Value::Map(map) = &node.value else {
        let message = format!("`{what}` must be a mapping, not {}", node.kind());
        report.add(&node.headline(), message, help);
        return Vec::new();
    };
    let mut first: BTreeMap<&str, &Node> = BTreeMap::new();
    let mut entries = Vec::new();
    for (key, value) in map {
        let Some(name) = key_name(key, report) else {
            continue;
        };
        match first.entry(name) {
            Entry::Occupied(first) => report_duplicate(key, name, &first.get().span, report),
            Entry::Vacant(place) => {
                place.insert(key);
                entries.push((name, key, value));
            }
        }
    }
    entries
}

/// The key's text; reports a key that is none.
fn key_name<'n>(key: &'n Node, report: &mut Report<'_>) -> Option<&'n str> {
    let name = key.scalar().map(|scalar| scalar.text.as_str());
    if name.is_none() {
        let message = format!("a key must be a word, not {}", key.kind());
        report.add(&key.headline(), message, "write `key: value`");
    }
    name
}

pub(super) fn report_duplicate(key: &Node, name: &str, first: &Span, report: &mut Report<'_>) {
    let there = report.beside(first);
    report.add_related(
        &key.span,
        format!("{} is already there {there}", quoted(name)),
        "keep one of the two",
        (first, "first here"),
    );
}

/// Returns what it was probably meant to be.
fn report_unknown(
    key: &Node,
    name: &str,
    what: &str,
    known: &[&'static str],
    report: &mut Report<'_>,
) -> Option<&'static str> {
    // The name of `addresses` before MetalLB 0.6.
    let meant = if name == "cidr" {
        Some("addresses")
    } else {
        None
    };
    let meant = meant.filter(|word| known.contains(word));
    let meant = meant.or_else(|| nearest(name, known.iter().copied()));
    if report.is_open() {
        let help = meant.map_or_else(
            || "it has no effect: FerroLB does not know this field".to_owned(),
            |word| format!("it has no effect; did you mean `{word}`?"),
        );
        let message = format!("{what} has no field {}", quoted(name));
        report.warn(&key.span, message, help);
        return meant;
    }
    let help = match meant {
        // Of the chart's values: a whole configuration stands under it.
        _ if name == "configInline" => {
            "remove this line, and move what stands under it to its place".to_owned()
        }
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("remove it, or use one of {}", list_of(known)),
    };
    report.add(
        &key.span,
        format!("{what} has no key {}", quoted(name)),
        help,
    );
    meant
}

/// `a`, `b` and `c`
fn list_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        words => words.concat(),
    }
}

/// Any single value as the text that stands there: the Go library that read these files took
/// `name: 123` and `name: yes` for texts, too.
pub(super) fn text<'n>(node: &'n Node, what: &str, report: &mut Report<'_>) -> Option<&'n str> {
    // As for the Go library, also in a list: null is the empty text, however it is written.
    if node.is_null() {
        return Some("");
    }
    if let Some(scalar) = node.scalar() {
        return Some(&scalar.text);
    }
    let message = format!("`{what}` must be a text, not {}", node.kind());
    report.add(
        &node.headline(),
        message,
        format!("write one value: `{what}: TEXT`"),
    );
    None
}

/// A truth value, in YAML 1.1's words as well.
pub(super) fn boolean(node: &Node, what: &str, report: &mut Report<'_>) -> Option<bool> {
    let scalar = node.scalar();
    let word = scalar.map(|scalar| scalar.text.as_str()).and_then(truth);
    if let Some(truth) = word
        && scalar.is_some_and(|scalar| scalar.style == Style::Plain)
    {
        return Some(truth);
    }
    let (got, help) = match (scalar, word) {
        (Some(_), Some(truth)) => (
            "a text in quotes".to_owned(),
            format!("write `{what}: {truth}`"),
        ),
        (Some(scalar), None) => (
            quoted(&scalar.text),
            format!("write `{what}: true` or `{what}: false`"),
        ),
        (None, _) => (
            node.kind().to_owned(),
            format!("write `{what}: true` or `{what}: false`"),
        ),
    };
    report.add(
        &node.headline(),
        format!("`{what}` must be true or false, not {got}"),
        help,
    );
    None
}

fn truth(word: &str) -> Option<bool> {
    match word {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Some(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Some(false)
        }
        _ => None,
    }
}

/// A whole number within `range`.
pub(super) fn integer<T>(
    node: &Node,
    what: &str,
    range: RangeInclusive<T>,
    report: &mut Report<'_>,
) -> Option<T>
where
    T: Copy + PartialOrd + std::fmt::Display + TryFrom<i128>,
{
    let scalar = node.scalar();
    let number = scalar.and_then(|scalar| whole_number(&scalar.text));
    let plain = scalar.is_some_and(|scalar| scalar.style == Style::Plain);
    let value = number.and_then(|number| T::try_from(number).ok());
    let (first, last) = (range.start(), range.end());
    if let Some(value) = value
        && plain
        && range.contains(&value)
    {
        return Some(value);
    }
    let (message, help) = match (scalar, number) {
        (Some(scalar), Some(number)) if !plain => (
            format!("`{what}` must be a number, not a text in quotes"),
            format!(
                "write `{what}: {number}` without {}",
                quote_marks(scalar.style)
            ),
        ),
        (Some(_), Some(number)) => (
            format!("`{what}` must be from {first} to {last}, not {number}"),
            format!("write a number from {first} to {last}"),
        ),
        (Some(scalar), None) => (
            format!(
                "`{what}` must be a whole number, not {}",
                quoted(&scalar.text)
            ),
            asdot(&scalar.text).map_or_else(
                || format!("write a number from {first} to {last}"),
                |asn| format!("write the AS number in plain form: `{what}: {asn}`"),
            ),
        ),
        (None, _) => (
            format!("`{what}` must be a number, not {}", node.kind()),
            format!("write one number: `{what}: NUMBER`"),
        ),
    };
    report.add(&node.headline(), message, help);
    None
}

fn quote_marks(style: Style) -> &'static str {
    if style == Style::Literal {
        "`|`"
    } else {
        "quotes"
    }
}

/// A whole number in the notations of Go's YAML library: decimal, `0x`, `0o`, `0` for octal, `0b`,
/// underscores between digits, and decimals without a fraction (`64512.0`).
fn whole_number(text: &str) -> Option<i128> {
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let digits = digits.to_ascii_lowercase();
    let with_radix = |prefix: &str, radix| {
        let rest = digits.strip_prefix(prefix)?;
        let number = u64::from_str_radix(rest, radix).ok()?;
        rest.starts_with(|c: char| c.is_ascii_hexdigit())
            .then_some(number)
    };
    let decimal = || {
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let is_number = whole.bytes().all(|byte| byte.is_ascii_digit());
        let is_whole = fraction.bytes().all(|byte| byte == b'0');
        (is_number && is_whole)
            .then(|| whole.parse::<u64>().ok())
            .flatten()
    };
    let number = with_radix("0x", 16)
        .or_else(|| with_radix("0b", 2))
        .or_else(|| with_radix("0o", 8))
        .or_else(|| with_radix("0", 8))
        .or_else(decimal)?;
    Some(if negative {
        -i128::from(number)
    } else {
        i128::from(number)
    })
}

/// An AS number in the notation `high.low` (RFC 5396) as a plain number.
fn asdot(text: &str) -> Option<u32> {
    let (high, low) = text.split_once('.')?;
    Some(u32::from(high.parse::<u16>().ok()?) << 16 | u32::from(low.parse::<u16>().ok()?))
}

/// The entries of a list.
pub(super) fn list<'n>(node: &'n Node, what: &str, report: &mut Report<'_>) -> &'n [Node] {
    if let Value::List(items) = &node.value {
        return items;
    }
    let help = match node.scalar() {
        Some(scalar) => {
            format!(
                "write it as a list: `{what}: [{}]`",
                quoted(&scalar.text).trim_matches('`')
            )
        }
        None => format!("put a `- ` before each entry of `{what}`"),
    };
    report.add(
        &node.headline(),
        format!("`{what}` must be a list, not {}", node.kind()),
        help,
    );
    &[]
}
