//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::sync::Arc;

use super::paths::Paths;
use super::place::{At, Origin, Place, Source};

/// More than anybody reads; the rest is counted.
const MAX_PROBLEMS: usize = 100;
/// The API server refuses a core/v1 Event whose message is longer (`MaxEventMessageLength`).
const MAX_EVENT_BYTES: usize = 1_024;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Another place that has to do with it, and how.
    pub related: Option<(Place, String)>,
}

/// `line 7, column 9: range ends before it starts: write …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            message,
            help,
            ..
        } = self;
        write!(f, "{place}: {message}: {help}")
    }
}

/// Everything that is wrong with a configuration, in the order of the text. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    uncounted: usize,
}

impl Problems {
    /// `None` if there are none.
    pub(super) fn of(mut list: Vec<Problem>) -> Option<Self> {
        // Those of objects stay in the order in which they were found, after those of the text.
        let start = |place: &Place| place.span().map_or(usize::MAX, |span| span.start);
        list.sort_by_key(|problem| start(&problem.place));
        let uncounted = list.len().saturating_sub(MAX_PROBLEMS);
        list.truncate(MAX_PROBLEMS);
        (!list.is_empty()).then_some(Self { list, uncounted })
    }

    /// One alone.
    pub(super) fn one(problem: Problem) -> Self {
        Self {
            list: vec![problem],
            uncounted: 0,
        }
    }

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
        self.message_of(Problem::to_string)
    }

    /// The same for an Event on the object that all of it is about: it names the fields alone.
    #[must_use]
    pub fn event_message_of_object(&self) -> String {
        self.message_of(|problem| match &problem.place {
            Place::Object { path, .. } => {
                format!("{path}: {}: {}", problem.message, problem.help)
            }
            Place::Text { .. } => problem.to_string(),
        })
    }

    fn message_of(&self, said: impl Fn(&Problem) -> String) -> String {
        let mut message = String::new();
        for (told, problem) in self.list.iter().enumerate() {
            let separator = if told == 0 { "" } else { "; " };
            let next = format!("{separator}{}", said(problem));
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
    source: Source<'t>,
    list: Vec<Problem>,
    /// What is wrong, and left out of what is put in force.
    left_out: Vec<Problem>,
    /// What is accepted, and probably not meant.
    warnings: Vec<Problem>,
    unfilled: usize,
    /// Keys that are not known are warned of.
    is_open: bool,
}

/// What a [`Report`] comes to, each in the order of the text.
pub(super) struct Judgement {
    /// Nothing is put in force. Those that would only be left out are among them.
    pub(super) problems: Option<Problems>,
    /// The rest is put in force.
    pub(super) left_out: Option<Problems>,
    /// All of it is put in force.
    pub(super) warnings: Option<Problems>,
}

impl<'t> Report<'t> {
    /// Spans are those of a configuration that stands in `text` as `origin` says.
    pub(super) fn new(text: &'t str, origin: &'t Origin) -> Self {
        Self::within(Source::new(text, origin))
    }

    /// Spans are the numbers of nodes of that object.
    pub(super) fn of_object(paths: &'t Paths) -> Self {
        Self::within(Source::Object(paths)).open()
    }

    /// The text is that of a file, one of several.
    pub(super) fn in_file(mut self, name: Option<&Arc<str>>) -> Self {
        if let Source::Text { file, .. } = &mut self.source {
            *file = name.cloned();
        }
        self
    }

    /// Keys that are not known are warned of: an object of a newer `MetalLB` is not refused.
    pub(super) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    const fn within(source: Source<'t>) -> Self {
        Self {
            source,
            list: Vec::new(),
            left_out: Vec::new(),
            warnings: Vec::new(),
            unfilled: 0,
            is_open: false,
        }
    }

    /// Whether keys that are not known are warned of.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// The place, for a problem that is found later.
    pub(super) fn place(&self, at: &dyn At) -> Place {
        at.place(&self.source)
    }

    pub(super) fn add(&mut self, at: &dyn At, message: impl Into<String>, help: impl Into<String>) {
        let problem = self.problem(at, message.into(), help.into());
        self.list.push(problem);
    }

    /// What is wrong, and was accepted once: the rest is put in force.
    pub(super) fn leave_out(
        &mut self,
        at: &dyn At,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let problem = self.problem(at, message.into(), help.into());
        self.left_out.push(problem);
    }

    /// What is accepted, since `MetalLB` accepts it, and probably not meant.
    pub(super) fn warn(
        &mut self,
        at: &dyn At,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let problem = self.problem(at, message.into(), help.into());
        self.warnings.push(problem);
    }

    fn problem(&self, at: &dyn At, message: String, help: String) -> Problem {
        Problem {
            place: at.place(&self.source),
            message,
            help,
            related: None,
        }
    }

    /// Like `add`, and points at a second place.
    pub(super) fn add_related(
        &mut self,
        at: &dyn At,
        message: impl Into<String>,
        help: impl Into<String>,
        (related, label): (&dyn At, &str),
    ) {
        self.add(at, message, help);
        if let Some(problem) = self.list.last_mut() {
            problem.related = Some((related.place(&self.source), label.to_owned()));
        }
    }

    /// Like `add`, for an address that a template has left blank.
    pub(super) fn add_unfilled(&mut self, at: &dyn At, message: &str, help: &str) {
        self.unfilled += 1;
        self.add(at, message, help);
    }

    /// Where another place is, for a message: `on line 7`; in another file `on line 7 of pool.yaml`; within one
    /// object `in spec.addresses[0]`.
    pub(super) fn beside(&self, other: &dyn At) -> String {
        match (other.place(&self.source), &self.source) {
            (Place::Object { path, .. }, Source::Object(_)) => format!("in {path}"),
            (
                Place::Text {
                    file: Some(other),
                    line,
                    ..
                },
                Source::Text { file, .. },
            ) if file.as_ref() != Some(&other) => format!("on line {line} of {other}"),
            (place, _) => place.beside(),
        }
    }

    /// Whether nothing is wrong but addresses that a template has left blank.
    pub(super) fn is_only_unfilled(&self) -> bool {
        self.unfilled > 0 && self.unfilled == self.list.len()
    }

    /// What is wrong, left out, and warned of.
    pub(super) fn finish(mut self) -> Judgement {
        if !self.list.is_empty() {
            self.list.append(&mut self.left_out);
        }
        Judgement {
            problems: Problems::of(self.list),
            left_out: Problems::of(self.left_out),
            warnings: Problems::of(self.warnings),
        }
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
    if c.is_control() || is_invisible(c) {
        c.escape_unicode().collect()
    } else {
        vec![c]
    }
}

/// Unicode's format characters that do appear in texts, and blanks other than the ordinary one: they
/// come along with a text that is copied from a web page or a chat.
pub(super) const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}
