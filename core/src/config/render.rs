//! Problems as a text for people: message, place, the lines themselves, what to do.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::place::Place;
use super::problem::{Problem, Problems};

/// Wide enough for any line of a configuration; a terminal folds better than a log.
const WIDTH: usize = 160;

impl Problems {
    /// Every problem with its lines out of `text`, the text that was checked; `source` is what to
    /// call it, such as `metallb-system/config` or a file's name. With colours, for whoever prints it
    /// to take out where no terminal shows them; no line break at the end. Passwords are masked.
    #[must_use]
    pub fn render(&self, source: &str, text: &str) -> String {
        let text = masked(text);
        let renderer = Renderer::styled().term_width(WIDTH);
        let mut rendered: Vec<String> = self
            .iter()
            .map(|problem| renderer.render(&[group(problem, source, &text)]))
            .collect();
        let untold = self.count() - rendered.len();
        if untold > 0 {
            rendered.push(format!("error: and {untold} more"));
        }
        rendered.join("\n\n")
    }
}

fn group<'a>(problem: &'a Problem, source: &'a str, text: &'a str) -> Group<'a> {
    let title = Level::ERROR.primary_title(problem.message.as_str());
    let help = Level::HELP.message(problem.help.as_str());
    match &problem.place {
        Place::Text { span, line, .. } => {
            // Of another file there is no text here; the message names it.
            let related = problem.related.as_ref();
            let related = related.filter(|(other, _)| other.file() == problem.place.file());
            title
                .element(snippet(span, *line, related, source, text))
                .element(help)
        }
        object @ Place::Object { .. } => title
            .element(Origin::path(object.to_string()))
            .element(help),
    }
}

/// The lines of `text` around `span`, which begins on line `line`.
fn snippet<'a>(
    span: &Range<usize>,
    mut line: usize,
    related: Option<&'a (Place, String)>,
    source: &'a str,
    text: &'a str,
) -> Snippet<'a, Annotation<'a>> {
    let span = clamped(span, text);
    let related = related.and_then(|(place, label)| Some((clamped(place.span()?, text), label)));
    // Only the lines concerned: the renderer reads all that it is given, for each problem anew.
    let (mut first, mut last) = (span.start, span.end);
    if let Some((other, _)) = &related {
        (first, last) = (first.min(other.start), last.max(other.end));
    }
    let start = text[..first].rfind('\n').map_or(0, |at| at + 1);
    let end = text[last..].find('\n').map_or(text.len(), |at| last + at);
    let within = |span: &Range<usize>| span.start - start..span.end - start;
    if first < span.start {
        line -= text[first..span.start].matches('\n').count();
    }
    let context = related.map(|(span, label)| {
        AnnotationKind::Context
            .span(within(&span))
            .label(label.as_str())
    });
    Snippet::source(&text[start..end])
        .line_start(line)
        .path(source)
        .annotation(AnnotationKind::Primary.span(within(&span)))
        .annotations(context)
}

/// The span within the text and its first line: a snippet is to show a place, not the whole file.
fn clamped(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end).max(start);
    let line = text[start..end]
        .find(['\n', '\r'])
        .map_or(end, |at| start + at);
    start..line
}

/// The text with the values of keys that look like a password's replaced by as many `*`.
fn masked(text: &str) -> Cow<'_, str> {
    let is_secret = |line: &str| {
        line.split_once(':').is_some_and(|(key, value)| {
            let key = key.to_ascii_lowercase();
            let looks_secret = ["passw", "pasw", "secret"]
                .iter()
                .any(|word| key.contains(word));
            looks_secret && !value.trim().is_empty()
        })
    };
    if !text.lines().any(is_secret) {
        return Cow::Borrowed(text);
    }
    let lines = text
        .split_inclusive('\n')
        .map(|line| match line.split_once(':') {
            Some((key, value)) if is_secret(line) => format!("{key}:{}", starred(value)),
            _ => line.to_owned(),
        });
    Cow::Owned(lines.collect())
}

/// Stars for all but blanks and line breaks; as many bytes as before, so that spans stay true.
fn starred(value: &str) -> String {
    let star = |c: char| {
        if c.is_whitespace() {
            c.to_string()
        } else {
            "*".repeat(c.len_utf8())
        }
    };
    value.chars().map(star).collect()
}
