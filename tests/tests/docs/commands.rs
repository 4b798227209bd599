//! Before each block of commands a comment says what runs them, or why nothing does: `<!-- run by FILE -->`, with
//! `FILE::FUNCTION` if the file has others, `<!-- not run: why -->`, or both with a semicolon between them. Right
//! after the title it stands for all blocks of the page that have none of their own.

use std::fs;

use crate::{of_the_book, root};

/// The beginnings of such comments.
const RUN: &str = "run by ";
const NOT_RUN: &str = "not run: ";

#[test]
fn every_block_of_commands_says_what_runs_it_or_why_nothing_does() {
    let (mut blocks, mut complaints) = (0, Vec::new());
    for path in of_the_book() {
        let page = Page::read(&fs::read_to_string(&path).unwrap());
        blocks += page.blocks.len();
        let said = page.complaints();
        complaints.extend(said.iter().map(|one| format!("{}: {one}", path.display())));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(blocks > 80, "only {blocks} were found");
}

#[test]
fn a_comment_that_is_not_so_is_found() {
    let complaints = |comment: &str| {
        let block = "```sh\nsudo helm -n x upgrade ferrolb | kubectl ferrolb drain-wait n1 # kubectl get\n```\n";
        Page::read(&format!("# Page\n\n{comment}\n{block}")).complaints()
    };
    let none: [String; 0] = [];
    let is_run =
        "<!-- run by tests/src/lifetime.rs::upgrade_with and tests/tests/keep_connections.rs -->";
    assert_eq!(complaints(is_run), none);
    assert_eq!(complaints("<!-- not run: no time -->"), none);
    let half = "<!-- run by tests/src/lifetime.rs; not run: `drain-wait`, which waits -->";
    assert_eq!(complaints(half), none);
    for (comment, complaint) in [
        ("", "line 4: nothing says what runs it"),
        (
            "<!-- run by hand -->",
            "line 4: `run by hand` names no file",
        ),
        (
            "<!-- run by tests/src/lifetime.rs -->",
            "line 4: no file of `run by tests/src/lifetime.rs` has \"drain-wait\"",
        ),
        (
            "<!-- not run: see tests/src/nothing.rs -->",
            "tests/src/nothing.rs does not exist",
        ),
        (
            "<!-- not run: see tests/src/lifetime.rs::nothing -->",
            "tests/src/lifetime.rs has no function nothing",
        ),
    ] {
        assert_eq!(complaints(comment), [complaint]);
    }
}

#[derive(Default)]
struct Page {
    comments: Vec<String>,
    blocks: Vec<Block>,
}

struct Block {
    line: usize,
    /// The verbs of kubectl, of the plugin, of helm, and what make makes.
    verbs: Vec<String>,
    comment: Option<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let (mut of_the_page, mut right_before, mut is_head) = (None, None, true);
        let mut lines = text.lines().map(str::trim).enumerate();
        while let Some((number, line)) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let body = lines.by_ref().map(|(_, line)| line);
                let body: Vec<_> = body.take_while(|line| *line != "```").collect();
                let comment = right_before.take().or_else(|| of_the_page.clone());
                if let Some(commands) = commands(language, body) {
                    page.blocks.push(Block {
                        line: number + 1,
                        verbs: commands.into_iter().flat_map(verbs).collect(),
                        comment,
                    });
                }
                is_head = false;
            } else if let Some(comment) = comment(line) {
                page.comments.push(comment.to_owned());
                right_before = Some(comment.to_owned());
                if is_head {
                    of_the_page = right_before.clone();
                }
                is_head = false;
            } else if !line.is_empty() {
                right_before = None;
                is_head &= line.starts_with("# ");
            }
        }
        page
    }

    fn complaints(&self) -> Vec<String> {
        let blocks = self.blocks.iter().filter_map(|block| {
            let complaint = block.complaint()?;
            Some(format!("line {}: {complaint}", block.line))
        });
        let files = self.comments.iter().flat_map(|one| files(one));
        files.filter_map(missing).chain(blocks).collect()
    }
}

impl Block {
    fn complaint(&self) -> Option<String> {
        let Some(comment) = &self.comment else {
            return Some("nothing says what runs it".to_owned());
        };
        let (run, not_run) = comment.split_once("; not run: ").unwrap_or((comment, ""));
        if run.starts_with(NOT_RUN) {
            return None;
        }
        let files: Vec<_> = files(run).collect();
        if files.is_empty() {
            return Some(format!("`{run}` names no file"));
        }
        let sources = files
            .iter()
            .map(|(file, _)| fs::read_to_string(root().join(file)));
        let sources: String = sources.map(Result::unwrap_or_default).collect();
        let is_missing = |verb: &&String| {
            !sources.contains(&format!("\"{verb}\"")) && !not_run.contains(&format!("`{verb}`"))
        };
        let verb = self.verbs.iter().find(is_missing)?;
        Some(format!("no file of `{run}` has \"{verb}\""))
    }
}

fn comment(line: &str) -> Option<&str> {
    let inside = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    [RUN, NOT_RUN]
        .iter()
        .any(|begin| inside.starts_with(begin))
        .then_some(inside)
}

/// The files that a comment names, and their functions.
fn files(comment: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let words = comment.split(|c: char| !(c.is_ascii_alphanumeric() || "_-./:".contains(c)));
    words.filter_map(|word| {
        let word = word.trim_end_matches(['.', ':']);
        let (file, function) = match word.split_once("::") {
            Some((file, function)) => (file, Some(function)),
            None => (word, None),
        };
        file.ends_with(".rs").then_some((file, function))
    })
}

fn missing((file, function): (&str, Option<&str>)) -> Option<String> {
    let Ok(source) = fs::read_to_string(root().join(file)) else {
        return Some(format!("{file} does not exist"));
    };
    let function = function.filter(|name| !source.contains(&format!("fn {name}(")))?;
    Some(format!("{file} has no function {function}"))
}

/// The lines of a block that a user types.
fn commands<'a>(language: &str, body: Vec<&'a str>) -> Option<Vec<&'a str>> {
    match language {
        "sh" => Some(body),
        "console" => Some(
            body.into_iter()
                .filter_map(|line| line.strip_prefix("$ "))
                .collect(),
        ),
        _ => None,
    }
}

fn verbs(line: &str) -> Vec<String> {
    let line = match line.starts_with('#') {
        true => "",
        false => line.split(" #").next().unwrap_or_default(),
    };
    let commands = line.split("&&").flat_map(|part| part.split('|'));
    commands.filter_map(verb).collect()
}

fn verb(command: &str) -> Option<String> {
    let mut words = command.split_whitespace().filter(|word| *word != "sudo");
    if !["kubectl", "helm", "make"].contains(&words.next()?) {
        return None;
    }
    let mut words = words.filter(|word| *word != "ferrolb").peekable();
    while words.peek()?.starts_with('-') {
        // An option, and its value.
        words.nth(1);
    }
    words.next().map(str::to_owned)
}
