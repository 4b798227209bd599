//! What reaches a person's terminal. Names, Events and answers of pods are other people's text: a
//! control character in them could clear the screen, rename the window or rewrite what stands above
//! (as in kubectl, CVE-2021-25743). So everything is printed through one writer that shows control
//! characters and lets none of them act, but for the colours that this program itself put in.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};

use crate::width;

// Colours in answers for people. Where no terminal shows them they are taken out (main.rs).
pub(crate) const GOOD: Paint = Paint(AnsiColor::Green.on_default());
pub(crate) const WARNING: Paint = Paint(AnsiColor::Yellow.on_default().bold());
pub(crate) const BAD: Paint = Paint(AnsiColor::Red.on_default().bold());

const ESCAPE: char = '\u{1b}';

/// A style of ours: `{BAD}word{BAD:#}`.
#[derive(Clone, Copy)]
pub(crate) struct Paint(Style);

impl fmt::Display for Paint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(style) = self;
        // In one piece: the writer looks for the mark right behind the escape.
        f.write_str(&if f.alternate() {
            trusted(&format!("{style:#}"))
        } else {
            trusted(&format!("{style}"))
        })
    }
}

/// Lets the escapes of `text` through: for text of our own, or of a renderer that takes them out of
/// what it is given.
pub(crate) fn trusted(text: &str) -> String {
    text.replace(ESCAPE, &format!("{ESCAPE}{}", mark()))
}

/// What stands behind an escape of ours. It is new in each process, so that nobody can write it into
/// an object beforehand.
fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| {
        let random = || RandomState::new().build_hasher().finish();
        format!("{:016x}{:016x}", random(), random())
    })
}

/// A sentence behind a word that may be coloured, folded to the terminal's width.
pub(crate) fn sentence(
    out: &mut impl Write,
    paint: Option<Paint>,
    word: &str,
    text: &str,
) -> io::Result<()> {
    sentence_within(out, paint, word, text, width::of_terminal())
}

/// The same, in so many columns; `None`: in one line.
pub(crate) fn sentence_within(
    out: &mut impl Write,
    paint: Option<Paint>,
    word: &str,
    text: &str,
    within: Option<usize>,
) -> io::Result<()> {
    const INDENT: &str = "  ";
    let text = one_line(text);
    let all = format!("{word}{text}");
    let lines = match within {
        None => vec![all],
        Some(columns) if width::of(&all) <= columns => vec![all],
        Some(columns) => {
            let first = width::folded(&all, columns).swap_remove(0);
            let rest = all[first.len()..].trim_start();
            let mut lines = vec![first];
            if !rest.is_empty() {
                lines.extend(width::folded(rest, columns - INDENT.len()));
            }
            lines
        }
    };
    for (number, line) in lines.iter().enumerate() {
        match paint.filter(|_| number == 0).zip(line.strip_prefix(word)) {
            Some((paint, rest)) => writeln!(out, "{paint}{word}{paint:#}{rest}")?,
            None if number == 0 => writeln!(out, "{line}")?,
            None => writeln!(out, "{INDENT}{line}")?,
        }
    }
    Ok(())
}

/// Says on standard error what is wrong, although there is an answer.
pub(crate) fn complain(why: &str) -> io::Result<()> {
    writeln!(stderr(), "{BAD}error:{BAD:#} {why}")
}

/// Standard error.
pub(crate) fn stderr() -> Terminal<anstream::AutoStream<io::Stderr>> {
    Terminal::new(anstream::stderr())
}

/// The writer. What is written to it in one call has to be UTF-8 as far as the call's end, where a
/// character may go on in the next call.
pub(crate) struct Terminal<W> {
    inner: W,
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl<W: Write> Terminal<W> {
    pub(crate) const fn new(inner: W) -> Self {
        Self {
            inner,
            begun: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(buffer);
        let mut clean = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            clean_into(&mut clean, chunk.valid());
            let broken = chunk.invalid();
            if chunks.peek().is_none() && is_beginning(broken) {
                self.begun = broken.to_vec();
            } else if !broken.is_empty() {
                clean.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.inner.write_all(clean.as_bytes())?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether more bytes could make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

fn clean_into(clean: &mut String, text: &str) {
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character == ESCAPE
            && let Some(behind) = rest.as_str().strip_prefix(mark())
        {
            clean.push(ESCAPE);
            rest = behind.chars();
        } else if acts(character) {
            // The form of JSON, so that `-o json` stays JSON: none of these is beyond U+FFFF.
            clean.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            clean.push(character);
        }
    }
}

/// Whether a terminal obeys the character rather than showing it: controls (C0 but line feed and
/// tab, DEL, C1), and those that change the direction of text, which can hide what a line says.
fn acts(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => character.is_control(),
    }
}

/// `text` as part of one line: its line breaks become blanks, so that nobody can write lines of their
/// own into an answer.
pub(crate) fn one_line(text: &str) -> String {
    let lines = text.split([
        '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}',
    ]);
    let lines: Vec<_> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let mut out = Terminal::new(Vec::new());
        write!(out, "{text}").unwrap();
        String::from_utf8(out.inner).unwrap()
    }

    #[test]
    fn what_would_act_on_a_terminal_is_shown_in_place_of_acting() {
        let hostile = "a\u{1b}[2J\u{1b}]0;PWNED\u{7}b\r\u{8}\u{7f}\u{9b}31m\u{202e}c";
        assert_eq!(
            shown(hostile),
            r"a\u001b[2J\u001b]0;PWNED\u0007b\u000d\u0008\u007f\u009b31m\u202ec"
        );
    }

    #[test]
    fn text_lines_and_tabs_stay_as_they_are() {
        let text = "größe 日本\tß\nnext";
        assert_eq!(shown(text), text);
    }

    #[test]
    fn our_colours_act_and_the_same_written_by_others_do_not() {
        let mut out = Terminal::new(Vec::new());
        write!(out, "{GOOD}well{GOOD:#} \u{1b}[32mforged\u{1b}[0m").unwrap();
        assert_eq!(
            String::from_utf8(out.inner).unwrap(),
            "\u{1b}[32mwell\u{1b}[0m \\u001b[32mforged\\u001b[0m"
        );
    }

    #[test]
    fn a_character_may_be_written_in_two_calls_and_a_broken_one_is_replaced() {
        let mut out = Terminal::new(Vec::new());
        for part in [&b"\xc3"[..], b"\xa4", b"\xff", b"x", b"\xc2", b"\x9b"] {
            out.write_all(part).unwrap();
        }
        assert_eq!(String::from_utf8(out.inner).unwrap(), "ä\u{fffd}x\\u009b");
    }

    #[test]
    fn nobody_can_write_lines_of_their_own() {
        assert_eq!(
            one_line("harmless\n\nall is well\r\n"),
            "harmless all is well"
        );
    }

    #[test]
    fn a_sentence_is_folded_with_its_rest_indented() {
        let mut out = Terminal::new(Vec::new());
        let text = "n3 is held dead (node, n1 say so): kubectl describe node n3";
        sentence_within(&mut out, None, "problem: ", text, Some(30)).unwrap();
        sentence_within(&mut out, None, "note: ", "short", Some(30)).unwrap();
        let shown = String::from_utf8(out.inner).unwrap();
        assert_eq!(
            shown,
            "problem: n3 is held dead\n  (node, n1 say so): kubectl\n  describe node n3\nnote: short\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_nothing_acts(text in any::<String>()) {
            prop_assert!(!shown(&text).chars().any(acts));
        }
    }
}
