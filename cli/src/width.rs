//! How wide text is, and how it is folded to the width of a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Narrower than this nothing can be read, and folding only makes it worse.
const NARROWEST: usize = 24;

/// Columns of the terminal that answers are shown on; `None` if they go to a pipe or a file, which has no
/// width.
pub(crate) fn of_terminal() -> Option<usize> {
    use std::io::IsTerminal as _;

    let is_shown = std::io::stdout().is_terminal();
    let (columns, _) = crossterm::terminal::size().ok().filter(|_| is_shown)?;
    Some(usize::from(columns).max(NARROWEST))
}

/// Columns that `text` takes on a terminal.
pub(crate) fn of(text: &str) -> usize {
    text.width()
}

/// `text` in lines of at most `width` columns, broken at blanks, or where no blank is, behind a `,`, `/`
/// or `-`, or anywhere. Never empty.
pub(crate) fn folded(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut rest = text.trim_end();
    while of(rest) > width {
        let fit = fitting(rest, width);
        let (line, next) = rest.split_at(place_to_break(rest, fit));
        lines.push(line.trim_end().to_owned());
        rest = next.trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

/// `text` cut to `width` columns, with a mark if anything is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if of(text) <= width {
        return text.to_owned();
    }
    let fit = fitting(text, width.saturating_sub(1));
    format!("{}…", &text[..fit])
}

/// `text` with blanks up to `width` columns.
pub(crate) fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(of(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Bytes of `text` that fit into `width` columns.
fn fitting(text: &str, width: usize) -> usize {
    let mut columns = 0;
    for (place, character) in text.char_indices() {
        columns += character.width().unwrap_or(0);
        if columns > width {
            return place;
        }
    }
    text.len()
}

/// Where to break `text`, of which the first `fit` bytes fit; at least one character is taken.
fn place_to_break(text: &str, fit: usize) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let fit = fit.max(first);
    let head = &text[..fit];
    if text[fit..].starts_with(' ') {
        return fit;
    }
    let blank = head.rfind(' ').filter(|place| *place > 0);
    let behind = |mark: char| head.rfind(mark).map(|place| place + mark.len_utf8());
    // A word that takes most of the line is broken rather than the line left empty.
    blank
        .filter(|place| *place * 3 > fit)
        .or_else(|| [',', '/', '-'].into_iter().filter_map(behind).max())
        .or(blank)
        .unwrap_or(fit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sentence_is_broken_at_blanks_and_a_list_behind_its_commas() {
        assert_eq!(
            folded("nobody announces it because no pod is ready", 20),
            ["nobody announces it", "because no pod is", "ready"]
        );
        assert_eq!(
            folded("192.168.64.240,192.168.64.241", 20),
            ["192.168.64.240,", "192.168.64.241"]
        );
        assert_eq!(folded("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(folded("", 3), [""]);
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(folded("日本語", 4), ["日本", "語"]);
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(padded("日本", 6), "日本  ");
    }

    proptest! {
        #[test]
        fn nothing_but_blanks_is_lost_and_every_line_fits(text in "[ -~äß日,/-]{0,200}", width in 2_usize..60) {
            let lines = folded(&text, width);
            prop_assert!(lines.iter().all(|line| of(line) <= width), "{lines:?}");
            let without = |text: &str| text.replace(' ', "");
            prop_assert_eq!(without(&lines.concat()), without(&text));
        }
    }
}
