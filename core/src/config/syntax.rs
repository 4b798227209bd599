//! What a YAML parser cannot read, told to somebody who has not read the YAML specification.

use granit_parser::{ErrorKind, ScanError};

use super::place::{Span, boundary};
use super::problem::quoted;

/// The text is no YAML; nothing after that place could be read.
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// Where; more than one place only for tabs, which can all be seen at once.
    pub(super) spans: Vec<Span>,
    pub(super) message: String,
    pub(super) help: String,
}

impl SyntaxError {
    pub(super) fn new(span: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            spans: vec![span],
            message: message.into(),
            help: help.into(),
        }
    }
}

/// The parser's error in the words of this project.
pub(super) fn explain(text: &str, error: &ScanError) -> SyntaxError {
    let tabs = indentation_tabs(text);
    if !tabs.is_empty() {
        return SyntaxError {
            spans: tabs,
            message: "a tab indents this line".into(),
            help: "indent with spaces: YAML allows no tabs there".into(),
        };
    }
    let place = place(text, error);
    let line = line_around(text, place.start).trim();
    if line.contains("{{") {
        return SyntaxError::new(
            place,
            "template text that nobody filled in",
            "write the value in place of `{{…}}`, or let the template's tool do it",
        );
    }
    if let Some(entry) = line
        .strip_prefix('-')
        .filter(|entry| !entry.starts_with([' ', '-']))
    {
        return SyntaxError::new(
            place,
            "a list entry has no blank after its `-`",
            format!("write {}", quoted(&format!("- {entry}"))),
        );
    }
    let (message, help) = describe(error.kind());
    SyntaxError::new(place, message, help)
}

fn line_around(text: &str, offset: usize) -> &str {
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    text[start..].lines().next().unwrap_or_default()
}

fn describe(kind: &ErrorKind) -> (String, &'static str) {
    const STRUCTURE: &str = "check the indentation here and one line above: entries of one list or mapping start in \
         the same column, and a key ends with a colon and a blank";
    let (message, help) = match kind {
        ErrorKind::MappingValueNotAllowed => (
            "a colon where no key can stand",
            "put quotes around a value that contains `: `, and check that keys of one mapping \
             start in the same column",
        ),
        ErrorKind::UnclosedQuotedScalar => ("a quote is never closed", "close the quote"),
        ErrorKind::UnclosedFlowCollection { open: '[' } | ErrorKind::UnexpectedEofFlowSequence => {
            ("a list is never closed", "add the missing `]`")
        }
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::UnexpectedEofFlowMapping => {
            ("a mapping is never closed", "add the missing `}`")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => (
            "a list in brackets goes on without a comma",
            "put a comma between the entries",
        ),
        ErrorKind::MismatchedFlowCollectionEnd { .. } | ErrorKind::MisplacedFlowCollectionEnd => (
            "this bracket closes nothing",
            "remove the bracket, or open it",
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidSimpleKey => (
            "this line is neither a key nor part of the value above",
            STRUCTURE,
        ),
        ErrorKind::BlockSequenceEntryNotAllowed | ErrorKind::ExpectedBlockSequenceEntry => {
            ("a list entry `-` cannot stand here", STRUCTURE)
        }
        ErrorKind::UnknownAnchor => (
            "this alias stands for nothing",
            "define the anchor above, or write the value out",
        ),
        ErrorKind::RecursionLimitExceeded => (
            "nested too deeply",
            "a configuration needs 7 levels: check the indentation and brackets",
        ),
        ErrorKind::ExpectedFlowMappingSeparator => (
            "a mapping in braces goes on without a comma",
            "put a comma between the entries, and quotes around a text that begins with `{`",
        ),
        _ => return (format!("no valid YAML: {kind}"), STRUCTURE),
    };
    (message.into(), help)
}

/// The rest of the line at the error; the line before if the parser noticed it only at the end.
fn place(text: &str, error: &ScanError) -> Span {
    let mut start = boundary(text, error.marker().byte_offset().unwrap_or(0));
    if text[start..].trim().is_empty() {
        start = text[..start].trim_end().len();
        start = boundary(text, start.saturating_sub(1));
    }
    let rest = text[start..].lines().next().unwrap_or_default();
    start..start + rest.trim_end().len()
}

/// The first tab in the indentation of each line that has one.
fn indentation_tabs(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        if let Some(tab) = indentation.find('\t')
            && !line.trim().is_empty()
        {
            spans.push(start + tab..start + tab + 1);
        }
        start += line.len();
    }
    spans
}
