//! Places in a text or in an object, and places of a text within another one.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::paths::Paths;

/// Bytes from the start of a text.
pub(super) type Span = Range<usize>;

/// The character boundary at or before `offset`.
pub(super) fn boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}

/// Where something stands in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a text.
    Text {
        /// The file that it is, if there are several.
        file: Option<Arc<str>>,
        /// The part of it, in bytes; may be empty.
        span: Range<usize>,
        /// Line of the span's start, counted from 1.
        line: usize,
        /// Column of the span's start in characters, counted from 1.
        column: usize,
    },
    /// In an object of the Kubernetes API.
    Object {
        /// `kind`
        kind: String,
        /// `metadata.namespace`
        namespace: String,
        /// `metadata.name`
        name: String,
        /// The field, such as `spec.addresses[2]`.
        path: String,
    },
}

impl Place {
    /// The line in the text, counted from 1.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        match self {
            Self::Text { line, .. } => Some(*line),
            Self::Object { .. } => None,
        }
    }

    /// The column in that line, in characters, counted from 1.
    #[must_use]
    pub const fn column(&self) -> Option<usize> {
        match self {
            Self::Text { column, .. } => Some(*column),
            Self::Object { .. } => None,
        }
    }

    /// The part of the text, in bytes.
    #[must_use]
    pub const fn span(&self) -> Option<&Range<usize>> {
        match self {
            Self::Text { span, .. } => Some(span),
            Self::Object { .. } => None,
        }
    }

    /// The file, if there are several.
    #[must_use]
    pub const fn file(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text { file, .. } => file.as_ref(),
            Self::Object { .. } => None,
        }
    }

    /// For a sentence about what stands here, said at the place `there`: ` (pool.yaml)` if that is in another file.
    pub(super) fn other_file(&self, there: &Self) -> String {
        let file = self.file().filter(|_| self.file() != there.file());
        file.map_or_else(String::new, |file| format!(" ({file})"))
    }

    /// For a sentence about another place: `on line 7`.
    pub(super) fn beside(&self) -> String {
        match self {
            Self::Text { line, .. } => format!("on line {line}"),
            Self::Object {
                kind,
                namespace,
                name,
                ..
            } => format!("in {kind} {namespace}/{name}"),
        }
    }
}

/// `line 7, column 9`; `IPAddressPool metallb-system/lan, spec.addresses[2]`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { line, column, .. } => write!(f, "line {line}, column {column}"),
            Self::Object {
                kind,
                namespace,
                name,
                path,
            } => write!(f, "{kind} {namespace}/{name}, {path}"),
        }
    }
}

/// Where a value stands, for whoever reads it: the readers of values know neither YAML nor objects.
pub(super) trait At {
    /// The place, if spans are those of `source`.
    fn place(&self, source: &Source<'_>) -> Place;
}

impl At for Span {
    fn place(&self, source: &Source<'_>) -> Place {
        match source {
            Source::Text {
                file,
                origin,
                positions,
            } => {
                let span = origin.outer(self);
                let Position { line, column } = positions.of(span.start);
                Place::Text {
                    file: file.clone(),
                    span,
                    line,
                    column,
                }
            }
            Source::Object(paths) => paths.place_of(self.start),
        }
    }
}

impl At for Place {
    fn place(&self, _: &Source<'_>) -> Place {
        self.clone()
    }
}

/// What spans lie in.
pub(super) enum Source<'t> {
    /// A text.
    Text {
        file: Option<Arc<str>>,
        origin: &'t Origin,
        positions: Positions<'t>,
    },
    /// An object of the API: a span is the number of a node.
    Object(&'t Paths),
}

impl<'t> Source<'t> {
    /// Of a configuration that stands in `text` as `origin` says.
    pub(super) fn new(text: &'t str, origin: &'t Origin) -> Self {
        Self::Text {
            file: None,
            origin,
            positions: Positions::new(text),
        }
    }
}

/// Line and column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    line: usize,
    /// In characters.
    column: usize,
}

/// Finds lines and columns without reading the text anew.
pub(super) struct Positions<'t> {
    text: &'t str,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl<'t> Positions<'t> {
    fn new(text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(after_breaks).collect(),
        }
    }

    fn of(&self, offset: usize) -> Position {
        let offset = boundary(self.text, offset);
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        Position {
            line,
            column: self.text[start..offset].chars().count() + 1,
        }
    }
}

/// Where a configuration stands in the text that the user sees.
#[derive(Debug)]
pub(super) enum Origin {
    /// It is that text.
    Whole,
    /// In a literal block of a manifest: per line, its start in the configuration and in the
    /// manifest, ascending.
    Lines(Vec<(usize, usize)>),
}

impl Origin {
    /// Finds `inner`, the value of a literal block (`|`), again in the lines of `outer`, where
    /// `first_word` is the place of its first character that is no blank. `None` if the lines do
    /// not match.
    pub(super) fn of_literal(inner: &str, outer: &str, first_word: usize) -> Option<Self> {
        let blank_lines = inner.split('\n').position(|line| !line.trim().is_empty())?;
        let before = outer.get(..first_word)?;
        let mut line_starts = before.rmatch_indices('\n').map(|(at, _)| at + 1);
        let mut outer_start = line_starts.nth(blank_lines)?;
        let mut outer_lines = outer[outer_start..].split_inclusive('\n');
        let mut inner_start = 0;
        let mut starts = Vec::new();
        for line in inner.split_inclusive('\n') {
            let full = outer_lines.next().unwrap_or_default();
            let (have, want) = (without_break(full), without_break(line));
            let indentation = have.len().checked_sub(want.len());
            let indentation = match indentation {
                Some(width) if have.ends_with(want) && is_blank(&have[..width]) => width,
                // A blank line may be shorter than the block's indentation.
                _ if want.is_empty() && is_blank(have) => have.len(),
                _ => return None,
            };
            starts.push((inner_start, outer_start + indentation));
            inner_start += line.len();
            outer_start += full.len();
        }
        Some(Self::Lines(starts))
    }

    /// The span in the text that the user sees.
    fn outer(&self, span: &Span) -> Span {
        let (start, end) = (self.offset(span.start), self.offset(span.end));
        start..end.max(start)
    }

    fn offset(&self, offset: usize) -> usize {
        match self {
            Self::Whole => offset,
            Self::Lines(starts) => {
                let line = starts.partition_point(|(inner, _)| *inner <= offset);
                let (inner, outer) = line.checked_sub(1).map_or((0, 0), |line| starts[line]);
                outer + (offset - inner)
            }
        }
    }
}

fn without_break(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ')
}
