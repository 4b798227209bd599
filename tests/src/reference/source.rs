//! What is read from the source text: names with the sentences that stand above them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Every source below a folder but for its tests, in the order of their names.
pub(super) fn files(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|one| one == "rs") {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let (code, _) = text
                    .split_once("\n#[cfg(test)]\nmod tests {")
                    .unwrap_or((&text, ""));
                found.push((path, code.to_owned()));
            }
        }
    }
    found.sort();
    Ok(found)
}

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

/// String literals with where they begin and end.
pub(super) fn literals(source: &str) -> Vec<(String, usize, usize)> {
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
