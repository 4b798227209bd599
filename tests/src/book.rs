//! A preprocessor of mdBook: links that lead out of the book lead to the repository.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// Where files of the repository are on the web.
const REPOSITORY: &str = "https://github.com/ferrolb/ferrolb/blob/main";

/// mdBook's input is `[context, book]`; the answer is the book.
pub fn preprocess(input: &str) -> Result<String> {
    let input: Value = serde_json::from_str(input).context("mdBook's input is not JSON")?;
    let mut book = input.get(1).context("no book in mdBook's input")?.clone();
    // "sections" until mdBook 0.4, "items" since.
    for key in ["sections", "items"] {
        for item in book
            .get_mut(key)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            rewrite(item);
        }
    }
    Ok(book.to_string())
}

fn rewrite(item: &mut Value) {
    let Some(chapter) = item.get_mut("Chapter") else {
        return;
    };
    let path = chapter["path"].as_str().unwrap_or_default().to_owned();
    if let Some(content) = chapter["content"].as_str() {
        chapter["content"] = with_links(content, Path::new(&path)).into();
    }
    for item in chapter["sub_items"].as_array_mut().into_iter().flatten() {
        rewrite(item);
    }
}

/// The text of the page at `path`, which is relative to `docs`.
fn with_links(text: &str, path: &Path) -> String {
    let mut parts = text.split("](");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("](");
        let (link, rest) = part.split_once(')').unwrap_or((part, ""));
        match outside(link, path) {
            Some(link) => out.push_str(&link),
            None => out.push_str(link),
        }
        if part.len() > link.len() {
            out.push(')');
            out.push_str(rest);
        }
    }
    out
}

/// The address of a link that leads out of `docs`.
fn outside(link: &str, page: &Path) -> Option<String> {
    if link.contains("://") || link.starts_with('#') {
        return None;
    }
    let mut whole = PathBuf::from("docs");
    for part in page.parent()?.join(link).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::Normal(part) => whole.push(part),
            _ => {}
        }
    }
    (!whole.starts_with("docs")).then(|| format!("{REPOSITORY}/{}", whole.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_out_of_the_book_lead_to_the_repository() {
        let text =
            "[a](../install.md#kind) [b](../../examples/01.yaml) [c](https://x/y) [d](#here)";
        assert_eq!(
            with_links(text, Path::new("how-to/ingress.md")),
            "[a](../install.md#kind) [b](https://github.com/ferrolb/ferrolb/blob/main/examples/01.yaml) \
             [c](https://x/y) [d](#here)"
        );
    }
}
