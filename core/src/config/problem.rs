//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use super::place::{Origin, Position, Positions};
use super::tree::Span;

/// More than anybody reads; the rest is counted.
const MAX_PROBLEMS: usize = 100;
/// The API server refuses a core/v1 Event whose message is longer (`MaxEventMessageLength`).
const MAX_EVENT_BYTES: usize = 1_024;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part of the text that it is about, in bytes; may be empty.
    pub span: Range<usize>,
    /// Line of the span's start, counted from 1.
    pub line: usize,
    /// Column of the span's start in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Another place that has to do with it, and how.
    pub related: Option<(Range<usize>, String)>,
}

/// `line 7, column 9: range ends before it starts: write …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
            help,
            ..
        } = self;
        write!(f, "line {line}, column {column}: {message}: {help}")
    }
}

/// Everything that is wrong with a configuration, in the order of the text. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    uncounted: usize,
}

impl Problems {
    /// The problems, at most 100.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are, also those beyond the first 100.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len() + self.uncounted
    }

    /// The same for the message of an Event: one line, as many problems as its 1,024 bytes hold,
    /// and how many more there are.
    #[must_use]
    pub fn event_message(&self) -> String {
        let mut message = String::new();
        for (told, problem) in self.list.iter().enumerate() {
            let separator = if told == 0 { "" } else { "; " };
            let next = format!("{separator}{problem}");
            let rest = self.count() - told - 1;
            let room = MAX_EVENT_BYTES - more(rest).len();
            if message.len() + next.len() > room {
                if told == 0 {
                    message = shortened(&next, room);
                    return message + &more(rest);
                }
                return message + &more(rest + 1);
            }
            message += &next;
        }
        message + &more(self.uncounted)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.event_message())
    }
}

impl std::error::Error for Problems {}

fn more(count: usize) -> String {
    if count == 0 {
        String::new()
    } else {
        format!("; and {count} more")
    }
}

fn shortened(text: &str, bytes: usize) -> String {
    let ellipsis = '…';
    let end = text.floor_char_boundary(bytes.saturating_sub(ellipsis.len_utf8()));
    format!("{}{ellipsis}", &text[..end])
}

/// Collects problems while a configuration is read.
pub(super) struct Report<'t> {
    origin: &'t Origin,
    positions: Positions<'t>,
    list: Vec<Problem>,
    unfilled: usize,
}

impl<'t> Report<'t> {
    /// Spans are those of a configuration that stands in `text` as `origin` says.
    pub(super) fn new(text: &'t str, origin: &'t Origin) -> Self {
        Self {
            origin,
            positions: Positions::new(text),
            list: Vec::new(),
            unfilled: 0,
        }
    }

    pub(super) fn add(&mut self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        let span = self.origin.outer(span);
        let Position { line, column } = self.positions.of(span.start);
        let (message, help) = (message.into(), help.into());
        self.list.push(Problem {
            span,
            line,
            column,
            message,
            help,
            related: None,
        });
    }

    /// Like `add`, and points at a second place.
    pub(super) fn add_related(
        &mut self,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
        (related, label): (&Span, &str),
    ) {
        self.add(span, message, help);
        if let Some(problem) = self.list.last_mut() {
            problem.related = Some((self.origin.outer(related), label.to_owned()));
        }
    }

    /// Like `add`, for an address that a template has left blank.
    pub(super) fn add_unfilled(&mut self, span: &Span, message: &str, help: &str) {
        self.unfilled += 1;
        self.add(span, message, help);
    }

    /// The line that a message may name.
    pub(super) fn line_of(&self, span: &Span) -> usize {
        self.positions.of(self.origin.outer(span).start).line
    }

    /// Whether nothing is wrong but addresses that a template has left blank.
    pub(super) fn is_only_unfilled(&self) -> bool {
        self.unfilled > 0 && self.unfilled == self.list.len()
    }

    /// The problems in the order of the text; `None` if there are none.
    pub(super) fn finish(mut self) -> Option<Problems> {
        self.list.sort_by_key(|problem| problem.span.start);
        let uncounted = self.list.len().saturating_sub(MAX_PROBLEMS);
        self.list.truncate(MAX_PROBLEMS);
        (!self.list.is_empty()).then_some(Problems {
            list: self.list,
            uncounted,
        })
    }
}

/// A user's text within a sentence: short, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut shown: String = text.chars().take(MAX_CHARS).flat_map(visible).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn visible(c: char) -> Vec<char> {
    if c.is_control() {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}
