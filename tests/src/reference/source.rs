//! What is read from the source text: names with the sentences that stand above them.

use std::collections::BTreeMap;

/// `/// about` above `pub const NAME: &str = "value";`: value and sentence, in order.
pub(super) fn documented_constants(source: &str) -> Vec<(String, String)> {
    with_comments(source)
        .filter_map(|(line, about)| {
            let (_, value) = line.strip_prefix("pub const ")?.split_once('"')?;
            Some((value.split('"').next()?.to_owned(), about))
        })
        .collect()
}

/// A struct with its sentence, and its fields with theirs.
pub(super) type Documented = (String, String, Vec<(String, String)>);

/// Public structs with their sentences, and their public fields with theirs.
pub(super) fn documented_structs(source: &str) -> Vec<Documented> {
    let mut structs: Vec<Documented> = Vec::new();
    let mut is_inside = false;
    for (line, about) in with_comments(source) {
        if let Some(name) = line.strip_prefix("pub struct ") {
            is_inside = name.ends_with('{');
            let name = name.trim_end_matches([' ', '{']).to_owned();
            if is_inside {
                structs.push((name, about, Vec::new()));
            }
        } else if line == "}" {
            is_inside = false;
        } else if let Some((field, _)) = line
            .strip_prefix("pub ")
            .and_then(|rest| rest.split_once(": "))
            && is_inside
            && let Some((_, _, fields)) = structs.last_mut()
        {
            fields.push((field.to_owned(), about));
        }
    }
    structs
}

/// Lines of code, each with the documentation above it; attributes do not part the two.
fn with_comments(source: &str) -> impl Iterator<Item = (&str, String)> {
    let mut about: Vec<&str> = Vec::new();
    source.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            about.push(text.trim());
            return None;
        }
        if line.starts_with("#[") {
            return None;
        }
        Some((line, std::mem::take(&mut about).join(" ")))
    })
}

/// Names of metrics as they are shown, with their sentences: two strings in a row, of which the first is a name. The
/// library's counters are shown with `_total` behind.
pub(super) fn registrations(source: &str) -> Vec<(String, String)> {
    let literals = literals(source);
    let counters: Vec<_> = source
        .lines()
        .filter_map(|line| {
            let (field, kind) = line.trim().trim_start_matches("pub ").split_once(": ")?;
            let is_librarys = match source.contains("counter::Counter as Total") {
                true => kind == "Total,",
                false => kind.contains("Counter"),
            };
            is_librarys.then(|| format!("self.{field}.clone()"))
        })
        .collect();
    literals
        .windows(2)
        .filter_map(|pair| {
            let [(name, _, end), (help, start, help_end)] = pair else {
                return None;
            };
            let is_name = ["ferrolb_", "metallb_"]
                .iter()
                .any(|begin| name.starts_with(begin));
            let is_next = source.get(*end..*start)?.trim() == ",";
            let what = source
                .get(*help_end..)?
                .split(['\n', ')'])
                .find(|part| part.contains("self."))?;
            let total = counters
                .iter()
                .any(|counter| counter.starts_with(what.trim_start_matches([',', ' '])));
            (is_name && is_next).then(|| {
                (
                    format!("{name}{}", if total { "_total" } else { "" }),
                    help.clone(),
                )
            })
        })
        .collect()
}

/// String literals with where they begin and end.
fn literals(source: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut rest = source.char_indices().peekable();
    while let Some((start, c)) = rest.next() {
        if c != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some((at, c)) = rest.next() {
            match c {
                '"' => {
                    found.push((text, start, at + 1));
                    break;
                }
                // A line that goes on without its indentation.
                '\\' if rest.peek().is_some_and(|(_, next)| *next == '\n') => {
                    while rest.peek().is_some_and(|(_, next)| next.is_whitespace()) {
                        rest.next();
                    }
                }
                '\\' => text.extend(rest.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
    }
    found
}

/// Comments above keys of a YAML text, and behind their values, by path of the key. A blank line parts them. An example,
/// which ends a comment, is for who reads the file.
pub(super) fn comments(yaml: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut about: Vec<&str> = Vec::new();
    for line in yaml.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(comment) = text.strip_prefix('#') {
            about.push(comment.strip_prefix(' ').unwrap_or(comment));
            continue;
        }
        if let Some((key, value)) = text.split_once(':')
            && !text.starts_with('-')
        {
            path.retain(|(depth, _)| *depth < indent);
            path.push((indent, key.to_owned()));
            let keys: Vec<_> = path.iter().map(|(_, key)| key.as_str()).collect();
            let sentences = about.iter().take_while(|line| **line != "Example:");
            let sentences: Vec<_> = sentences.copied().chain(behind(value)).collect();
            if !sentences.is_empty() {
                found.insert(keys.join("."), sentences.join(" "));
            }
        }
        about.clear();
    }
    found
}

/// The comment in `value # comment`. Text in quotes may have that sign itself, so none is looked for behind it.
fn behind(value: &str) -> Option<&str> {
    if value.trim_start().starts_with(['"', '\'']) {
        return None;
    }
    Some(value.split_once(" # ")?.1.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_sentences() {
        let source =
            "/// Normal: it\n/// is so.\npub const A: &str = \"IsSo\";\npub const B: u8 = 1;\n";
        assert_eq!(
            documented_constants(source),
            [("IsSo".to_owned(), "Normal: it is so.".to_owned())]
        );
        let source = "/// A thing.\n#[derive(Debug)]\npub struct Thing {\n    /// Its\n    /// name.\n    pub its_name: String,\n    hidden: u8,\n}\n";
        let field = ("its_name".to_owned(), "Its name.".to_owned());
        assert_eq!(
            documented_structs(source),
            [("Thing".to_owned(), "A thing.".to_owned(), vec![field])]
        );
    }

    #[test]
    fn metrics_are_found_as_they_are_shown() {
        let source = "updates: Counter,\nfull: Gauge,\nregister(\"metallb_updates\", \"What \\\n   came\", self.updates.clone());\n\
                      register(\n\"ferrolb_full\",\n\"How full\",\nself.full.clone(),\n);";
        let expected = [
            ("metallb_updates_total", "What came"),
            ("ferrolb_full", "How full"),
        ];
        assert_eq!(
            registrations(source),
            expected.map(|(name, help)| (name.to_owned(), help.to_owned()))
        );
    }

    #[test]
    fn a_comment_belongs_to_the_key_below_it() {
        let yaml = "# Of the file.\n\n# The first.\na:\n  # Inner,\n  # two lines.\n  b: 1\n  c: 2\nd: 3\n";
        let found = comments(yaml);
        let found: Vec<_> = found
            .iter()
            .map(|(key, about)| (key.as_str(), about.as_str()))
            .collect();
        assert_eq!(found, [("a", "The first."), ("a.b", "Inner, two lines.")]);
    }

    #[test]
    fn a_comment_may_stand_behind_the_value_and_end_with_an_example() {
        let yaml = "# The first.\n# Example:\n#   a: 2\na: 1\nb: 2 # The second.\nc: # The third.\n  d: \"x # y\"\n";
        let found: Vec<_> = comments(yaml).into_iter().collect();
        let expected = [
            ("a", "The first."),
            ("b", "The second."),
            ("c", "The third."),
        ];
        assert_eq!(
            found,
            expected.map(|(key, about)| (key.to_owned(), about.to_owned()))
        );
    }
}
