//! Texts that tenants write, in a bounded form.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The longest value of an annotation or field that is read; a longer one is refused, since half of a
/// value may mean something else. Names of pools and nodes have at most 253 bytes.
pub const LONGEST_VALUE: usize = 1_024;

/// A value that is only ever compared is kept as it is up to this length; of a longer one, its digest.
const LONGEST_KEY: usize = 128;

/// At most `limit` bytes, cut between characters. What is cut out is the middle: a sentence begins
/// with what is wrong and ends with what to do.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let kept = limit.saturating_sub(CUT.len());
    let end = text.floor_char_boundary(kept / 2);
    let begin = text.ceil_char_boundary(text.len() - (kept - end));
    format!("{}{CUT}{}", &text[..end], &text[begin..])
}

/// `1 pod`, `2 pods`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// The text itself, or its digest if it is long: equal for equal texts alone.
#[must_use]
pub fn as_key(text: &str) -> String {
    if text.len() <= LONGEST_KEY {
        return text.to_owned();
    }
    let mut key = "sha256:".to_owned();
    for byte in Sha256::digest(text) {
        // Writing to a String never fails.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_loses_its_middle_and_is_cut_between_characters() {
        assert_eq!(shortened("short", 10), "short");
        assert_eq!(shortened("0123456789abcdef", 10), "012…cdef");
        assert_eq!(
            shortened("ääääääää", 10),
            "ä…ää",
            "ä takes two bytes, … takes three"
        );
        for limit in 0..40 {
            let text = shortened("wörter über wörter, und am ende was zu tun ist", limit);
            assert!(text.len() <= limit.max("…".len()), "{limit}: {text}");
        }
    }

    #[test]
    fn keys_are_bounded_and_differ_as_their_texts_do() {
        let long = "x".repeat(260_000);
        assert_eq!(as_key("shared"), "shared");
        assert_eq!(as_key(&long), as_key(&long.clone()));
        assert_ne!(as_key(&long), as_key(&format!("{long}y")));
        assert!(as_key(&long).len() <= LONGEST_KEY);
    }
}
