//! The known word that somebody probably meant.

/// The nearest of `known` to `written`, if it is near enough to be no coincidence.
pub(crate) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Longer words are no keys of ours, and the distance is quadratic.
    if written.len() > 64 {
        return None;
    }
    let plain = plain(written);
    known
        .map(|word| (distance(&plain, &self::plain(word)), word))
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `autoAssign`, `auto_assign` and `auto-assign` are one word.
fn plain(word: &str) -> Vec<char> {
    let letters = word.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}

/// Edits between two words; two neighbours swapped are one edit.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_foreign_word_finds_none() {
        let known = ["addresses", "auto-assign", "name", "protocol"];
        let rows = [
            ("adresses", Some("addresses")),
            ("address", Some("addresses")),
            ("autoAssign", Some("auto-assign")),
            ("AUTO_ASSIGN", Some("auto-assign")),
            ("nmae", Some("name")),
            ("protcol", Some("protocol")),
            ("Protocol", Some("protocol")),
            ("metadata", None),
            ("", None),
        ];
        for (written, want) in rows {
            assert_eq!(nearest(written, known.into_iter()), want, "{written:?}");
        }
    }
}
